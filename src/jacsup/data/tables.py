"""Tables of attributes: CelebA's text files and CSV, matched to images by name."""

from __future__ import annotations

import csv
import math
import re
import warnings
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from jacsup.bounded import require_regular
from jacsup.data.attributes import signed
from jacsup.jsonable import suggestion
from jacsup.photo import photo_endings

# What images are called; their content decides.
IMAGE_SUFFIXES = tuple(sorted(photo_endings()))

# Words for without and with an attribute.
YES_AND_NO = (("no", "yes"), ("n", "y"), ("f", "t"), ("absent", "present"), ("without", "with"), ("off", "on"))


@dataclass(frozen=True)
class Table:
    """One row of numbers per image.

    Attributes:
        source: Name of the table in error messages.
        names: Name of the image of each row.
        columns: Names of the columns.
        values: The numbers; nan where one is missing.
        left_out: Names of the columns of words, which hold no attribute.
    """

    source: str
    names: list[str]
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n k"]
    left_out: tuple[str, ...] = ()

    def without(self, columns: Sequence[str]) -> Table:
        """Return the table without some columns.

        Args:
            columns: Names of the columns to drop.

        Returns:
            The other columns.

        Raises:
            ValueError: There is no such column, or none is left.
        """
        for name in columns:
            if not any(_is_called(column, name) for column in (*self.columns, *self.left_out)):
                raise ValueError(f"{self.source} has no column '{name}'; {suggestion(name, self.columns)}")
        kept = [i for i, column in enumerate(self.columns) if not any(_is_called(column, name) for name in columns)]
        if not kept:
            raise ValueError(f"{self.source}: all of its columns are dropped; keep one, or pass no table")
        return replace(self, columns=tuple(self.columns[i] for i in kept), values=self.values[:, kept])


def read_table(path: Path) -> Table:
    """Read a table of attributes.

    Args:
        path: A file in CelebA's format (a count, the names of the columns, rows of -1 and 1), or a CSV: a header, file
            names in the first column, numbers, True, False or nothing in the others, separated by commas, semicolons
            or tabs. A column of two words is an attribute too: one of yes and no keeps its name, one of Female and Male
            is called `gender=Male`, after the later word in the alphabet. One of more words is left out with a warning.

    Returns:
        The table, with columns of 0 and 1 turned into -1 and 1.

    Raises:
        ValueError: The file is missing or has another format; the message has the line.
    """
    require_regular(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            table = _celeba_table(path, file) if first.strip().isdecimal() else _csv_table(path, first, file)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; pass the path of a table of attributes") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); save it as CSV in UTF-8") from None
    if not table.names:
        raise ValueError(f"{path} has no rows; it must have one per image")
    if not table.columns:
        raise ValueError(f"{path} has no attributes; it must have file names, and attributes in other columns")
    if len({*table.columns}) < len(table.columns) or "" in table.columns:
        raise ValueError(
            f"{path}: columns are {', '.join(map(repr, table.columns))}; names of columns must be unique and not empty"
        )
    return table


def _celeba_table(path: Path, lines: Iterator[str]) -> Table:
    count, columns = next(lines).strip(), tuple(next(lines, "").split())
    names, signs = [], array("f")
    for line in lines:
        name, *cells = line.split() or [""]
        if not name:
            continue
        if len(cells) != len(columns) or not {*cells} <= {"-1", "1"}:
            raise ValueError(f"{path}: row '{line.strip()[:60]}' is not a name and {len(columns)} values of -1 or 1")
        names.append(name)
        signs.extend(map(float, cells))
    if len(names) != int(count):
        raise ValueError(f"{path} has {len(names):,} rows, but its first line states {count}; download it again")
    return Table(str(path), names, columns, np.array(signs, np.float32).reshape(len(names), len(columns)))


def _csv_table(path: Path, first: str, lines: Iterable[str]) -> Table:
    reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))
    header = next(reader, [""])
    columns = tuple(name.strip() for name in header[1:])
    names, cells = [], array("f")
    # By column and row: the line, and the word.
    words: dict[int, dict[int, tuple[int, str]]] = {}
    for row in reader:
        if not row:
            continue
        if len(row) != len(header):
            raise ValueError(f"{path}, line {reader.line_num}: {len(row)} cells; the header has {len(header)}")
        for column, text in enumerate(row[1:]):
            number = _number(text)
            if number is None:
                words.setdefault(column, {})[len(names)] = reader.line_num, text.strip()
            cells.append(math.nan if number is None else number)
        names.append(row[0].strip())
    values, called = np.array(cells, np.float32).reshape(len(names), len(columns)), dict(enumerate(columns))
    for column, found in words.items():
        # A word among numbers is a mistake, and so is a number that does not fit.
        wrong = (
            found
            if np.isfinite(values[:, column]).any()
            else {row: cell for row, cell in found.items() if _does_not_fit(cell[1])}
        )
        if wrong:
            line, text = next(iter(wrong.values()))
            raise ValueError(
                f"{path}, line {line}: column '{columns[column]}' is '{text}'; must be a number, True, False or "
                "empty (missing)"
            )
        meant = _attribute_of(columns[column], {text for _, text in found.values()})
        if meant is None:
            several = len({text for _, text in found.values()})
            left = f"column '{columns[column]}' has {several} different words and is left out"
            warnings.warn(f"{path}: {left}", stacklevel=4)
            del called[column]
        else:
            called[column], with_it = meant
            values[[*found], column] = [text == with_it for _, text in found.values()]
    left_out = tuple(name for column, name in enumerate(columns) if column not in called)
    return Table(str(path), names, tuple(called.values()), signed(values[:, [*called]]), left_out)


