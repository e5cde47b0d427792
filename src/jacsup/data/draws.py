"""What training draws: the order of images, and what happens to each; pure functions of seed, stage and epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from jacsup.data.attributes import Attribute


def batch_order(num_images: int, batch_size: int, *, seed: int, stage: int, epoch: int) -> Int[Tensor, "steps b"]:
    """Image numbers of each batch of an epoch: a pure function of its arguments; an incomplete batch is dropped."""
    require_full_batch(num_images, batch_size)
    order = np.random.default_rng(np.random.SeedSequence([seed, stage, epoch])).permutation(num_images)
    return torch.from_numpy(order[: num_images // batch_size * batch_size].reshape(-1, batch_size))


def flip_mask(num_images: int, batch_size: int, *, seed: int, stage: int, epoch: int) -> Bool[Tensor, "steps b"]:
    """Which images of an epoch's batches are mirrored: one in two, a pure function of its arguments."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, stage, epoch, 1]))
    return torch.from_numpy(rng.random((num_images // batch_size, batch_size)) < 0.5)


def taken_mask(
    num_images: int,
    batch_size: int,
    attributes: Sequence[Attribute],
    share: float,
    *,
    seed: int,
    stage: int,
    epoch: int,
) -> Bool[Tensor, "steps b k"]:
    """Which attributes each image of an epoch's batches takes from its partner: a pure function of its arguments.

    Each is taken with probability `share`; attributes that exclude each other are taken together.
    """
    groups = _groups(attributes)
    rng = np.random.default_rng(np.random.SeedSequence([seed, stage, epoch, 2]))
    drawn = rng.random((num_images // batch_size, batch_size, len(attributes)), dtype=np.float32) < share
    return torch.from_numpy(drawn[:, :, groups])


def kept_mask(
    num_images: int, batch_size: int, num_units: int, *, seed: int, stage: int, epoch: int
) -> Bool[Tensor, "steps b u"]:
    """Which units nested dropout keeps of each image of an epoch's batches: the first ones, 1 to all, equally often.

    A pure function of its arguments. Differs from Rippel et al. 2014: lengths are uniform, not geometric, so that late
    units learn within few epochs.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, stage, epoch, 3]))
    last = rng.integers(num_units, size=(num_images // batch_size, batch_size, 1))
    return torch.from_numpy(np.arange(num_units) <= last)


def _groups(attributes: Sequence[Attribute]) -> list[int]:
    """The number of each attribute's group: attributes linked by rivals share the smallest."""
    groups = list(range(len(attributes)))
    for i, attribute in enumerate(attributes):
        linked = {groups[i], *(groups[j] for j, other in enumerate(attributes) if other.name in attribute.rivals)}
        groups = [min(linked) if group in linked else group for group in groups]
    return groups


def require_full_batch(num_images: int, batch_size: int) -> None:
    """ValueError where an epoch would have no complete batch."""
    if num_images < batch_size:
        raise ValueError(
            f"batch_size is {batch_size}; allowed are up to {num_images}, the number of training images: "
            f"--set stages.batch_size={num_images}"
        )
