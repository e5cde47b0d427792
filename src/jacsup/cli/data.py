"""The command line's part that gets data sets ready."""

from __future__ import annotations

from pathlib import Path

import tyro

from jacsup.config import Folder, Recipe, require_image_size

Positional = tyro.conf.Positional


def download(name: Positional[str], /, *, data_root: Path | None = None) -> None:
    """Download a public data set: mnist or svhn.

    Args:
        name: mnist or svhn.
        data_root: Where to put the files; the user's cache without one.
    """
    from jacsup.data import cache_folder, find_download
    from jacsup.data.download import download as fetch

    source = find_download(name)
    root = data_root or cache_folder() / name
    fetch(source, root)
    print(f"{name} is in {root}")


def prepare(
    name: Positional[str],
    /,
    *,
    data_root: Path | None = None,
    size: int = 64,
    images: str | None = None,
    attributes: Path | None = None,
    drop: tuple[str, ...] = (),
    skip_bad: bool = False,
) -> None:
    """Decode a set of images once, into one file that training reads, and check it: celeba or folder.

    Args:
        name: celeba or folder.
        data_root: CelebA's folder, in its official layout.
        size: Side of the square images: 32, 64, 128, 256 or 512.
        images: For folder: a folder, a .zip, a .parquet file or hf:owner/name.
        attributes: For folder: a CSV, file names in the first column, one attribute in each other one.
        drop: For folder: attributes to leave out.
        skip_bad: Leave damaged images out.
    """
    from jacsup.data import cache_folder
    from jacsup.data.celeba import prepare_celeba
    from jacsup.data.prepare import ImageSource, prepare_once
    from jacsup.data.prepared import load_prepared, read_manifest

    require_image_size(size)
    if name == "celeba":
        folder = prepare_celeba(data_root, size, cache_folder(), skip_bad=skip_bad)
    elif name == "folder" and images:
        folder = prepare_once(ImageSource(images, attributes, drop=drop), size, cache_folder(), skip_bad=skip_bad)
    else:
        raise ValueError(f"'{name}' cannot be prepared so; allowed are celeba --data-root DIR and folder --images DIR")
    load_prepared(folder, verify=True)
    manifest = read_manifest(folder)
    for skipped in manifest.skipped:
        print(f"skipped {skipped}")
    print(f"{manifest.count:,} images with {len(manifest.attributes)} attributes are in {folder}")


def prepare_folder(
    recipe: Recipe, images: str, attributes: Path | None, drop: tuple[str, ...], *, skip_bad: bool
) -> Path:
    """The prepared folder that a recipe for one's own images trains on."""
    from jacsup.data import cache_folder
    from jacsup.data.prepare import ImageSource, prepare_once

    if not isinstance(recipe.data, Folder):
        raise ValueError(f"--images is for the recipe folder; '{recipe.name}' has its own data")
    require_image_size(recipe.data.size)
    source = ImageSource(images, attributes, drop=drop)
    return prepare_once(source, recipe.data.size, cache_folder(), skip_bad=skip_bad)


DATA_COMMANDS = {"download": download, "prepare": prepare}
