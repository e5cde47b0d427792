from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from jacsup.data.crop import read_square
from jacsup.photo import encoded, open_image, photo_endings, read_photo

ORIENTATION = 0x0112
SIZE = (24, 17)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CMYK_PROFILE = SRGB[:16] + b"CMYK" + SRGB[20:]


def pixels(*shape: int, most: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, shape, dtype=np.uint8 if most == 256 else np.uint16)


def rgb() -> Image.Image:
    return Image.fromarray(pixels(17, 24, 3))


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def same(photo: Image.Image, expected: np.ndarray, mode: str = "RGB") -> None:
    assert photo.mode == mode
    np.testing.assert_array_equal(np.asarray(photo), expected)


def in_colour(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.mark.parametrize("kind", ["path", "string", "bytes", "image"])
def test_a_photo_comes_from_anywhere(tmp_path: Path, kind: str) -> None:
    rgb().save(tmp_path / "photo.png")
    sources: dict[str, Callable[[], Any]] = {
        "path": lambda: tmp_path / "photo.png",
        "string": lambda: str(tmp_path / "photo.png"),
        "bytes": lambda: saved(rgb(), "PNG"),
        "image": rgb,
    }
    photo = read_photo(sources[kind]())
    same(photo, pixels(17, 24, 3))
    assert photo.size == SIZE


def test_the_callers_image_stays_as_it_is() -> None:
    image = rgb()
    image.info["comment"] = "mine"
    photo = read_photo(image)
    photo.putpixel((0, 0), (1, 2, 3))
    same(image, pixels(17, 24, 3))
    assert image.info == {"comment": "mine"}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG2000", "GIF"])
def test_grey_and_colour_in_every_lossless_format(format: str) -> None:
    grey = pixels(17, 24)
    options = {"lossless": True} if format == "WEBP" else {}
    same(read_photo(saved(Image.fromarray(grey), format, **options)), in_colour(grey))
    if format != "GIF":
        same(read_photo(saved(rgb(), format, **options)), pixels(17, 24, 3))


# Where EXIF says that the stored image's first row and first column are to be seen.
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Every stored pixel, one by one, put where it is to be seen."""
    height, width = stored.shape[:2]
    row_side, column_side = FIRST_ROW_AND_COLUMN[orientation]
    seen = np.zeros_like(stored if row_side in ("top", "bottom") else stored.swapaxes(0, 1))
    for row in range(height):
        for column in range(width):
            place = {row_side: row, column_side: column}
            lines, across = seen.shape[:2]
            i = place["top"] if "top" in place else lines - 1 - place["bottom"]
            j = place["left"] if "left" in place else across - 1 - place["right"]
            seen[i, j] = stored[row, column]
    return seen


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_is_applied_once(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    photo = read_photo(saved(rgb(), format, exif=exif, **({"lossless": True} if format == "WEBP" else {})))
    expected = upright(pixels(17, 24, 3), orientation)
    same(photo, expected)
    same(read_photo(saved(photo, "PNG")), expected)


def test_a_jpegs_orientation_and_place_are_not_written_again() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif.get_ifd(0x8825)[1] = "N"
    photo = read_photo(saved(rgb(), "JPEG", exif=exif))
    assert photo.size == SIZE[::-1]
    assert photo.info == {}
    assert dict(opened(saved(photo, "JPEG")).getexif()) == {}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_sixteen_bits_are_scaled(format: str, orientation: int) -> None:
    values = pixels(17, 24, most=65536)
    values.ravel()[:4] = [0, 65535, 128, 129]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation if format != "PPM" else 1
    photo = read_photo(saved(Image.fromarray(values), format, exif=exif))
    expected = in_colour(np.rint(values / 257).astype(np.uint8))
    same(photo, upright(expected, exif[ORIENTATION]))


def png_of_sixteen_bits(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG that Pillow cannot write: 16 bits a channel in colour."""
    height, width = values.shape[:2]

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("channels", "colour_type", "mode"), [(3, 2, "RGB"), (4, 6, "RGBA"), (2, 4, "RGBA")])
def test_sixteen_bit_colour(channels: int, colour_type: int, mode: str) -> None:
    values = pixels(17, 24, channels, most=65536)
    photo = read_photo(png_of_sixteen_bits(values, colour_type))
    assert photo.mode == mode
    expected = values / 257 if channels > 2 else values[..., [0, 0, 0, 1]] / 257
    np.testing.assert_allclose(np.asarray(photo), expected, atol=1)


def test_cmyk_becomes_rgb_and_loses_its_profile() -> None:
    ink = Image.new("CMYK", SIZE, (255, 0, 0, 0))
    photo = read_photo(saved(ink, "JPEG", icc_profile=CMYK_PROFILE))
    assert photo.info == {}
    np.testing.assert_allclose(np.asarray(photo), np.broadcast_to([0, 255, 255], (17, 24, 3)), atol=3)


def test_a_colour_profile_is_kept() -> None:
    photo = read_photo(saved(rgb(), "PNG", icc_profile=SRGB))
    assert photo.info == {"icc_profile": SRGB}
    assert opened(saved(photo, "PNG")).info["icc_profile"] == SRGB


