"""How the parameters of commands appear on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")

# Positional arguments, shown as MODEL rather than STR. (PositionalMetavarFromFieldName is not in tyro 1.0.)
Model = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]
RecipeName = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
Name = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
RunFolder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
Photos = Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PHOTO [PHOTO ...]")]
Repository = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
# The help texts name these defaults; tyro would append "(default: None)", "(default: )" and "(default: False)".
_SILENT = tyro.conf.arg(help_behavior_hint="")
Option = Annotated[T | None, _SILENT]
Several = Annotated[tuple[T, ...], _SILENT]
Flag = Annotated[bool, _SILENT]
# --set a=1 b=2 --set c=3
Repeated = tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]


@dataclass(frozen=True)
class OwnImages:
    """Images of the user's own, and how to read their table.

    Attributes:
        images: For the recipe folder: a folder, a .zip file, a .parquet file or hf:owner/name.
        attributes: With --images: a CSV file with file names in the first column and attributes in the others.
        keep: The attributes to use, of a table or of CelebA; defaults to all.
        drop: Attributes to leave out, of a table or of CelebA.
        binary: With --images: columns of two numbers that mean without and with.
        continuous: With --images: columns of 0 and 1 that are numbers rather than without and with.
        ignore_splits: With --images: shuffle the images even if a column or folders tell which are for testing.
        scale: With --images: what pixels are multiplied by; 16 for images of 12 bits in files of 16.
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
