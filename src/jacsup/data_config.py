"""The data sets that a recipe can name, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Sides of images that the convolutional model takes.
IMAGE_SIZES = (32, 64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class MNIST:
    """60,000 + 10,000 handwritten digits, 1x28x28, from the four IDX files."""


@dataclass(frozen=True, kw_only=True)
class SVHN:
    """73,257 + 26,032 house-number digits, 3x32x32, from train_32x32.mat and test_32x32.mat."""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """scikit-learn's 1,797 handwritten digits, 1x8x8, split 1,500 + 297; embedded in that package."""


@dataclass(frozen=True, kw_only=True)
class Faces:
    """Drawn faces with 36 attributes and known counterfactuals; embedded, the last tenth is the test set.

    size: one of IMAGE_SIZES, as for the others.
    """

    size: int = 64
    num_images: int = 20_000


@dataclass(frozen=True, kw_only=True)
class CelebA:
    """202,599 photographs of celebrities with 40 attributes, in the official layout and partition, cropped square.

    judged_on: the partition that metrics see; choose settings on `validation`, report on `test`.
    sha256: filled in when the images are read; it tells a resumed run whether they are the same, a subset or all.
    """

    size: int = 64
    judged_on: Literal["test", "validation"] = "test"
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images of one's own, with a table of attributes or without; the last tenth of a fixed shuffle is the test set.

    sha256: filled in when the images are read; it tells a resumed run whether they are the same.
    """

    size: int = 64
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Sprites:
    """dSprites, 1x64x64: 3 shapes in 6 scales, 40 orientations and 32 x 32 places; a fixed draw, 15,000 for testing.

    num_train: how many of the other images are for training. official: read them from the published .npz, do not draw.
    """

    num_train: int = 32_000
    official: bool = False


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Images that the caller passed; the digest tells a resumed run whether they are the same."""

    sha256: str


DataConfig = MNIST | SVHN | Digits | Faces | Sprites | CelebA | Folder | Arrays


def require_image_size(size: int) -> None:
    """ValueError for a side of images that the convolutional model does not take."""
    if size not in IMAGE_SIZES:
        raise ValueError(f"size is {size}; allowed are {', '.join(map(str, IMAGE_SIZES))}")
