"""Read tables of attributes: CelebA's text files, CSV, and lines of JSON."""

from __future__ import annotations

import csv
import itertools
import json
import math
import re
import warnings
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jacsup.bounded import refusing, require_regular
from jacsup.photo import photo_endings

# File name extensions of images; whether a file is one is decided by its content.
IMAGE_SUFFIXES = tuple(sorted(photo_endings()))
# Larger numbers do not fit into float32.
LARGEST = 1e38
DELIMITERS = ",;\t|"
MISSING = ("", "nan", "na", "n/a", "null", "none")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass(frozen=True)
class Table:
    """One row of cells per image.

    Attributes:
        source: Name of the table in error messages.
        names: Name of the image of each row.
        columns: Names of the columns.
        values: The numbers; nan where there is a word or nothing.
        words: For each column and row with a word: the line in the file, and the word.
    """

    source: str
    names: list[str]
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n k"]
    words: dict[int, dict[int, tuple[int, str]]] = field(default_factory=dict)


def read_table(path: Path) -> Table:
    """Read a table of attributes.

    Args:
        path: The file, in one of three formats. CelebA's: a count, the names of the columns, and rows of -1 and 1. CSV:
            a header, file names in the first column, and numbers, True, False, words or nothing in the others,
            separated by commas, semicolons, tabs or bars; unless commas separate the cells, 0,5 is a number; a first
            column without a name that counts the rows is skipped. Lines of JSON, one object for each image, like
            Hugging Face's metadata.jsonl, with the file name under `file_name` or else under the first key.

    Returns:
        The table.

    Raises:
        ValueError: The file is missing or has another format; the message names the line.
    """
    require_regular(path)
    try:
        with open(path, encoding=_encoding(path), newline="") as file:
            first = file.readline()
            file.seek(0)
            if first.strip().isdecimal():
                table = _celeba_table(path, file)
            elif first.startswith(("{", "[")):
                table = _json_table(path, file)
            else:
                table = _csv_table(path, file)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; pass the path of a table of attributes") from None
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); save it as CSV in UTF-8") from None
    if not table.names:
        raise ValueError(f"{path} has no rows; must have one per image")
    if not table.columns:
        raise ValueError(
            f"{path} has no attributes; must have file names in the first column and attributes in the others"
        )
    if len({*table.columns}) < len(table.columns) or "" in table.columns:
        raise ValueError(
            f"{path}: columns are {', '.join(map(repr, table.columns))}; names of columns must be unique and not empty"
        )
    return table


