"""The data sets that recipes name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Sides of the square images that the convolutional model takes.
IMAGE_SIZES = (32, 64, 128, 256, 512)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Base class of a recipe's data settings, with one subclass per data set.

    A subclass is a frozen, keyword-only dataclass. Its name is the `type` in recipe.json, its fields are the settings
    that change the images, and the first line of its docstring is what `jacsup list` shows. A field `size`, the side of
    square images, means that the images come in any of IMAGE_SIZES. `jacsup.data.DATA_SETS` maps each class to its
    loader.
    """


@dataclass(frozen=True, kw_only=True)
class MNIST(DataConfig):
    """60,000 + 10,000 handwritten digits, 1x28x28, from four IDX files; other sets in this format work too."""


@dataclass(frozen=True, kw_only=True)
class SVHN(DataConfig):
    """73,257 + 26,032 house-number digits, 3x32x32, from train_32x32.mat and test_32x32.mat; subsets work too."""


@dataclass(frozen=True, kw_only=True)
class Digits(DataConfig):
    """scikit-learn's 1,797 handwritten digits, 1x8x8, split into 1,500 + 297; included in scikit-learn."""


@dataclass(frozen=True, kw_only=True)
class Faces(DataConfig):
    """Faces drawn by the package, with 36 attributes and known counterfactuals; the last tenth is the test set.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        num_images: Number of images, training and test together.
    """

    size: int = 64
    num_images: int = 20_000


@dataclass(frozen=True, kw_only=True)
class Sprites(DataConfig):
    """dSprites, 1x64x64: 3 shapes in 6 scales, 40 orientations and 32 x 32 positions; a fixed sample, 15,000 to test.

    Attributes:
        num_train: Number of training images, sampled from those that are not test images.
        official: Read the images from the published .npz file instead of drawing them.
    """

    num_train: int = 32_000
    official: bool = False


@dataclass(frozen=True, kw_only=True)
class CelebA(DataConfig):
    """202,599 photographs of celebrities with 40 attributes, in the official layout and partition, cropped square.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        judged_on: The partition that metrics are computed on: choose settings on `validation`, report on `test`.
        sha256: Checksum of the images, filled in when they are read, with which a resumed run detects other images.
        keep: The attributes to use; empty for all 40.
        drop: Attributes to leave out.
    """

    size: int = 64
    judged_on: Literal["test", "validation"] = "test"
    sha256: str = ""
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Folder(DataConfig):
    """Your own images, with or without a table of attributes; the last tenth of a fixed shuffle is the test set.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        sha256: Checksum of the images, filled in when they are read, with which a resumed run detects other images.
    """

    size: int = 64
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Arrays(DataConfig):
    """Images passed from Python with `Dataset.from_arrays`.

    Attributes:
        sha256: Checksum of the images and labels, with which a resumed run detects other data.
    """

    sha256: str


def require_image_size(size: int) -> None:
    """Check that the convolutional model takes images of this size.

    Args:
        size: Side of the square images, in pixels.

    Raises:
        ValueError: The size is not one of IMAGE_SIZES.
    """
    if size not in IMAGE_SIZES:
        raise ValueError(f"size is {size}; must be one of {', '.join(map(str, IMAGE_SIZES))}")
