"""Describe any autoencoder by its data: what its factors mean, and what its training images look like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from jacsup.code import UNIT, to_float, to_unit
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset
from jacsup.metrics.attributes import attribute_means, switchable
from jacsup.metrics.images import chunk_size, chunks, encode_factors
from jacsup.models import Autoencoder, Factor, ModelInfo, Typical, factor_statistics

# Factors are described on at most this many of the first training images.
MOST_DESCRIBED = 200_000
# Training images whose whole codes are in memory at once.
NUM_TYPICAL = 10_000


def describe(
    model: Autoencoder,
    data: Dataset,
    *,
    recipe: str = "",
    metrics: dict[str, Any] | None = None,
    labels_are_y: bool = False,
) -> ModelInfo:
    """Describe a model by its training data: its factors, and statistics of the training images.

    The factors are the data's attributes if the model's code has a nuisance part and one factor for each attribute.
    Otherwise they are units.

    Args:
        model: Any autoencoder, in memory. It is in eval mode during the call.
        data: The data set that it was trained on. Only the training split is read.
        recipe: The name of the recipe that trained the model. Defaults to none.
        metrics: Scores to store with the description, by name. Defaults to none.
        labels_are_y: Whether the decoder was trained on labels instead of y, like that of Fader Networks. An
            attribute's typical values without and with it are then -1 and 1.

    Returns:
        Name, mean, standard deviation, 1st and 99th percentile of each factor, and for an attribute the mean values m-
        and m+ without and with it; the mean code of training images, and the 99th percentiles of their distance from
        it and of their reconstruction error.
    """
    some = data.train.first(MOST_DESCRIBED)
    with in_eval_mode(model):
        y = encode_factors(model, some.images)
        typical = _typical(model, data.train.images[:NUM_TYPICAL])
    factors = factor_statistics(y)
    if some.attributes is not None and controls_attributes(model, data.attributes):
        labels = some.attributes.to(y.device)
        means = attribute_means(labels.nan_to_num() if labels_are_y else y, labels)
        factors = tuple(
            _with_meaning(*row)
            for row in zip(
                factors, switchable(model, data.attributes), *(values.tolist() for values in means), strict=True
            )
        )
    return ModelInfo(factors=factors, recipe=recipe, data=data.config, metrics=metrics or {}, typical=typical)


def controls_attributes(model: Autoencoder, attributes: Sequence[Attribute]) -> bool:
    """Return whether a model's factors can be these attributes: one factor for each, and a nuisance part."""
    return model.code_size > model.num_units == len(attributes)


@contextmanager
def in_eval_mode(model: Autoencoder) -> Iterator[None]:
    """Put a model into eval mode, and each of its modules back into its own mode afterwards."""
    if not isinstance(model, nn.Module):
        yield
        return
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _with_meaning(factor: Factor, attribute: Attribute, m_minus: float, m_plus: float) -> Factor:
    meaning = {"name": attribute.name, "mutually_exclusive": attribute.mutually_exclusive}
    return replace(factor, **meaning, m_minus=m_minus, m_plus=m_plus)


@torch.no_grad()
def _typical(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Typical:
    codes, errors = [], []
    for x, part in zip(chunks(model, images), images.split(chunk_size(images)), strict=True):
        code = model.encode(x)
        pixels = to_unit(model.decode(code), model.value_range)
        codes.append(code.units)
        errors.append((pixels - to_float(part.to(pixels.device), UNIT)).square().mean(dim=(1, 2, 3)))
    units = torch.cat(codes)
    typical = Typical(mean=units.mean(dim=0), std=units.std(dim=0), distance=0.0, mse=0.0)
    distance, mse = (_p99(values) for values in (typical.distance_from(units), torch.cat(errors)))
    return replace(typical, distance=distance, mse=mse)


def _p99(values: Float[Tensor, " n"]) -> float:
    return float(values.sort().values[round(0.99 * (len(values) - 1))])
