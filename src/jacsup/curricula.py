"""The paper's two curricula and its convolutional model, at any size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from jacsup.config import Adam, Conv, Diffusion, Growth, LossOptions, Objective, Stage, Weights


def curriculum(
    *,
    max_units: int = 16,
    epochs: int = 100,
    first_epochs: int = 0,
    batch_size: int = 128,
    weights: Weights = Weights(),
    options: LossOptions = LossOptions(),
    adam: Adam = Adam(),
    growth: Growth = Growth(),
) -> tuple[Stage, ...]:
    """Section 3: a first teacher with 2 units, then one student for each further unit.

    Args:
        max_units: Units of the last student.
        epochs: Epochs of each student.
        first_epochs: Epochs of the first teacher; 0 means as many as the students'.
        batch_size: Images per step.
        weights: Weights of the students' losses.
        options: Variants of the students' losses.
        adam: Settings of the optimizer.
        growth: How a student's new weights start.

    Returns:
        The stages, `units-2` to `units-MAX`.
    """
    shared: dict[str, Any] = {"batch_size": batch_size, "adam": adam}
    student: dict[str, Any] = {**shared, "epochs": epochs, "weights": weights, "options": options, "growth": growth}
    first = Stage(name="units-2", objective="reconstruction", num_units=2, epochs=first_epochs or epochs, **shared)
    return first, *(Stage(name=f"units-{units}", num_units=units, **student) for units in range(3, max_units + 1))


def face_curriculum(
    *,
    z_channels: tuple[int, ...],
    epochs: tuple[int, ...],
    batch_size: int,
    teacher: Weights,
    cycles: dict[str, float],
    student: Weights,
    options: LossOptions = LossOptions(),
    adam: Adam,
    swap_probability: float = 1.0,
) -> tuple[Stage, ...]:
    """Section 4: a teacher without cycles (A) and with cycles (B), then students (C, D) that keep B's Jacobian.

    Args:
        z_channels: Channels of z in each stage; 1 to 4 stages.
        epochs: Epochs of each stage.
        batch_size: Images per step.
        teacher: Weights of A's losses.
        cycles: Weights that B has in addition to A's.
        student: Weights of the students' losses.
        options: Variants of the losses; each stage gets those of its own terms.
        adam: Settings of the optimizer.
        swap_probability: Probability that an attribute is swapped.

    Returns:
        The stages.

    Raises:
        ValueError: `z_channels` and `epochs` differ in length, or have none or more than 4 entries.
    """
    plans: tuple[tuple[str, Objective, Weights, str], ...] = (
        ("teacher", "teacher", teacher, ""),
        ("teacher-cycles", "teacher", replace(teacher, **cycles), ""),
        ("student-1", "student", student, "teacher-cycles"),
        ("student-2", "student", student, "teacher-cycles"),
    )
    if len(z_channels) != len(epochs) or not 1 <= len(epochs) <= len(plans):
        raise ValueError(
            f"z_channels has {len(z_channels)} entries and epochs {len(epochs)}; must be the same number, "
            f"between 1 and {len(plans)}"
        )
    return tuple(
        Stage(
            name=name,
            objective=objective,
            z_channels=channels,
            epochs=count,
            batch_size=batch_size,
            weights=weights,
            options=relevant(options, weights),
            adam=adam,
            teacher=jacobian_of,
            swap_probability=swap_probability,
        )
        for (name, objective, weights, jacobian_of), channels, count in zip(plans, z_channels, epochs, strict=False)
    )


def relevant(options: LossOptions, weights: Weights) -> LossOptions:
    """Return the options of the terms whose weight is not 0; others are off."""
    terms = {
        "xcov_norm": weights.xcov,
        "cycle_z_norm": weights.cycle_z,
        "cycle_predicted": weights.cycle_y,
        "cycle_blurred": weights.cycle_y or weights.cycle_z,
        "balanced": weights.pred or weights.cycle_y,
        "squared": weights.pred or weights.cycle_y,
    }
    return LossOptions(**{name: getattr(options, name) and bool(weight) for name, weight in terms.items()})


def split_epochs(total: int, parts: int) -> list[int]:
    """Divide epochs among stages; the first ones take the remainder.

    Args:
        total: Epochs in all.
        parts: Number of stages.

    Returns:
        The epochs of each stage.

    Raises:
        ValueError: There are fewer epochs than stages.
    """
    if total < parts:
        raise ValueError(f"epochs is {total}; it must be at least {parts}, one for each stage")
    return [total // parts + (number < total % parts) for number in range(parts)]


def conv_for(size: int, first: int = 16) -> Conv:
    """Return the paper's convolutional model for a size of images.

    Args:
        size: Side of the images in pixels.
        first: Width of the first convolution; widths double up to 512.

    Returns:
        A model whose last map is 2x2.
    """
    num_layers = size.bit_length() - 3
    return Conv(channels=tuple(min(first << number, 512) for number in range(num_layers)))


def diffusion_for(size: int) -> Diffusion:
    """Return the model of photographs for a size of images, with noise in proportion to it.

    The more pixels an image has, the more noise it takes to hide it (Hoogeboom et al. 2023).

    Args:
        size: Side of the images in pixels.

    Returns:
        The model.
    """
    usual, scale = Diffusion(), size / 128
    mean, deviation = usual.log_sigma
    return Diffusion(
        patch=max(usual.patch, size // 32),
        channels=usual.channels if size >= 128 else (96, 160, 184),
        log_sigma=(mean + math.log(scale), deviation),
        noise_levels=tuple(scale * level for level in usual.noise_levels),
    )
