"""Examine a set of images: read everything, train nothing."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections import Counter
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from jacsup.config import Folder
from jacsup.data.columns import Column
from jacsup.data.dataset import Dataset
from jacsup.data.folder import load_folder
from jacsup.data.images import Images, open_images
from jacsup.data.plan import ImageSource, columns_of
from jacsup.data.prepare import MOST_THREADS, prepare
from jacsup.data.prepared import IMAGES, NAMES
from jacsup.photo import open_image
from jacsup.progress import track

BLOCK = 256


@dataclass(frozen=True)
class Examination:
    """What a set of images contains.

    Attributes:
        data: The images as training would use them.
        names: Their names; training images come first, test images last.
        formats: Number of images by format.
        sizes: Width and height of each image.
        columns: The columns of their table.
        notes: The warnings given while they were read.
        skipped: Images that cannot be used, with the reason.
        twice: Names of images with the same pixels, in groups.
    """

    data: Dataset
    names: list[str]
    formats: Counter[str]
    sizes: list[tuple[int, int]]
    columns: list[Column]
    notes: list[str]
    skipped: tuple[str, ...]
    twice: list[list[str]]


def examine(source: ImageSource, size: int, folder: Path) -> Examination:
    """Read all images and their table.

    Args:
        source: The images.
        size: Side of the square images to train on, in pixels.
        folder: An empty folder for the prepared images, which `Examination.data` maps into memory.

    Returns:
        What was found.

    Raises:
        ValueError: The images or their table cannot be used at all.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        manifest = prepare(source, folder, size=size, skip_bad=True)
        columns = columns_of(source)
    with open_images(source.images) as images:
        headers = _headers(images)
    data, names = load_folder(Folder(size=size), folder), (folder / NAMES).read_text(encoding="utf-8").splitlines()
    return Examination(
        data,
        names,
        Counter(kind for kind, _ in headers),
        [size for _, size in headers],
        columns,
        [*dict.fromkeys(str(note.message) for note in told if note.category is UserWarning)],
        manifest.skipped,
        _twice(folder / IMAGES, names),
    )


def _headers(images: Images) -> list[tuple[str, tuple[int, int]]]:
    """The format and the size of each image that can be opened."""

    def header(number: int) -> tuple[str, tuple[int, int]] | None:
        try:
            with open_image(io.BytesIO(images.read(number))) as image:
                return image.format or "unknown", image.size
        # The reader of a damaged file may raise any error; `prepare` has listed the file as skipped.
        except Exception:
            return None

    with ThreadPool(min(MOST_THREADS, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = range(0, len(images.names), BLOCK)
        found = [
            each
            for start in track(blocks, "reading sizes")
            for each in pool.map(header, range(start, min(start + BLOCK, len(images.names))))
        ]
    return [each for each in found if each]


def _twice(images: Path, names: list[str]) -> list[list[str]]:
    """The names of images with the same pixels, in groups."""
    pixels = np.memmap(images, np.uint8, "r").reshape(len(names), -1)
    alike: dict[bytes, list[str]] = {}
    for name, row in zip(names, pixels, strict=True):
        alike.setdefault(hashlib.sha256(row.tobytes()).digest(), []).append(name)
    return [group for group in alike.values() if len(group) > 1]
