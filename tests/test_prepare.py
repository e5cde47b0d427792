from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import picture, write_folder, write_table
from PIL import Image

from jacsup.data import prepare as module
from jacsup.data.columns import ColumnChoice
from jacsup.data.crop import read_square
from jacsup.data.prepare import ImageSource, prepare, prepared_folder
from jacsup.data.prepared import Manifest, load_prepared, read_manifest


def test_without_a_partition_the_last_tenth_of_a_shuffle_is_held_out(tmp_path: Path) -> None:
    source = ImageSource(images=write_folder(tmp_path / "faces", 25, width=20, height=20))
    folder = tmp_path / "out"
    manifest = prepare(source, folder, size=8)
    train, test, attributes = load_prepared(folder, verify=True)
    assert (len(train), len(test), attributes, train.attributes) == (23, 2, (), None)
    shuffled = np.random.default_rng(0).permutation(25)
    expected = [f"{i + 1:06d}.jpg" for i in [*sorted(shuffled[:23]), *shuffled[23:]]]
    assert (folder / "names.txt").read_text().splitlines() == expected
    pixels = (folder / "images.u8").read_bytes()
    assert pixels == b"".join(read_square((tmp_path / "faces" / name).read_bytes(), 8).tobytes() for name in expected)
    assert manifest == read_manifest(folder)
    assert manifest.images_sha256 == hashlib.sha256(pixels).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "attributes.npy",
        "images.u8",
        "manifest.json",
        "names.txt",
        "partition.npy",
    ]


class Interrupted(BaseException):
    """Ctrl-C, at a chosen moment."""


@contextmanager
def interrupted(blocks: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def track(items: Sequence[int], _: str) -> Iterator[int]:
        yield from items[:blocks]
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(module, "track", track)
        with pytest.raises(Interrupted):
            yield


@pytest.mark.parametrize("skip", [False, True], ids=["intact", "with damaged images"])
def test_an_interrupted_call_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip: bool) -> None:
    faces = write_folder(tmp_path / "faces", 22, width=20, height=20)
    for number in (2, 13, 14) if skip else ():
        (faces / f"{number:06d}.jpg").write_bytes(b"damaged")
    source = ImageSource(images=faces, attributes=write_table(tmp_path / "table.csv", 22))
    whole = prepare(source, tmp_path / "whole", size=8, skip_bad=skip)
    assert whole.count == 22 - 3 * skip
    monkeypatch.setattr(module, "BLOCK_IMAGES", 4)
    with interrupted(3, monkeypatch):
        prepare(source, tmp_path / "parts", size=8, skip_bad=skip)
    with pytest.raises(
        ValueError, match=r"parts has no manifest\.json, so it is not complete; prepare the images first"
    ):
        load_prepared(tmp_path / "parts")
    with open(tmp_path / "parts" / "images.u8", "ab") as file:
        file.write(b"half a block")
    decoded: list[bytes] = []
    monkeypatch.setattr(
        module, "read_square", lambda content, *how: decoded.append(content) or read_square(content, *how)
    )
    assert prepare(source, tmp_path / "parts", size=8, skip_bad=skip) == whole
    assert len(decoded) == 22 - 12
    load_prepared(tmp_path / "parts", verify=True)


@pytest.mark.parametrize("loss", ["images changed", "pixels lost", "progress damaged"])
def test_what_cannot_be_resumed_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    faces = write_folder(tmp_path / "faces", 12, width=20, height=20)
    out = tmp_path / "out"
    monkeypatch.setattr(module, "BLOCK_IMAGES", 4)
    with interrupted(2, monkeypatch):
        prepare(ImageSource(images=faces), out, size=8)
    if loss == "images changed":
        (faces / "000001.jpg").write_bytes(picture(99, 20, 24))
    elif loss == "pixels lost":
        os.truncate(out / "images.u8", 100)
    else:
        (out / "progress.json").write_text("{")
    prepare(ImageSource(images=faces), out, size=8)
    expected = prepare(ImageSource(images=faces), tmp_path / "anew", size=8)
    assert read_manifest(out) == expected
    load_prepared(out, verify=True)


