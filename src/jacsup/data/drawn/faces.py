"""Drawn faces with CelebA's attributes, whose true edits are known and can be compared with a model's.

A face is drawn from the strengths of its attributes (0 without, 0.5 to 1 with) and from nuisance: independent normal
numbers for pose, light, shape of the head, background, clothes, strands of hair and skin. Attributes and nuisance are
independent of each other. As in photographs, attributes are correlated with each other: each depends on five hidden
traits (masculine, age, cheer, weight, glamour), see LOADINGS. So smiles come with high cheekbones, and grey hair with
bags under the eyes, but beards rarely come with lipstick; `correlations` has the numbers. Where one attribute would
hide another, at most one of the two is sampled (MUTUALLY_EXCLUSIVE).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jacsup.atomic import write_atomically
from jacsup.data.cache import require_writable
from jacsup.data.drawn.drawing import NUISANCE, draw
from jacsup.progress import track

# Increased with every change of what is drawn or sampled, so that outdated images in the cache are not used.
VERSION = 3

TRAITS = ("masculine", "age", "cheer", "weight", "glamour")
# Name -> its frequency if no other attribute excluded it, and its correlation with each trait.
LOADINGS: dict[str, tuple[float, tuple[float, ...]]] = {
    "5_o_Clock_Shadow": (0.18, (0.80, 0.00, 0.00, 0.00, 0.00)),
    "Arched_Eyebrows": (0.28, (-0.50, 0.00, 0.00, 0.00, 0.30)),
    "Bags_Under_Eyes": (0.24, (0.25, 0.55, 0.00, 0.20, 0.00)),
    "Bald": (0.22, (0.60, 0.50, 0.00, 0.00, 0.00)),
    "Bangs": (0.24, (-0.35, -0.35, 0.00, 0.00, 0.00)),
    "Big_Lips": (0.26, (-0.30, 0.00, 0.00, 0.00, 0.20)),
    "Big_Nose": (0.24, (0.40, 0.30, 0.00, 0.20, 0.00)),
    "Black_Hair": (0.24, (0.15, -0.35, 0.00, 0.00, 0.00)),
    "Blond_Hair": (0.22, (-0.40, -0.20, 0.00, 0.00, 0.20)),
    "Blurry": (0.10, (0.00, 0.00, 0.00, 0.00, -0.20)),
    "Brown_Hair": (0.24, (-0.20, -0.10, 0.00, 0.00, 0.00)),
    "Bushy_Eyebrows": (0.18, (0.50, 0.00, 0.00, 0.00, 0.00)),
    "Chubby": (0.16, (0.15, 0.20, 0.00, 0.75, 0.00)),
    "Double_Chin": (0.14, (0.15, 0.45, 0.00, 0.65, 0.00)),
    "Eyeglasses": (0.16, (0.25, 0.40, 0.00, 0.00, -0.20)),
    "Goatee": (0.18, (0.80, 0.00, 0.00, 0.00, 0.00)),
    "Gray_Hair": (0.16, (0.25, 0.75, 0.00, 0.00, 0.00)),
    "Heavy_Makeup": (0.32, (-0.75, 0.00, 0.00, 0.00, 0.40)),
    "High_Cheekbones": (0.36, (-0.30, 0.00, 0.60, -0.20, 0.20)),
    "Mouth_Slightly_Open": (0.42, (-0.10, 0.00, 0.50, 0.00, 0.00)),
    "Mustache": (0.17, (0.75, 0.25, 0.00, 0.00, 0.00)),
    "Narrow_Eyes": (0.14, (0.00, 0.15, 0.30, 0.00, 0.00)),
    "Oval_Face": (0.26, (-0.20, 0.00, 0.00, -0.50, 0.20)),
    "Pale_Skin": (0.14, (-0.20, 0.00, 0.00, 0.00, 0.00)),
    "Pointy_Nose": (0.24, (-0.30, 0.00, 0.00, -0.20, 0.20)),
    "Receding_Hairline": (0.16, (0.40, 0.60, 0.00, 0.00, 0.00)),
    "Rosy_Cheeks": (0.18, (-0.40, -0.10, 0.35, 0.00, 0.20)),
    "Sideburns": (0.18, (0.75, 0.00, 0.00, 0.00, 0.00)),
    "Smiling": (0.46, (-0.15, 0.00, 0.75, 0.00, 0.00)),
    "Straight_Hair": (0.24, (0.00, -0.15, 0.00, 0.00, 0.00)),
    "Wavy_Hair": (0.30, (-0.40, 0.00, 0.00, 0.00, 0.30)),
    "Wearing_Earrings": (0.24, (-0.65, 0.00, 0.00, 0.00, 0.35)),
    "Wearing_Hat": (0.13, (0.20, -0.10, 0.00, 0.00, 0.00)),
    "Wearing_Lipstick": (0.40, (-0.80, 0.00, 0.00, 0.00, 0.35)),
    "Wearing_Necklace": (0.18, (-0.50, 0.00, 0.00, 0.00, 0.35)),
    "Wearing_Necktie": (0.14, (0.60, 0.25, 0.00, 0.00, 0.20)),
}
ATTRIBUTES: tuple[str, ...] = tuple(LOADINGS)

# A face has at most one attribute of a group. An attribute in several groups excludes all of their members.
MUTUALLY_EXCLUSIVE: tuple[tuple[str, ...], ...] = (
    ("Bald", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"),
    ("Bald", "Bangs", "Receding_Hairline", "Wearing_Hat"),
    ("Bald", "Straight_Hair", "Wavy_Hair"),
    ("5_o_Clock_Shadow", "Goatee", "Mustache", "Sideburns"),
    ("Big_Nose", "Pointy_Nose"),
    ("Chubby", "Oval_Face"),
    ("Wearing_Necklace", "Wearing_Necktie"),
)
NUM_NUISANCE: int = sum(NUISANCE.values())

FLIPPED_ON = 0.75
SMALLEST_SIZE = 16
PIXELS_AT_ONCE = 32 * 64 * 64


def sample(num_images: int, seed: int) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n m"]]:
    """Sample random faces. The first faces do not depend on how many follow.

    Args:
        num_images: Number of faces.
        seed: Seed of the random numbers.

    Returns:
        Strengths of the attributes (0, or 0.5 to 1) and nuisance (standard normal).

    Raises:
        ValueError: The seed or the number of faces is negative.
    """
    if num_images < 0 or seed < 0:
        raise ValueError(f"num_images is {num_images} and seed is {seed}; both must be at least 0")
    num_attributes, num_traits = len(ATTRIBUTES), len(TRAITS)
    numbers = _normals([seed, 0], num_images, num_traits + 2 * num_attributes)
    traits, own, strengths = numbers.split([num_traits, num_attributes, num_attributes], 1)
    loadings = torch.tensor([loading for _, loading in LOADINGS.values()])
    thresholds = torch.tensor([NormalDist().inv_cdf(1 - frequency) for frequency, _ in LOADINGS.values()])
    excess = traits @ loadings.T + own * (1 - loadings.square().sum(1)).sqrt() - thresholds
    for group in MUTUALLY_EXCLUSIVE:
        members = [ATTRIBUTES.index(name) for name in group]
        lost = excess[:, members] < excess[:, members].amax(1, keepdim=True)
        excess[:, members] = excess[:, members].masked_fill(lost, -torch.inf)
    attributes = torch.where(excess > 0, 0.5 + 0.5 * torch.special.ndtr(strengths), 0)
    return attributes, _normals([seed, 1], num_images, NUM_NUISANCE)


def _normals(seeds: list[int], rows: int, columns: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seeds).standard_normal((rows, columns), dtype=np.float32))


def correlations() -> Float[Tensor, "k k"]:
    """Return the correlations of the attributes, with or without, in 20,000 random faces."""
    attributes, _ = sample(20_000, seed=0)
    return attributes.gt(0).float().T.corrcoef()


def mutually_exclusive(factor: int) -> list[int]:
    """Return the attributes that one attribute excludes.

    Args:
        factor: Number of the attribute in ATTRIBUTES.

    Returns:
        Numbers of the other attributes in its groups of MUTUALLY_EXCLUSIVE.
    """
    name = ATTRIBUTES[factor]
    return sorted(
        {ATTRIBUTES.index(other) for group in MUTUALLY_EXCLUSIVE if name in group for other in group} - {factor}
    )


def flipped(attributes: Float[Tensor, "n k"], factor: int) -> Float[Tensor, "n k"]:
    """Flip one attribute of faces.

    Args:
        attributes: Strengths, in the order of ATTRIBUTES.
        factor: Number of the attribute in ATTRIBUTES.

    Returns:
        Strengths in which a face with the attribute has 0, and a face without it has 0.75, and 0 in all attributes that
        it excludes.

    Raises:
        ValueError: There is no such attribute.
    """
    if not 0 <= factor < len(ATTRIBUTES):
        raise ValueError(f"factor is {factor}; must be between 0 and {len(ATTRIBUTES) - 1}, an index into ATTRIBUTES")
    result = attributes.clone()
    off = attributes[:, factor] == 0
    result[:, factor] = off * FLIPPED_ON
    for other in mutually_exclusive(factor):
        result[:, other] *= ~off
    return result


def render(
    attributes: Float[Tensor, "n k"], nuisance: Float[Tensor, "n m"], size: int
) -> UInt8[Tensor, "n 3 size size"]:
    """Draw faces. Pixels are continuous in strengths and nuisance.

    Args:
        attributes: Strengths in [0, 1], in the order of ATTRIBUTES.
        nuisance: NUM_NUISANCE normal numbers per face.
        size: Side of the square images, at least 16 pixels.

    Returns:
        RGB images.

    Raises:
        ValueError: Strengths or nuisance have another shape or range, or the size is below 16.
    """
    _require_drawable(attributes, nuisance, size)
    return _render(attributes, nuisance, size, _chunks(len(attributes), size))


def draw_set(num_images: int, size: int, seed: int = 0, *, cache: Path) -> UInt8[Tensor, "n 3 size size"]:
    """Return the faces of `sample` and `render`, drawn once and then read from a file.

    Args:
        num_images: Number of faces.
        size: Side of the square images, at least 16 pixels.
        seed: Seed of the random numbers.
        cache: Folder of the file. A damaged or incomplete file is replaced.

    Returns:
        RGB images.

    Raises:
        ValueError: The size is below 16, or the seed or the number of faces is negative.
    """
    path = cache / f"drawn-{VERSION}-{num_images}-{size}-{seed}.safetensors"
    images = _read(path)
    if images is None:
        attributes, nuisance = sample(num_images, seed)
        _require_drawable(attributes, nuisance, size)
        require_writable(cache)
        chunks = track(_chunks(num_images, size), f"drawing {num_images:,} faces")
        images = _render(attributes, nuisance, size, chunks)
        write_atomically(path, save({"images": images, "sha256": _digest(images)}))
    return images


def _require_drawable(attributes: Tensor, nuisance: Tensor, size: int) -> None:
    num_images, expected = len(attributes), f"(n, {len(ATTRIBUTES)}) and (n, {NUM_NUISANCE})"
    if attributes.shape != (num_images, len(ATTRIBUTES)) or nuisance.shape != (num_images, NUM_NUISANCE):
        raise ValueError(
            f"attributes are {tuple(attributes.shape)} and nuisance is {tuple(nuisance.shape)}; must be {expected}"
        )
    if size < SMALLEST_SIZE:
        raise ValueError(f"size is {size}; must be at least {SMALLEST_SIZE} pixels")
    if not ((attributes >= 0) & (attributes <= 1)).all():
        raise ValueError("attributes are outside [0, 1] or nan; clamp the strengths to [0, 1]")
    if not nuisance.isfinite().all():
        raise ValueError("nuisance contains inf or nan; pass finite numbers, such as those that `sample` returns")


def _chunks(num_images: int, size: int) -> list[slice]:
    # Small enough for the processor's cache, whatever the size of the images.
    step = max(1, PIXELS_AT_ONCE // size**2)
    return [slice(start, start + step) for start in range(0, num_images, step)]


def _render(attributes: Tensor, nuisance: Tensor, size: int, chunks: Iterable[slice]) -> Tensor:
    images = torch.empty(len(attributes), 3, size, size, dtype=torch.uint8)
    for rows in chunks:
        strengths = dict(zip(ATTRIBUTES, attributes[rows].float().T, strict=True))
        images[rows] = draw(strengths, nuisance[rows].float(), size)
    return images


def _digest(images: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(hashlib.sha256(images.numpy().data).digest()), dtype=torch.uint8)


def _read(path: Path) -> Tensor | None:
    """The images of a cached file, or None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        tensors = load(path.read_bytes())
        images, digest = tensors["images"], tensors["sha256"]
    except (SafetensorError, KeyError):
        return None
    return images if torch.equal(digest, _digest(images)) else None
