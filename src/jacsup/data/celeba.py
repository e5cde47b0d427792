"""CelebA in its official layout, prepared at its first use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jacsup.config import CelebA
from jacsup.data.dataset import Dataset
from jacsup.data.prepare import Source, prepare_once
from jacsup.data.prepared import load_prepared, read_manifest

# Where each part may lie under the root: all in one folder, or as the official download and torchvision have them.
PLACES = ("", "Img", "Anno", "Eval", "celeba")
PARTS = {
    "images": ("img_align_celeba.zip", "img_align_celeba"),
    "attributes": ("list_attr_celeba.txt", "list_attr_celeba.csv"),
    "partition": ("list_eval_partition.txt", "list_eval_partition.csv"),
}


def load_celeba(config: CelebA, root: Path | None, cache: Path) -> Dataset:
    """CelebA with its 40 attributes and the partition that the config names, from the official files under `root`.

    The first call decodes all images once into `cache`; the config that comes back has their checksum. Raises
    ValueError where a part is missing or damaged.
    """
    folder = prepare_celeba(root, config.size, cache)
    train, test, attributes = load_prepared(folder, judged_on=config.judged_on)
    return Dataset(train, test, replace(config, sha256=read_manifest(folder).sha256), attributes)


def prepare_celeba(root: Path | None, size: int, cache: Path, *, skip_bad: bool = False) -> Path:
    """The folder under `cache` with CelebA's images cropped square, in the given size; made where it is missing."""
    return prepare_once(celeba_source(root), size, cache, skip_bad=skip_bad)


def celeba_source(root: Path | None) -> Source:
    """CelebA's images and tables under `root`; ValueError for a missing one."""
    if root is None:
        raise ValueError(
            "CelebA cannot be downloaded without asking: get img_align_celeba.zip, list_attr_celeba.txt and "
            "list_eval_partition.txt from its authors, and pass the folder that has them as --data-root"
        )
    found = {}
    for part, names in PARTS.items():
        places = (root / place / name for name in names for place in PLACES)
        path = next((place for place in places if place.exists()), None)
        if path is None:
            raise ValueError(f"{root} has no {names[0]}; pass the folder with CelebA's files as --data-root")
        found[part] = path
    return Source(**found)