def test_two_processes_do_not_disturb_each_other(tmp_path: Path) -> None:
    source = ImageSource(images=write_folder(tmp_path / "faces", 40, width=60, height=60))
    made: list[Manifest] = []
    threads = [threading.Thread(target=lambda: made.append(prepare(source, tmp_path / "out", size=32))) for _ in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [made[0]] * 3
    load_prepared(tmp_path / "out", verify=True)


def test_damaged_images_are_counted_named_and_skipped_on_request(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 20, width=20, height=20)
    (faces / "000004.jpg").write_bytes(picture(4)[:700])
    (faces / "000009.jpg").write_text("no image")
    (faces / "000012.jpg").write_bytes(picture(12, 1, 1))
    source = ImageSource(images=faces, attributes=write_table(tmp_path / "table.csv", 20))
    with pytest.raises(
        ValueError,
        match=r"\A3 of 20 images cannot be read \(first: 000004\.jpg: .*truncated.*\); .* --skip-bad`\Z",
    ):
        prepare(source, tmp_path / "out", size=8)
    manifest = prepare(source, tmp_path / "out", size=8, skip_bad=True)
    assert manifest.count == 17
    assert [line.split(":")[0] for line in manifest.skipped] == ["000004.jpg", "000009.jpg", "000012.jpg"]
    train, test, (_, age, _) = load_prepared(tmp_path / "out", verify=True)
    names = (tmp_path / "out" / "names.txt").read_text().splitlines()
    ages = torch.cat([split.attributes[:, 1] for split in (train, test) if split.attributes is not None])
    images = torch.cat([train.images, test.images])
    for name, image, number in zip(names, images, ages.tolist(), strict=True):
        assert torch.equal(image, torch.from_numpy(read_square((faces / name).read_bytes(), 8)))
        assert name == "000003.jpg" or number * age.std + age.mean == pytest.approx(20 + int(name[:6]))


def test_nothing_but_damaged_images(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 3)
    for file in faces.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="none of the 0 readable images is a training image; add more images"):
        prepare(ImageSource(images=faces), tmp_path / "out", size=8, skip_bad=True)


def test_what_cannot_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faces, out = write_folder(tmp_path / "faces", 3), tmp_path / "out"
    table = tmp_path / "table.csv"
    table.write_text("file,x\n000001,1\n000002,1\n000003,1\n")
    rare, without_y = tmp_path / "rare.csv", ColumnChoice(drop=("y",))
    prepare(ImageSource(images=faces), tmp_path / "names", size=8)
    *_, test = (tmp_path / "names" / "names.txt").read_text().split()
    rare.write_text("file,x\n" + "".join(f"{name},{int(name == test)}\n" for name in os.listdir(faces)))
    for source, size, problem in (
        (ImageSource(images=faces), 4, "size is 4; must be between 8 and 1024"),
        (
            ImageSource(images=faces, attributes=table),
            8,
            r"no attributes to learn \(x: it has the same value in all rows\)",
        ),
        (ImageSource(images=faces, attributes=rare), 8, "x: the same value in all 2 training images"),
        (ImageSource(images=faces, attributes=table, columns=without_y), 8, "table.csv has no column 'y'"),
        (ImageSource(images=faces, columns=without_y), 8, "--keep, --drop, --binary and --continuous need a table"),
    ):
        with pytest.raises(ValueError, match=problem):
            prepare(source, out, size=size)
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
        with pytest.raises(ValueError, match=r"the images take 576 bytes, but .*out has only 500 left"):
            prepare(ImageSource(images=faces), out, size=8)
    prepare(ImageSource(images=faces), out, size=8)
    with pytest.raises(ValueError, match=r"out contains other images; choose another folder, or delete this one"):
        prepare(ImageSource(images=faces), out, size=16)


def prepared(source: ImageSource, folder: Path, **options: bool) -> tuple[list[str], list[int], Manifest]:
    """The names and splits of what is prepared."""
    manifest = prepare(source, folder, size=8, **options)
    return (folder / "names.txt").read_text().splitlines(), np.load(folder / "partition.npy").tolist(), manifest


@pytest.mark.parametrize("top", ["", "pictures"])
def test_folders_tell_splits(tmp_path: Path, top: str) -> None:
    faces = tmp_path / "faces"
    for part, count in (("train", 4), ("Val", 1), ("test", 2)):
        write_folder(faces / top / part / "people", count, width=9, height=9)
    source = ImageSource(images=faces)
    told = (
        "4 training, 1 validation and 2 test images, according to the names of folders or files; pass --ignore-splits"
    )
    with pytest.warns(UserWarning, match=told):
        names, splits, _ = prepared(source, tmp_path / "out")
    assert splits == [0] * 4 + [1, 2, 2]
    assert {name.removeprefix(f"{top}/").split("/")[0] for name in names[4:]} == {"Val", "test"}
    _, splits, _ = prepared(replace(source, ignore_splits=True), tmp_path / "shuffled")
    assert splits == [0] * 6 + [2]


def test_other_folders_tell_nothing(tmp_path: Path) -> None:
    for part in ("train", "test", "more"):
        write_folder(tmp_path / "faces" / part, 3, width=9, height=9)
    _, splits, _ = prepared(ImageSource(images=tmp_path / "faces"), tmp_path / "out")
    assert splits == [0] * 8 + [2]


