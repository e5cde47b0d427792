"""What a training iteration optimises: a list of updates, each a set of named losses and the networks they train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jacsup import distributed as dist
from jacsup import losses
from jacsup.code import Code
from jacsup.config import Stage, Weights
from jacsup.models import TrainableAutoencoder
from jacsup.models.discriminator import Discriminator


@dataclass(frozen=True)
class Batch:
    """Images in the model's value range, their labels, and, for a student, what its teacher makes of them.

    attributes: -1, 1 or nan (missing), standardised numbers in the continuous columns.
    teacher_y: the factors that the teacher reads. teacher_x_hat: its reconstructions D_T(y_T, z_T).
    teacher_x_hat_swapped: the same with the partners' factors, D_T(y_T', z_T).
    swap_mask: which factors y' takes from the partner; all of them without it.
    kept: which units nested dropout leaves; the others are 0.
    """

    x: Float[Tensor, "b c h w"]
    attributes: Float[Tensor, "b k"] | None = None
    teacher_y: Float[Tensor, "b j"] | None = None
    teacher_x_hat: Float[Tensor, "b c h w"] | None = None
    teacher_x_hat_swapped: Float[Tensor, "b c h w"] | None = None
    swap_mask: Bool[Tensor, "b k"] | None = None
    kept: Bool[Tensor, "b u"] | None = None


Losses = Callable[[TrainableAutoencoder, Batch, Code], dict[str, Float[Tensor, ""]]]


@dataclass(frozen=True)
class Update:
    """One optimiser step per iteration: the weighted sum of `losses`, taken by the networks in `trains`.

    losses: (model, batch, code) -> unweighted scalars by name, for exactly the names in `weights`. The code is E(x) of
    the iteration's first update, with its gradient there and as constants in later ones.
    """

    trains: tuple[str, ...]
    losses: Losses
    weights: dict[str, float]


@dataclass(frozen=True)
class Labels:
    """What the columns of a batch's attributes hold.

    continuous: which are numbers, not -1 and 1. frequency: the share of training images with each binary one.
    """

    continuous: Bool[Tensor, " k"]
    frequency: Float[Tensor, " k"]

    def weights_of(self, y_bar: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Weights that balance binary labels."""
        return losses.balance(y_bar, self.frequency).masked_fill(self.continuous, 1.0)


def updates(stage: Stage, num_factors: int, labels: Labels | None = None) -> tuple[Update, ...]:
    """The updates of a stage's iteration.

    num_factors: a student's y: the units of its teacher. labels: what the attributes hold; without it all are binary,
    and none can be balanced.
    """
    weights = stage.weights
    match stage.objective:
        case "reconstruction":
            return (reconstruction(weights),)
        case "nested":
            return (nested(weights),)
        case "fader":
            return fader(weights, labels)
        case "teacher":
            first = teacher(weights, labels)
        case "student":
            first = student(weights, num_factors, labels)
    cycles = (cycle(weights, labels),) if weights.cycle_y or weights.cycle_z else ()
    return (first, *cycles)


def reconstruction(weights: Weights = Weights()) -> Update:
    """Eq. 8 alone."""

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        return {"rec": losses.reconstruction(batch.x, model.decode(code))}

    return Update(("encoder", "decoder"), terms, {"rec": weights.rec})


def nested(weights: Weights = Weights()) -> Update:
    """Eq. 8 on codes whose last units are dropped: nested dropout (Rippel et al. 2014), a baseline."""

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.kept is not None
        return {"rec": losses.reconstruction(batch.x, model.decode(Code.of_units(code.units * batch.kept)))}

    return Update(("encoder", "decoder"), terms, {"rec": weights.rec})


def teacher(weights: Weights, labels: Labels | None = None) -> Update:
    """Eq. 8, 10 and 11: L1 of a teacher that learns labelled attributes."""
    active = _active(weights, "rec", "xcov", "pred")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        values = _code_terms(active, weights, batch, code, labels)
        return {"rec": losses.reconstruction(batch.x, model.decode(code)), **values} if "rec" in active else values

    return Update(("encoder", "decoder"), terms, active)


def student(weights: Weights, num_factors: int, labels: Labels | None = None) -> Update:
    """Eq. 8, 9, 10 and 11 for a student whose first `num_factors` units are its teacher's factors."""
    active = _active(weights, "rec", "y", "diff", "xcov", "pred")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.teacher_y is not None
        assert batch.teacher_x_hat is not None and batch.teacher_x_hat_swapped is not None
        code = code.split(num_factors)
        both = _decode_with_swapped(model, code, batch.swap_mask) if "diff" in active else (model.decode(code), None)
        x_hat, x_hat_swapped = both
        values = _code_terms(active, weights, batch, code, labels)
        if "rec" in active:
            values["rec"] = losses.reconstruction(batch.x, x_hat)
        if "y" in active:
            values["y"] = losses.factor_difference(code.y, batch.teacher_y)
        if x_hat_swapped is not None:
            values["diff"] = losses.jacobian_difference(
                x_hat, x_hat_swapped, batch.teacher_x_hat, batch.teacher_x_hat_swapped
            )
        return values

    return Update(("encoder", "decoder"), terms, active)


