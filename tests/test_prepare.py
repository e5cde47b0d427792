from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import picture, write_folder, write_table

from jacsup.data import prepare as module
from jacsup.data.crop import read_square
from jacsup.data.prepare import ImageSource, prepare
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
    with pytest.raises(ValueError, match=r"parts has no manifest\.json; prepare the images first, to the end"):
        load_prepared(tmp_path / "parts")
    with open(tmp_path / "parts" / "images.u8", "ab") as file:
        file.write(b"half a block")
    decoded: list[bytes] = []
    monkeypatch.setattr(
        module, "read_square", lambda content, size: decoded.append(content) or read_square(content, size)
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
    for source, size, problem in (
        (ImageSource(images=faces), 4, "size is 4; must be between 8 and 1024"),
        (ImageSource(images=faces, attributes=table), 8, "x: the same in all 2 training images"),
        (ImageSource(images=faces, attributes=table, drop=("y",)), 8, "table.csv has no column 'y'"),
        (ImageSource(images=faces, drop=("y",)), 8, "there are no attributes, so y cannot be dropped"),
    ):
        with pytest.raises(ValueError, match=problem):
            prepare(source, out, size=size)
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
        with pytest.raises(ValueError, match=r"the images take 576 bytes, but .*out has only 500 left"):
            prepare(ImageSource(images=faces), out, size=8)
    prepare(ImageSource(images=faces), out, size=8)
    with pytest.raises(ValueError, match=r"out holds other images; choose another folder, or delete this one"):
        prepare(ImageSource(images=faces), out, size=16)
