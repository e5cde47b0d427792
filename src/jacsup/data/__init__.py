"""Data sets: a table of all that recipes can name, and how to load them.

A new data set is one module that defines a subclass of `DataConfig` and a `DatasetSpec`, and one line in `DATA_SETS`.
"""

from __future__ import annotations

from pathlib import Path

from jacsup.config import MNIST, SVHN, Arrays, CelebA, DataConfig, Digits, Faces, Folder, Sprites
from jacsup.data import arrays, celeba, digits, drawn, folder, mnist, sprites, svhn
from jacsup.data.cache import cache_folder
from jacsup.data.dataset import Dataset
from jacsup.data.download import Download
from jacsup.data.spec import DatasetSpec
from jacsup.jsonable import suggestion

__all__ = ["DATA_SETS", "Dataset", "DatasetSpec", "cache_folder", "find_download", "load_dataset", "spec_of"]

DATA_SETS: dict[type[DataConfig], DatasetSpec] = {
    MNIST: mnist.DATA_SET,
    SVHN: svhn.DATA_SET,
    Digits: digits.DATA_SET,
    Faces: drawn.DATA_SET,
    Sprites: sprites.DATA_SET,
    CelebA: celeba.DATA_SET,
    Folder: folder.DATA_SET,
    Arrays: arrays.DATA_SET,
}


def spec_of(config: DataConfig) -> DatasetSpec:
    """Return the entry of a config's data set.

    Args:
        config: The data set's config.

    Returns:
        The loader of the data set, and its description.

    Raises:
        ValueError: DATA_SETS has no entry for the class of the config.
    """
    if type(config) not in DATA_SETS:
        raise ValueError(f"{type(config).__name__} is not a known data set; add it to jacsup.data.DATA_SETS")
    return DATA_SETS[type(config)]


def load_dataset(config: DataConfig, root: Path | None = None) -> Dataset:
    """Load the data set of a recipe.

    Args:
        config: The recipe's data.
        root: Folder with the files. By default, data sets that can be downloaded are, once, into the user's cache.

    Returns:
        The data set, on the CPU.

    Raises:
        ValueError: The files are missing or damaged, or do not fit the config.
    """
    return spec_of(config).load(config, root)


def find_download(name: str) -> Download:
    """Return the published files of a data set.

    Args:
        name: What `jacsup data download` calls the data set, such as mnist.

    Returns:
        The files to download.

    Raises:
        ValueError: There is no download of this name.
    """
    known = {spec.download.name: spec.download for spec in DATA_SETS.values() if spec.download}
    if name not in known:
        raise ValueError(f"there is no download called '{name}'; {suggestion(name, known)}")
    return known[name]
