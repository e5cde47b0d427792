"""Prepared images: one uint8 file that is mapped into memory, tables, and a manifest."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from jacsup.data.attributes import Attribute, chosen_names, learnable
from jacsup.data.dataset import Split
from jacsup.data.splits import TEST, TRAIN, VALIDATION
from jacsup.jsonable import from_dict

VERSION = 1
IMAGES = "images.u8"
ATTRIBUTES = "attributes.npy"
PARTITION = "partition.npy"
NAMES = "names.txt"
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a prepared folder contains. It is written last, so a folder without a manifest is unfinished.

    Attributes:
        version: Version of the format.
        count: Number of images.
        size: Side of the square images, in pixels.
        crop: How images were cropped.
        attributes: Names of the attributes.
        source: Digest of what the images were made from.
        images_sha256: SHA-256 of the pixels.
        tables_sha256: SHA-256 of attributes, partition and names; see `tables_digest`.
        sha256: SHA-256 of these two checksums.
        command: The command that prepares them again, if there is one.
        skipped: Damaged images that were left out, with the reason.
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
    command: str = ""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a prepared folder.

    Args:
        folder: The folder.

    Returns:
        What the folder contains.

    Raises:
        ValueError: There is no manifest, or it is damaged or has another version.
    """
    path = folder / MANIFEST
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise ValueError(f"version is {values['version']}; must be {VERSION}")
        return from_dict(Manifest, values, "manifest")
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {MANIFEST}, so it is not complete; prepare the images first") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a manifest ({error}); delete {folder} and prepare it again") from None


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tables_digest(folder: Path) -> str:
    """Return the SHA-256 of the SHA-256 of a prepared folder's attributes, partition and names."""
    digests = [file_digest(folder / name) for name in (ATTRIBUTES, PARTITION, NAMES)]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def load_prepared(
    folder: Path,
    *,
    judged_on: Literal["test", "validation"] = "test",
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    verify: bool = False,
) -> tuple[Split, Split, tuple[Attribute, ...]]:
    """Load a prepared folder. The images stay in their file, mapped into memory; never write to them.

    Args:
        folder: The folder.
        judged_on: The partition that becomes the test split.
        keep: Names of the attributes to use; by default all.
        drop: Names of attributes to leave out.
        verify: Read everything and compare checksums; by default only the sizes are checked.

    Returns:
        The training split, the test split, and the attributes. Continuous attributes are standardised by the training
        split.

    Raises:
        ValueError: The folder is unfinished or damaged, has no images to judge on, or its attributes cannot be learned.
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
        # A writable mapping would be refused if the file exceeded the memory.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        images = torch.from_numpy(pixels.reshape(shape))
    ends = np.searchsorted(partition, (TRAIN, VALIDATION, TEST), side="right")
    chosen = chosen_names(manifest.attributes, keep, drop, str(folder))
    columns = [manifest.attributes.index(name) for name in chosen]
    attributes, values = learnable(chosen, values[:, columns], int(ends[TRAIN]))
    table = torch.from_numpy(values) if attributes else None

    def part(number: int) -> Split:
        rows = slice(ends[number - 1] if number else 0, ends[number])
        return Split(images[rows], None, None if table is None else table[rows])

    train, test = part(TRAIN), part(VALIDATION if judged_on == "validation" else TEST)
    if not len(test):
        other = "validation" if judged_on == "test" else "test"
        raise ValueError(f"{folder} has no {judged_on} images; set data.judged_on to {other}")
    return train, test, attributes


def _verify(folder: Path, manifest: Manifest) -> None:
    found = {IMAGES: file_digest(folder / IMAGES), "the tables": tables_digest(folder)}
    for name, expected in ((IMAGES, manifest.images_sha256), ("the tables", manifest.tables_sha256)):
        if found[name] != expected:
            raise ValueError(f"{folder} is damaged: the checksum of {name} is wrong; delete it and prepare it again")
