"""Plan which images of a source are prepared, in which order, and with which attributes and splits."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from jacsup.data.attributes import learnable
from jacsup.data.columns import ALL_COLUMNS, Column, ColumnChoice, attributes_of, understand
from jacsup.data.images import Images, open_images
from jacsup.data.match import rows_of
from jacsup.data.prepared import VERSION
from jacsup.data.splits import TEST, TRAIN, VALIDATION, by_column
from jacsup.data.tables import Table, read_partition, read_table
from jacsup.models.fetch import HUB

LARGEST_TEST = 10_000
# The most columns or files that a message names.
MOST_NAMED = 5


@dataclass(frozen=True)
class ImageSource:
    """Images, and their attributes and splits.

    Attributes:
        images: A folder, a .zip, a .parquet or a folder of those, or `hf:owner/name`.
        attributes: A CSV, or a file like CelebA's list_attr_celeba.txt. By default Parquet files have the attributes in
            their columns, and other images have none.
        partition: A file like CelebA's list_eval_partition.txt. By default a column `split` of the table defines the
            splits, or else folders called train and test, or the splits of Parquet files. If there is none of these,
            the last tenth of a fixed shuffle is the test set.
        columns: Which columns of the table to use, and how to read them.
        ignore_splits: Shuffle the images, even if a column or folders define splits.
        scale: Factor of the pixel values; 16 for 12-bit images in 16-bit files.
    """

    images: str | Path
    attributes: Path | None = None
    partition: Path | None = None
    columns: ColumnChoice = ALL_COLUMNS
    ignore_splits: bool = False
    scale: float = 1.0

    def command(self, size: int, *, skip_bad: bool = False) -> str:
        """Return the command that prepares these images; empty if they have a partition, for which there is no option.

        Args:
            size: Side of the square images, in pixels.
            skip_bad: Whether damaged images are left out.
        """
        if self.partition:
            return ""
        where = str(self.images)
        words = ["--images", where if where.startswith(HUB) else str(Path(where).resolve()), "--size", str(size)]
        words += ["--attributes", str(self.attributes.resolve())] if self.attributes else []
        for option, names in vars(self.columns).items():
            words += [f"--{option}", *names] if names else []
        words += ["--scale", f"{self.scale:g}"] if self.scale != 1 else []
        flags = [("--ignore-splits", self.ignore_splits), ("--skip-bad", skip_bad)]
        return shlex.join(["jacsup", "data", "prepare", "folder", *words, *(flag for flag, on in flags if on)])


@dataclass(frozen=True)
class Plan:
    """The images to write, in this order, with their attributes.

    Attributes:
        names: Names of the images.
        numbers: Their indices among the source's images.
        columns: Names of the attributes.
        values: The attributes.
        splits: 0 (train), 1 (validation) or 2 (test), in this order.
        skipped: Images that are left out, with the reason.
        digest: Text that changes if anything in the plan changes.
    """

    names: list[str]
    numbers: Int64[np.ndarray, " n"]
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n k"]
    splits: UInt8[np.ndarray, " n"]
    skipped: tuple[str, ...]
    digest: str


def make_plan(source: ImageSource, images: Images, size: int, *, skip_bad: bool) -> Plan:
    """Match the images to their table and split them.

    Args:
        source: The images.
        images: The same images, opened.
        size: Side of the square images, in pixels.
        skip_bad: Leave out images without a row in the table instead of raising an error.

    Returns:
        The plan.

    Raises:
        ValueError: A table cannot be read, does not match the images or has nothing to learn, or there are too few
            images.
    """
    _tell_left_out(source, images)
    table = read_table(source.attributes) if source.attributes else images.table
    rows, told = np.arange(len(images.names)), by_column(table) if table else None
    columns, values = (), np.empty((len(images.names), 0), np.float32)
    if not table and source.columns != ALL_COLUMNS:
        raise ValueError(
            "--keep, --drop, --binary and --continuous need a table of attributes; pass it as --attributes"
        )
    if table:
        rows = _matched(table, images, skip_bad=skip_bad)
        understood = _understood(table, source)
        # Parquet files may have other columns than attributes.
        if any(column.attributes for column in understood) or source.attributes:
            columns, values = attributes_of(table.source, understood)
        _tell_doubts(table, understood)
    splits = _splits(source, images, told, rows, skip_bad=skip_bad)
    known = np.flatnonzero((rows >= 0) & (splits >= 0) if splits is not None else rows >= 0)
    if splits is not None:
        order = np.argsort(splits[known], kind="stable")
        numbers, splits = known[order], splits[known][order].astype(np.uint8)
    else:
        order, splits = _held_out(len(known))
        numbers = known[order]
    require_splits(splits)
    if columns:
        columns, values = _that_differ(columns, values[rows[numbers]], int(np.count_nonzero(splits == TRAIN)))
    names = [images.names[number] for number in numbers]
    facts = repr((VERSION, size, source.scale, images.state, columns, names)).encode()
    without_row = {*range(len(images.names))} - {*known.tolist()}
    skipped = tuple(f"{images.names[number]}: it has no row in the table" for number in sorted(without_row))
    return Plan(names, numbers, columns, values, splits, skipped, digest(facts, values.tobytes(), splits.tobytes()))


def columns_of(source: ImageSource) -> list[Column]:
    """Return how the columns of a source's table are interpreted; nothing if there is no table.

    Args:
        source: The images.

    Raises:
        ValueError: The table or the images cannot be read, or the columns cannot be interpreted.
    """
    if source.attributes:
        return _understood(read_table(source.attributes), source)
    with open_images(source.images) as images:
        return _understood(images.table, source) if images.table else []


def _understood(table: Table, source: ImageSource) -> list[Column]:
    """The interpreted columns, without the one that defines splits."""
    told = by_column(table)
    return understand(table, replace(source.columns, drop=(*source.columns.drop, told[0])) if told else source.columns)


def require_splits(splits: np.ndarray) -> None:
    """Raise ValueError unless there are training and test images."""
    for split, name in ((TRAIN, "training"), (TEST, "test")):
        if split not in splits:
            raise ValueError(f"none of the {len(splits):,} readable images is a {name} image; add more images")


def digest(*parts: bytes) -> str:
    """Return the SHA-256 of the parts, one after the other."""
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _matched(table: Table, images: Images, *, skip_bad: bool) -> np.ndarray:
    """The row of each image; -1 for images without a row, which are left out."""
    rows = rows_of(table, images.names)
    missing = [images.names[number] for number in np.flatnonzero(rows < 0)]
    if missing and not skip_bad:
        raise ValueError(
            f"{table.source}: {len(missing):,} of {len(rows):,} images have no row ({_such_as(missing)}); add rows, "
            "or skip these images with --skip-bad"
        )
    if missing:
        _tell(f"{table.source}: images skipped because they have no row: {len(missing):,} ({_such_as(missing)})")
    used = {*rows.tolist()}
    unused = [name for row, name in enumerate(table.names) if row not in used]
    if unused:
        _tell(f"{table.source}: rows without an image: {len(unused):,} ({_such_as(unused)})")
    return rows


def _splits(
    source: ImageSource, images: Images, told: tuple[str, list[int]] | None, rows: np.ndarray, *, skip_bad: bool
) -> np.ndarray | None:
    """The split of each image, -1 for those to leave out; None if nothing defines splits."""
    if source.partition:
        parts = read_partition(source.partition)
        found = _matched(parts, images, skip_bad=skip_bad)
        return np.where(found >= 0, parts.values[found, 0], -1)
    if source.ignore_splits:
        return None
    if told:
        splits, by = np.array(told[1])[rows], f"the column '{told[0]}'"
    elif images.splits:
        splits, by = np.array(images.splits), "the names of folders or files"
    else:
        return None
    counts = Counter(splits[rows >= 0].tolist())
    parts = f"{counts[TRAIN]:,} training, {counts[VALIDATION]:,} validation and {counts[TEST]:,} test images"
    _tell(f"{source.images}: {parts}, according to {by}; pass --ignore-splits to shuffle them instead")
    return splits


def _held_out(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the last tenth of a fixed shuffle. It stays shuffled because reports show its first images."""
    shuffled = np.random.default_rng(0).permutation(count)
    num_test = max(1, min(count // 10, LARGEST_TEST))
    order = np.concatenate([np.sort(shuffled[:-num_test]), shuffled[-num_test:]])
    return order, np.repeat(np.array([TRAIN, TEST], np.uint8), [count - num_test, num_test])


def _that_differ(columns: tuple[str, ...], values: np.ndarray, num_train: int) -> tuple[tuple[str, ...], np.ndarray]:
    """The attributes that vary among the training images; others cannot be learned."""
    train = values[:num_train]
    differ = np.fmax.reduce(train) > np.fmin.reduce(train)
    if not differ.any():
        learnable(columns, values, num_train)
    same = [name for name, differs in zip(columns, differ, strict=True) if not differs]
    if same:
        _tell(f"attributes left out because all {num_train:,} training images have the same value: {_such_as(same)}")
    return tuple(name for name, differs in zip(columns, differ, strict=True) if differs), values[:, differ]


def _tell_left_out(source: ImageSource, images: Images) -> None:
    if count := images.left_out.total():
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in images.left_out.most_common(MOST_NAMED))
        _tell(f"{source.images}: files left out because they are not images: {count:,} ({kinds})")


def _tell_doubts(table: Table, columns: Sequence[Column]) -> None:
    left_out = [f"{column.name} ({column.note})" for column in columns if column.kind == "left out"]
    doubts = [f"{column.name}: {column.note}" for column in columns if column.note and column.kind != "left out"]
    if left_out:
        _tell(f"{table.source}: columns left out: {_few(left_out)}")
    if doubts:
        _tell(f"{table.source}: {_few(doubts, '; ')}")


def _such_as(names: Sequence[str]) -> str:
    return _few(names) if len(names) <= MOST_NAMED else f"such as {', '.join(names[:3])}"


def _few(texts: Sequence[str], separator: str = ", ") -> str:
    more = len(texts) - MOST_NAMED
    return separator.join([*texts[:MOST_NAMED], *([f"and {more:,} more"] if more > 0 else [])])


def _tell(message: str) -> None:
    warnings.warn(message, stacklevel=2)
