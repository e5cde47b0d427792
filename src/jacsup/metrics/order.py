"""The order of a code: how much each unit contributes."""

from __future__ import annotations

from itertools import combinations, pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jacsup.code import Code, to_float, to_unit
from jacsup.metrics.images import chunk_size, encode_all, mse
from jacsup.metrics.jacobian import JACOBIAN_CHUNK, decoder_jacobian
from jacsup.models import Autoencoder, device_of


@torch.no_grad()
def prefix_mse(model: Autoencoder, images: UInt8[Tensor, "n c h w"], means: Float[Tensor, " u"]) -> list[float]:
    """Return the mean squared errors, in [0, 1] pixels, of reconstructions from only the first 0, 1, ..., all units.

    Args:
        model: A model with an ordered code.
        images: The images to reconstruct.
        means: The values for the other units: their means over the training set.

    Returns:
        A list of num_units + 1 errors; entry j uses the first j units.
    """
    units, size = encode_all(model, images), chunk_size(images)
    means, errors = means.to(units), []
    for kept in range(model.num_units + 1):
        cut = torch.cat([units[:, :kept], means[kept:].expand(len(units), -1)], dim=1)
        total = 0.0
        for codes, part in zip(cut.split(size), images.split(size), strict=True):
            pixels = to_unit(model.decode(Code.of_units(codes)), model.value_range)
            total += len(part) * mse(pixels, part)
        errors.append(total / len(images))
    return errors


def drop_per_unit(prefix: list[float]) -> list[float]:
    """Return how much each unit lowers the errors that `prefix_mse` returns.

    Args:
        prefix: What `prefix_mse` returns.
    """
    return [before - after for before, after in pairwise(prefix)]


def energy_per_unit(model: Autoencoder, images: UInt8[Tensor, "n c h w"], spread: Float[Tensor, " u"]) -> list[float]:
    """Return each unit's first-order effect: the mean squared length of dD/du_i in [0, 1] pixels, times its variance.

    Args:
        model: A model with an ordered code.
        images: The images at whose codes the decoder is differentiated.
        spread: The units' standard deviations in the training data, which make the energy independent of their scale.
    """
    energies = []
    for part in images.split(JACOBIAN_CHUNK):
        with torch.no_grad():
            code = model.encode(to_float(part.to(device_of(model)), model.value_range))
        energies.append(decoder_jacobian(model, code, model.num_units).square().sum(dim=2))
    energy, (low, high) = torch.cat(energies, dim=1).mean(dim=1), model.value_range
    return (energy * (spread.to(energy) / (high - low)).square()).tolist()


def monotony(energies: list[float]) -> float | None:
    """Return the share of pairs whose earlier unit has more energy: 1 is fully ordered, 0.5 random; None for one unit.

    Args:
        energies: What `energy_per_unit` returns.
    """
    pairs = list(combinations(energies, 2))
    return sum(earlier > later for earlier, later in pairs) / len(pairs) if pairs else None
