"""The objective of a training iteration: a list of updates, each with named losses and the networks they train."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from jacsup import distributed as dist
from jacsup import losses
from jacsup.code import Code
from jacsup.config import LossOptions, Stage, Weights
from jacsup.hooks import hook_of
from jacsup.models import TrainableAutoencoder
from jacsup.models.diffusion import DEVIATION, DiffusionEditor
from jacsup.models.residual import ResidualAutoencoder


@dataclass(frozen=True)
class Batch:
    """Images in the model's value range, their labels and, for a student, the outputs of its teacher.

    Attributes:
        x: The images.
        attributes: -1, 1 or nan (missing); standardised numbers in the continuous columns.
        teacher_y: The factors that the teacher predicts, y_T.
        teacher_z: The teacher's nuisance part, z_T.
        teacher_x_hat: The teacher's reconstructions, D_T(y_T, z_T).
        teacher_x_hat_swapped: The same with the partners' factors, D_T(y_T', z_T).
        swap_mask: Which factors y' come from the partner; all of them by default.
        kept: Which units nested dropout keeps; the others are set to 0.
        sigma: Standard deviations of the noise that a denoiser removes.
        noise: Standard normal noise.
        shown: Which attributes the denoiser is given.
    """

    x: Float[Tensor, "b c h w"]
    attributes: Float[Tensor, "b k"] | None = None
    teacher_y: Float[Tensor, "b j"] | None = None
    teacher_z: Float[Tensor, "b d"] | None = None
    teacher_x_hat: Float[Tensor, "b c h w"] | None = None
    teacher_x_hat_swapped: Float[Tensor, "b c h w"] | None = None
    swap_mask: Bool[Tensor, "b k"] | None = None
    kept: Bool[Tensor, "b u"] | None = None
    sigma: Float[Tensor, " b"] | None = None
    noise: Float[Tensor, "b c h w"] | None = None
    shown: Bool[Tensor, "b k"] | None = None


Losses = Callable[[TrainableAutoencoder, Batch, Code], dict[str, Float[Tensor, ""]]]


def encode_images(model: TrainableAutoencoder, batch: Batch) -> Code:
    """Return E(x), the code that most updates start from.

    Args:
        model: The model.
        batch: The batch.
    """
    return model.encode(batch.x)


@dataclass(frozen=True)
class Update:
    """One optimizer step per iteration on a weighted sum of losses.

    Attributes:
        trains: Names of the model's networks that are updated.
        losses: Maps (model, batch, code) to unweighted scalars by name, for exactly the names in `weights`. The code is
            that of the iteration's first update, with its gradient there and as a constant in later updates.
        weights: The weight of each loss.
        encode: Maps (model, batch) to the code that the losses get. Only that of an iteration's first update is used.
    """

    trains: tuple[str, ...]
    losses: Losses
    weights: dict[str, float]
    encode: Callable[[Any, Batch], Code] = encode_images


@dataclass(frozen=True)
class Labels:
    """The kinds and frequencies of a batch's attributes.

    Attributes:
        continuous: Which columns are numbers rather than -1 and 1.
        frequency: Share of the training images that have each binary attribute.
    """

    continuous: Bool[Tensor, " k"]
    frequency: Float[Tensor, " k"]

    def weights_of(self, y_bar: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Return weights that balance binary labels; 1 for continuous ones.

        Args:
            y_bar: Labels, shape (b, k).
        """
        return losses.balance(y_bar, self.frequency).masked_fill(self.continuous, 1.0)


def updates(stage: Stage, num_factors: int, labels: Labels | None = None) -> tuple[Update, ...]:
    """Return the updates of one iteration of a stage.

    Args:
        stage: The stage.
        num_factors: Number of a student's factors y, which are the units of its teacher.
        labels: The kinds of the attributes; by default all are binary, and none can be balanced.

    Returns:
        L1 for encoder and decoder and then, if eq. 12 or 13 has a weight, L2 for the decoder.

    Raises:
        ValueError: The objective is unknown.
    """
    weights, options = stage.weights, stage.options
    match stage.objective:
        case "reconstruction":
            return (reconstruction(weights),)
        case "nested":
            return (nested(weights),)
        case "teacher":
            first = teacher(weights, options, labels)
        case "student":
            first = student(weights, num_factors, options, labels)
        case "residual":
            return (residual(weights, moments=bool(stage.residual.moments)),)
        case "diffusion":
            return (diffusion(weights),)
        case baseline:
            hook = hook_of(baseline)
            assert hook
            return hook.updates(stage, labels)
    cycles = (cycle(weights, options, labels),) if weights.cycle_y or weights.cycle_z else ()
    return (first, *cycles)