def _encoding(path: Path) -> str:
    """UTF-8 with or without a byte order mark, or UTF-16, in which spreadsheets save "Unicode text"."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _celeba_table(path: Path, lines: Iterator[str]) -> Table:
    count, columns = next(lines).strip(), tuple(next(lines, "").split())
    names, signs = [], array("f")
    for line in lines:
        name, *cells = line.split() or [""]
        if not name:
            continue
        if len(cells) != len(columns) or not {*cells} <= {"-1", "1"}:
            raise ValueError(
                f"{path}: row '{line.strip()[:60]}' must be a file name and {len(columns)} values of -1 or 1"
            )
        names.append(name)
        signs.extend(map(float, cells))
    if names and count.lstrip("0") != str(len(names)):
        warnings.warn(f"{path} has {len(names):,} rows, but its first line states {count[:20]}", stacklevel=3)
    return Table(str(path), names, columns, np.array(signs, np.float32).reshape(len(names), len(columns)))


def _csv_table(path: Path, lines: Iterator[str]) -> Table:
    first = next(lines, "")
    if named := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):
        delimiter, first = named[1], next(lines, "")
    else:
        # Quoted names may contain any delimiter.
        unquoted = re.sub('"[^"]*"', "", first)
        delimiter = max(DELIMITERS, key=unquoted.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])] or [""]
    # Spreadsheets may save empty columns at the end.
    while len(header) > 1 and not header[-1]:
        header.pop()
    table = _table_of(path, header, ((reader.line_num, row) for row in reader), delimiter)
    return _without_index(table) if not header[0] else table


def _json_table(path: Path, lines: Iterator[str]) -> Table:
    objects = _json_objects(path, lines)
    number, first = next(objects)
    name = "file_name" if "file_name" in first else next(iter(first), "")
    header = [name, *(key for key in first if key != name)]

    def rows() -> Iterator[tuple[int, list[str]]]:
        for line, row in itertools.chain([(number, first)], objects):
            if unknown := [key for key in row if key not in first]:
                raise ValueError(
                    f"{path}, line {line}: the first line lacks '{unknown[0]}'; add it there with the value null"
                )
            cells = [row.get(key, "") for key in header]
            yield line, [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]

    return _table_of(path, header, rows(), ",")


def _json_objects(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects and their line numbers."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        with refusing(
            path, f"line {number} is not an object in JSON; write one for each image, or save the table as CSV"
        ):
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"it is a {type(row).__name__}")
        yield number, row


def _table_of(path: Path, header: list[str], rows: Iterable[tuple[int, list[str]]], delimiter: str) -> Table:
    """The table of rows of cells, each with its line in the file."""
    if header[0].lower().endswith(IMAGE_SUFFIXES):
        raise ValueError(f"{path}: the first line is the row of {header[0]}; must be the names of the columns")
    names, cells, words = [], array("f"), dict[int, dict[int, tuple[int, str]]]()
    for line, row in rows:
        if not any(row):
            continue
        if len(row) < len(header) or any(row[len(header) :]):
            raise ValueError(f"{path}, line {line} has {len(row)} cells; must have {len(header)}, like the header")
        for column, text in enumerate(row[1 : len(header)]):
            number = _number(text, delimiter)
            if number is None:
                words.setdefault(column, {})[len(names)] = line, " ".join(text.split())
            cells.append(math.nan if number is None else number)
        names.append(row[0].strip())
    values = np.array(cells, np.float32).reshape(len(names), len(header) - 1)
    return Table(str(path), names, tuple(header[1:]), values, words)


def _without_index(table: Table) -> Table:
    """The table without its first column if this only counts the rows; the second column then has the names."""
    start = table.names[0] if table.names else ""
    named = len(table.words.get(0, ())) == len(table.names) > 0
    if start not in ("0", "1") or not named or table.names != [str(int(start) + i) for i in range(len(table.names))]:
        return table
    names = [word for _, word in table.words[0].values()]
    words = {column - 1: found for column, found in table.words.items() if column}
    return Table(table.source, names, table.columns[1:], table.values[:, 1:], words)


@lru_cache(4096)
def _number(text: str, delimiter: str) -> float | None:
    """The number in a cell, nan if the cell is empty, None if it is a word."""
    plain = text.strip().lower()
    if plain in MISSING:
        return math.nan
    if delimiter != "," and DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    try:
        value = float({"true": "1", "false": "0"}.get(plain, plain))
    except ValueError:
        return None
    return value if abs(value) <= LARGEST else None


def read_partition(path: Path) -> Table:
    """Read a partition such as CelebA's list_eval_partition.txt.

    Args:
        path: A file whose rows are a file name and 0 (train), 1 (validation) or 2 (test), separated by a space, or
            the same as a CSV file with a header.

    Returns:
        A table with one column, `partition`.

    Raises:
        ValueError: The file cannot be read, or has another format.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} cannot be read ({error}); pass a file like CelebA's list_eval_partition.txt"
        ) from None
    if lines and lines[0].endswith("partition"):
        lines = lines[1:]
    rows = [re.fullmatch(r"(.*[^\s,])[\s,]+([012])", line) for line in lines]
    if None in rows:
        raise ValueError(f"{path}: row '{lines[rows.index(None)][:60]}' must be a file name and 0, 1 or 2")
    values = np.array([int(row[2]) for row in rows if row], np.float32)[:, None]
    return Table(str(path), [row[1] for row in rows if row], ("partition",), values)
