from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture, write_folder

from jacsup.config import CelebA
from jacsup.data import cache_folder, load_dataset, prepare
from jacsup.data.celeba import celeba_source, prepare_celeba
from jacsup.data.crop import read_square
from jacsup.data.prepare import prepared_folder
from jacsup.data.prepared import load_prepared, read_manifest

REAL_CELEBA = Path(__file__).resolve().parents[2] / "shared" / "data" / "celeba"
NAMES = ("Bald", "Male", "Smiling")


def signs(count: int) -> np.ndarray:
    return np.random.default_rng(1).choice([-1, 1], (count, len(NAMES)))


def write_celeba(root: Path, partition: Sequence[int], *, packed: bool = False) -> Path:
    """The three parts of the official layout."""
    count = len(partition)
    write_folder(root / "img_align_celeba", count)
    rows = [f"{i:06d}.jpg " + " ".join(f"{sign:2d}" for sign in row) for i, row in enumerate(signs(count), 1)]
    (root / "list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(NAMES) + " ", *rows, ""]))
    lines = [f"{i:06d}.jpg {part}\n" for i, part in enumerate(partition, 1)]
    (root / "list_eval_partition.txt").write_text("".join(lines))
    if packed:
        with zipfile.ZipFile(root / "img_align_celeba.zip", "w") as archive:
            archive.mkdir("img_align_celeba")
            for file in (root / "img_align_celeba").iterdir():
                archive.write(file, f"img_align_celeba/{file.name}")
        shutil.rmtree(root / "img_align_celeba")
    return root


def squares(numbers: Sequence[int], size: int) -> torch.Tensor:
    """What is expected of the images numbered from 1."""
    return torch.from_numpy(np.stack([read_square(picture(number), size) for number in numbers]))


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_celeba_in_its_official_layout(tmp_path: Path, packed: bool) -> None:
    partition = [0, 2, 1, 0, 1, 0, 2, 0, 2, 0]
    root = write_celeba(tmp_path / "celeba", partition, packed=packed)
    data = load_dataset(CelebA(size=16), root)
    parts = [[i for i, p in enumerate(partition, 1) if p == part] for part in range(3)]
    folder = prepare_celeba(root, 16, cache_folder())
    assert data.config == CelebA(size=16, sha256=read_manifest(folder).sha256)
    assert [a.name for a in data.attributes] == [*NAMES]
    judged = load_dataset(CelebA(size=16, judged_on="validation"), root).test
    for split, part in ((data.train, 0), (judged, 1), (data.test, 2)):
        assert torch.equal(split.images, squares(parts[part], 16))
        expected = torch.from_numpy(signs(10)[np.array(parts[part]) - 1]).float()
        assert split.attributes is not None and torch.equal(split.attributes, expected)
        assert split.labels is None
        assert split.images.is_contiguous()


def test_celeba_is_decoded_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_celeba(tmp_path / "celeba", [0, 0, 0, 2])
    folder = prepare_celeba(root, 16, tmp_path)
    assert folder.parent == tmp_path / "prepared"
    monkeypatch.setattr(prepare, "read_square", None)
    assert prepare_celeba(root, 16, tmp_path) == folder
    assert prepared_folder(celeba_source(root), 32, tmp_path) != folder
    (root / "list_eval_partition.txt").write_text("".join(f"{i:06d}.jpg {i // 3 * 2}\n" for i in range(1, 5)))
    assert prepared_folder(celeba_source(root), 16, tmp_path) != folder


def test_another_celeba_is_told_apart(tmp_path: Path) -> None:
    first, second = (write_celeba(tmp_path / name, parts) for name, parts in (("a", [0, 0, 2]), ("b", [0, 0, 0, 2])))
    data = load_dataset(CelebA(size=16), first)
    assert load_dataset(CelebA(size=16), second).config != data.config
    assert load_dataset(data.config, first).config == data.config


def test_celebas_parts_are_found_where_downloads_put_them(tmp_path: Path) -> None:
    plain = write_celeba(tmp_path / "plain", [0, 0, 2])
    for part, place in (
        ("img_align_celeba", "Img"),
        ("list_attr_celeba.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
    ):
        (tmp_path / "official" / place).mkdir(parents=True)
        (plain / part).rename(tmp_path / "official" / place / part)
    found = celeba_source(tmp_path / "official")
    assert [Path(found.images).parent.name, found.attributes and found.attributes.parent.name] == ["Img", "Anno"]
    with pytest.raises(ValueError, match=r"plain has no img_align_celeba\.zip; pass the folder .* as --data-root"):
        load_dataset(CelebA(), plain)
    with pytest.raises(ValueError, match=r"\ACelebA must be downloaded by hand: .* as --data-root\Z"):
        load_dataset(CelebA())


def test_celeba_with_tables_as_csv(tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "celeba", [0, 2, 0, 0, 0, 0, 0, 2])
    expected = load_dataset(CelebA(size=8), root)
    for part, skipped, header in (
        ("list_attr_celeba", 2, ("image_id", *NAMES)),
        ("list_eval_partition", 0, ("image_id", "partition")),
    ):
        rows = (root / f"{part}.txt").read_text().splitlines()[skipped:]
        (root / f"{part}.csv").write_text("\n".join([",".join(header), *(",".join(row.split()) for row in rows)]))
        (root / f"{part}.txt").unlink()
    found = load_dataset(CelebA(size=8), root)
    assert found.attributes == expected.attributes
    for split, other in ((found.train, expected.train), (found.test, expected.test)):
        assert torch.equal(split.images, other.images)
        assert split.attributes is not None and other.attributes is not None
        assert torch.equal(split.attributes, other.attributes)


@pytest.mark.parametrize(
    ("part", "change", "problem"),
    [
        (
            "list_eval_partition.txt",
            lambda text: text.replace("000001.jpg 0\n", ""),
            "1 of 4 images have no row (img_align_celeba/000001.jpg); add rows, or",
        ),
        (
            "list_eval_partition.txt",
            lambda text: text.replace(" 2", " 1"),
            "none of the 4 readable images is a test image",
        ),
        (
            "list_attr_celeba.txt",
            lambda text: text.replace("000002", "2"),
            "1 of 4 images have no row (img_align_celeba/000002.jpg); add rows, or",
        ),
        (
            "list_attr_celeba.txt",
            lambda text: text.replace("-1", " 1"),
            "no attributes to learn (Bald: it has the same value in all rows; Male",
        ),
    ],
)
def test_celebas_tables_must_match(tmp_path: Path, part: str, change: Any, problem: str) -> None:
    root = write_celeba(tmp_path / "celeba", [0, 0, 0, 2], packed=True)
    (root / part).write_text(change((root / part).read_text()))
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        load_dataset(CelebA(size=16), root)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("part", "change", "note"),
    [
        ("list_eval_partition.txt", lambda text: text + "9.jpg 0\n", r"rows without an image: 1 \(9.jpg\)"),
        ("list_attr_celeba.txt", lambda text: text.replace("4\n", "5\n", 1), "has 4 rows, but its first line states 5"),
    ],
)
def test_a_part_of_celeba_is_enough(tmp_path: Path, part: str, change: Any, note: str) -> None:
    root = write_celeba(tmp_path / "celeba", [0, 0, 0, 2], packed=True)
    (root / part).write_text(change((root / part).read_text()))
    with pytest.warns(UserWarning, match=note):
        assert len(load_dataset(CelebA(size=16), root).train) == 3


def test_some_of_celebas_attributes(tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "celeba", [0, 0, 0, 0, 0, 2])
    every = load_dataset(CelebA(size=16), root)
    kept = CelebA(size=16, keep=("smiling", "Bald")), ["Bald", "Smiling"]
    dropped = CelebA(size=16, drop=("BALD",)), [*NAMES[1:]]
    for config, names in (kept, dropped):
        some = load_dataset(config, root)
        assert [attribute.name for attribute in some.attributes] == names
        assert every.train.attributes is not None and some.train.attributes is not None
        columns = [NAMES.index(name) for name in names]
        assert torch.equal(some.train.attributes, every.train.attributes[:, columns])
    for config, problem in (
        (CelebA(keep=("Smilin",)), "has no attribute 'Smilin'; did you mean 'Smiling'"),
        (CelebA(drop=NAMES), "all attributes are dropped; keep at least one"),
    ):
        with pytest.raises(ValueError, match=problem):
            load_dataset(replace(config, size=16), root)


@pytest.mark.data
def test_real_celeba() -> None:
    folder = prepare_celeba(REAL_CELEBA, 64, cache_folder())
    train, test, attributes = load_prepared(folder, verify=True)
    assert (len(train), len(test), len(attributes)) == (8000, 500, 40)
    assert train.attributes is not None and not train.attributes.isnan().any()
    with zipfile.ZipFile(REAL_CELEBA / "img_align_celeba.zip") as archive:
        last = archive.read("img_align_celeba/009000.jpg")
    assert torch.equal(test.images[-1], torch.from_numpy(read_square(last, 64)))
    # Heads are in the middle, so skin is brighter there than at the lower edge's corners, and redder than blue.
    mean = train.images[:1000].float().mean(0)
    assert mean[0, 32, 32] > mean[2, 32, 32] + 20