def reconstruction(weights: Weights = Weights()) -> Update:
    """Eq. 8 alone.

    Args:
        weights: Weights, of which only `rec` is used.

    Returns:
        The update of encoder and decoder.
    """

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        return {"rec": losses.reconstruction(batch.x, model.decode(code))}

    return Update(("encoder", "decoder"), terms, {"rec": weights.rec})


def residual(weights: Weights = Weights(), *, moments: bool = False) -> Update:
    """Eq. 8 for a residual student, and the likelihood of u given y.

    The teacher's outputs come with the batch. The likelihood trains only the network of the moments.

    Args:
        weights: Weights, of which only `rec` is used.
        moments: Whether the student has a network of the moments.

    Returns:
        The update of the networks that are added to the teacher.
    """

    def encode(model: ResidualAutoencoder, batch: Batch) -> Code:
        assert batch.teacher_y is not None and batch.teacher_x_hat is not None
        return Code(batch.teacher_y, model.rest_of(batch.x, batch.teacher_x_hat))

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert isinstance(model, ResidualAutoencoder)
        assert batch.teacher_z is not None and batch.teacher_x_hat is not None
        x_hat = batch.teacher_x_hat + model.decode_rest(Code(code.y, batch.teacher_z), code.z)
        values = {"rec": losses.reconstruction(batch.x, x_hat)}
        if moments:
            values["moments"] = losses.moments(code.z.detach(), *model.moments_of(code.y))
        return values

    return Update(("addition", "moments"), terms, {"rec": weights.rec} | ({"moments": 1.0} if moments else {}), encode)


def nested(weights: Weights = Weights()) -> Update:
    """Eq. 8 on codes whose last units are dropped: nested dropout (Rippel et al. 2014), a baseline.

    Args:
        weights: Weights, of which only `rec` is used.

    Returns:
        The update of encoder and decoder.
    """

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.kept is not None
        return {"rec": losses.reconstruction(batch.x, model.decode(Code.of_units(code.units * batch.kept)))}

    return Update(("encoder", "decoder"), terms, {"rec": weights.rec})


def diffusion(weights: Weights = Weights()) -> Update:
    """Eq. 8 for a denoiser that is given the labels; it trains only the decoder.

    Args:
        weights: Weights, of which only `rec` is used.

    Returns:
        The update of the decoder.
    """

    def encode(model: DiffusionEditor, batch: Batch) -> Code:
        assert batch.attributes is not None and batch.shown is not None
        return Code((batch.attributes.nan_to_num() * batch.shown).to(batch.x), batch.x.flatten(1))

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert isinstance(model, DiffusionEditor)
        assert batch.sigma is not None and batch.noise is not None
        noisy = batch.x + batch.sigma[:, None, None, None] * batch.noise
        restored = model.denoise(noisy, batch.sigma, code.y)
        return {"rec": losses.denoising(batch.x, restored, batch.sigma, DEVIATION)}

    return Update(("decoder",), terms, {"rec": weights.rec}, encode)


def teacher(weights: Weights, options: LossOptions = LossOptions(), labels: Labels | None = None) -> Update:
    """Eq. 8, 10 and 11: L1 of a teacher that learns labelled attributes.

    Args:
        weights: Weights of the losses.
        options: Variants of the losses.
        labels: What the attributes hold; by default all are binary, and none can be balanced.

    Returns:
        The update of encoder and decoder, or of the encoder alone if `rec` is 0.
    """
    active = active_weights(weights, "rec", "xcov", "pred")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        values = code_terms(active, options, batch, code, labels)
        return {"rec": losses.reconstruction(batch.x, model.decode(code)), **values} if "rec" in active else values

    return Update(("encoder", "decoder") if "rec" in active else ("encoder",), terms, active)


