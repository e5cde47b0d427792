"""Training, validation and test splits, as names of folders and columns define them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jacsup.data.tables import Table

TRAIN, VALIDATION, TEST = range(3)
WORDS = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
COLUMNS = ("split", "partition", "subset", "set")


def by_words(words: Sequence[str]) -> list[int] | None:
    """Return the split of each image, given one word per image; None unless all words name splits.

    There must be training images and others. If there is no test split, the validation split replaces it.
    """
    lower = [word.lower() for word in words]
    if not {*lower} <= WORDS.keys():
        return None
    splits = [WORDS[word] for word in lower]
    if TEST not in splits:
        splits = [TEST if split == VALIDATION else split for split in splits]
    return splits if {TRAIN, TEST} <= {*splits} else None


def by_folders(names: Sequence[str]) -> list[int] | None:
    """Return the split of each image from a folder in its path; None if no level of folders names splits."""
    folders = [name.split("/")[:-1] for name in names]
    candidates = (by_words([path[depth] for path in folders]) for depth in range(min(map(len, folders), default=0)))
    return next((splits for splits in candidates if splits), None)


def by_column(table: Table) -> tuple[str, list[int]] | None:
    """Return the table's column of splits, in words or as CelebA's 0, 1 and 2: its name, and the split of each row.

    None if there is no such column.
    """
    for number, name in enumerate(table.columns):
        if name.lower() not in COLUMNS:
            continue
        numbers, words = table.values[:, number], table.words.get(number, {})
        if len(words) == len(numbers) and (splits := by_words([words[row][1] for row in range(len(words))])):
            return name, splits
        if {TRAIN, TEST} <= {*numbers.tolist()} <= {TRAIN, VALIDATION, TEST}:
            return name, numbers.astype(np.int64).tolist()
    return None
