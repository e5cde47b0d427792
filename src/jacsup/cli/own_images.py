"""The user's own images: their options, and the columns of their table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jacsup.cli import lazy
from jacsup.cli.options import Flag, Option, Several
from jacsup.cli.table import print_table

if TYPE_CHECKING:
    from jacsup.data.columns import Column
    from jacsup.data.plan import ImageSource

MOST_COLUMNS = 40


@dataclass(frozen=True)
class OwnImages:
    """The user's own images, and how to read their table.

    Attributes:
        images: For the recipe folder: a folder, a .zip file, a .parquet file or hf:owner/name.
        attributes: With --images: a CSV file with file names in the first column and attributes in the others.
        keep: The attributes to use, of a table or of CelebA; defaults to all.
        drop: Attributes to leave out, of a table or of CelebA.
        binary: With --images: columns of two numbers, the smaller for images without the attribute, the larger for
            images with it.
        continuous: With --images: columns of 0 and 1 to treat as numbers, not as without and with the attribute.
        ignore_splits: With --images: shuffle the images even if a column or folders define the test images.
        scale: With --images: a factor for all pixel values; 16 for 12-bit images in 16-bit files.
        skip_bad: Skip damaged images, and images without a row in the table, instead of stopping.
    """

    images: Option[str] = None
    attributes: Option[Path] = None
    keep: Several[str] = ()
    drop: Several[str] = ()
    binary: Several[str] = ()
    continuous: Several[str] = ()
    ignore_splits: Flag = False
    scale: float = 1.0
    skip_bad: Flag = False


# Its options, without a prefix.
Own = Annotated[OwnImages, tyro.conf.arg(name="")]


def source_of(own: OwnImages) -> ImageSource:
    """Return the user's own images as a source of images.

    Raises:
        ValueError: --images was not given.
    """
    if not own.images:
        raise ValueError("the images are missing; pass them as --images DIR")
    columns = lazy.ColumnChoice(own.keep, own.drop, own.binary, own.continuous)
    return lazy.ImageSource(
        own.images, own.attributes, columns=columns, ignore_splits=own.ignore_splits, scale=own.scale
    )


def print_columns(columns: Sequence[Column]) -> None:
    """Print how each column of a table was interpreted."""
    if not columns:
        return
    header = ("column", "kind", "values", "with it", "missing", "note")
    rows = [
        (column.name, column.kind, _short(column.values), _shares(column), column.missing or None, column.note or None)
        for column in columns[:MOST_COLUMNS]
    ]
    told = [number for number in range(len(header)) if any(row[number] for row in rows)]
    print()
    print_table(tuple(header[number] for number in told), [tuple(row[number] for number in told) for row in rows])
    if len(columns) > MOST_COLUMNS:
        print(f"... and {len(columns) - MOST_COLUMNS:,} more columns")
    print()


def _shares(column: Column) -> str | None:
    """How many of the rows with a value have each attribute."""
    shares = [
        f"{name.rpartition('=')[2]} {(values > 0).sum() / max(1, (values == values).sum()):.0%}"
        for name, values in column.attributes.items()
    ]
    if column.kind == "binary":
        return shares[0].rpartition(" ")[2] if shares else None
    return _short(", ".join(shares)) if column.kind == "words" else None


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
