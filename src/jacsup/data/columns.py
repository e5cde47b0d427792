"""Interpret the columns of a table: binary attributes, numbers, words, or nothing that can be learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float32

from jacsup.data.tables import LARGEST, Table
from jacsup.jsonable import meant, suggestion

# Words that mean without and with an attribute.
YES_AND_NO = (("no", "yes"), ("n", "y"), ("f", "t"), ("absent", "present"), ("without", "with"), ("off", "on"))
# A column with more different words has no attributes, and a word in a smaller share of the rows becomes none.
MOST_WORDS = 10
SMALLEST_SHARE = 0.01
# In a table of at least this many rows, a column of whole numbers that are all different probably numbers the rows.
SMALLEST_ID = 100

Values = Float32[np.ndarray, " n"]


@dataclass(frozen=True)
class ColumnChoice:
    """How a user wants the columns of a table read. Their names may be in upper or lower case.

    Attributes:
        keep: The columns to use; by default all.
        drop: Columns, or attributes made from them, to leave out.
        binary: Columns of two values, of which the larger means that an image has the attribute.
        continuous: Columns of numbers that must not be read as binary.
    """

    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    binary: tuple[str, ...] = ()
    continuous: tuple[str, ...] = ()


ALL_COLUMNS = ColumnChoice()


@dataclass(frozen=True)
class Column:
    """An interpreted column of a table.

    Attributes:
        name: Its name in the table.
        kind: The kind of its values.
        values: A description of the values that occur.
        missing: Number of rows without a value.
        attributes: By name, a value for each row: -1 or 1, or a number; nan where it is missing.
        note: What may be wrong with the column, or why it is left out.
    """

    name: str
    kind: Literal["binary", "continuous", "words", "left out"]
    values: str
    missing: int
    attributes: dict[str, Values]
    note: str = ""


def understand(table: Table, choice: ColumnChoice = ALL_COLUMNS) -> list[Column]:
    """Interpret the columns of a table.

    A column of 0 and 1, or of -1 and 1, is binary, and so is a column of two words. A column of yes and no keeps its
    name; a column `gender` of Female and Male becomes `gender=Male`, after the word that comes later in the alphabet. A
    column of 3 to 10 words becomes one attribute per word. Other columns of numbers are continuous.

    Args:
        table: The table.
        choice: How the user wants the columns read.

    Returns:
        The columns that were not dropped.

    Raises:
        ValueError: `choice` names a column that does not exist or does not have the required values, or a cell is not
            of the same kind as the others of its column.
    """
    keep, drop, binary, continuous = (
        {_named(table, name) for name in _separate(table, names)}
        for names in (choice.keep, choice.drop, choice.binary, choice.continuous)
    )
    both = sorted(name for name in binary & continuous)
    if both:
        raise ValueError(f"{', '.join(both)}: given as binary and as continuous; choose one")
    columns = []
    for number, name in enumerate(table.columns):
        if name in drop or (keep and not any(_is_called(name, each) for each in keep)):
            continue
        kind = "binary" if name in binary else "continuous" if name in continuous else None
        column = _column(table, number, kind)
        columns.append(_with(column, [each for each in column.attributes if each not in drop], keep))
    names = Counter(name for column in columns for name in column.attributes)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ValueError(f"{table.source}: several attributes would be called '{twice[0]}'; rename one of the columns")
    return columns


def attributes_of(source: str, columns: Sequence[Column]) -> tuple[tuple[str, ...], Float32[np.ndarray, "n k"]]:
    """Return the names and values of the columns' attributes.

    Raises:
        ValueError: The columns have no attributes.
    """
    found = {name: values for column in columns for name, values in column.attributes.items()}
    if not found:
        reasons = "; ".join(f"{column.name}: {column.note}" for column in columns[:3]) or "all columns are dropped"
        raise ValueError(f"{source} has no attributes to learn ({reasons}); keep a column, or pass no table")
    return tuple(found), np.stack([*found.values()], axis=1)


def _with(column: Column, kept: list[str], keep: set[str]) -> Column:
    """The column with some of its attributes."""
    if keep and column.name not in keep:
        kept = [name for name in kept if name in keep]
    return replace(column, attributes={name: column.attributes[name] for name in kept})


def _separate(table: Table, names: Iterable[str]) -> list[str]:
    """The names, splitting text at commas unless a column has this name."""
    return [
        part
        for name in names
        for part in ([name] if meant(name, table.columns) else filter(None, map(str.strip, name.split(","))))
    ]


def _named(table: Table, name: str) -> str:
    """The column, or the attribute made from a column of words, that a user calls `name`."""
    if found := meant(name, table.columns):
        return found
    column, _, word = name.rpartition("=")
    if (found := meant(column, table.columns)) is not None:
        words = {word for _, word in table.words.get(table.columns.index(found), {}).values()}
        if (known := meant(word, sorted(words))) is not None:
            return f"{found}={known}"
    raise ValueError(f"{table.source} has no column '{name}'; {suggestion(name, table.columns)}")


def _is_called(column: str, name: str) -> bool:
    return column == name or name.startswith(f"{column}=")


def _column(table: Table, number: int, kind: Literal["binary", "continuous"] | None) -> Column:
    name, numbers, words = table.columns[number], table.values[:, number], table.words.get(number, {})
    # A word among numbers is a mistake, and so is a number too large for float32.
    wrong = (
        words if np.isfinite(numbers).any() else {row: cell for row, cell in words.items() if _does_not_fit(cell[1])}
    )
    if wrong:
        line, text = next(iter(wrong.values()))
        raise ValueError(
            f"{table.source}, line {line}: column '{name}' is '{text}'; must be a number, True, False or empty "
            "(missing); correct it, or leave the column out with --drop"
        )
    if words:
        return _of_words(name, {row: word for row, (_, word) in words.items()}, len(numbers), kind)
    return _of_numbers(name, numbers, kind)


def _of_numbers(name: str, numbers: Values, kind: str | None) -> Column:
    known, missing = np.unique(numbers[np.isfinite(numbers)]), int(np.isnan(numbers).sum())
    listed = " and ".join(f"{value:g}" for value in known) if len(known) < 4 else f"{known[0]:g} to {known[-1]:g}"
    if len(known) < 2:
        return Column(name, "left out", listed, missing, {}, _same(missing) if len(known) else "it is empty")
    if kind == "binary" and len(known) != 2:
        raise ValueError(f"column '{name}' has {len(known)} different numbers; a binary column must have two")
    signs = {*known.tolist()} == {-1, 1}
    if kind == "continuous" and signs:
        raise ValueError(f"column '{name}' has only -1 and 1, so it is binary; omit it from --continuous")
    if kind == "binary" or signs or (kind is None and {*known.tolist()} == {0, 1}):
        with_it = np.where(np.isnan(numbers), np.nan, np.where(numbers == known[1], 1, -1))
        return Column(name, "binary", listed, missing, {name: with_it.astype(np.float32)})
    return Column(name, "continuous", listed, missing, {name: numbers}, "" if kind else _doubt(known, len(numbers)))


def _doubt(known: Values, num_rows: int) -> str:
    """Why a column of numbers may not be a continuous attribute."""
    if {*known.tolist()} == {-1, 0, 1}:
        return "its values are -1, 0 and 1; if 0 means unknown, leave those cells empty"
    if len(known) == 2:
        return f"it has two values, {known[0]:g} and {known[1]:g}; if they mean without and with, pass it to --binary"
    if len(known) == num_rows >= SMALLEST_ID and (known == np.round(known)).all():
        return "each row has a different whole number; if the column only numbers the rows, pass it to --drop"
    return ""


def _same(missing: int) -> str:
    if missing:
        return "its cells have the same value or are empty; if empty means without, write another value there"
    return "it has the same value in all rows"


def _of_words(name: str, words: dict[int, str], num_rows: int, kind: str | None) -> Column:
    counts, spelled = Counter(word.casefold() for word in words.values()), dict[str, str]()
    for word in words.values():
        spelled.setdefault(word.casefold(), word)
    missing = num_rows - len(words)
    if kind == "continuous" or (kind == "binary" and len(counts) != 2):
        needed = "numbers" if kind == "continuous" else "two of them"
        raise ValueError(
            f"column '{name}' has {len(counts)} different words, such as '{next(iter(spelled.values()))}'; a {kind} "
            f"column must have {needed}"
        )
    listed = ", ".join(sorted(spelled.values())) if len(counts) <= MOST_WORDS else ""
    if len(counts) == 1:
        return Column(name, "left out", listed, missing, {}, _same(missing))
    if len(counts) > MOST_WORDS:
        return Column(name, "left out", listed, missing, {}, f"it has {len(counts):,} different words")
    if len(counts) == 2:
        pair = next((pair for pair in YES_AND_NO if {*pair} == counts.keys()), None)
        with_it = pair[1] if pair else max(spelled, key=spelled.__getitem__)
        called = name if pair else f"{name}={spelled[with_it]}"
        return Column(name, "binary", listed, missing, {called: _is_word(words, with_it, num_rows)})
    frequent = sorted(word for word in counts if counts[word] >= SMALLEST_SHARE * len(words))
    note = "" if len(frequent) == len(counts) else f"{len(counts) - len(frequent)} of its words are too rare to learn"
    attributes = {f"{name}={spelled[word]}": _is_word(words, word, num_rows) for word in frequent}
    return Column(name, "words", listed, missing, attributes, note)


def _is_word(words: dict[int, str], word: str, num_rows: int) -> Values:
    values = np.full(num_rows, np.nan, np.float32)
    values[[*words]] = [1 if each.casefold() == word else -1 for each in words.values()]
    return values


def _does_not_fit(text: str) -> bool:
    """Whether a cell is a number that is infinite, nan or too large for float32."""
    try:
        return not abs(float(text)) <= LARGEST
    except ValueError:
        return False
