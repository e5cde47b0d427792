"""The paper's two curricula and its convolutional model, at any size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jacsup.config import Adam, Conv, Growth, Objective, Stage, Weights


def curriculum(
    *,
    max_units: int = 16,
    epochs: int = 100,
    first_epochs: int = 0,
    batch_size: int = 128,
    weights: Weights = Weights(),
    adam: Adam = Adam(),
    growth: Growth = Growth(),
) -> tuple[Stage, ...]:
    """Section 3: a first teacher with 2 units, then one student for each further unit.

    first_epochs: of the teacher, as many as the students' without it.
    """
    shared: dict[str, Any] = {"batch_size": batch_size, "adam": adam}
    first = Stage(name="units-2", objective="reconstruction", num_units=2, epochs=first_epochs or epochs, **shared)
    return first, *(
        Stage(name=f"units-{units}", num_units=units, epochs=epochs, weights=weights, growth=growth, **shared)
        for units in range(3, max_units + 1)
    )


def face_curriculum(
    *,
    z_channels: tuple[int, ...],
    epochs: tuple[int, ...],
    batch_size: int,
    teacher: Weights,
    cycles: dict[str, float | bool],
    student: Weights,
    adam: Adam,
    swap_probability: float = 1.0,
) -> tuple[Stage, ...]:
    """Section 4: a teacher without cycles (A) and with (B), then two students (C, D), all held to B's Jacobian.

    z_channels, epochs: of A, B, C and D. cycles: what B's weights add to A's.
    """
    plans: tuple[tuple[str, Objective, Weights, str], ...] = (
        ("teacher", "teacher", teacher, ""),
        ("teacher-cycles", "teacher", replace(teacher, **cycles), ""),
        ("student-1", "student", student, "teacher-cycles"),
        ("student-2", "student", student, "teacher-cycles"),
    )
    return tuple(
        Stage(
            name=name, objective=objective, z_channels=channels, epochs=count, batch_size=batch_size, weights=weights,
            adam=adam, teacher=held_to, swap_probability=swap_probability,
        )
        for (name, objective, weights, held_to), channels, count in zip(plans, z_channels, epochs, strict=False)
    )  # fmt: skip


def split_epochs(total: int, parts: int) -> list[int]:
    """`total` epochs shared out among stages, the rest among the first ones; ValueError if there are too few."""
    if total < parts:
        raise ValueError(f"epochs is {total}; allowed are {parts} and more, one for each of {parts} stages")
    return [total // parts + (number < total % parts) for number in range(parts)]


def conv_for(size: int, first: int = 16) -> Conv:
    """The paper's encoder for images of a side of `size`: widths double up to 512, a map of 2x2 at the end."""
    num_layers = size.bit_length() - 3
    return Conv(channels=tuple(min(first << number, 512) for number in range(num_layers)))
