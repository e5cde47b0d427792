"""The factor grid of dSprites (Matthey et al. 2017): drawn here, or read from its published file."""

from __future__ import annotations

import math
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from jacsup.config import Sprites
from jacsup.data.dataset import Dataset, Split
from jacsup.data.spec import DatasetSpec

FACTORS = ("shape", "scale", "orientation", "x", "y")
# Number of values of each factor. Shapes: square, ellipse, heart. Scales: half to full size. Orientations: a full turn,
# both ends included, as published. Positions: one pixel apart.
SIZES = (3, 6, 40, 32, 32)
NUM_IMAGES = math.prod(SIZES)
NUM_TEST = 15_000
SEED = 0
SIDE, WINDOW = 64, 32
OFFICIAL = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"


def load_sprites(config: Sprites, root: Path | None) -> Dataset:
    """Load a random draw from the grid without repetition: NUM_TEST test images, then `num_train` training images.

    Args:
        config: The data set's config.
        root: Folder with the published file, which is needed only if the config is `official`.

    Returns:
        The data set, with its known factors in the order of FACTORS.

    Raises:
        ValueError: `num_train` is out of range, or the published file is missing or damaged.
    """
    most = NUM_IMAGES - NUM_TEST
    if not 1 <= config.num_train <= most:
        raise ValueError(f"data.num_train is {config.num_train}; must be between 1 and {most}")
    chosen = np.random.default_rng(SEED).permutation(NUM_IMAGES)[: NUM_TEST + config.num_train]
    factors = factors_of(chosen)
    images = _published(root, chosen) if config.official else draw_sprites(factors)
    everything = Split(images, factors=factors)
    return Dataset(everything.rows(slice(NUM_TEST, None)), everything.rows(slice(NUM_TEST)), config)


def factors_of(index: Int[np.ndarray, " n"]) -> Int[Tensor, "n 5"]:
    """Return the factors of images.

    Args:
        index: Indices of images in the published order.

    Returns:
        The index of each factor's value, from 0, in the order of FACTORS.
    """
    return torch.from_numpy(np.stack(np.unravel_index(index, SIZES), axis=1))


def draw_sprites(factors: Int[Tensor, "n 5"]) -> UInt8[Tensor, "n 1 64 64"]:
    """Draw white sprites on black.

    Args:
        factors: The index of each factor's value, from 0, in the order of FACTORS.

    Returns:
        Images with pixels of 0 and 255.

    Raises:
        ValueError: The factors lie outside the grid.
    """
    if factors.shape[1:] != (len(SIZES),) or (factors < 0).any() or (factors >= torch.tensor(SIZES)).any():
        raise ValueError(
            f"factors have shape {tuple(factors.shape)}; must be (n, 5), with values at least 0 and below {SIZES}"
        )
    shape, scale, orientation, x, y = factors.T
    # Positions are whole pixels apart, so every image is one of 720 sprites, shifted.
    window = torch.arange(WINDOW)
    rows, columns = (y[:, None] + window)[:, :, None], (x[:, None] + window)[:, None, :]
    images = torch.zeros(len(factors), SIDE, SIDE, dtype=torch.uint8)
    images[torch.arange(len(factors))[:, None, None], rows, columns] = _sprites()[shape, scale, orientation]
    return images[:, None]


@cache
def _sprites() -> UInt8[Tensor, "3 6 40 32 32"]:
    """Every shape in every scale and orientation, in the middle of its window; about 290 pixels at full size."""
    middle = torch.arange(WINDOW) - WINDOW / 2
    scale = torch.linspace(0.5, 1, SIZES[1])[:, None, None, None]
    angle = torch.linspace(0, 2 * math.pi, SIZES[2])[:, None, None]
    down, right = middle[:, None], middle
    u = (angle.cos() * right + angle.sin() * down) / scale
    v = (angle.cos() * down - angle.sin() * right) / scale
    square = (u.abs() <= 8.5) & (v.abs() <= 8.5)
    ellipse = (u / 12).square() + (v / 7.7).square() <= 1
    # A square on its corner with half circles on its upper sides.
    side = 12.7
    lobe = (u.abs() - side / math.sqrt(8)).square() + (v + side / math.sqrt(8)).square() <= (side / 2) ** 2
    heart = lobe | (u.abs() + v.abs() <= side / math.sqrt(2))
    return torch.stack([square, ellipse, heart]).to(torch.uint8) * 255


def _published(root: Path | None, chosen: Int[np.ndarray, " n"]) -> UInt8[Tensor, "n 1 64 64"]:
    """Images of the published file; reading it takes 3 GB of memory."""
    file = (root or Path()) / OFFICIAL
    if root is None or not file.is_file():
        raise ValueError(f"{root or 'no folder given'}: {OFFICIAL} is missing; pass its folder as --data-root")
    try:
        with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            images = arrays["imgs"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file} cannot be read ({error}); download it again") from None
    if images.shape != (NUM_IMAGES, SIDE, SIDE):
        raise ValueError(f"{file} has images of shape {images.shape}; must be {(NUM_IMAGES, SIDE, SIDE)}")
    return torch.from_numpy(images[chosen] * np.uint8(255))[:, None]


DATA_SET = DatasetSpec(
    load=load_sprites,
    description=lambda config: f"dSprites, {config.num_train:,} training images",
)
