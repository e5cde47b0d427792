"""The commands under `jacsup data`: get data sets ready."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jacsup.cli import lazy
from jacsup.cli.options import Name, Option, Own, OwnImages
from jacsup.config import Folder, Recipe, require_image_size

if TYPE_CHECKING:
    from jacsup.data.plan import ImageSource


def download(name: Name, /, *, data_root: Option[Path] = None) -> None:
    """Download a public data set.

    Args:
        name: mnist or svhn.
        data_root: The folder for the files; defaults to the user's cache.
    """
    source = lazy.find_download(name)
    root = data_root or lazy.cache_folder() / name
    lazy.download(source, root)
    print(f"{name} is in {root}")


def prepare(name: Name, /, *, data_root: Option[Path] = None, size: int = 64, own: Own = OwnImages()) -> None:
    """Decode a set of images once, into one file for training, and verify that file.

    Args:
        name: celeba or folder.
        data_root: For celeba: the folder with CelebA in its official layout.
        size: Side of the square images in pixels: 32, 64, 128, 256 or 512.
        own: The user's own images.
    """
    require_image_size(size)
    if name == "celeba":
        if replace(own, skip_bad=False) != OwnImages():
            raise ValueError(
                "of the options for images, celeba takes only --skip-bad; attributes are chosen for training, such as "
                "`jacsup train celeba64 --keep Smiling Eyeglasses`"
            )
        folder = lazy.prepare_celeba(data_root, size, lazy.cache_folder(), skip_bad=own.skip_bad)
    elif name == "folder":
        folder = lazy.prepare_once(source_of(own), size, lazy.cache_folder(), skip_bad=own.skip_bad)
    else:
        raise ValueError(f"cannot prepare '{name}'; must be one of celeba, folder")
    lazy.load_prepared(folder, verify=True)
    manifest = lazy.read_manifest(folder)
    for skipped in manifest.skipped:
        print(f"skipped {skipped}")
    print(f"{manifest.count:,} images with {len(manifest.attributes)} attributes are in {folder}")


def source_of(own: OwnImages) -> ImageSource:
    """The user's own images.

    Raises:
        ValueError: There are none.
    """
    if not own.images:
        raise ValueError("the images are missing; pass them as --images DIR")
    columns = lazy.ColumnChoice(own.keep, own.drop, own.binary, own.continuous)
    return lazy.ImageSource(
        own.images, own.attributes, columns=columns, ignore_splits=own.ignore_splits, scale=own.scale
    )


def prepare_folder(recipe: Recipe, own: OwnImages) -> Path:
    """Prepare the user's own images for a recipe and return the prepared folder."""
    if not isinstance(recipe.data, Folder):
        raise ValueError(f"--images is only for the recipe 'folder'; '{recipe.name}' has its own data: omit --images")
    require_image_size(recipe.data.size)
    return lazy.prepare_once(source_of(own), recipe.data.size, lazy.cache_folder(), skip_bad=own.skip_bad)


DATA_COMMANDS = {"download": download, "prepare": prepare}
