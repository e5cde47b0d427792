"""Readers of the formats that data sets come in: IDX (MNIST) and MATLAB (SVHN)."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from jacsup.data.dataset import Split

# Name of each unpacked file -> its MD5 and the MD5 of the .gz that mirrors serve.
MNIST_FILES = {
    "train-images-idx3-ubyte": ("6bbc9ace898e44ae57da46a324031adb", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "train-labels-idx1-ubyte": ("a25bea736e30d166cdddb491f175f624", "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k-images-idx3-ubyte": ("2646ac647ad5339dbf082846283269ea", "9fb629c4189551a2d022fa330f9573f3"),
    "t10k-labels-idx1-ubyte": ("27ae3e4e09519cfbb04c329615203637", "ec29112dd5afa0611ce80d1b7f02629c"),
}
SVHN_FILES = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def load_mnist(root: Path) -> tuple[Split, Split]:
    """MNIST's training and test split from the four IDX files in `root`, as .gz or unpacked."""
    parts = {}
    for name, (md5, _) in MNIST_FILES.items():
        path = _first_existing(root, (f"{name}.gz", name), "mnist")
        parts[name] = torch.from_numpy(read_idx(path, md5=md5))
    train_images, train_labels, test_images, test_labels = parts.values()
    return (
        Split(train_images[:, None], train_labels.to(torch.int64)),
        Split(test_images[:, None], test_labels.to(torch.int64)),
    )


def load_svhn(root: Path) -> tuple[Split, Split]:
    """SVHN's training and test split from train_32x32.mat and test_32x32.mat in `root`."""
    paths = [_first_existing(root, (name,), "svhn") for name in SVHN_FILES]
    train, test = (read_svhn_mat(path, md5=SVHN_FILES[path.name]) for path in paths)
    return train, test


def _first_existing(root: Path, names: tuple[str, ...], data: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise ValueError(
        f"{root} has no {' or '.join(names)}; get the files with `jacsup data download {data} --data-root {root}`"
    )


def read_idx(path: Path, *, md5: str | None = None) -> np.ndarray:
    """A uint8 array from an IDX file, gzipped or raw.

    md5: the expected checksum of the *unpacked* bytes (the same images may be packed in many ways).
    Raises ValueError, with the path, for a file that is truncated, no IDX file, or differs from its checksum.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}); download it again") from None
    if content[:3] != b"\x00\x00\x08" or content[3:4] not in (b"\x01", b"\x02", b"\x03", b"\x04"):
        start = f"it starts with {content[:4].hex()}, allowed are 00000801 to 00000804" if content else "it is empty"
        raise ValueError(f"{path} is not an IDX file of bytes: {start}; download it again")
    num_dimensions = content[3]
    header = 4 + 4 * num_dimensions
    shape = struct.unpack(f">{num_dimensions}I", content[4:header]) if len(content) >= header else ()
    expected = header + math.prod(shape) if shape else header
    if len(content) != expected:
        raise ValueError(f"{path} has {len(content):,} bytes, its header promises {expected:,}; download it again")
    if 0 in shape:
        raise ValueError(f"{path} holds no values, its header says {shape}; download it again")
    _check_md5(path, content, md5)
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def read_svhn_mat(path: Path, *, md5: str | None = None) -> Split:
    """SVHN's cropped digits: `X` (32, 32, 3, n) uint8 and `y` (n, 1), in which label 10 means digit 0."""
    from scipy.io import loadmat

    _check_md5(path, path.read_bytes(), md5)
    try:
        content = loadmat(path)
        images, labels = np.asarray(content["X"]), np.asarray(content["y"])
    # loadmat has no error type of its own: damaged files raise whatever its parser stumbles over.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is not an SVHN .mat file ({reason}); download it again") from None
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.dtype != np.uint8:
        raise ValueError(
            f"{path}: X is {images.dtype} of shape {images.shape}; allowed is uint8 of shape (32, 32, 3, n); "
            "download it again"
        )
    if labels.size != images.shape[3]:
        raise ValueError(f"{path} has {labels.size} labels for {images.shape[3]} images; download it again")
    if labels.dtype.kind not in "iuf" or not np.isin(labels, range(1, 11)).all():
        raise ValueError(f"{path}: y has values that are not integers from 1 to 10; download it again")
    digits = labels.reshape(-1).astype(np.int64) % 10
    return Split(torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1))), torch.from_numpy(digits))


def _check_md5(path: Path, content: bytes, md5: str | None) -> None:
    if md5 and (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != md5:
        raise ValueError(f"{path} is damaged: its checksum is {found}, it should be {md5}; download it again")
