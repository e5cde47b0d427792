"""CelebA in its official layout, prepared at first use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jacsup.config import CelebA
from jacsup.data.cache import cache_folder
from jacsup.data.dataset import Dataset
from jacsup.data.plan import ImageSource
from jacsup.data.prepare import prepare_once
from jacsup.data.prepared import load_prepared, read_manifest
from jacsup.data.spec import DatasetSpec

# Where each part may be under the root: all in one folder, or in the folders of the official download or torchvision.
PLACES = ("", "Img", "Anno", "Eval", "celeba")
PARTS = {
    "images": ("img_align_celeba.zip", "img_align_celeba"),
    "attributes": ("list_attr_celeba.txt", "list_attr_celeba.csv"),
    "partition": ("list_eval_partition.txt", "list_eval_partition.csv"),
}


def load_celeba(config: CelebA, root: Path | None) -> Dataset:
    """Load CelebA with its 40 attributes. The first call decodes all images once, into the user's cache.

    Args:
        config: The data set's config; `judged_on` picks the partition that becomes the test split.
        root: Folder with the official files.

    Returns:
        The data set, with the checksum of the images in its config.

    Raises:
        ValueError: A part is missing or damaged.
    """
    folder = prepare_celeba(root, config.size, cache_folder())
    train, test, attributes = load_prepared(folder, judged_on=config.judged_on, keep=config.keep, drop=config.drop)
    return Dataset(train, test, replace(config, sha256=read_manifest(folder).sha256), attributes)


def prepare_celeba(root: Path | None, size: int, cache: Path, *, skip_bad: bool = False) -> Path:
    """Return the folder with CelebA's images, cropped square and resized; prepare it if it does not exist.

    Args:
        root: Folder with the official files.
        size: Side of the square images, in pixels.
        cache: Folder that prepared images are kept in.
        skip_bad: Leave damaged images out instead of refusing them.

    Returns:
        A folder under `cache`.

    Raises:
        ValueError: A part is missing or damaged.
    """
    return prepare_once(celeba_source(root), size, cache, skip_bad=skip_bad)


def celeba_source(root: Path | None) -> ImageSource:
    """Find CelebA's images and tables.

    Args:
        root: Folder with the official files.

    Returns:
        The images and tables.

    Raises:
        ValueError: There is no folder, or one of the parts is missing.
    """
    if root is None:
        raise ValueError(
            "CelebA must be downloaded by hand: get img_align_celeba.zip, list_attr_celeba.txt and "
            "list_eval_partition.txt from its authors, and pass the folder that has them as --data-root"
        )
    found = {}
    for part, names in PARTS.items():
        places = (root / place / name for name in names for place in PLACES)
        path = next((place for place in places if place.exists()), None)
        if path is None:
            raise ValueError(f"{root} has no {names[0]}; pass the folder with CelebA's files as --data-root")
        found[part] = path
    return ImageSource(**found)


DATA_SET = DatasetSpec(
    load=load_celeba,
    description=lambda config: f"CelebA at {config.size} pixels, whose terms allow research only",
    terms=(
        "The training images are from [CelebA](http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html), which is available "
        "for non-commercial research only, and so is this model: it is not under the package's Apache-2.0 licence."
    ),
    limits=(
        "Labels such as CelebA's are binary, subjective and unbalanced: an attribute means here what its annotators "
        "saw in celebrities' faces. Edits of rare attributes are the poorest."
    ),
    faces=True,
    aligned=True,
)
