from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jacsup.data.columns import attributes_of, understand
from jacsup.data.crop import read_square
from jacsup.data.images import open_images, state_of

RED = (200, 30, 60)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def flat(mode: str, colour: Any) -> Image.Image:
    return Image.new(mode, (20, 24), colour)


def with_palette(**options: Any) -> bytes:
    return encoded(flat("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE), **options)


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(flat("RGB", RED)), RED),
        (encoded(flat("L", 77)), (77, 77, 77)),
        (encoded(flat("1", 1)), (255, 255, 255)),
        (encoded(flat("I;16", 77 * 257)), (77, 77, 77)),
        (encoded(flat("I", 77 * 257), "TIFF"), (77, 77, 77)),
        (encoded(flat("RGBA", (*RED, 255))), RED),
        (encoded(flat("RGBA", (*RED, 0))), (255, 255, 255)),
        (encoded(flat("RGBA", (*RED, 51))), tuple(round(0.2 * c + 0.8 * 255) for c in RED)),
        (encoded(flat("LA", (100, 51))), (224, 224, 224)),
        (encoded(flat("RGB", RED), transparency=RED), (255, 255, 255)),
        (encoded(flat("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (with_palette(), RED),
        (with_palette(transparency=0), (255, 255, 255)),
        (with_palette(kind="GIF"), RED),
    ],
)
def test_every_mode_becomes_rgb(content: bytes, colour: tuple[int, ...]) -> None:
    square = read_square(content, 8)
    assert (square.shape, square.dtype, square.flags.c_contiguous) == ((3, 8, 8), np.uint8, True)
    np.testing.assert_array_equal(square, np.broadcast_to(np.array(colour, np.uint8)[:, None, None], (3, 8, 8)))


@pytest.mark.parametrize(("width", "height", "box"), [(178, 218, (0, 20)), (50, 31, (9, 0)), (16, 16, (0, 0))])
def test_the_crop_is_the_largest_centred_square(width: int, height: int, box: tuple[int, int]) -> None:
    pixels = noise(width, height)
    side, (left, top) = min(width, height), box
    expected = pixels[top : top + side, left : left + side].transpose(2, 0, 1)
    np.testing.assert_array_equal(read_square(encoded(Image.fromarray(pixels)), side), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    upright = noise(12, 16)
    turn = {3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}.get(orientation, 0)
    stored = np.rot90(upright, turn)
    stored = np.flip(stored, 1) if orientation in (2, 4) else np.flip(stored, 0) if orientation in (5, 7) else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_square(encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif), 12)
    np.testing.assert_array_equal(found, upright[2:14].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_shrinking_averages(kind: str) -> None:
    stripes = np.indices((256, 256)).sum(0) % 2 * np.uint8(255)
    found = read_square(encoded(Image.fromarray(stripes.astype(np.uint8)), kind), 16)
    assert np.abs(found.astype(int) - 127.5).max() < 8


def test_a_jpeg_that_is_decoded_smaller_looks_the_same() -> None:
    y, x = np.mgrid[:512, :512] / 512
    waves = np.stack([np.sin(9 * x + 5 * y), np.cos(7 * y), np.sin(4 * x * y)], -1) * 100 + 128
    image = Image.fromarray(waves.astype(np.uint8))
    small, whole = (
        read_square(encoded(image, kind, **({"quality": 98} if kind == "JPEG" else {})), 32) for kind in ("JPEG", "PNG")
    )
    assert np.abs(small.astype(int) - whole).max() <= 4


def huge_png() -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9)))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (encoded(flat("RGB", RED).resize((1, 1))), "it has 1x1 pixels; both sides must have at least 8"),
        (encoded(flat("RGB", RED).resize((7, 90))), "it has 7x90 pixels"),
        (encoded(flat("F", 0.5), "TIFF"), "the range of its pixels is unknown"),
        (encoded(flat("I", 1 << 20), "TIFF"), "the range of its pixels is unknown"),
        (huge_png(), "1600000000 pixels"),
        (encoded(Image.fromarray(noise(64, 64)), "JPEG")[:1500], "truncated"),
        (b"no image", "it is not an image"),
    ],
)
def test_what_is_no_usable_image_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises((ValueError, OSError, Image.DecompressionBombError), match=problem):
        read_square(content, 16)


