"""The attributes of a table's columns, and their values as training uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from jacsup.jsonable import meant, suggestion

# Attributes of CelebA that exclude each other: a head has one colour of hair. Kinds of beard do not exclude each other:
# most mustaches in CelebA come with a goatee.
MUTUALLY_EXCLUSIVE: tuple[tuple[str, ...], ...] = (
    ("Bald", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    ("5_o_Clock_Shadow", "No_Beard"),
    ("Goatee", "No_Beard"),
    ("Mustache", "No_Beard"),
    ("Sideburns", "No_Beard"),
    ("Straight_Hair", "Wavy_Hair"),
)


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One column of a table of attributes.

    Attributes:
        name: Name of the attribute.
        mutually_exclusive: Attributes that cannot hold together with this one; setting it removes them.
        mean: Mean of a continuous attribute, whose values are stored as (value - mean) / std.
        std: Standard deviation of a continuous attribute; 0 for a binary one.
    """

    name: str
    mutually_exclusive: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 0.0

    @property
    def continuous(self) -> bool:
        """Whether the values are any numbers rather than -1 and 1."""
        return self.std > 0


def signed(values: Float32[np.ndarray, "n k"]) -> Float32[np.ndarray, "n k"]:
    """Convert columns of 0 and 1 to -1 and 1.

    Args:
        values: One column per attribute; nan where a value is missing.

    Returns:
        The values; other columns are unchanged.
    """
    zero_one = (np.isin(values, (0, 1)) | np.isnan(values)).all(axis=0)
    return np.where(zero_one, 2 * values - 1, values)


def chosen_names(names: Sequence[str], keep: Sequence[str], drop: Sequence[str], source: str) -> tuple[str, ...]:
    """Return the names of the attributes to use.

    Args:
        names: All attributes.
        keep: Those to use, in upper or lower case; empty for all.
        drop: Those to leave out.
        source: The table, named in error messages.

    Returns:
        The names, in the order of `names`.

    Raises:
        ValueError: A name is unknown, or none is left.
    """
    found = []
    for some in (keep, drop):
        known = {name: meant(name, names) for name in some}
        for name, found_name in known.items():
            if found_name is None:
                raise ValueError(f"{source} has no attribute '{name}'; {suggestion(name, names)}")
        found.append({*known.values()})
    chosen = tuple(name for name in names if (not keep or name in found[0]) and name not in found[1])
    if names and not chosen:
        raise ValueError(f"{source}: all attributes are dropped; keep at least one")
    return chosen


def learnable(
    columns: Sequence[str], values: Float32[np.ndarray, "n k"], num_train: int
) -> tuple[tuple[Attribute, ...], Float32[np.ndarray, "n k"]]:
    """Describe the columns of a table of attributes, and standardise continuous ones by the training images.

    Args:
        columns: Names of the attributes.
        values: One column per attribute. A column of -1, 1 and nan is binary, any other is continuous.
        num_train: Number of training images, which come first.

    Returns:
        The attributes and their values.

    Raises:
        ValueError: A column has only one value, or none, in the training images.
    """
    train = values[:num_train].astype(np.float64)
    constant = ~(np.fmax.reduce(train) > np.fmin.reduce(train))
    if constant.any():
        names = ", ".join(np.asarray(columns)[constant])
        num_others = (~constant).sum()
        others = f" and keep the other {num_others} of {len(columns)}" if num_others else ""
        raise ValueError(
            f"{names}: the same value in all {num_train:,} training images cannot be learned; "
            f"leave these columns out with --drop{others}"
        )
    binary = (np.isin(values, (-1, 1)) | np.isnan(values)).all(axis=0)
    means = np.where(binary, 0.0, np.nanmean(train, axis=0))
    stds = np.where(binary, 0.0, np.nanstd(train, axis=0))
    attributes = tuple(
        Attribute(name=name, mutually_exclusive=_mutually_exclusive(name, columns), mean=float(mean), std=float(std))
        for name, mean, std in zip(columns, means, stds, strict=True)
    )
    return attributes, ((values - means) / np.where(binary, 1.0, stds)).astype(np.float32, order="C")


def _mutually_exclusive(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    groups = [group for group in MUTUALLY_EXCLUSIVE if name in group]
    # The words of one column, such as hair=red and hair=brown.
    column, equals, _ = name.rpartition("=")
    if equals:
        groups.append(tuple(other for other in columns if other.startswith(f"{column}=")))
    return tuple(other for group in groups for other in group if other != name and other in columns)
