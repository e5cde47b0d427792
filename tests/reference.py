"""The paper's equations, naively: plain loops over plain floats. Slow on purpose."""

from __future__ import annotations

import math
from collections.abc import Sequence

Vector = Sequence[float]


def reconstruction(x: Sequence[Vector], x_hat: Sequence[Vector]) -> float:
    """Eq. 8, mean over pixels and batch."""
    terms = [(a - b) ** 2 for row, row_hat in zip(x, x_hat, strict=True) for a, b in zip(row, row_hat, strict=True)]
    return sum(terms) / len(terms)


def jacobian(
    y_student: Sequence[Vector],
    y_teacher: Sequence[Vector],
    student: Sequence[Vector],
    student_swapped: Sequence[Vector],
    teacher: Sequence[Vector],
    teacher_swapped: Sequence[Vector],
    w_y: float,
    w_diff: float,
) -> float:
    """Eq. 9 with the brackets that eq. 6 has."""
    differences = []
    for n in range(len(student)):
        for p in range(len(student[n])):
            of_teacher = teacher_swapped[n][p] - teacher[n][p]
            of_student = student_swapped[n][p] - student[n][p]
            differences.append((of_teacher - of_student) ** 2)
    return w_y * reconstruction(y_student, y_teacher) + w_diff * sum(differences) / len(differences)


def cross_covariance(y: Sequence[Vector], z: Sequence[Vector]) -> float:
    """Eq. 10, the sum over all pairs of one unit of y and one of z."""
    total = 0.0
    batch = len(y)
    for i in range(len(z[0])):
        for j in range(len(y[0])):
            z_mean = sum(row[i] for row in z) / batch
            y_mean = sum(row[j] for row in y) / batch
            total += (sum((z[m][i] - z_mean) * (y[m][j] - y_mean) for m in range(batch)) / batch) ** 2
    return total


def attribute_errors(y: Vector, y_bar: Vector, continuous: Sequence[bool]) -> list[float]:
    """Eq. 11's error of each known attribute of one image: hinge, or squared for a number."""
    errors = []
    for value, label, number in zip(y, y_bar, continuous, strict=True):
        if not math.isnan(label):
            errors.append((value - label) ** 2 if number else max(1 - value * label, 0))
    return errors


def prediction(y: Sequence[Vector], y_bar: Sequence[Vector], continuous: Sequence[bool]) -> float:
    """Eq. 11, mean over all known labels."""
    errors = [e for row, bar in zip(y, y_bar, strict=True) for e in attribute_errors(row, bar, continuous)]
    return sum(errors) / max(len(errors), 1)


def cycle_factors(y: Sequence[Vector], y_bar: Sequence[Vector], continuous: Sequence[bool]) -> float:
    """Eq. 12, sum over attributes and mean over the batch."""
    return sum(sum(attribute_errors(row, bar, continuous)) for row, bar in zip(y, y_bar, strict=True)) / len(y)


def cycle_nuisance(z_again: Sequence[Vector], z: Sequence[Vector]) -> float:
    """Eq. 13, sum over z and mean over the batch."""
    return sum((a - b) ** 2 for row, own in zip(z_again, z, strict=True) for a, b in zip(row, own, strict=True)) / len(
        z
    )


def blurred(plane: Sequence[Vector]) -> list[list[float]]:
    """A 5x5 binomial filter; outside of the plane its border goes on."""
    height, width, weights = len(plane), len(plane[0]), [1, 4, 6, 4, 1]
    return [
        [
            sum(
                weights[i]
                * weights[j]
                / 256
                * plane[min(max(row + i - 2, 0), height - 1)][min(max(column + j - 2, 0), width - 1)]
                for i in range(5)
                for j in range(5)
            )
            for column in range(width)
        ]
        for row in range(height)
    ]


def layer(x: Vector, weight: Sequence[Vector], bias: Vector) -> list[float]:
    """One linear layer on one image."""
    return [sum(w * value for w, value in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def mlp(x: Vector, layers: Sequence[tuple[Sequence[Vector], Vector]]) -> list[float]:
    """A.1 on one image: linear layers with ReLU between them."""
    for number, (weight, bias) in enumerate(layers):
        x = layer(x, weight, bias)
        if number < len(layers) - 1:
            x = [max(value, 0.0) for value in x]
    return list(x)


def adam(
    weight: float, gradients: Sequence[float], lr: float, betas: tuple[float, float], weight_decay: float
) -> float:
    """Kingma and Ba's Algorithm 1 for one number, weight decay as an L2 term of the loss."""
    mean = square = 0.0
    for step, gradient in enumerate(gradients, start=1):
        gradient = gradient + weight_decay * weight
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient**2
        corrected = math.sqrt(square / (1 - betas[1] ** step)) + 1e-8
        weight -= lr * mean / (1 - betas[0] ** step) / corrected
    return weight


# How edits of attributes are judged. Verdicts are one bool per attribute of an image, images rows of pixels.


def attribute_mean(y: Sequence[Vector], labels: Sequence[Vector], factor: int, sign: int) -> float:
    """m+ (sign 1) or m- (sign -1) of one attribute; missing labels are nan, which has no sign."""
    known = [row[factor] for row, label in zip(y, labels, strict=True) if label[factor] * sign > 0]
    return sum(known) / len(known) if known else math.nan


def flip(
    y: Vector,
    factor: int,
    sign: int,
    strength: float,
    mutually_exclusive: Sequence[int],
    m_minus: Vector,
    m_plus: Vector,
) -> list[float]:
    """One image's factors with an attribute turned on (sign 1) or off (sign -1)."""
    edited = list(y)
    edited[factor] = (m_plus[factor] + m_minus[factor]) / 2 + sign * strength * (m_plus[factor] - m_minus[factor]) / 2
    for other in mutually_exclusive if sign > 0 else ():
        edited[other] = m_minus[other]
    return edited


def changed_share(before: Sequence[bool], after: Sequence[bool], left_out: Sequence[int]) -> float:
    """The share of one image's attributes, without those left out, whose verdicts differ."""
    others = [i for i in range(len(before)) if i not in left_out]
    return sum(before[i] != after[i] for i in others) / len(others)


def edit_accuracy(before: Sequence[Sequence[bool]], after: Sequence[Sequence[bool]], factor: int) -> float:
    """The mean of the shares of images that lost and that got the attribute; the other one where one has no images."""
    lost = [not b[factor] for a, b in zip(before, after, strict=True) if a[factor]]
    got = [b[factor] for a, b in zip(before, after, strict=True) if not a[factor]]
    shares = [sum(side) / len(side) for side in (lost, got) if side]
    return sum(shares) / len(shares)


def gain(edit: Sequence[Vector], wanted: Sequence[Vector]) -> float:
    """1 - the squared error of an edit over the squared length of the wanted one."""
    pairs = [(a, b) for row, other in zip(edit, wanted, strict=True) for a, b in zip(row, other, strict=True)]
    return 1 - sum((a - b) ** 2 for a, b in pairs) / sum(b**2 for _, b in pairs)


def area_under_roc(outputs: Vector, labels: Sequence[bool]) -> float:
    """The share of pairs of an image with and one without that the outputs rank rightly; a tie counts one half."""
    with_it = [output for output, label in zip(outputs, labels, strict=True) if label]
    without = [output for output, label in zip(outputs, labels, strict=True) if not label]
    wins = sum((a > b) + (a == b) / 2 for a in with_it for b in without)
    return wins / (len(with_it) * len(without))
