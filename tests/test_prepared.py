from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import write_folder, write_table

from jacsup.config import Folder
from jacsup.data import load_dataset
from jacsup.data.columns import ColumnChoice
from jacsup.data.prepare import ImageSource, prepare, prepare_once
from jacsup.data.prepared import load_prepared, read_manifest


def test_a_folder_with_a_table(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", 20)
    source = ImageSource(
        images=write_folder(tmp_path / "faces", 20, width=9, height=9),
        attributes=table,
        columns=ColumnChoice(drop=("male",)),
    )
    folder = prepare_once(source, 8, tmp_path)
    data = load_dataset(Folder(size=8), folder)
    smiling, age = data.attributes
    assert (smiling.name, smiling.continuous, age.name, age.continuous) == ("smiling", False, "age", True)
    assert data.train.attributes is not None
    names = (folder / "names.txt").read_text().splitlines()[:18]
    for name, (sign, number) in zip(names, data.train.attributes.tolist(), strict=True):
        index = int(name[:6])
        assert sign == (1 if index % 2 else -1)
        assert number * age.std + age.mean == pytest.approx(20 + index) if index != 3 else number != number
    assert data.config == Folder(size=8, sha256=read_manifest(folder).sha256)
    assert load_dataset(data.config, folder).config == data.config


def test_a_folders_config_knows_its_images(tmp_path: Path) -> None:
    faces = write_folder(tmp_path / "faces", 5, width=9, height=9)
    table = write_table(tmp_path / "table.csv", 5)
    config = load_dataset(Folder(size=8), prepare_once(ImageSource(images=faces, attributes=table), 8, tmp_path)).config
    table.write_text(table.read_text().replace("5,1,25", "5,0,25"))
    changed = prepare_once(ImageSource(images=faces, attributes=table), 8, tmp_path)
    with pytest.raises(ValueError, match=r"have changed since this run began \(\w{8} -> \w{8}\); restore the old ones"):
        load_dataset(config, changed)
    with pytest.raises(ValueError, match=r"images of size 8, but the recipe needs 16"):
        load_dataset(Folder(size=16), changed)
    with pytest.raises(ValueError, match="pass --images DIR, or a prepared folder as --data-root"):
        load_dataset(Folder(size=8))


def test_a_damaged_set_is_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    prepare(ImageSource(images=write_folder(tmp_path / "faces", 5)), whole, size=8)

    def damaged(name: str, content: bytes) -> Path:
        shutil.rmtree(tmp_path / "damaged", ignore_errors=True)
        shutil.copytree(whole, tmp_path / "damaged")
        (tmp_path / "damaged" / name).write_bytes(content)
        return tmp_path / "damaged"

    pixels, manifest = (whole / "images.u8").read_bytes(), json.loads((whole / "manifest.json").read_text())
    for name, content, problem in (
        ("images.u8", pixels[:-1], r"is damaged: sizes are .* delete it"),
        ("images.u8", b"", "is damaged .* delete it"),
        ("attributes.npy", b"", "is damaged .* delete it"),
        ("manifest.json", b"{", "is not a manifest .* delete"),
        ("manifest.json", json.dumps(manifest | {"version": 2}).encode(), "version is 2; must be 1"),
        ("manifest.json", json.dumps(manifest | {"count": "5"}).encode(), "manifest.count is '5'; must be of type int"),
    ):
        with pytest.raises(ValueError, match=problem):
            load_prepared(damaged(name, content))
    for name, content in (("images.u8", b"\1" + pixels[1:]), ("names.txt", b"")):
        load_prepared(damaged(name, content))
        with pytest.raises(
            ValueError, match=r"is damaged: the checksum of .* is wrong; delete it and prepare it again"
        ):
            load_prepared(tmp_path / "damaged", verify=True)


def test_a_set_larger_than_the_memory_is_mapped(tmp_path: Path) -> None:
    prepare(ImageSource(images=write_folder(tmp_path / "faces", 3)), tmp_path / "out", size=8)
    count, size = 100_000, 1024
    manifest = replace(read_manifest(tmp_path / "out"), count=count, size=size)
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(vars(manifest)))
    np.save(tmp_path / "out" / "attributes.npy", np.empty((count, 0), np.float32))
    np.save(tmp_path / "out" / "partition.npy", np.repeat(np.array([0, 2], np.uint8), [count - 10, 10]))
    with open(tmp_path / "out" / "images.u8", "r+b") as file:
        file.truncate(count * 3 * size**2)
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    train, test, _ = load_prepared(tmp_path / "out")
    assert train.images.shape == (count - 10, 3, size, size)
    assert test.images[-1, -1, -1].tolist() == [0] * (size - 1) + [7]
