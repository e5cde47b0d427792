"""Random draws of training, as pure functions of seed, stage and epoch: order, flips, swaps and kept units."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from jacsup.data.attributes import Attribute


class Stream(IntEnum):
    """The independent random streams of an epoch; a new draw takes the next number."""

    ORDER = 0
    FLIPS = 1
    SWAPS = 2
    KEPT_UNITS = 3
    NOISE_LEVELS = 4
    SHOWN = 5
    NOISE = 6


def _generator(stream: Stream, seed: int, stage: int, epoch: int, *step: int) -> np.random.Generator:
    # ORDER adds no number of its own: for large seeds, a trailing 0 would change the draw.
    numbers = [seed, stage, epoch, *([stream] if stream else []), *step]
    return np.random.default_rng(np.random.SeedSequence(numbers))


def initial_seed(seed: int, stage: int) -> int:
    """Return the seed of a stage's new weights.

    Args:
        seed: The recipe's seed.
        stage: Number of the stage, from 0.

    Returns:
        A number from 0 to below 2^63.
    """
    return int(np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)[0] >> 1)


def batch_order(num_images: int, batch_size: int, *, seed: int, stage: int, epoch: int) -> Int[Tensor, "steps b"]:
    """Return the image indices of each batch of an epoch. An incomplete last batch is dropped.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        Each image at most once, shape (steps, b).

    Raises:
        ValueError: There are fewer images than one batch holds.
    """
    require_full_batch(num_images, batch_size)
    order = _generator(Stream.ORDER, seed, stage, epoch).permutation(num_images)
    return torch.from_numpy(order[: num_images // batch_size * batch_size].reshape(-1, batch_size))


def flip_mask(num_images: int, batch_size: int, *, seed: int, stage: int, epoch: int) -> Bool[Tensor, "steps b"]:
    """Draw which images of an epoch's batches are mirrored, each with probability one half.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        True where an image is mirrored, shape (steps, b).
    """
    rng = _generator(Stream.FLIPS, seed, stage, epoch)
    return torch.from_numpy(rng.random((num_images // batch_size, batch_size)) < 0.5)


def swap_mask(
    num_images: int,
    batch_size: int,
    attributes: Sequence[Attribute],
    probability: float,
    *,
    seed: int,
    stage: int,
    epoch: int,
) -> Bool[Tensor, "steps b k"]:
    """Draw which attributes each image of an epoch's batches takes from its partner.

    Mutually exclusive attributes are swapped together.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        attributes: The columns of the table of attributes.
        probability: Probability that an attribute is swapped.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        True where an attribute comes from the partner, shape (steps, b, k).
    """
    groups = _mutually_exclusive_groups(attributes)
    rng = _generator(Stream.SWAPS, seed, stage, epoch)
    drawn = rng.random((num_images // batch_size, batch_size, len(attributes)), dtype=np.float32) < probability
    return torch.from_numpy(drawn[:, :, groups])


def kept_mask(
    num_images: int, batch_size: int, num_units: int, *, seed: int, stage: int, epoch: int
) -> Bool[Tensor, "steps b u"]:
    """Draw which units nested dropout keeps of each image of an epoch's batches: the first 1, 2, ... or all of them.

    Differs from Rippel et al. 2014: the number of kept units is uniform, not geometric, so that late units learn
    within few epochs.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        num_units: Units of the code.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        True where a unit is kept, shape (steps, b, u).
    """
    rng = _generator(Stream.KEPT_UNITS, seed, stage, epoch)
    last = rng.integers(num_units, size=(num_images // batch_size, batch_size, 1))
    return torch.from_numpy(np.arange(num_units) <= last)


def noise_levels(
    num_images: int, batch_size: int, log_sigma: tuple[float, float], *, seed: int, stage: int, epoch: int
) -> Float[Tensor, "steps b"]:
    """Draw the standard deviations of the noise that a denoiser learns to remove from an epoch's images.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        log_sigma: Mean and standard deviation of their logarithm, which is normally distributed.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        Numbers above 0, shape (steps, b).
    """
    rng = _generator(Stream.NOISE_LEVELS, seed, stage, epoch)
    logarithms = rng.normal(*log_sigma, size=(num_images // batch_size, batch_size))
    return torch.from_numpy(np.exp(logarithms).astype(np.float32))


def shown_mask(
    num_images: int, batch_size: int, num_attributes: int, probability: float, *, seed: int, stage: int, epoch: int
) -> Bool[Tensor, "steps b k"]:
    """Draw which attributes of each image in an epoch's batches a denoiser is given; for one image in ten, none.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.
        num_attributes: Number of attributes.
        probability: Probability of each attribute of the other nine images in ten.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.

    Returns:
        True where an attribute is given, shape (steps, b, k).
    """
    rng = _generator(Stream.SHOWN, seed, stage, epoch)
    size = num_images // batch_size, batch_size
    shown = rng.random((*size, num_attributes), dtype=np.float32) < probability
    return torch.from_numpy(shown & (rng.random((*size, 1)) < 0.9))


def noise(
    shape: tuple[int, ...], device: torch.device, *, seed: int, stage: int, epoch: int, step: int
) -> Float[Tensor, "b c h w"]:
    """Draw standard normal noise for one batch of images.

    Args:
        shape: Shape of the whole batch.
        device: Where it is drawn. A GPU draws other numbers than a CPU, because the CPU's would keep it waiting.
        seed: The recipe's seed.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch within the stage, from 0.
        step: Number of the batch within the epoch, from 0.

    Returns:
        The noise, of the shape `shape`.
    """
    rng = _generator(Stream.NOISE, seed, stage, epoch, step)
    if device.type == "cpu":
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
    return torch.randn(shape, generator=generator, device=device)


def _mutually_exclusive_groups(attributes: Sequence[Attribute]) -> list[int]:
    """The group of each attribute. Attributes that exclude each other, directly or indirectly, are one group."""
    groups = list(range(len(attributes)))
    for i, attribute in enumerate(attributes):
        excluded = {groups[j] for j, other in enumerate(attributes) if other.name in attribute.mutually_exclusive}
        linked = {groups[i], *excluded}
        groups = [min(linked) if group in linked else group for group in groups]
    return groups


def require_full_batch(num_images: int, batch_size: int) -> None:
    """Check that an epoch has at least one complete batch.

    Args:
        num_images: Number of training images.
        batch_size: Images per batch.

    Raises:
        ValueError: There are fewer images than one batch holds.
    """
    if num_images < batch_size:
        raise ValueError(
            f"batch_size is {batch_size}, but there are only {num_images} training images; "
            f"use --set stages.batch_size={num_images} or less"
        )