FILES = {"b/2.JPG": b"two", "a/3.png": b"three", "1.webp": b"one"}
NO_IMAGES = {"notes.txt": b"", "a/._3.png": b"", "__MACOSX/a/._3.png": b""}


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_folders_and_archives_are_read_alike(tmp_path: Path) -> None:
    files = FILES | NO_IMAGES
    for where in (folder_of(tmp_path / "faces", files), zip_of(tmp_path / "faces.zip", files)):
        with open_images(where) as images:
            assert images.names == ["1.webp", "a/3.png", "b/2.JPG"]
            assert [images.read(i) for i in range(3)] == [FILES[name] for name in images.names]
            assert images.table is images.splits is None


def test_the_state_changes_with_the_images(tmp_path: Path) -> None:
    where = folder_of(tmp_path / "faces", FILES)
    states = {state_of(where)}
    (where / "notes.txt").write_text("no image")
    assert state_of(where) in states
    (where / "1.webp").write_bytes(b"longer")
    states.add(state_of(where))
    (where / "4.png").write_bytes(b"four")
    states.add(state_of(where))
    (where / "4.png").rename(where / "5.png")
    assert len(states | {state_of(where)}) == 4


def test_where_there_are_no_images(tmp_path: Path) -> None:
    text = folder_of(tmp_path / "text", NO_IMAGES)
    for where, problem in (
        (text, "has no images; must contain files in the formats AVIF, "),
        (zip_of(tmp_path / "text.zip", NO_IMAGES), "has no images; must contain files in the formats AVIF, "),
        (text / "notes.txt", "pass a folder of images or an intact .zip"),
        (tmp_path / "none", "No such file or directory"),
    ):
        with pytest.raises(ValueError, match=problem) as caught, open_images(where):
            pass
        assert str(caught.value).startswith(str(where))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets", reason="needs the extra hub")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    datasets.disable_progress_bars()
    return datasets


def write_parquet(hub: Any, path: Path, rows: range, name_of: Callable[[int], str | None]) -> None:
    kinds = {
        "image": hub.Image(),
        "smiling": hub.Value("bool"),
        "age": hub.Value("float32"),
        "male": hub.ClassLabel(names=["no", "yes"]),
        "country": hub.ClassLabel(names=["a", "b", "c"]),
        "note": hub.Value("string"),
    }
    content = {
        "image": [{"bytes": b"%d" % row, "path": name_of(row)} for row in rows],
        "smiling": [row % 2 == 0 for row in rows],
        "age": [None if row == 1 else float(row) for row in rows],
        "male": [-1 if row == 2 else row % 2 for row in rows],
        "country": [0 for _ in rows],
        "note": ["" for _ in rows],
    }
    path.parent.mkdir(exist_ok=True)
    hub.Dataset.from_dict(content, features=hub.Features(kinds)).to_parquet(path)


