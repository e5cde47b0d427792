from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from jacsup.config import MNIST, SVHN
from jacsup.data import load_dataset, mnist, svhn
from jacsup.data.mnist import read_idx
from jacsup.data.official import OfficialFile, note_if_unofficial
from jacsup.data.svhn import read_svhn_mat

REAL_SVHN = Path(__file__).resolve().parents[2] / "shared" / "data" / "svhn"
REAL_MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def svhn_content(num_images: int = 3) -> dict[str, np.ndarray]:
    labels = np.array([10, 1, 9, 10, 5], dtype=np.uint8)[:num_images, None]
    return {"X": pixels(32, 32, 3, num_images), "y": labels}


def refusal(read: Callable[..., Any], path: Path, **options: Any) -> str:
    """The message with which a reader refuses a file: one line that names the path and the way out."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        read(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "download it again" in message
    return message


@pytest.mark.parametrize("shape", [(5,), (3, 4, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["raw", "gz"])
def test_idx_is_read_raw_and_gzipped(tmp_path: Path, pack: Callable[[bytes], bytes], shape: tuple[int, ...]) -> None:
    array = pixels(*shape)
    path = tmp_path / "file"
    path.write_bytes(pack(idx_bytes(array)))
    found = read_idx(path)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


GOOD = idx_bytes(pixels(3, 4, 6))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (GOOD[:3], "it starts with 000008, not 00000801 to 00000804"),
        (GOOD[:-1], "has 87 bytes, but its header states 88"),
        (GOOD + b"\0", "has 89 bytes, but its header states 88"),
        (GOOD[:10], "has 10 bytes, but its header states 16"),
        (gzip.compress(GOOD)[:-12], "is damaged"),
        (gzip.compress(GOOD)[:5], "is damaged"),
        (gzip.compress(GOOD) + b"rest", "is damaged"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 60, "is damaged"),
        (gzip.compress(GOOD[:-1]), "has 87 bytes, but its header states 88"),
        (b"\x89PNG" + GOOD[4:], "it starts with 89504e47"),
        (b"\0\0\x0d\x03" + GOOD[4:], "it starts with 00000d03"),
        (b"\0\0\x08\x00", "it starts with 00000800"),
        (b"\0\0\x08\xc8" + struct.pack(">200I", *[1] * 200) + b"x", "it starts with 000008c8"),
        (GOOD[:4] + struct.pack(">3I", *[2**32 - 1] * 3) + GOOD[16:], "but its header states 79,228,162,458,924,105"),
        (GOOD[:4] + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "has no values"),
    ],
    ids=[
        "empty",
        "empty gz",
        "three bytes",
        "truncated raw",
        "one byte more",
        "truncated header",
        "truncated gz",
        "truncated gz header",
        "gz with a tail",
        "garbled gz",
        "gz of a truncated file",
        "png",
        "doubles",
        "no dimension",
        "200 dimensions",
        "lying header",
        "no values",
    ],
)
def test_damaged_idx_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    assert reason in refusal(read_idx, path)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.mark.parametrize(
    ("official", "damaged"),
    [
        (OfficialFile(name="a", size=2000, md5=md5(b"a" * 2000)), True),
        (OfficialFile(name="a", size=2000, md5=md5(b"a" * 2000), start_md5=md5(b"a" * 1000)), True),
        (OfficialFile(name="a", size=2000, md5=md5(b"a" * 2000), start_md5=md5(b"b" * 1000)), False),
        (OfficialFile(name="a", size=1999, md5=md5(b"a" * 1999), start_md5=md5(b"a" * 1000)), False),
    ],
    ids=["size", "size and start", "another start", "another size"],
)
def test_a_file_that_is_not_the_official_one_is_damaged_or_another(
    tmp_path: Path, official: OfficialFile, damaged: bool
) -> None:
    path, content = tmp_path / "a.gz", b"a" * 1999 + b"b"
    if damaged:
        message = refusal(lambda path: note_if_unofficial(path, content, official, "MNIST"), path)
        assert md5(content) in message and official.md5 in message
    else:
        note = note_if_unofficial(path, content, official, "MNIST")
        assert note == f"a.gz is not MNIST's official file (its MD5 is {md5(content)})"


def test_an_official_file_has_no_note(tmp_path: Path) -> None:
    official = OfficialFile(name="a", size=1, md5=md5(b"a"))
    assert note_if_unofficial(tmp_path / "a", b"a", official, "MNIST") == ""


def mnist_arrays(num_train: int = 6, num_test: int = 4) -> list[np.ndarray]:
    """Images and labels that are not MNIST's own, in the order of the files."""
    train, test = pixels(num_train, 28, 28), pixels(num_test, 28, 28)[::-1]
    return [train, np.arange(num_train, dtype=np.uint8) % 10, test, np.arange(num_test, dtype=np.uint8) % 10]


