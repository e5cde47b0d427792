"""The folder for data that are kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of downloads, prepared images and judges: $JACSUP_CACHE, or ~/.cache/jacsup.

    Raises:
        ValueError: There is no home folder, and JACSUP_CACHE is not set.
    """
    try:
        return Path(os.environ.get("JACSUP_CACHE") or Path.home() / ".cache" / "jacsup")
    except RuntimeError:
        raise ValueError("there is no home folder for the cache; set JACSUP_CACHE to a writable folder") from None


def require_writable(folder: Path) -> None:
    """Create a folder of the cache and check that it is writable, before the work whose results it will contain.

    Args:
        folder: The folder.

    Raises:
        ValueError: The folder cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"the cache {folder} cannot be written to ({error.strerror}); set JACSUP_CACHE to a writable folder"
        ) from None
