"""Data sets by config."""

from __future__ import annotations

import os
from pathlib import Path

from jacsup.config import MNIST, SVHN, Arrays, CelebA, DataConfig, Digits, Faces, Folder, Sprites
from jacsup.data.celeba import load_celeba
from jacsup.data.dataset import Dataset
from jacsup.data.digits import load_digits
from jacsup.data.drawn import load_faces
from jacsup.data.files import load_mnist, load_svhn
from jacsup.data.prepared import load_folder
from jacsup.data.sprites import load_sprites


def load_dataset(config: DataConfig, root: Path | None = None) -> Dataset:
    """The data that a recipe names, on the CPU.

    root: the folder with its files. Without one, downloads go once to the user's cache.
    """
    match config:
        case MNIST():
            return Dataset(*load_mnist(root or _downloaded("mnist")), config)
        case SVHN():
            return Dataset(*load_svhn(root or _downloaded("svhn")), config)
        case Digits():
            return Dataset(*load_digits(), config)
        case Faces():
            return load_faces(config, cache_folder())
        case Sprites():
            return load_sprites(config, root)
        case CelebA():
            return load_celeba(config, root, cache_folder())
        case Folder():
            return load_folder(config, root)
        case Arrays():
            raise ValueError(
                "this run's images were passed from Python: there, call "
                "jacsup.evaluate.evaluate(RUN, data) and jacsup.report.write_report(RUN, data, metrics)"
            )


def cache_folder() -> Path:
    """Where downloads and judges are kept: $JACSUP_CACHE, or ~/.cache/jacsup."""
    return Path(os.environ.get("JACSUP_CACHE") or Path.home() / ".cache" / "jacsup")


def _downloaded(name: str) -> Path:
    from jacsup.data.download import download

    root = cache_folder() / name
    download(name, root)
    return root
