"""What a training iteration optimises: a list of updates, each a set of named losses and the networks they train."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jacsup import losses
from jacsup.code import Code, partners
from jacsup.config import Stage, Weights
from jacsup.models import Autoencoder


@dataclass(frozen=True)
class Batch:
    """Images in the model's value range and, for a student, what its teacher makes of them.

    teacher_y: the factors that the teacher reads. teacher_x_hat: its reconstructions.
    """

    x: Float[Tensor, "b c h w"]
    teacher_y: Float[Tensor, "b k"] | None = None
    teacher_x_hat: Float[Tensor, "b c h w"] | None = None


Losses = Callable[[Autoencoder, Batch], dict[str, Float[Tensor, ""]]]


@dataclass(frozen=True)
class Update:
    """One optimiser step per iteration: the weighted sum of `losses`, taken by the networks in `trains`.

    losses: (model, batch) -> unweighted scalars by name, for exactly the names in `weights`.
    """

    trains: tuple[str, ...]
    losses: Losses
    weights: dict[str, float]


def updates(stage: Stage, num_factors: int) -> tuple[Update, ...]:
    """The updates of a stage's iteration. num_factors: units of the stage's teacher, the student's y."""
    if stage.objective == "reconstruction":
        return (reconstruction(stage.weights),)
    return (student(stage.weights, num_factors),)


def reconstruction(weights: Weights = Weights()) -> Update:
    """Eq. 8 alone."""

    def terms(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
        return {"rec": losses.reconstruction(batch.x, model.decode(model.encode(batch.x)))}

    return Update(("encoder", "decoder"), terms, {"rec": weights.rec})


def student(weights: Weights, num_factors: int) -> Update:
    """Eq. 8, 9 and 10 for a student whose first `num_factors` units are its teacher's factors."""
    active = {name: getattr(weights, name) for name in ("rec", "y", "diff", "xcov") if getattr(weights, name)}
    cross_covariance = losses.cross_covariance_norm if weights.xcov_norm else losses.cross_covariance

    def terms(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
        assert batch.teacher_y is not None and batch.teacher_x_hat is not None
        code = model.encode(batch.x).split(num_factors)
        x_hat, x_hat_swapped = _decode_with_swapped(model, code) if "diff" in active else (model.decode(code), None)
        values = {"rec": losses.reconstruction(batch.x, x_hat)} if "rec" in active else {}
        if "y" in active:
            values["y"] = losses.factor_difference(code.y, batch.teacher_y)
        if x_hat_swapped is not None:
            # Without a z, D_T(y_T') is the teacher's reconstruction of the partner.
            values["diff"] = losses.jacobian_difference(
                x_hat, x_hat_swapped, batch.teacher_x_hat, partners(batch.teacher_x_hat)
            )
        if "xcov" in active:
            values["xcov"] = cross_covariance(code.y, code.z)
        return values

    return Update(("encoder", "decoder"), terms, active)


def _decode_with_swapped(model: Autoencoder, code: Code) -> tuple[Tensor, Tensor]:
    """D(y, z) and D(y', z) in one batch of 2B, so that both sides share one set of batch statistics."""
    both = Code(torch.cat([code.y, partners(code.y)]), torch.cat([code.z, code.z]))
    x_hat, x_hat_swapped = model.decode(both).chunk(2)
    return x_hat, x_hat_swapped