@pytest.mark.parametrize("cells", [("train", "val", "test"), ("0", "1", "2"), ("Training", "dev", "testing")])
def test_a_column_tells_splits(tmp_path: Path, cells: tuple[str, str, str]) -> None:
    faces, table = write_folder(tmp_path / "faces", 6, width=9, height=9), tmp_path / "table.csv"
    rows = [f"{number:06d}.jpg,{cells[number % 3]},{number}\n" for number in range(1, 7)]
    table.write_text(f"file,Split,x\n{''.join(rows)}")
    source = ImageSource(images=faces, attributes=table)
    told = "2 training, 2 validation and 2 test images, according to the column 'Split'"
    with pytest.warns(UserWarning, match=told):
        names, splits, manifest = prepared(source, tmp_path / "out")
    assert (splits, manifest.attributes) == ([0, 0, 1, 1, 2, 2], ("x",))
    assert names == [f"{number:06d}.jpg" for number in (3, 6, 1, 4, 2, 5)]
    _, splits, manifest = prepared(replace(source, ignore_splits=True), tmp_path / "shuffled")
    assert (splits, manifest.attributes) == ([0] * 5 + [2], ("x",))


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 4, width=9, height=9)
    (faces / "000005").write_bytes(picture(5, 9, 9))
    (faces / "000006.dat").write_bytes(picture(6, 9, 9, "PNG"))
    (faces / "000001-edited.png").write_bytes(picture(7, 9, 9, "PNG"))
    (faces / "alone-edited.png").write_bytes(picture(8, 9, 9, "PNG"))
    for name in ("a.tga", "b.tga", "c", "notes.txt", ".hidden.jpg", ".cache/d.jpg"):
        (faces / name).parent.mkdir(exist_ok=True)
        (faces / name).write_bytes(b"no image")
    told = r"files left out because they are not images: 4 \(2 .tga, 1 without an extension, 1 results of edits"
    with pytest.warns(UserWarning, match=told):
        names, _, _ = prepared(ImageSource(images=faces), tmp_path / "out")
    assert sorted(names) == [*(f"00000{n}.jpg" for n in "1234"), "000005", "000006.dat", "alone-edited.png"]


def test_an_edited_photo_does_not_change_the_set(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 4, width=9, height=9)
    before = prepared_folder(ImageSource(images=faces), 8, tmp_path)
    (faces / "000001-edited.png").write_bytes(picture(7, 9, 9, "PNG"))
    assert prepared_folder(ImageSource(images=faces), 8, tmp_path) == before


def test_rows_without_images_and_images_without_rows(tmp_path: Path) -> None:
    faces, table = write_folder(tmp_path / "faces", 8, width=9, height=9), write_table(tmp_path / "table.csv", 30)
    with pytest.warns(UserWarning, match=r"rows without an image: 22 \(such as 000009, 000010, 000011\)"):
        assert prepared(ImageSource(images=faces, attributes=table), tmp_path / "out")[2].count == 8
    source = ImageSource(images=faces, attributes=write_table(tmp_path / "short.csv", 6))
    message = r"short.csv: 2 of 8 images have no row \(000007.jpg, 000008.jpg\); add rows, or .* --skip-bad"
    with pytest.raises(ValueError, match=message):
        prepared(source, tmp_path / "short")
    with pytest.warns(UserWarning, match=r"images skipped because they have no row: 2 \(000007.jpg, 000008.jpg\)"):
        names, _, _ = prepared(source, tmp_path / "short", skip_bad=True)
    assert sorted(names) == [f"{number:06d}.jpg" for number in range(1, 7)]


def test_images_of_12_bits(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 4096, (9, 9), dtype=np.uint16)
        pixels[0, 0] = 4095
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{number}.png")
    source = ImageSource(images=tmp_path / "faces")
    with pytest.warns(
        UserWarning, match=r"the brightest pixel of all images is 1\d of 255, .*; pass --scale 1\d to brighten"
    ):
        prepared(source, tmp_path / "dark")
    _, _, manifest = prepared(replace(source, scale=16.0), tmp_path / "bright")
    bright = np.fromfile(tmp_path / "bright" / "images.u8", np.uint8).reshape(manifest.count, 3, 8, 8)
    names = (tmp_path / "bright" / "names.txt").read_text().splitlines()
    for name, image in zip(names, bright, strict=True):
        pixels = np.asarray(Image.open(tmp_path / "faces" / name)) // 16
        content = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG")
        np.testing.assert_allclose(image, read_square(content.getvalue(), 8).astype(float), atol=2)


def test_pixels_are_scaled_within_their_range() -> None:
    content = io.BytesIO()
    Image.new("RGB", (9, 9), (10, 100, 200)).save(content, "PNG")
    assert read_square(content.getvalue(), 8, 2.0)[:, 0, 0].tolist() == [20, 200, 255]
