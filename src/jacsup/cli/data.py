"""The commands under `jacsup data`: get data sets ready."""

from __future__ import annotations

from pathlib import Path

from jacsup.cli import lazy
from jacsup.cli.options import Flag, Name, Option, Several
from jacsup.config import Folder, Recipe, require_image_size


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


def prepare(
    name: Name,
    /,
    *,
    data_root: Option[Path] = None,
    size: int = 64,
    images: Option[str] = None,
    attributes: Option[Path] = None,
    drop: Several[str] = (),
    skip_bad: Flag = False,
) -> None:
    """Decode a set of images once, into one file for training, and verify that file.

    Args:
        name: celeba or folder.
        data_root: For celeba: the folder with CelebA in its official layout.
        size: Side of the square images in pixels: 32, 64, 128, 256 or 512.
        images: For folder: a folder, a .zip file, a .parquet file or hf:owner/name.
        attributes: For folder: a CSV file with file names in its first column and one attribute in each other column.
        drop: For folder: attributes to ignore.
        skip_bad: Skip damaged images instead of stopping at the first one.
    """
    require_image_size(size)
    if name == "celeba":
        folder = lazy.prepare_celeba(data_root, size, lazy.cache_folder(), skip_bad=skip_bad)
    elif name == "folder" and images:
        source = lazy.ImageSource(images, attributes, drop=drop)
        folder = lazy.prepare_once(source, size, lazy.cache_folder(), skip_bad=skip_bad)
    elif name == "folder":
        raise ValueError("`jacsup data prepare folder` needs the images; pass them as --images DIR")
    else:
        raise ValueError(f"cannot prepare '{name}'; must be one of celeba, folder")
    lazy.load_prepared(folder, verify=True)
    manifest = lazy.read_manifest(folder)
    for skipped in manifest.skipped:
        print(f"skipped {skipped}")
    print(f"{manifest.count:,} images with {len(manifest.attributes)} attributes are in {folder}")


def prepare_folder(
    recipe: Recipe, images: str, attributes: Path | None, drop: tuple[str, ...], *, skip_bad: bool
) -> Path:
    """Prepare the user's own images for a recipe and return the prepared folder."""
    if not isinstance(recipe.data, Folder):
        raise ValueError(f"--images is only for the recipe 'folder'; '{recipe.name}' has its own data: omit --images")
    require_image_size(recipe.data.size)
    source = lazy.ImageSource(images, attributes, drop=drop)
    return lazy.prepare_once(source, recipe.data.size, lazy.cache_folder(), skip_bad=skip_bad)


DATA_COMMANDS = {"download": download, "prepare": prepare}
