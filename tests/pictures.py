"""Small image files, and tables for them, as people might have them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(number: int, width: int = 178, height: int = 218, kind: str = "JPEG") -> bytes:
    """A smooth image that no other number has."""
    corners = np.random.default_rng(number).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(corners).resize((width, height)).save(file, kind)
    return file.getvalue()


def write_folder(path: Path, count: int, **options: Any) -> Path:
    path.mkdir(parents=True)
    for number in range(1, count + 1):
        (path / f"{number:06d}.jpg").write_bytes(picture(number, **options))
    return path


def write_table(path: Path, count: int) -> Path:
    rows = [f"{i:06d},{i % 2},{'' if i == 3 else 20 + i},{i % 3 == 0}" for i in range(1, count + 1)]
    path.write_text("\n".join(["file,smiling,age,male", *rows]))
    return path
