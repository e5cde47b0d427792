"""Match the rows of a table to images by name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jacsup.data.tables import IMAGE_SUFFIXES, Table

_SUFFIX = re.compile("(" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")$", re.IGNORECASE)
_DRIVE = re.compile("^[A-Za-z]:(?=[/])")


class _Name(NamedTuple):
    folders: tuple[str, ...]
    file: str


def rows_of(table: Table, images: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Find the row of each image.

    A row may belong to an image if their file names are equal, ignoring case and extension. If several rows fit an
    image, the row that shares the most folders at the end of the path wins, then the row with exactly the same file
    name. If several images fit a row, the same rule decides.

    Args:
        table: The table. Its names may be paths of any system, in any normal form of Unicode.
        images: Paths with slashes.

    Returns:
        The index of each image's row; -1 where it has none.

    Raises:
        ValueError: Two rows fit an image equally well, two images fit a row equally well, or no image has a row.
    """
    rows, found = [_name(name) for name in table.names], np.full(len(images), -1)
    by_stem: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        by_stem.setdefault(_stem(row), []).append(number)
    seen: dict[_Name, int] = {}
    for number, row in enumerate(rows):
        if row in seen:
            raise ValueError(f"{table.source} has several rows for '{table.names[number]}'; keep only one")
        seen[row] = number
    best: dict[int, tuple[tuple[int, ...], int]] = {}
    for number, image in enumerate(map(_name, images)):
        candidates = [(_likeness(rows[row], image), row) for row in by_stem.get(_stem(image), ())]
        if not candidates:
            continue
        likeness = max(candidates)[0]
        fitting = [row for each, row in candidates if each == likeness]
        if len(fitting) > 1:
            names = " and ".join(table.names[row] for row in fitting[:2])
            raise ValueError(f"{table.source}: the rows {names} both fit {images[number]}; use full paths")
        row = fitting[0]
        if row in best:
            other_likeness, other = best[row]
            if other_likeness == likeness:
                both = f"{images[other]} and {images[number]}"
                raise ValueError(f"{table.source}: row '{table.names[row]}' fits both {both}; use full paths")
            if other_likeness > likeness:
                continue
            found[other] = -1
        best[row], found[number] = (likeness, number), row
    if not best and len(images):
        few = [", ".join(names[:3]) for names in (images, table.names)]
        raise ValueError(
            f"{table.source} has no row for any of the images: the images are called {few[0]}, the rows {few[1]}; "
            "the first column must contain the images' file names"
        )
    return found


def _name(path: str) -> _Name:
    path = _DRIVE.sub("", path.replace("\\", "/"))
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    *folders, file = [part for part in path.split("/") if part not in ("", ".")] or [""]
    return _Name(tuple(folders), file)


def _stem(name: _Name) -> str:
    return _SUFFIX.sub("", name.file).casefold()


def _likeness(row: _Name, image: _Name) -> tuple[int, ...]:
    """How well a row fits an image of the same stem; larger is better."""
    pairs = zip(reversed(row.folders), reversed(image.folders), strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    stems = _SUFFIX.sub("", row.file) == _SUFFIX.sub("", image.file)
    # Of rows that share equally many folders, one without other folders fits better: those belong to another image.
    return shared, int(row.file == image.file), int(stems), -(len(row.folders) - shared)
