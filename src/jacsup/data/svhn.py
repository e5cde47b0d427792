"""SVHN's cropped digits (Netzer et al. 2011), and subsets of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from jacsup.config import SVHN
from jacsup.data.dataset import Dataset, Split
from jacsup.data.download import Download, downloaded, find_file
from jacsup.data.official import OfficialFile, note_if_unofficial
from jacsup.data.spec import DatasetSpec

FILES = (
    OfficialFile(name="train_32x32.mat", size=182_040_794, md5="e26dedcc434d2e4c54c9b2d4a06d8373"),
    OfficialFile(name="test_32x32.mat", size=64_275_384, md5="eb5a983be6a315427106f1b164d9cef3"),
)
DOWNLOAD = Download(
    name="svhn",
    url="http://ufldl.stanford.edu/housenumbers/",
    files={file.name: file.md5 for file in FILES},
)


def load_svhn(config: SVHN, root: Path | None) -> Dataset:
    """Load train_32x32.mat and test_32x32.mat.

    Args:
        config: The data set's config.
        root: Folder with the files; downloaded to the user's cache by default.

    Returns:
        Images of 3x32x32 with labels from 0 to 9, and a note on each file that is not SVHN's own.

    Raises:
        ValueError: A file is missing or damaged, or its images or labels have another shape or range.
    """
    root = root or downloaded(DOWNLOAD)
    paths = [find_file(root, (file.name,), DOWNLOAD) for file in FILES]
    notes = [note_if_unofficial(path, path.read_bytes(), file, "SVHN") for path, file in zip(paths, FILES, strict=True)]
    train, test = map(read_svhn_mat, paths)
    return Dataset(train, test, config, notes=tuple(filter(None, notes)))


def read_svhn_mat(path: Path) -> Split:
    """Read a MATLAB file of SVHN's second format.

    Args:
        path: The file, with `X` (32, 32, 3, n) as uint8 and `y` (n, 1), in which 10 is the label of digit 0.

    Returns:
        Images (n, 3, 32, 32) with labels from 0 to 9.

    Raises:
        ValueError: The file is damaged, or its images or labels have another shape or range.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        images, labels = np.asarray(content["X"]), np.asarray(content["y"])
    # loadmat has no error type of its own: a damaged file may raise any error in its parser.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{path} is not an SVHN .mat file ({reason}); download it again") from None
    if images.ndim != 4 or images.shape[:3] != (32, 32, 3) or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            f"{path}: X is {images.dtype} of shape {images.shape}; must be uint8 of shape (32, 32, 3, n), n at least "
            "1; download it again"
        )
    if labels.size != images.shape[3]:
        raise ValueError(f"{path} has {labels.size} labels for {images.shape[3]} images; download it again")
    if labels.dtype.kind not in "iuf" or not np.isin(labels, range(1, 11)).all():
        raise ValueError(f"{path}: y has values that are not integers from 1 to 10; download it again")
    digits = labels.reshape(-1).astype(np.int64) % 10
    return Split(torch.from_numpy(np.ascontiguousarray(images.transpose(3, 2, 0, 1))), torch.from_numpy(digits))


DATA_SET = DatasetSpec(load=load_svhn, description=lambda _: "SVHN's house-number digits", download=DOWNLOAD)
