"""Equations 8 to 13 of the paper as pure functions of tensors, for any encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Scalar = Float[Tensor, ""]
Whole = Callable[[Tensor], Tensor]


def reconstruction(x: Float[Tensor, "*shape"], x_hat: Float[Tensor, "*shape"]) -> Scalar:
    """Eq. 8: (x - D(E(x)))^2, mean over pixels and batch.

    Args:
        x: Images.
        x_hat: Their reconstructions, in the same shape.

    Returns:
        The loss.
    """
    return F.mse_loss(x_hat, x)


def denoising(
    x: Float[Tensor, "b c h w"], x_hat: Float[Tensor, "b c h w"], sigma: Float[Tensor, " b"], deviation: float
) -> Scalar:
    """Eq. 8 for denoised images, with the weight of Karras et al. 2022 (EDM), table 1.

    Args:
        x: Images.
        x_hat: The denoised images.
        sigma: Standard deviations of the noise, one for each image.
        deviation: Standard deviation of the images' pixels.

    Returns:
        The loss, about 1 at the start at each level.
    """
    weight = (sigma**2 + deviation**2) / (sigma * deviation) ** 2
    return (weight * (x_hat - x).square().mean(dim=(1, 2, 3))).mean()


def factor_difference(y: Float[Tensor, "b k"], y_teacher: Float[Tensor, "b k"]) -> Scalar:
    """Eq. 9, first term: (y_S - y_T)^2, mean over factors and batch.

    Args:
        y: The student's factors, shape (b, k).
        y_teacher: The teacher's factors, shape (b, k).

    Returns:
        The loss.
    """
    return F.mse_loss(y, y_teacher)


def jacobian_difference(
    x_hat: Float[Tensor, "*shape"],
    x_hat_swapped: Float[Tensor, "*shape"],
    teacher_x_hat: Float[Tensor, "*shape"],
    teacher_x_hat_swapped: Float[Tensor, "*shape"],
) -> Scalar:
    """Eq. 9, second term: [D_T(y') - D_T(y)] - [D_S(y', z) - D_S(y, z)], squared, mean over pixels and batch.

    Differs from the paper: the printed equation lacks the brackets around the student's difference; eq. 6 has them.

    Args:
        x_hat: The student's reconstructions, D_S(y, z).
        x_hat_swapped: The student's images with a partner's factors y' and the image's own z, D_S(y', z).
        teacher_x_hat: The teacher's reconstructions, D_T(y).
        teacher_x_hat_swapped: The teacher's images with the partner's factors, D_T(y').

    Returns:
        The loss.
    """
    return F.mse_loss(x_hat_swapped - x_hat, teacher_x_hat_swapped - teacher_x_hat)


def jacobian(
    y: Float[Tensor, "b k"],
    y_teacher: Float[Tensor, "b k"],
    x_hat: Float[Tensor, "*shape"],
    x_hat_swapped: Float[Tensor, "*shape"],
    teacher_x_hat: Float[Tensor, "*shape"],
    teacher_x_hat_swapped: Float[Tensor, "*shape"],
    *,
    w_y: float = 0.1,
    w_diff: float = 1.0,
) -> Scalar:
    """Eq. 9: keep the student decoder's Jacobian in the factors close to the teacher's.

    This is for your own training loops. `jacsup.train` weights and reports the two terms separately, so it calls
    `factor_difference` and `jacobian_difference` instead. Gradients should flow through all outputs of the student;
    compute the teacher's under torch.no_grad().

    Args:
        y: Factors that the student predicts, shape (b, k).
        y_teacher: Factors that the teacher predicts, shape (b, k).
        x_hat: The student's reconstructions D_S(y, z), shape (b, ...), any value range.
        x_hat_swapped: The same with the factors of a random partner, D_S(y', z).
        teacher_x_hat: The teacher's reconstructions D_T(y_T).
        teacher_x_hat_swapped: The same with the factors of the same partner, D_T(y_T').
        w_y: Weight of the first term; the default is that of the paper's figure 1.
        w_diff: Weight of the second term; the default is that of the paper's figure 1.

    Returns:
        The loss.
    """
    return w_y * factor_difference(y, y_teacher) + w_diff * jacobian_difference(
        x_hat, x_hat_swapped, teacher_x_hat, teacher_x_hat_swapped
    )


def cross_covariance(y: Float[Tensor, "b k"], z: Float[Tensor, "b d"], whole: Whole = lambda mean: mean) -> Scalar:
    """Eq. 10: sum over i, j of (batch mean of centred z_i times centred y_j)^2.

    Args:
        y: Factors, shape (b, k).
        z: Nuisance part, shape (b, d).
        whole: Maps a mean over these rows to the mean over the whole batch, whose other rows other processes have.

    Returns:
        The loss.
    """
    return _covariances(y, z, whole).square().sum()


def cross_covariance_norm(y: Float[Tensor, "b k"], z: Float[Tensor, "b d"], whole: Whole = lambda mean: mean) -> Scalar:
    """The square root of eq. 10, as in the author's public code. Its gradient at zero is zero.

    Args:
        y: Factors, shape (b, k).
        z: Nuisance part, shape (b, d).
        whole: Maps a mean over these rows to the mean over the whole batch.

    Returns:
        The loss.
    """
    return torch.linalg.vector_norm(_covariances(y, z, whole))


def _covariances(y: Tensor, z: Tensor, whole: Whole) -> Tensor:
    # The means need no gradient, because it would be that of a sum of centred values, which is zero.
    y_centred, z_centred = (values - whole(values.detach().mean(dim=0)) for values in (y, z))
    return whole(z_centred.T @ y_centred / len(y))


def prediction(
    y: Float[Tensor, "b k"],
    y_bar: Float[Tensor, "b k"],
    continuous: Bool[Tensor, " k"] | None = None,
    weights: Float[Tensor, "b k"] | None = None,
) -> Scalar:
    """Eq. 11: max(1 - y_i * y_bar_i, 0) between predicted attributes and labels, mean over known labels.

    Args:
        y: Predicted attributes, shape (b, k).
        y_bar: Labels -1 and 1, shape (b, k); nan where a label is missing.
        continuous: Columns of standardised numbers, whose error is squared. The paper has only binary ones.
        weights: Weight of each label, as `balance` returns them; by default 1.

    Returns:
        The loss.
    """
    errors, num_known = _attribute_errors(y, y_bar, continuous, weights)
    return errors.sum() / num_known.clamp(min=1)


def cycle_factors(
    y_again: Float[Tensor, "b k"],
    y_bar: Float[Tensor, "b k"],
    continuous: Bool[Tensor, " k"] | None = None,
    weights: Float[Tensor, "b k"] | None = None,
) -> Scalar:
    """Eq. 12: the errors of eq. 11 between E(D(y_2, z_1)) and the labels of image 2; sum over attributes, batch mean.

    Args:
        y_again: Attributes that the encoder predicts for the swapped image, shape (b, k).
        y_bar: Labels of the partner, -1 and 1; nan where a label is missing.
        continuous: Columns of standardised numbers, whose error is squared.
        weights: Weight of each label; by default 1.

    Returns:
        The loss.
    """
    errors, _ = _attribute_errors(y_again, y_bar, continuous, weights)
    return errors.sum() / len(y_again)


def cycle_nuisance(z_again: Float[Tensor, "b d"], z: Float[Tensor, "b d"]) -> Scalar:
    """Eq. 13: (z_1 - z_1')^2 with z_1' from E(D(y_2, z_1)); sum over z, mean over batch.

    Args:
        z_again: Nuisance part that the encoder predicts for the swapped image, shape (b, d).
        z: The image's own nuisance part.

    Returns:
        The loss.
    """
    return (z_again - z).square().sum() / len(z)


def moments(u: Float[Tensor, "b d"], mean: Float[Tensor, "b d"], deviation: Float[Tensor, "b d"]) -> Scalar:
    """Negative log-likelihood of u under normal distributions, up to a constant; mean over entries and batch.

    Its minimum is at the mean and the standard deviation of u, given the inputs that predict them. Not in the paper.

    Args:
        u: Part of a code, shape (b, d).
        mean: Predicted means.
        deviation: Predicted standard deviations, above 0.

    Returns:
        The loss.
    """
    return (((u - mean) / deviation).square() / 2 + deviation.log()).mean()


def attribute_cross_entropy(logits: Float[Tensor, "b k"], y_bar: Float[Tensor, "b k"]) -> Scalar:
    """Cross-entropy between logits and labels -1 and 1, sum over known labels, mean over batch.

    Not in the paper: the loss of Fader Networks' discriminator, a baseline.

    Args:
        logits: Logits, shape (b, k).
        y_bar: Labels; only the sign of a continuous one counts; nan where a label is missing.

    Returns:
        The loss.
    """
    errors = F.binary_cross_entropy_with_logits(logits, (y_bar > 0).to(logits.dtype), reduction="none")
    return (errors * ~y_bar.isnan()).sum() / len(logits)


def blurred(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Blur images with a binomial filter of 5x5 pixels, which removes detail finer than 4 pixels.

    This is for eq. 12 and 13, whose decoder otherwise learns patterns that only the encoder recognises as an attribute.
    Not in the paper.

    Args:
        images: Images, shape (b, c, h, w); their borders are repeated outwards.

    Returns:
        The blurred images.
    """
    colours = images.shape[1]
    filter_ = images.new_tensor([1, 4, 6, 4, 1]) / 16
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, filter_.view(5, 1).expand(colours, 1, 5, 1), groups=colours)
    return F.conv2d(rows, filter_.expand(colours, 1, 1, 5), groups=colours)


def balance(y_bar: Float[Tensor, "b k"], frequency: Float[Tensor, " k"]) -> Float[Tensor, "b k"]:
    """Weights that give rare labels the same total weight as common ones: 1 / (2 * the label's frequency), at most 10.

    Apart from this limit, an attribute's weights have mean 1 over the data. Not in the paper, which shows 30
    million images in training, enough for rare attributes.

    Args:
        y_bar: Labels -1 and 1, shape (b, k).
        frequency: Share of the images that have each attribute, shape (k,).

    Returns:
        The weights, shape (b, k).
    """
    of_label = torch.where(y_bar > 0, frequency, 1 - frequency)
    return 1 / (2 * of_label.clamp(min=0.05))


def _attribute_errors(
    y: Tensor, y_bar: Tensor, continuous: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The error of each attribute, 0 where its label is missing, and the number of known labels."""
    known = ~y_bar.isnan()
    target = y_bar.nan_to_num()
    errors = F.relu(1 - y * target)
    if continuous is not None:
        errors = torch.where(continuous, (y - target).square(), errors)
    if weights is not None:
        errors = errors * weights
    return errors * known, known.sum()
