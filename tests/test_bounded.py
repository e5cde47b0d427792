"""Strangers' files: what they hold is read within limits, and nothing else of this machine with it."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from jacsup import bounded
from jacsup.bounded import read_file, read_member, require_regular, unpack_gzip
from jacsup.data.crop import read_square
from jacsup.data.images import _beside, open_images
from jacsup.data.tables import read_table
from jacsup.photo import read_photo

# A page of PostScript, which Pillow would hand to Ghostscript.
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_no_other_program_is_started_for_an_image(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    def started(*_arguments: object, **_options: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with open_images(tmp_path) as images, pytest.raises(ValueError, match="it is not an image"):
        read_square(images.read(0), 8)
    with pytest.raises(ValueError, match="cannot be read as a photo"):
        read_photo(tmp_path / name)


def test_a_pipe_is_not_waited_for_and_a_device_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "table.csv")
    for read in (read_photo, read_file):
        with pytest.raises(ValueError, match=r"pipe\.png is not a regular file; pass a regular file"):
            read(tmp_path / "pipe.png")
        with pytest.raises(ValueError, match="/dev/zero is not a regular file"):
            read(Path("/dev/zero"))
    with pytest.raises(ValueError, match=r"table\.csv is not a regular file"):
        read_table(tmp_path / "table.csv")
    with open_images(tmp_path) as images, pytest.raises(ValueError, match="is not a regular file"):
        images.read(0)
    require_regular(tmp_path / "missing.png")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing.png")


def test_large_files_are_refused_before_they_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.png").write_bytes(bytes(1001))
    with pytest.raises(ValueError, match=r"large\.png has more than 0 MiB; use a smaller file"):
        read_file(tmp_path / "large.png", most=1000)
    assert read_file(tmp_path / "large.png", most=1001) == bytes(1001)
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", png())
        archive.writestr("bomb.png", bytes(10_000_000))
    with zipfile.ZipFile(tmp_path / "images.zip") as archive:
        assert read_member(archive, "a.png") == png()
        with pytest.raises(ValueError, match="it has more than 1 MiB"):
            read_member(archive, "bomb.png", most=2**20)


@pytest.mark.parametrize("content", [b"", b"few", bytes(100_000)])
def test_gzip_files_are_unpacked_as_the_library_does(content: bytes) -> None:
    assert unpack_gzip(gzip.compress(content)) == content
    several = gzip.compress(content) + gzip.compress(b"more") + b"\0\0"
    assert unpack_gzip(several) == gzip.decompress(several) == content + b"more"


def test_a_gzip_bomb_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(ValueError, match="it unpacks to more than 1,000 bytes"):
        unpack_gzip(bomb, most=1000)
    with pytest.raises(ValueError, match="it unpacks to more than 1,000 bytes"):
        unpack_gzip(gzip.compress(bytes(999)) + bomb, most=1000)


@pytest.mark.parametrize("kept", [0, 2, 15, 4000])
def test_damaged_gzip_files_are_refused(kept: int) -> None:
    content = gzip.compress(os.urandom(5000))
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    with pytest.raises(ValueError, match=r"Error|CRC|ended before|Not a gzipped"):
        unpack_gzip(content[:kept] or bytes(damaged))


def test_a_row_names_images_beside_its_table_alone(tmp_path: Path) -> None:
    (tmp_path / "table" / "inside").mkdir(parents=True)
    table = tmp_path / "table" / "faces.parquet"
    for where in (table, table.parent):
        assert _beside(str(where), "inside/a.png") == (tmp_path / "table/inside/a.png").resolve()
        for name in ("../secret.png", "/etc/hostname", "inside/../../secret.png"):
            with pytest.raises(ValueError, match="which is outside"):
                _beside(str(where), name)
    (tmp_path / "table" / "link.png").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="which is outside"):
        _beside(str(table), "link.png")
    with pytest.raises(ValueError, match="its row contains no image"):
        _beside("hf:owner/faces", "/etc/hostname")


def test_limits_are_those_of_the_largest_published_files() -> None:
    # EMNIST's largest file unpacks to 547 MB; a 100-megapixel PNG has up to 300 MB.
    assert bounded.MOST_FILE_BYTES > 600e6 and bounded.MOST_IMAGE_BYTES > 200e6
