"""Read photos from any source as upright 8-bit RGB or RGBA."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from jacsup.bounded import require_regular

Source = str | os.PathLike[str] | bytes | Image.Image
SMALLEST_SIDE = 16
MOST_PIXELS = 100_000_000
# The largest profile that Pillow reads back from a PNG; profiles of screens and cameras have a few kilobytes.
MOST_PROFILE = 2**20
# The most pixels per side that a format has.
MOST_SIDE = {"GIF": 65_535, "JPEG": 65_500, "WEBP": 16_383}
# The formats that photos come in. Some of Pillow's other formats start another program.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
# How the file names of edited photos end.
RESULTS = ("-edited", "-sweep", "-morph")
# The format of phones, which Pillow reads with the extra `heic`, and how its files go on after their first four bytes.
HEIC = (b"ftypheic", b"ftypheix", b"ftypheim", b"ftyphevc", b"ftypmif1", b"ftypmsf1")


def name_of(source: Source) -> str:
    """Return the name of a photo in messages: its file's path, if it has one."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else "the photo"


def photo_endings() -> set[str]:
    """Return the file name extensions of photos, in lower case."""
    _prepare_pillow()
    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}


def earlier_results(names: Iterable[str]) -> set[str]:
    """Return those of the names that are edits of others, such as me-edited.png beside me.jpg."""
    stems = {name: os.path.splitext(name)[0] for name in names}
    originals = {*stems.values()}
    return {
        name
        for name, stem in stems.items()
        if any(stem.endswith(end) and stem.removesuffix(end) in originals for end in RESULTS)
    }


def is_image(file: str | os.PathLike[str] | io.BytesIO) -> bool:
    """Return whether a file starts like an image in one of FORMATS, whatever its name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_image(file).close()
    # Pillow raises all kinds of errors for damaged files.
    except Exception:
        return False
    return True


def open_image(file: str | os.PathLike[str] | io.BytesIO) -> Image.Image:
    """Open an image in one of FORMATS, whatever its name.

    Args:
        file: A file's path or content.

    Raises:
        PIL.UnidentifiedImageError: The file has another format.
        Exception: Whatever Pillow raises for damaged files.
    """
    _prepare_pillow()
    return Image.open(file, formats=[known for known in FORMATS if known in Image.OPEN])


def read_photo(source: Source) -> Image.Image:
    """Return the upright photo, RGBA if it has transparency, else RGB, with 8 bits per channel.

    16 bits are scaled, the EXIF orientation is applied, and of an animation the first frame is read. `info` keeps only
    an RGB colour profile, as `icc_profile`, which belongs in the saved result (PNG takes it from there, JPEG as an
    argument): no location, no camera, no orientation that would be applied twice.

    Args:
        source: A file, a file's bytes, or a Pillow image, which is not changed.

    Raises:
        ValueError: The source is not an image, is damaged, has a side below 16 pixels or more than 100 megapixels. The
            size is read from the file's header before anything is decoded.
    """
    name = name_of(source)
    # Pillow warns about unusual metadata, which do not matter, and about sizes, which are checked here.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(source, Image.Image):
            return _decoded(source, name, own=False)
        if not isinstance(source, bytes):
            require_regular(source)
        try:
            image = open_image(io.BytesIO(source) if isinstance(source, bytes) else source)
        except Image.UnidentifiedImageError:
            raise _unreadable(name, _kind_of_unknown(source)) from None
        except Image.DecompressionBombError:
            raise _wrong_size(name, "far too many") from None
        except Exception as error:  # Pillow raises all kinds of errors for damaged files
            raise _unreadable(name, getattr(error, "strerror", None) or str(error)) from None
        with image:
            return _decoded(image, name, own=True)


def opaque(image: Image.Image) -> Image.Image:
    """Return the image as RGB, on a white background."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _prepare_pillow() -> None:
    """Register Pillow's formats, and that of phones where its package is installed."""
    Image.init()
    if "HEIF" not in Image.OPEN and importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()


def _kind_of_unknown(source: str | os.PathLike[str] | bytes) -> str:
    """What can be said about an image that Pillow does not recognise."""
    start = source[:12] if isinstance(source, bytes) else b""
    if not isinstance(source, bytes):
        with contextlib.suppress(OSError), open(source, "rb") as file:
            start = file.read(12)
    if start[4:] in HEIC:
        return "it is a HEIC photo, as phones save them; run `pip install 'jacsup[heic]'` to read it"
    return "it is damaged or has an unknown format"


def is_grey(photo: Image.Image) -> bool:
    """Return whether all pixels of a photo are grey, whatever its mode.

    Args:
        photo: RGB or RGBA, as `read_photo` returns it.
    """
    factor = max(1, min(photo.size) // 128)
    pixels = np.asarray(photo.reduce(factor).convert("RGB"))
    return bool((pixels == pixels[..., :1]).all())


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as the bytes of a file in Pillow's format `kind`, with its colour profile.

    Raises:
        ValueError: The image is too large for the format.
    """
    if max(image.size) > (most := MOST_SIDE.get(kind, max(image.size))):
        size = f"{image.width}x{image.height}"
        raise ValueError(f"the photo has {size} pixels; a {kind} file has at most {most:,} per side; save it as PNG")
    content = io.BytesIO()
    image.save(content, kind, icc_profile=image.info.get("icc_profile"), **options)
    return content.getvalue()


def _decoded(image: Image.Image, name: str, *, own: bool) -> Image.Image:
    """The image as `read_photo` returns it. `own` allows changing it in place."""
    width, height = image.size
    if min(width, height) < SMALLEST_SIDE or width * height > MOST_PIXELS:
        raise _wrong_size(name, f"{width}x{height}")
    try:
        upright = ImageOps.exif_transpose(image, in_place=own) or image
        photo = _eight_bit(upright).convert("RGBA" if upright.has_transparency_data else "RGB")
    except Exception as error:
        raise _unreadable(name, str(error)) from None
    profile = image.info.get("icc_profile") or b""
    photo.info = {}
    # A profile for grey or CMYK does not fit the converted image.
    if profile[16:20] == b"RGB ":
        if len(profile) > MOST_PROFILE:
            raise ValueError(
                f"{name} has a colour profile of {len(profile):,} bytes; must have at most {MOST_PROFILE:,}; "
                "save it as sRGB"
            )
        photo.info["icc_profile"] = profile
    return photo


def _eight_bit(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow itself would clip, scaled to 8 bits; other images as they are."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits; save it with 8 or 16 bits per channel")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _wrong_size(name: str, size: str) -> ValueError:
    limits = f"at least {SMALLEST_SIDE} pixels per side and at most {MOST_PIXELS // 1_000_000} megapixels"
    return ValueError(f"{name} has {size} pixels; must have {limits}; resize it first")


def _unreadable(name: str, reason: str) -> ValueError:
    reason = " ".join(reason.split())
    return ValueError(
        f"{name} cannot be read as a photo: {reason}; must be an intact JPEG, PNG, WebP, GIF, TIFF or BMP file"
    )
