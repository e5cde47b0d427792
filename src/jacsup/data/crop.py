"""Read an encoded image as a square of pixels."""

from __future__ import annotations

import io
import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from jacsup.photo import HEIC, MOST_PIXELS, open_image

SMALLEST_SIDE = 8


def read_square(content: bytes, size: int, scale: float = 1.0) -> UInt8[np.ndarray, "3 size size"]:
    """Crop an encoded image to its largest centred square, and resize it with anti-aliasing.

    The orientation in EXIF is applied; transparent pixels become white, 16 bits become 8.

    Args:
        content: The bytes of an image file.
        size: Side of the square, in pixels.
        scale: Factor of the pixel values.

    Returns:
        RGB pixels.

    Raises:
        ValueError: The image has an unknown format, or is too small or too large.
        OSError: The image is damaged.
    """
    try:
        image = open_image(io.BytesIO(content))
    except UnidentifiedImageError:
        heic = "; it is a HEIC photo: run `pip install 'jacsup[heic]'`" if content[4:12] in HEIC else ""
        raise ValueError(f"it is not an image in a known format{heic}") from None
    if math.prod(image.size) > MOST_PIXELS:
        raise ValueError(f"it has {image.width}x{image.height} pixels; must have at most {MOST_PIXELS:,}")
    # A JPEG may be decoded at a half, a quarter or an eighth of its size if that is still twice the size needed.
    image.draft(None, (2 * size, 2 * size))
    ImageOps.exif_transpose(image, in_place=True)
    width, height = image.size
    side = min(width, height)
    if side < SMALLEST_SIDE:
        raise ValueError(f"it has {width}x{height} pixels; both sides must have at least {SMALLEST_SIDE}")
    left, top = (width - side) // 2, (height - side) // 2
    square = _rgb(image.crop((left, top, left + side, top + side)), scale)
    pixels = np.asarray(square.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _rgb(image: Image.Image, scale: float) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("the range of its pixels is unknown; must be integers of 1, 8 or 16 bits")
        return Image.fromarray((pixels * (scale / 257)).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if scale != 1:
        return Image.eval(_rgb(image, 1.0), lambda value: min(255, round(value * scale)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