def test_transparency_is_kept() -> None:
    rgba, grey = pixels(17, 24, 4), pixels(17, 24, 2)
    same(read_photo(saved(Image.fromarray(rgba), "PNG")), rgba, "RGBA")
    same(read_photo(saved(Image.fromarray(grey), "PNG")), grey[..., [0, 0, 0, 1]], "RGBA")


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palettes(format: str) -> None:
    palette, places = pixels(4, 3), pixels(17, 24) % 4
    image = Image.fromarray(places)
    image.putpalette(palette.tobytes())
    same(read_photo(saved(image, format)), palette[places])
    with_alpha = np.concatenate([palette[places], np.where(places == 2, 0, 255)[..., None].astype(np.uint8)], axis=2)
    photo = read_photo(saved(image, format, transparency=2))
    assert photo.mode == "RGBA"
    visible = places != 2  # what lies under the rest is the format's business
    np.testing.assert_array_equal(np.asarray(photo)[visible], with_alpha[visible])
    np.testing.assert_array_equal(np.asarray(photo)[..., 3], with_alpha[..., 3])


def test_black_and_white() -> None:
    bits = pixels(17, 24) > 127
    same(read_photo(saved(Image.fromarray(bits), "PNG")), in_colour(np.where(bits, 255, 0).astype(np.uint8)))


@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_the_first_frame_of_an_animation(format: str, options: dict[str, Any]) -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "lime")]
    photo = read_photo(saved(frames[0], format, save_all=True, append_images=frames[1:], **options))
    same(photo.convert("RGB"), np.broadcast_to(np.array([255, 0, 0], np.uint8), (17, 24, 3)))


def png_header(width: int, height: int) -> bytes:
    """A PNG that stops after its header: whoever decodes it fails."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return start + struct.pack(">I", 8) + b"IDAT"


JPEG = saved(rgb(), "JPEG")
PNG = saved(rgb(), "PNG")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged or has an unknown format"),
        (b"no image at all", "damaged or has an unknown format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "damaged or has an unknown format"),
        (JPEG[: len(JPEG) // 2], "cannot be read as a photo: "),
        (PNG[: len(PNG) // 2], "cannot be read as a photo: "),
        (PNG[:20], "cannot be read as a photo: "),
        (png_header(1, 1), "has 1x1 pixels; must have at least 16 pixels per side and at most 100 megapixels"),
        (png_header(300, 15), "has 300x15 pixels"),
        (png_header(10_001, 10_000), "has 10001x10000 pixels"),
        (png_header(40_000, 40_000), "far too many pixels"),
        (saved(Image.fromarray(np.ones((17, 24), np.float32)), "TIFF"), "floating-point"),
        (saved(Image.fromarray(np.full((17, 24), 65536, np.int32)), "TIFF"), "more than 16 bits"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        read_photo(path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)


def test_missing_files_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.jpg cannot be read as a photo: No such file"):
        read_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(ValueError, match=r"cannot be read as a photo: Is a directory"):
        read_photo(tmp_path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_damage_never_surfaces_as_anything_but_a_value_error(format: str) -> None:
    whole = saved(rgb(), format)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(100):
        content = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        try:
            photo = read_photo(bytes(content))
            assert photo.mode in ("RGB", "RGBA")
        except ValueError:
            refused += 1
    assert refused > 30


def heic_photo() -> bytes:
    heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    heif.register_heif_opener()
    file = io.BytesIO()
    Image.new("RGB", (40, 32), (200, 30, 60)).save(file, "HEIF", quality=95)
    return file.getvalue()


def test_photos_of_phones_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(heic_photo())
    photo = read_photo(tmp_path / "a.heic")
    assert photo.size == (40, 32) and np.abs(np.asarray(photo).astype(int) - (200, 30, 60)).max() < 6
    assert ".heic" in photo_endings()
    assert read_square(heic_photo(), 8).shape == (3, 8, 8)


def test_photos_of_phones_say_what_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = heic_photo()
    (tmp_path / "a.heic").write_bytes(content)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    for source in (content, tmp_path / "a.heic"):
        with pytest.raises(
            ValueError, match=r"it is a HEIC photo, as phones save them; run `pip install 'jacsup\[heic\]'`"
        ):
            read_photo(source)
    with pytest.raises(ValueError, match=r"not an image in a known format; it is a HEIC photo"):
        read_square(content, 8)


@pytest.mark.parametrize(("kind", "most"), [("GIF", 65_535), ("JPEG", 65_500), ("WEBP", 16_383)])
def test_a_format_that_has_no_images_of_this_size_is_named(kind: str, most: int) -> None:
    assert open_image(io.BytesIO(encoded(Image.new("RGB", (16, most)), kind))).size == (16, most)
    with pytest.raises(ValueError, match=rf"has 16x{most + 1} pixels; a {kind} file has at most .*; save it as PNG"):
        encoded(Image.new("RGB", (16, most + 1)), kind)
