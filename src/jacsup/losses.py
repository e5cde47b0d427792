"""Equations 8 to 13 of the paper as pure functions of tensors: any encoder and decoder may use them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Scalar = Float[Tensor, ""]
Whole = Callable[[Tensor], Tensor]


def reconstruction(x: Float[Tensor, "*shape"], x_hat: Float[Tensor, "*shape"]) -> Scalar:
    """Eq. 8: (x - D(E(x)))^2, mean over pixels and batch."""
    return F.mse_loss(x_hat, x)


def factor_difference(y: Float[Tensor, "b k"], y_teacher: Float[Tensor, "b k"]) -> Scalar:
    """Eq. 9, first term: (y_S - y_T)^2, mean over factors and batch."""
    return F.mse_loss(y, y_teacher)


def jacobian_difference(
    x_hat: Float[Tensor, "*shape"],
    x_hat_swapped: Float[Tensor, "*shape"],
    teacher_x_hat: Float[Tensor, "*shape"],
    teacher_x_hat_swapped: Float[Tensor, "*shape"],
) -> Scalar:
    """Eq. 9, second term: [D_T(y') - D_T(y)] - [D_S(y', z) - D_S(y, z)], squared, mean over pixels and batch.

    `swapped` images are decoded from a partner's factors y' and the image's own z.
    Differs from the paper: the printed equation lost the brackets around the student's difference; eq. 6 has them.
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
    """Eq. 9: holds the student decoder's Jacobian in the factors to the teacher's.

    y, y_teacher: the factors that student and teacher read in the images, shape (b, k).
    x_hat, teacher_x_hat: their reconstructions, D_S(y, z) and D_T(y_T), shape (b, ...), any value range.
    x_hat_swapped, teacher_x_hat_swapped: the same with the factors of a random partner, D_S(y', z) and D_T(y_T').
    Gradients are meant to flow through all that is the student's; compute the teacher's under torch.no_grad().
    The default weights are those of the paper's Figure 1.
    """
    return w_y * factor_difference(y, y_teacher) + w_diff * jacobian_difference(
        x_hat, x_hat_swapped, teacher_x_hat, teacher_x_hat_swapped
    )


def cross_covariance(y: Float[Tensor, "b k"], z: Float[Tensor, "b d"], whole: Whole = lambda mean: mean) -> Scalar:
    """Eq. 10: sum over i, j of (batch mean of centred z_i times centred y_j)^2.

    whole: turns means over these rows into means over the whole batch, where others have its other rows.
    """
    return _covariances(y, z, whole).square().sum()


def cross_covariance_norm(y: Float[Tensor, "b k"], z: Float[Tensor, "b d"], whole: Whole = lambda mean: mean) -> Scalar:
    """The square root of eq. 10, as the author's public code has it; its gradient at zero is zero."""
    return torch.linalg.vector_norm(_covariances(y, z, whole))


def _covariances(y: Tensor, z: Tensor, whole: Whole) -> Tensor:
    # Through the means no gradient comes: it is that of a sum of centred values, which is zero.
    y_centred, z_centred = (values - whole(values.detach().mean(dim=0)) for values in (y, z))
    return whole(z_centred.T @ y_centred / len(y))


def prediction(
    y: Float[Tensor, "b k"],
    y_bar: Float[Tensor, "b k"],
    continuous: Bool[Tensor, " k"] | None = None,
    weights: Float[Tensor, "b k"] | None = None,
) -> Scalar:
    """Eq. 11: max(1 - y_i * y_bar_i, 0) between predicted attributes and labels, mean over what is known.

    y_bar: -1 or 1; nan where the label is missing. continuous: columns that hold standardised numbers; their error is
    squared (the paper has binary attributes alone). weights: of each label, such as `balance` gives.
    """
    errors, num_known = _attribute_errors(y, y_bar, continuous, weights)
    return errors.sum() / num_known.clamp(min=1)


def cycle_factors(
    y_again: Float[Tensor, "b k"],
    y_bar: Float[Tensor, "b k"],
    continuous: Bool[Tensor, " k"] | None = None,
    weights: Float[Tensor, "b k"] | None = None,
) -> Scalar:
    """Eq. 12: the same errors of E(D(y_2, z_1)) against image 2's labels y_bar; sum over attributes, batch mean."""
    errors, _ = _attribute_errors(y_again, y_bar, continuous, weights)
    return errors.sum() / len(y_again)


def cycle_nuisance(z_again: Float[Tensor, "b d"], z: Float[Tensor, "b d"]) -> Scalar:
    """Eq. 13: (z_1 - z_1')^2 with z_1' from E(D(y_2, z_1)); sum over z, mean over batch."""
    return (z_again - z).square().sum() / len(z)


def attribute_cross_entropy(logits: Float[Tensor, "b k"], y_bar: Float[Tensor, "b k"]) -> Scalar:
    """Cross-entropy of logits against labels -1 and 1, sum over what is known, batch mean; of a number its sign counts.

    Not in the paper: the loss of Fader Networks' discriminator, a baseline.
    """
    errors = F.binary_cross_entropy_with_logits(logits, (y_bar > 0).to(logits.dtype), reduction="none")
    return (errors * ~y_bar.isnan()).sum() / len(logits)


def blurred(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The images through a binomial filter of 5x5 pixels, borders continued: what is finer than 4 pixels goes.

    For eq. 12 and 13, whose decoder otherwise learns patterns that only the encoder takes for an attribute. Not in the
    paper.
    """
    colours = images.shape[1]
    filter_ = images.new_tensor([1, 4, 6, 4, 1]) / 16
    padded = F.pad(images, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, filter_.view(5, 1).expand(colours, 1, 5, 1), groups=colours)
    return F.conv2d(rows, filter_.expand(colours, 1, 1, 5), groups=colours)


def balance(y_bar: Float[Tensor, "b k"], frequency: Float[Tensor, " k"]) -> Float[Tensor, "b k"]:
    """Weights that make rare labels count as much as common ones: 1 / (2 * the label's frequency), at most 10.

    frequency: the share of images with each attribute. An attribute's weights have mean 1 over the data, cut aside.
    Not in the paper, whose 30 million image-steps wait for rare attributes.
    """
    of_label = torch.where(y_bar > 0, frequency, 1 - frequency)
    return 1 / (2 * of_label.clamp(min=0.05))


def _attribute_errors(
    y: Tensor, y_bar: Tensor, continuous: Tensor | None, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The error of each attribute, 0 where its label is missing, and the number of labels that are not."""
    known = ~y_bar.isnan()
    target = y_bar.nan_to_num()
    errors = F.relu(1 - y * target)
    if continuous is not None:
        errors = torch.where(continuous, (y - target).square(), errors)
    if weights is not None:
        errors = errors * weights
    return errors * known, known.sum()