def test_links_are_followed_once(tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    (photos / "own").mkdir(parents=True)
    elsewhere.mkdir()
    (photos / "own" / "a.jpg").write_bytes(b"a")
    (elsewhere / "b.jfif").write_bytes(b"b")
    (photos / "more").symlink_to(elsewhere)
    (photos / "again").symlink_to(photos)
    (photos / "own" / "loop").symlink_to(photos / "own")
    (photos / "c.png").symlink_to(elsewhere / "b.jfif")
    (photos / "broken.png").symlink_to(tmp_path / "nothing")
    with open_images(photos) as images:
        assert images.names == ["broken.png", "c.png", "more/b.jfif", "own/a.jpg"]
        assert images.read(2) == images.read(1) == b"b"
        with pytest.raises(OSError, match="No such file"):
            images.read(0)
    before = state_of(photos)
    (elsewhere / "b.jfif").write_bytes(b"changed")
    assert state_of(photos) != before


def test_parquet_with_images_alone_has_no_table(hub: Any, tmp_path: Path) -> None:
    content = {"image": [{"bytes": b"%d" % row, "path": None} for row in range(11)], "note": [*"abcdefghijk"]}
    kinds = hub.Features({"image": hub.Image(), "note": hub.Value("string")})
    hub.Dataset.from_dict(content, features=kinds).to_parquet(tmp_path / "faces.parquet")
    with open_images(tmp_path / "faces.parquet") as images:
        assert images.table is None and images.read(1) == b"1"


def test_a_row_may_name_an_image_beside_it(hub: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"inside")
    (tmp_path.parent / "secret.png").write_bytes(b"secret")
    paths = ["a.png", "../secret.png", str(tmp_path.parent / "secret.png")]
    kinds = hub.Features({"image": {"bytes": hub.Value("binary"), "path": hub.Value("string")}})
    content = {"image": [{"bytes": None, "path": path} for path in paths]}
    hub.Dataset.from_dict(content, features=kinds).to_parquet(tmp_path / "faces.parquet")
    with open_images(tmp_path / "faces.parquet") as images:
        assert images.read(0) == b"inside"
        for row in (1, 2):
            with pytest.raises(ValueError, match="which is outside"):
                images.read(row)


def test_parquet_with_its_own_attributes(hub: Any, tmp_path: Path) -> None:
    write_parquet(hub, tmp_path / "faces.parquet", range(3), lambda row: f"{row}.jpg")
    with open_images(tmp_path / "faces.parquet") as images:
        assert images.names == ["0.jpg", "1.jpg", "2.jpg"]
        assert [images.read(i) for i in (2, 0, 1)] == [b"2", b"0", b"1"]
        assert images.splits is None
        assert images.table and images.table.columns == ("smiling", "age", "male", "country", "note")
        names, values = attributes_of("", understand(images.table))
        nan = float("nan")
        assert names == ("smiling", "age", "male")
        np.testing.assert_array_equal(values, [[1, 0, -1], [-1, nan, 1], [1, 2, nan]])


@pytest.mark.parametrize(
    ("splits", "partition"),
    [
        (("train", "validation", "test"), [0, 0, 1, 1, 2, 2]),
        (("train", "validation"), [0, 0, 2, 2]),
        (("train",), None),
        (("test",), None),
    ],
)
def test_splits_of_parquet_files(
    hub: Any, tmp_path: Path, splits: tuple[str, ...], partition: list[int] | None
) -> None:
    for number, split in enumerate(splits):
        rows = range(2 * number, 2 * number + 2)
        write_parquet(hub, tmp_path / "faces" / f"{split}-00000-of-00001.parquet", rows, lambda _: None)
    with open_images(tmp_path / "faces") as images:
        assert images.names == [f"{split}-{row:07d}" for split in splits for row in range(2)]
        assert [images.read(i) for i in range(len(images.names))] == [b"%d" % i for i in range(2 * len(splits))]
        assert images.splits == partition


def test_parquet_without_images_and_damaged(hub: Any, tmp_path: Path) -> None:
    hub.Dataset.from_dict({"age": [1, 2]}).to_parquet(tmp_path / "ages.parquet")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    for name, problem in (("ages", "has no column of images; its columns are age"), ("damaged", "cannot be read")):
        path = tmp_path / f"{name}.parquet"
        with pytest.raises(ValueError, match=rf"\A[^\n]*{problem}[^\n]*\Z"), open_images(path):
            pass


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"hf:a/b: .*run `pip install 'jacsup\[hub\]'`"), open_images("hf:a/b"):
        pass