def write_mnist(root: Path, arrays: list[np.ndarray], suffix: str = "") -> None:
    for file, array in zip(mnist.FILES, arrays, strict=True):
        content = idx_bytes(array)
        (root / f"{file.name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_data_set_in_mnists_format_is_read_and_noted(tmp_path: Path, suffix: str) -> None:
    arrays = mnist_arrays(num_train=70)
    write_mnist(tmp_path, arrays, suffix)
    data = load_dataset(MNIST(), tmp_path)
    for split, (images, labels) in zip((data.train, data.test), (arrays[:2], arrays[2:]), strict=True):
        assert split.images.dtype == torch.uint8
        np.testing.assert_array_equal(split.images[:, 0], images)
        assert split.labels is not None
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == labels.tolist()
    assert data.notes == tuple(
        f"{file.name}{suffix} is not MNIST's official file (its MD5 is {md5(idx_bytes(array))})"
        for file, array in zip(mnist.FILES, arrays, strict=True)
    )


def test_fashion_mnist_has_the_sizes_of_mnist_and_is_read(tmp_path: Path) -> None:
    write_mnist(tmp_path, mnist_arrays(60_000, 10_000))
    assert [(tmp_path / file.name).stat().st_size for file in mnist.FILES] == [file.size for file in mnist.FILES]
    data = load_dataset(MNIST(), tmp_path)
    assert (len(data.train), len(data.test), len(data.notes)) == (60_000, 10_000, 4)


@pytest.mark.parametrize(
    ("number", "array", "reason"),
    [
        (0, pixels(6, 28, 32), "shape (6, 28, 32); must be (n, 28, 28)"),
        (0, pixels(6, 784), "shape (6, 784); must be (n, 28, 28)"),
        (1, np.zeros(5, np.uint8), "shape (5,); must be (6,), one label for each image of train-images-idx3-ubyte"),
        (1, np.zeros((6, 1), np.uint8), "shape (6, 1); must be (6,)"),
        (3, np.array([0, 1, 2, 26], np.uint8), "labels up to 26; must be between 0 and 9"),
    ],
)
def test_other_images_and_labels_are_refused(tmp_path: Path, number: int, array: np.ndarray, reason: str) -> None:
    arrays = mnist_arrays()
    arrays[number] = array
    write_mnist(tmp_path, arrays)
    message = refusal(lambda _: load_dataset(MNIST(), tmp_path), tmp_path / mnist.FILES[number].name)
    assert reason in message


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_svhn_pixels_and_labels_land_where_they_belong(tmp_path: Path, compressed: bool) -> None:
    content = svhn_content(num_images=5)
    path = tmp_path / "train_32x32.mat"
    savemat(path, content, do_compression=compressed)
    split = read_svhn_mat(path)
    assert split.images.shape == (5, 3, 32, 32)
    assert split.images.dtype == torch.uint8
    for n, c, row, column in [(0, 0, 0, 0), (1, 2, 3, 7), (4, 1, 31, 0), (2, 0, 0, 31), (3, 2, 17, 5)]:
        assert split.images[n, c, row, column] == content["X"][row, column, c, n]
    assert split.images.double().mean() == pytest.approx(content["X"].mean())
    assert split.labels is not None
    assert split.labels.tolist() == [0, 1, 9, 0, 5]


def test_svhn_takes_each_split_from_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file, num_images in zip(svhn.FILES, (5, 2), strict=True):
        savemat(tmp_path / file.name, svhn_content(num_images))
    data = load_dataset(SVHN(), tmp_path)
    assert (len(data.train), len(data.test)) == (5, 2)
    assert [note.partition(" (")[0] for note in data.notes] == [
        "train_32x32.mat is not SVHN's official file",
        "test_32x32.mat is not SVHN's official file",
    ]
    contents = [(tmp_path / file.name).read_bytes() for file in svhn.FILES]
    official = tuple(
        replace(file, size=len(content), md5=md5(content)) for file, content in zip(svhn.FILES, contents, strict=True)
    )
    monkeypatch.setattr(svhn, "FILES", official)
    assert load_dataset(SVHN(), tmp_path).notes == ()
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(contents[1][:-1] + bytes([contents[1][-1] ^ 1]))
    assert "is damaged: its MD5 is" in refusal(lambda _: load_dataset(SVHN(), tmp_path), path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "is not an SVHN .mat file"),
        (lambda content: b"<html>not found</html>" * 20, "is not an SVHN .mat file"),
        (lambda content: content[: len(content) // 2], "is not an SVHN .mat file"),
        (lambda content: content[:200] + bytes(range(256)) + content[456:], "is not an SVHN .mat file"),
    ],
    ids=["empty", "web page", "truncated", "garbled"],
)
def test_damaged_svhn_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes], reason: str) -> None:
    path = tmp_path / "train_32x32.mat"
    savemat(path, svhn_content(), do_compression=True)
    path.write_bytes(damage(path.read_bytes()))
    assert reason in refusal(read_svhn_mat, path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"X": pixels(3, 32, 32, 3)}, "X is uint8 of shape (3, 32, 32, 3)"),
        ({"X": pixels(32, 32, 3)}, "X is uint8 of shape (32, 32, 3); must be uint8 of shape (32, 32, 3, n)"),
        ({"X": pixels(32, 32, 3, 0)}, "X is uint8 of shape (32, 32, 3, 0)"),
        ({"X": pixels(32, 32, 3, 3) / 255}, "X is float64"),
        ({"X": pixels(32, 32, 3, 4)}, "has 3 labels for 4 images"),
        ({"y": np.array([[0], [1], [2]], np.uint8)}, "not integers from 1 to 10"),
        ({"y": np.array([[11], [1], [2]], np.uint8)}, "not integers from 1 to 10"),
        ({"y": np.array([[1.5], [1], [2]])}, "not integers from 1 to 10"),
        ({"y": np.array(["a", "b", "c"])}, "not integers from 1 to 10"),
    ],
)
def test_mat_of_another_shape_is_refused(tmp_path: Path, change: dict[str, np.ndarray], reason: str) -> None:
    path = tmp_path / "train_32x32.mat"
    savemat(path, {**svhn_content(), **change})
    assert reason in refusal(read_svhn_mat, path)


