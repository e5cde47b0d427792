"""The user's own images, from a prepared folder."""

from __future__ import annotations

from pathlib import Path

from jacsup.config import Folder
from jacsup.data.dataset import Dataset
from jacsup.data.prepared import MANIFEST, load_prepared, read_manifest
from jacsup.data.spec import DatasetSpec


def load_folder(config: Folder, root: Path | None) -> Dataset:
    """Load the images of a prepared folder.

    Args:
        config: The data set's config.
        root: A folder that `prepare` has written.

    Returns:
        The data set, with the checksum of the images in its config.

    Raises:
        ValueError: The folder is missing or not prepared, or its images differ in size or content from the config's.
    """
    if root is None:
        raise ValueError("this recipe needs your images; pass --images DIR, or a prepared folder as --data-root")
    if not (root / MANIFEST).is_file():
        command = f"jacsup data prepare folder --images DIR --size {config.size}"
        raise ValueError(f"{root} has no prepared images; prepare them with `{command}` and the training's options")
    manifest = read_manifest(root)
    if manifest.size != config.size:
        raise ValueError(
            f"{root} has images of size {manifest.size}, but the recipe needs {config.size}; prepare them at that size"
        )
    if config.sha256 not in ("", manifest.sha256):
        raise ValueError(
            f"the images or attributes in {root} have changed since this run began "
            f"({config.sha256[:8]} -> {manifest.sha256[:8]}); restore the old ones, or start a new run"
        )
    train, test, attributes = load_prepared(root)
    return Dataset(train, test, Folder(size=config.size, sha256=manifest.sha256), attributes)


DATA_SET = DatasetSpec(load=load_folder, description=lambda config: f"a folder of images at {config.size} pixels")