def student(
    weights: Weights, num_factors: int, options: LossOptions = LossOptions(), labels: Labels | None = None
) -> Update:
    """Eq. 8, 9, 10 and 11 for a student whose first `num_factors` units are its teacher's factors.

    Args:
        weights: Weights of the losses.
        num_factors: Number of factors y.
        options: Variants of the losses.
        labels: What the attributes hold; by default all are binary, and none can be balanced.

    Returns:
        The update of encoder and decoder.
    """
    active = active_weights(weights, "rec", "y", "jacobian", "xcov", "pred")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.teacher_y is not None
        assert batch.teacher_x_hat is not None and batch.teacher_x_hat_swapped is not None
        code = code.split(num_factors)
        x_hat_swapped = None
        if "jacobian" in active:
            x_hat, x_hat_swapped = _decode_with_swapped(model, code, batch.swap_mask)
        else:
            x_hat = model.decode(code)
        values = code_terms(active, options, batch, code, labels)
        if "rec" in active:
            values["rec"] = losses.reconstruction(batch.x, x_hat)
        if "y" in active:
            values["y"] = losses.factor_difference(code.y, batch.teacher_y)
        if x_hat_swapped is not None:
            values["jacobian"] = losses.jacobian_difference(
                x_hat, x_hat_swapped, batch.teacher_x_hat, batch.teacher_x_hat_swapped
            )
        return values

    return Update(("encoder", "decoder"), terms, active)


def cycle(weights: Weights, options: LossOptions = LossOptions(), labels: Labels | None = None) -> Update:
    """Eq. 12 and 13: L2, for the decoder alone, on images decoded from the partners' factors and their own z.

    Args:
        weights: Weights of the losses.
        options: Variants of the losses.
        labels: What the attributes hold; by default all are binary, and none can be balanced.

    Returns:
        The update of the decoder.
    """
    active = active_weights(weights, "cycle_y", "cycle_z")

    def terms(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.attributes is not None
        y = dist.partners(code.y, batch.swap_mask)
        y_bar = y.sign() if options.cycle_predicted else dist.partners(batch.attributes, batch.swap_mask)
        # The encoder uses its running statistics, as in evaluation.
        with _in_eval_mode(model.encoder):
            swapped = model.decode(Code(y, code.z))
            again = model.encode(losses.blurred(swapped) if options.cycle_blurred else swapped)
        values: dict[str, Tensor] = {}
        if "cycle_y" in active:
            values["cycle_y"] = losses.cycle_factors(again.y, y_bar, *_kinds(labels, options, y_bar))
        if "cycle_z" in active:
            squared = losses.cycle_nuisance(again.z, code.z)
            # The root of the mean over all ranks, not the mean of their roots.
            values["cycle_z"] = dist.mean(squared).sqrt() if options.cycle_z_norm else squared
        return values

    return Update(("decoder",), terms, active)


def active_weights(weights: Weights, *names: str) -> dict[str, float]:
    """Return the named weights that are not 0; only their terms are computed.

    Args:
        weights: Weights of the losses.
        names: Names of the terms.
    """
    return {name: getattr(weights, name) for name in names if getattr(weights, name)}


def code_terms(
    active: dict[str, float], options: LossOptions, batch: Batch, code: Code, labels: Labels | None
) -> dict[str, Tensor]:
    """Eq. 10 and 11, which need no images, where they are active.

    Args:
        active: Weights of the active terms, by name.
        options: Variants of the losses.
        batch: The batch.
        code: Its code E(x).
        labels: What the attributes hold; by default all are binary, and none can be balanced.

    Returns:
        The losses by name.
    """
    values: dict[str, Tensor] = {}
    if "xcov" in active:
        cross_covariance = losses.cross_covariance_norm if options.xcov_norm else losses.cross_covariance
        # Ranks exchange covariances rather than codes: their number does not grow with the batch.
        values["xcov"] = cross_covariance(code.y, code.z, dist.mean)
    if "pred" in active:
        assert batch.attributes is not None
        # The rows of all ranks, because the mean is over known labels, of which some ranks may have more.
        y, y_bar = dist.gather(code.y), dist.gather(batch.attributes)
        values["pred"] = losses.prediction(y, y_bar, *_kinds(labels, options, y_bar))
    return values


def _kinds(labels: Labels | None, options: LossOptions, y_bar: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Which columns have a squared error, and the weight of each label."""
    continuous = labels.continuous if labels else None
    squared = torch.ones_like(y_bar[0], dtype=torch.bool) if options.squared else continuous
    return squared, labels.weights_of(y_bar) if labels and options.balanced else None


def _decode_with_swapped(model: TrainableAutoencoder, code: Code, swap_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """D(y, z) and D(y', z) in one batch of 2B, so that both share one set of batch statistics."""
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