def test_mat_without_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    savemat(path, {"X": pixels(32, 32, 3, 3)})
    assert "KeyError: 'y'" in refusal(read_svhn_mat, path)


@pytest.mark.parametrize(
    ("config", "name", "names"),
    [
        (MNIST(), "mnist", "train-images-idx3-ubyte.gz or train-images-idx3-ubyte"),
        (SVHN(), "svhn", "train_32x32.mat"),
    ],
)
@pytest.mark.parametrize("folder", [".", "missing"])
def test_missing_files_are_answered_with_the_command_that_gets_them(
    tmp_path: Path, config: MNIST | SVHN, name: str, names: str, folder: str
) -> None:
    root = tmp_path / folder
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        load_dataset(config, root)
    message = str(caught.value)
    assert f"`jacsup data download {name} --data-root {root}`" in message
    assert f"{root} has no {names};" in message


@pytest.mark.data
@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="the real MNIST is not in ../shared/data/mnist")
def test_real_mnist(tmp_path: Path) -> None:
    data = load_dataset(MNIST(), REAL_MNIST)
    assert data.notes == ()
    for split, size in ((data.train, 60_000), (data.test, 10_000)):
        assert split.images.shape == (size, 1, 28, 28)
        assert split.labels is not None
        assert split.labels.shape == (size,)
        assert split.labels.unique().tolist() == list(range(10))
    for file in mnist.FILES:
        shutil.copy(REAL_MNIST / f"{file.name}.gz", tmp_path)
    for file in mnist.FILES:
        path = tmp_path / f"{file.name}.gz"
        packed = path.read_bytes()
        content = bytearray(gzip.decompress(packed))
        content[-1] = (content[-1] + 1) % 10
        path.write_bytes(gzip.compress(bytes(content), compresslevel=1))
        assert file.md5 in refusal(lambda _: load_dataset(MNIST(), tmp_path), path)
        path.write_bytes(packed)


@pytest.mark.data
@pytest.mark.skipif(not REAL_SVHN.is_dir(), reason="real SVHN digits are not in ../shared/data/svhn")
def test_a_real_subset_of_svhn() -> None:
    data = load_dataset(SVHN(), REAL_SVHN)
    for split in (data.train, data.test):
        assert split.labels is not None
        assert split.images.shape == (len(split.labels), 3, 32, 32)
        assert split.labels.unique().tolist() == list(range(10))
    assert [note.partition(" (")[0] for note in data.notes] == [
        f"{file.name} is not SVHN's official file" for file in svhn.FILES
    ]