def fader(weights: Weights, labels: Labels | None = None) -> tuple[Update, Update]:
    """Fader Networks (Lample et al. 2017), a baseline: D(labels, z), and an encoder that hides the labels in z.

    The second update trains the model's `discriminator` to find them there. Eq. 11 trains E to predict y, which Fader
    Networks demand from the user.
    """
    active = _active(weights, "rec", "pred", "adv")

    def judged(model: TrainableAutoencoder, batch: Batch, code: Code, sign: int) -> Tensor:
        assert batch.attributes is not None
        return losses.attribute_cross_entropy(_discriminator(model)(code.z), sign * batch.attributes)

    def autoencoder(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.attributes is not None
        values, network = _code_terms(active, weights, batch, code, labels), _discriminator(model)
        x_hat = model.decode(Code(batch.attributes.nan_to_num(), code.z))
        fooled = network.strength * judged(model, batch, code, -1)
        network.steps += 1
        return {"rec": losses.reconstruction(batch.x, x_hat), "adv": fooled, **values}

    def discriminator(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        return {"disc": judged(model, batch, code, 1)}

    return Update(("encoder", "decoder"), autoencoder, active), Update(("discriminator",), discriminator, {"disc": 1.0})


def _discriminator(model: TrainableAutoencoder) -> Discriminator:
    assert isinstance(model, nn.Module)
    network = model.get_submodule("discriminator")
    assert isinstance(network, Discriminator)
    return network


def cycle(weights: Weights, labels: Labels | None = None) -> Update:
    """Eq. 12 and 13: L2, for the decoder alone, on images decoded from the partners' factors and their own z."""
    active = _active(weights, "cycle_y", "cycle_z")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.attributes is not None
        y = dist.partners(code.y, batch.swap_mask)
        y_bar = y.sign() if weights.cycle_predicted else dist.partners(batch.attributes, batch.swap_mask)
        # The encoder as it will be used: with its running statistics.
        with _in_eval_mode(model.encoder):
            swapped = model.decode(Code(y, code.z))
            again = model.encode(losses.blurred(swapped) if weights.cycle_blurred else swapped)
        values: dict[str, Tensor] = {}
        if "cycle_y" in active:
            values["cycle_y"] = losses.cycle_factors(again.y, y_bar, *_kinds(labels, weights, y_bar))
        if "cycle_z" in active:
            squared = losses.cycle_nuisance(again.z, code.z)
            # The root of all ranks' mean, not the mean of their roots.
            values["cycle_z"] = dist.mean(squared).sqrt() if weights.cycle_z_norm else squared
        return values

    return Update(("decoder",), terms, active)


def _active(weights: Weights, *names: str) -> dict[str, float]:
    return {name: getattr(weights, name) for name in names if getattr(weights, name)}


def _code_terms(
    active: dict[str, float], weights: Weights, batch: Batch, code: Code, labels: Labels | None
) -> dict[str, Tensor]:
    """Eq. 10 and 11, which need no images."""
    values: dict[str, Tensor] = {}
    if "xcov" in active:
        cross_covariance = losses.cross_covariance_norm if weights.xcov_norm else losses.cross_covariance
        # Covariances travel, not codes: their number does not grow with the batch.
        values["xcov"] = cross_covariance(code.y, code.z, dist.mean)
    if "pred" in active:
        assert batch.attributes is not None
        # All ranks' rows: the mean is over the labels that are known, which some ranks may have more of.
        y, y_bar = dist.gather(code.y), dist.gather(batch.attributes)
        values["pred"] = losses.prediction(y, y_bar, *_kinds(labels, weights, y_bar))
    return values


def _kinds(labels: Labels | None, weights: Weights, y_bar: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Which columns have a squared error, and the weight of each label."""
    continuous = labels.continuous if labels else None
    squared = torch.ones_like(y_bar[0], dtype=torch.bool) if weights.squared else continuous
    return squared, labels.weights_of(y_bar) if labels and weights.balanced else None


def _decode_with_swapped(model: TrainableAutoencoder, code: Code, swap_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """D(y, z) and D(y', z) in one batch of 2B, so that both sides share one set of batch statistics."""
    both = Code(torch.cat([code.y, dist.partners(code.y, swap_mask)]), torch.cat([code.z, code.z]))
    x_hat, x_hat_swapped = model.decode(both).chunk(2)
    return x_hat, x_hat_swapped


@contextlib.contextmanager
def _in_eval_mode(network: nn.Module) -> Iterator[None]:
    mode = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(mode)
