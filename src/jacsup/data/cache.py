"""The folder of what is kept between runs."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of downloads, prepared images and judges: $JACSUP_CACHE, or ~/.cache/jacsup.

    Raises:
        ValueError: There is neither.
    """
    try:
        return Path(os.environ.get("JACSUP_CACHE") or Path.home() / ".cache" / "jacsup")
    except RuntimeError:
        raise ValueError("there is no home folder for the cache; set JACSUP_CACHE to a folder to write to") from None


def require_writable(folder: Path) -> None:
    """Create a folder of the cache, before what it shall hold is made with much work.

    Args:
        folder: The folder.

    Raises:
        ValueError: It cannot be created, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(
            f"the cache {folder} cannot be written to ({error.strerror}); set JACSUP_CACHE to a folder that can"
        ) from None
