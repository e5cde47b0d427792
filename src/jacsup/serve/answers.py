"""Functions that the studios of attributes and of units share: images, numbers in requests, and test images."""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from jacsup.data.dataset import Split
from jacsup.models import Autoencoder
from jacsup.models.residual import ResidualAutoencoder
from jacsup.photo import encoded, opaque

# Number of images to start from.
NUM_STARTS = 8


def as_number(value: object, name: str) -> float:
    """Return a number from a request. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6 or value != value:
        raise ValueError(f"{name:.40} is {value!r:.40}; must be a number")
    return float(value)


def amount_of(model: Autoencoder) -> float | None:
    """Return the share of the rest that a residual student adds to its teacher's image; None for other models."""
    return model.config.amount if isinstance(model, ResidualAutoencoder) else None


def with_amount(model: Autoencoder, asked: dict[str, Any]) -> Autoencoder:
    """Return the model at the requested `amount`, if it has one."""
    if not isinstance(model, ResidualAutoencoder) or "amount" not in asked:
        return model
    return model.with_amount(as_number(asked["amount"], "amount"))


def test_images(model: Autoencoder) -> Split | None:
    """Return the test images of the model's data set, or None if it is not on this machine."""
    from jacsup.data.of_run import find_data

    source: Path | None = getattr(model, "source", None)
    # The data may have been moved, or the model may have come without them.
    with contextlib.suppress(ValueError, OSError):
        return find_data(source, None, fetch=False).test if source else None
    return None


def image_of(pixels: UInt8[Tensor, "c h w"]) -> Image.Image:
    """Return pixels as an image."""
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy())


def in_page(pixels: UInt8[Tensor, "c h w"]) -> str:
    """Return the pixels as a data URL that a page can show."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(image_of(pixels))).decode()}"


def png(image: Image.Image) -> bytes:
    """Return the image as a PNG file."""
    return encoded(image, "PNG", compress_level=1)


def jpeg(image: Image.Image) -> bytes:
    """Return the image as a JPEG file; JPEG has no transparency."""
    return encoded(opaque(image), "JPEG", quality=90)
