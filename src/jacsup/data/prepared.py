"""Prepared images: one uint8 file that is mapped into memory, its tables, and a manifest."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from jacsup.data.attributes import Attribute, learnable
from jacsup.data.dataset import Split
from jacsup.jsonable import from_dict

VERSION = 1
IMAGES, ATTRIBUTES, PARTITION, NAMES, MANIFEST = (
    "images.u8",
    "attributes.npy",
    "partition.npy",
    "names.txt",
    "manifest.json",
)
TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder holds. It is written last, so a folder without one is unfinished.

    source: digest of what the images were made from. sha256: of images_sha256 and tables_sha256.
    skipped: damaged images that were left out, with the reason.
    """

    version: int
    count: int
    size: int
    crop: str
    attributes: tuple[str, ...]
    source: str
    images_sha256: str
    tables_sha256: str
    sha256: str
    skipped: tuple[str, ...]


def read_manifest(folder: Path) -> Manifest:
    """A prepared folder's manifest; ValueError where there is none, or one of another version."""
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text())
        if values["version"] != VERSION:
            raise ValueError(f"version is {values['version']}, this one reads {VERSION}")
        return from_dict(Manifest, values, "manifest")
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {MANIFEST}; prepare the images first, or once more to the end") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest ({error}); delete {folder} and prepare it again") from None


def file_digest(path: Path) -> str:
    """A file's SHA-256, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tables_digest(folder: Path) -> str:
    """The SHA-256 of the SHA-256 of the attributes, the partition and the names."""
    digests = [file_digest(folder / name) for name in (ATTRIBUTES, PARTITION, NAMES)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load_prepared(
    folder: Path, *, judged_on: Literal["test", "validation"] = "test", verify: bool = False
) -> tuple[Split, Split, tuple[Attribute, ...]]:
    """The training split, the one to judge on, and what the attributes mean.

    The images (n, 3, size, size) stay in their file, mapped into memory; never write to them. Continuous attributes are
    standardised by the training split.
    verify: read everything and compare checksums. Without it only the sizes are checked.
    Raises ValueError for an unfinished or damaged folder, and for attributes that cannot be learned.
    """
    manifest = read_manifest(folder)
    shape = (manifest.count, 3, manifest.size, manifest.size)
    try:
        pixels = np.memmap(folder / IMAGES, np.uint8, "r")
        values, partition = np.load(folder / ATTRIBUTES), np.load(folder / PARTITION)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{folder} is damaged ({error}); delete it and prepare it again") from None
    found = (pixels.size, values.shape, partition.shape)
    expected = (int(np.prod(shape)), (manifest.count, len(manifest.attributes)), (manifest.count,))
    if found != expected:
        raise ValueError(f"{folder} is damaged: sizes are {found}, not {expected}; delete it and prepare it again")
    if verify:
        _verify(folder, manifest)
    with warnings.catch_warnings():
        # A mapping that may be written to is refused where the file exceeds the memory.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        images = torch.from_numpy(pixels.reshape(shape))
    ends = np.searchsorted(partition, (TRAIN, VALIDATION, TEST), side="right")
    attributes, values = learnable(manifest.attributes, values, int(ends[TRAIN]))
    table = torch.from_numpy(values) if attributes else None

    def part(number: int) -> Split:
        rows = slice(ends[number - 1] if number else 0, ends[number])
        return Split(images[rows], None, None if table is None else table[rows])

    train, test = part(TRAIN), part(VALIDATION if judged_on == "validation" else TEST)
    if not len(test):
        raise ValueError(f"{folder} has no {judged_on} images; choose the other one of test and validation")
    return train, test, attributes


def _verify(folder: Path, manifest: Manifest) -> None:
    found = {IMAGES: file_digest(folder / IMAGES), "tables": tables_digest(folder)}
    for name, expected in ((IMAGES, manifest.images_sha256), ("tables", manifest.tables_sha256)):
        if found[name] != expected:
            raise ValueError(f"{folder}: the {name} differ from their checksum; delete it and prepare it again")