def _attribute_of(column: str, words: set[str]) -> tuple[str, str] | None:
    """The name of the attribute that a column of words is, and the word of images with it; None if they are not two."""
    if len(words) != 2:
        return None
    plain = {word.lower(): word for word in words}
    for without, with_it in YES_AND_NO:
        if plain.keys() == {without, with_it}:
            return column, plain[with_it]
    return f"{column}={max(words)}", max(words)


def _is_called(column: str, name: str) -> bool:
    """Whether a user means a column by a name: that of a column of words is longer in the table."""
    return column == name or column.startswith(f"{name}=")


@lru_cache(4096)
def _number(text: str) -> float | None:
    """The number in a cell, nan if there is nothing, None if it is a word."""
    plain = text.strip().lower()
    if plain in ("", "nan", "na", "null", "none"):
        return math.nan
    try:
        value = float({"true": "1", "false": "0"}.get(plain, plain))
    except ValueError:
        return None
    # Larger ones do not fit into float32.
    return value if abs(value) <= 1e38 else None


def _does_not_fit(text: str) -> bool:
    """Whether a cell is a number that is infinite or too large."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_partition(path: Path) -> Table:
    """Read a partition such as CelebA's list_eval_partition.txt.

    Args:
        path: A file with rows of a file name and 0 (train), 1 (validation) or 2 (test), separated by a space, or a CSV
            of them with a header.

    Returns:
        A table with one column, `partition`.

    Raises:
        ValueError: The file cannot be read, or has another format.
    """
    try:
        rows = [line.replace(",", " ").split() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); pass a file like CelebA's list_eval_partition.txt"
        ) from None
    if rows and rows[0][-1] == "partition":
        rows = rows[1:]
    for row in rows:
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise ValueError(f"{path}: row '{' '.join(row)[:60]}' is not a file name and 0, 1 or 2")
    values = np.array([int(row[1]) for row in rows], np.float32)[:, None]
    return Table(str(path), [row[0] for row in rows], ("partition",), values)


def rows_of(table: Table, images: Sequence[str]) -> Int[np.ndarray, " n"]:
    """Find the row of each image.

    A row belongs to an image if it has the same path, else the same file name, else the same name without its suffix.

    Args:
        table: The table.
        images: Paths with slashes.

    Returns:
        The number of each image's row.

    Raises:
        ValueError: Images and rows do not match one to one.
    """
    exact = {name: row for row, name in enumerate(table.names)}
    if len(exact) < len(table.names):
        twice = next(name for row, name in enumerate(table.names) if exact[name] != row)
        raise ValueError(f"{table.source} has several rows for '{twice}'; keep only one")
    stems: dict[str, int] = {}
    for name, row in exact.items():
        stems[_stem(name)] = -1 if _stem(name) in stems else row
    rows = np.array([_row_of(image, exact, stems) for image in images], np.int64)
    missing = np.flatnonzero(rows < 0)
    unused = sorted({*range(len(exact))} - {*rows.tolist()})
    if len(missing) or unused:
        parts = [f"{len(missing):,} images have no row (first: {images[missing[0]]})"] if len(missing) else []
        parts += [f"{len(unused):,} rows have no image (first: {table.names[unused[0]]})"] if unused else []
        raise ValueError(f"{table.source} does not match the images: {', '.join(parts)}; give each image one row")
    if len(exact) < len(images):
        row = np.flatnonzero(np.bincount(rows) > 1)[0]
        both = [images[i] for i in np.flatnonzero(rows == row)[:2]]
        raise ValueError(f"{table.source}: row '{table.names[row]}' fits {both[0]} and {both[1]}; use full paths")
    return rows


def _row_of(image: str, exact: dict[str, int], stems: dict[str, int]) -> int:
    file = image.rpartition("/")[2]
    for names, key in ((exact, image), (exact, file), (stems, _stem(image)), (stems, _stem(file))):
        if names.get(key, -1) >= 0:
            return names[key]
    return -1


_SUFFIX = re.compile("(" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")$", re.IGNORECASE)


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)
