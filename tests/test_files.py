from __future__ import annotations

import gzip
import hashlib
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat

from jacsup.data import files
from jacsup.data.dataset import Split
from jacsup.data.files import MNIST_FILES, SVHN_FILES, load_mnist, load_svhn, read_idx, read_svhn_mat

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
    found = read_idx(path, md5=hashlib.md5(idx_bytes(array)).hexdigest())
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


GOOD = idx_bytes(pixels(3, 4, 6))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (gzip.compress(b""), "it is empty"),
        (GOOD[:3], "it starts with 000008,"),
        (GOOD[:-1], "has 87 bytes, its header promises 88"),
        (GOOD + b"\0", "has 89 bytes, its header promises 88"),
        (GOOD[:10], "has 10 bytes, its header promises 16"),
        (gzip.compress(GOOD)[:-12], "is damaged"),
        (gzip.compress(GOOD)[:5], "is damaged"),
        (gzip.compress(GOOD) + b"rest", "is damaged"),
        (gzip.compress(GOOD)[:10] + b"\xff" * 60, "is damaged"),
        (gzip.compress(GOOD[:-1]), "has 87 bytes, its header promises 88"),
        (b"\x89PNG" + GOOD[4:], "it starts with 89504e47"),
        (b"\0\0\x0d\x03" + GOOD[4:], "it starts with 00000d03"),
        (b"\0\0\x08\x00", "it starts with 00000800"),
        (b"\0\0\x08\xc8" + struct.pack(">200I", *[1] * 200) + b"x", "it starts with 000008c8"),
        (GOOD[:4] + struct.pack(">3I", *[2**32 - 1] * 3) + GOOD[16:], "its header promises 79,228,162,458,924,105"),
        (GOOD[:4] + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "holds no values"),
    ],
    ids=[
        "empty", "empty gz", "three bytes", "truncated raw", "one byte more", "truncated header", "truncated gz",
        "truncated gz header", "gz with a tail", "garbled gz", "gz of a truncated file", "png", "doubles",
        "no dimension", "200 dimensions", "lying header", "no values",
    ],
)  # fmt: skip
def test_damaged_idx_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(content)
    assert reason in refusal(read_idx, path)


def test_idx_with_another_checksum_is_refused_with_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(GOOD))
    message = refusal(read_idx, path, md5="0" * 32)
    assert hashlib.md5(GOOD).hexdigest() in message
    assert "0" * 32 in message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_splits_keep_each_file_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    arrays = [pixels(6, 28, 28), np.arange(6, dtype=np.uint8), pixels(4, 28, 28)[::-1], np.arange(4, dtype=np.uint8)]
    known = {}
    for name, array in zip(MNIST_FILES, arrays, strict=True):
        content = idx_bytes(array)
        known[name] = (hashlib.md5(content).hexdigest(), "")
        (tmp_path / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    monkeypatch.setattr(files, "MNIST_FILES", known)
    for split, (images, labels) in zip(load_mnist(tmp_path), (arrays[:2], arrays[2:]), strict=True):
        assert split.images.dtype == torch.uint8
        np.testing.assert_array_equal(split.images[:, 0], images)
        assert split.labels is not None
        assert split.labels.dtype == torch.int64
        assert split.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "compressed"])
def test_svhn_pixels_and_labels_land_where_they_belong(tmp_path: Path, compressed: bool) -> None:
    content = svhn_content(num_images=5)
    path = tmp_path / "train_32x32.mat"
    savemat(path, content, do_compression=compressed)
    split = read_svhn_mat(path, md5=hashlib.md5(path.read_bytes()).hexdigest())
    assert split.images.shape == (5, 3, 32, 32)
    assert split.images.dtype == torch.uint8
    for n, c, row, column in [(0, 0, 0, 0), (1, 2, 3, 7), (4, 1, 31, 0), (2, 0, 0, 31), (3, 2, 17, 5)]:
        assert split.images[n, c, row, column] == content["X"][row, column, c, n]
    assert split.images.double().mean() == pytest.approx(content["X"].mean())
    assert split.labels is not None
    assert split.labels.tolist() == [0, 1, 9, 0, 5]


def test_svhn_takes_each_split_from_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, num_images in zip(SVHN_FILES, (5, 2), strict=True):
        savemat(tmp_path / name, svhn_content(num_images))
    sums = {name: hashlib.md5((tmp_path / name).read_bytes()).hexdigest() for name in SVHN_FILES}
    monkeypatch.setattr(files, "SVHN_FILES", sums)
    train, test = load_svhn(tmp_path)
    assert (len(train), len(test)) == (5, 2)
    (tmp_path / "test_32x32.mat").write_bytes((tmp_path / "train_32x32.mat").read_bytes())
    refusal(lambda _: load_svhn(tmp_path), tmp_path / "test_32x32.mat")


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
    assert "its checksum is" in refusal(read_svhn_mat, path, md5=SVHN_FILES[path.name])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"X": pixels(3, 32, 32, 3)}, "X is uint8 of shape (3, 32, 32, 3)"),
        ({"X": pixels(32, 32, 3)}, "X is uint8 of shape (32, 32, 3)"),
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
    ("load", "name", "names"),
    [
        (load_mnist, "mnist", "train-images-idx3-ubyte.gz or train-images-idx3-ubyte"),
        (load_svhn, "svhn", "train_32x32.mat"),
    ],
)
@pytest.mark.parametrize("folder", [".", "missing"])
def test_missing_files_are_answered_with_the_command_that_gets_them(
    tmp_path: Path, load: Callable[[Path], tuple[Split, Split]], name: str, names: str, folder: str
) -> None:
    root = tmp_path / folder
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        load(root)
    message = str(caught.value)
    assert f"`jacsup data download {name} --data-root {root}`" in message
    assert f"{root} has no {names};" in message


@pytest.mark.data
@pytest.mark.skipif(not REAL_MNIST.is_dir(), reason="the real MNIST is not in ../shared/data/mnist")
def test_real_mnist(tmp_path: Path) -> None:
    train, test = load_mnist(REAL_MNIST)
    for split, size in ((train, 60_000), (test, 10_000)):
        assert split.images.shape == (size, 1, 28, 28)
        assert split.labels is not None
        assert split.labels.shape == (size,)
        assert split.labels.unique().tolist() == list(range(10))
    for name in MNIST_FILES:
        shutil.copy(REAL_MNIST / f"{name}.gz", tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] = (content[-1] + 1) % 10
    path.write_bytes(gzip.compress(bytes(content)))
    assert MNIST_FILES["t10k-labels-idx1-ubyte"][0] in refusal(lambda _: load_mnist(tmp_path), path)
