"""The commands under `jacsup data`, which prepare data sets for training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jacsup.cli import lazy
from jacsup.cli.check import check
from jacsup.cli.options import Name, Option
from jacsup.cli.own_images import Own, OwnImages, print_columns, source_of
from jacsup.config import Folder, Recipe, require_image_size

MOST_NAMED = 10


def download(name: Name, /, *, data_root: Option[Path] = None) -> None:
    """Download a public data set.

    Args:
        name: mnist or svhn.
        data_root: The folder for the files; defaults to the user's cache.
    """
    source = lazy.find_download(name)
    if data_root:
        lazy.download(source, data_root)
    root = data_root or lazy.downloaded(source)
    print(f"{name} is in {root}")


def prepare(name: Name, /, *, data_root: Option[Path] = None, size: int = 64, own: Own = OwnImages()) -> None:
    """Decode a set of images once into a single file for training, and verify that file.

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
                "celeba accepts none of the options for your own images except --skip-bad; choose attributes when you "
                "train, such as `jacsup train celeba64 --keep Smiling Eyeglasses`"
            )
        folder = lazy.prepare_celeba(data_root, size, lazy.cache_folder(), skip_bad=own.skip_bad)
    elif name == "folder":
        folder = lazy.prepare_once(source_of(own), size, lazy.cache_folder(), skip_bad=own.skip_bad)
    else:
        raise ValueError(f"cannot prepare '{name}'; must be one of celeba, folder")
    lazy.load_prepared(folder, verify=True)
    manifest = lazy.read_manifest(folder)
    for skipped in manifest.skipped[:MOST_NAMED]:
        print(f"skipped {skipped}")
    if len(manifest.skipped) > MOST_NAMED:
        print(f"skipped {len(manifest.skipped) - MOST_NAMED:,} more images")
    if name == "folder":
        print_columns(lazy.columns_of(source_of(own)))
    print(f"{manifest.count:,} images with {len(manifest.attributes)} attributes are in {folder}")


def prepare_folder(recipe: Recipe, own: OwnImages) -> Path:
    """Prepare the user's own images for a recipe and return the prepared folder."""
    if not isinstance(recipe.data, Folder):
        raise ValueError(f"--images is only for the recipe 'folder'; '{recipe.name}' has its own data: omit --images")
    require_image_size(recipe.data.size)
    return lazy.prepare_once(source_of(own), recipe.data.size, lazy.cache_folder(), skip_bad=own.skip_bad)


DATA_COMMANDS = {"check": check, "download": download, "prepare": prepare}
