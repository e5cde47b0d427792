"""MNIST, and data sets in its file format such as KMNIST, Fashion-MNIST and EMNIST's digits."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch

from jacsup.bounded import MOST_FILE_BYTES, read_file, unpack_gzip
from jacsup.config import MNIST
from jacsup.data.dataset import Dataset, Split
from jacsup.data.download import Download, downloaded, find_file
from jacsup.data.official import OfficialFile, note_if_unofficial
from jacsup.data.spec import DatasetSpec

# KMNIST and Fashion-MNIST have files of the same sizes, so these are told apart by their first bytes.
FILES = (
    OfficialFile(
        name="train-images-idx3-ubyte",
        size=47_040_016,
        md5="6bbc9ace898e44ae57da46a324031adb",
        start_md5="e244eee281e21704656a4e5d73381a4b",
    ),
    OfficialFile(
        name="train-labels-idx1-ubyte",
        size=60_008,
        md5="a25bea736e30d166cdddb491f175f624",
        start_md5="be47309fe48aae46d20cc100e919bb69",
    ),
    OfficialFile(
        name="t10k-images-idx3-ubyte",
        size=7_840_016,
        md5="2646ac647ad5339dbf082846283269ea",
        start_md5="4a8ecdb14df31d0a9d3f026ddbffd4b5",
    ),
    OfficialFile(
        name="t10k-labels-idx1-ubyte",
        size=10_008,
        md5="27ae3e4e09519cfbb04c329615203637",
        start_md5="ba2168558e4787e3e2032b850a7fe723",
    ),
)
DOWNLOAD = Download(
    name="mnist",
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)


def load_mnist(config: MNIST, root: Path | None) -> Dataset:
    """Load the four IDX files of MNIST, or of another data set in its format, packed with gzip or not.

    Args:
        config: The data set's config.
        root: Folder with the files; downloaded to the user's cache by default.

    Returns:
        Images of 1x28x28 with labels from 0 to 9, and a note on each file that is not MNIST's own.

    Raises:
        ValueError: A file is missing or damaged, or its images or labels have another shape or range.
    """
    root = root or downloaded(DOWNLOAD)
    paths, arrays, notes = [], [], []
    for file in FILES:
        path = find_file(root, (f"{file.name}.gz", file.name), DOWNLOAD)
        content = _unpacked(path)
        paths.append(path)
        arrays.append(_idx_array(path, content))
        notes.append(note_if_unofficial(path, content, file, "MNIST"))
    train, test = (_split(paths[i : i + 2], *arrays[i : i + 2]) for i in (0, 2))
    return Dataset(train, test, config, notes=tuple(filter(None, notes)))


def _split(paths: list[Path], images: np.ndarray, labels: np.ndarray) -> Split:
    images_path, labels_path = paths
    if images.ndim != 3 or images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path} has values of shape {images.shape}; must be (n, 28, 28): use images of 28x28 pixels, or "
            "download it again"
        )
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{labels_path} has values of shape {labels.shape}; must be ({len(images)},), one label for each image of "
            f"{images_path.name}: use files that belong together, or download it again"
        )
    if labels.max() > 9:
        raise ValueError(
            f"{labels_path} has labels up to {labels.max()}; must be between 0 and 9: use a data set with 10 classes, "
            "or download it again"
        )
    return Split(torch.from_numpy(images[:, None]), torch.from_numpy(labels.astype(np.int64)))


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes, packed with gzip or not.

    Args:
        path: The file.

    Returns:
        A uint8 array of the shape that the file's header states.

    Raises:
        ValueError: The file is truncated, damaged or not an IDX file of bytes.
    """
    return _idx_array(path, _unpacked(path))


def _unpacked(path: Path) -> bytes:
    content = read_file(path, MOST_FILE_BYTES)
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return unpack_gzip(content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); download it again") from None


def _idx_array(path: Path, content: bytes) -> np.ndarray:
    if content[:3] != b"\x00\x00\x08" or content[3:4] not in (b"\x01", b"\x02", b"\x03", b"\x04"):
        start = f"it starts with {content[:4].hex()}, not 00000801 to 00000804" if content else "it is empty"
        raise ValueError(f"{path} is not an IDX file of bytes: {start}; download it again")
    num_dimensions = content[3]
    header = 4 + 4 * num_dimensions
    shape = struct.unpack(f">{num_dimensions}I", content[4:header]) if len(content) >= header else ()
    expected = header + math.prod(shape) if shape else header
    if len(content) != expected:
        raise ValueError(f"{path} has {len(content):,} bytes, but its header states {expected:,}; download it again")
    if 0 in shape:
        raise ValueError(f"{path} has no values: its header states the shape {shape}; download it again")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


DATA_SET = DatasetSpec(
    load=load_mnist,
    description=lambda _: "MNIST's handwritten digits",
    license="apache-2.0",
    download=DOWNLOAD,
)
