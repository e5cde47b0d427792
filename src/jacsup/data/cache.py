"""The folder of what is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of downloads, prepared images and judges: $JACSUP_CACHE, or ~/.cache/jacsup."""
    return Path(os.environ.get("JACSUP_CACHE") or Path.home() / ".cache" / "jacsup")
