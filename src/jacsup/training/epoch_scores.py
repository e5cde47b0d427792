"""What each epoch is tested on, and what a finished stage's model file says of its factors."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from jacsup.code import UNIT, to_float, to_unit
from jacsup.config import Recipe
from jacsup.data.dataset import Dataset
from jacsup.metrics.attribute_judge import AttributeJudge, get_attribute_judge
from jacsup.metrics.attributes import attribute_means, edit_scores
from jacsup.metrics.images import chunk_size, chunks, encode_factors, reconstruction_mse
from jacsup.metrics.jacobian import finite_difference_error
from jacsup.metrics.swap import Judge, get_judge, swap_scores
from jacsup.models import Model, ModelInfo, Typical, factor_statistics

NUM_TEST_IMAGES = 2000
# Every attribute of each of these images is edited, so it is few of them.
NUM_EDITED, STRENGTH, NUM_ENCODED = 64, 2, 1000
# Training images whose codes are held at once.
NUM_TYPICAL = 10_000
# Of larger sets the first ones are enough.
MOST_DESCRIBED = 200_000

Judges = Judge | AttributeJudge | None


def get_judges(data: Dataset, *, supervised: bool) -> Judges:
    """The judge of the epochs' swap or edit score, if the data have what it needs."""
    return get_attribute_judge(data) if supervised else get_judge(data)


def test_figures(model: Model, teacher: Model | None, data: Dataset, judge: Judges) -> dict[str, float]:
    """The epoch's test figures, in eval mode, on the first NUM_TEST_IMAGES test images."""
    split = data.test.first(NUM_TEST_IMAGES)
    model.eval()
    figures = {"test_mse": reconstruction_mse(model, split.images)}
    if isinstance(judge, Judge):
        figures["test_swap"] = swap_scores(model, split, judge)["swap_classifier"]
    # Where the judge knows no attribute well enough there is no accuracy.
    if isinstance(judge, AttributeJudge) and not math.isnan(edit := _edit_accuracy(model, data, judge)):
        figures["test_edit"] = edit
    if teacher:
        figures["test_jacobian"] = finite_difference_error(model, teacher, split.images)
    model.train()
    return figures


def _edit_accuracy(model: Model, data: Dataset, judge: AttributeJudge) -> float:
    """The share of flips at STRENGTH that succeed on a few test images."""
    some = data.train.first(NUM_ENCODED)
    assert some.attributes is not None
    means = attribute_means(encode_factors(model, some.images), some.attributes)
    scores = edit_scores(model, data.test.first(NUM_EDITED), judge, data.attributes, means, strengths=(STRENGTH,))
    return scores["accuracy"][0]


def describe(
    model: Model, data: Dataset, recipe: Recipe, metrics: dict[str, float], *, labels_are_y: bool = False
) -> ModelInfo:
    """What a finished stage's model file says: its factors over the training set, and how training images look.

    labels_are_y: the decoder has seen labels in place of y, so that -1 and 1 are what it takes for without and with.
    """
    some = data.train.first(MOST_DESCRIBED)
    y = encode_factors(model, some.images)
    factors = factor_statistics(y)
    if recipe.supervised:
        assert some.attributes is not None
        means = attribute_means(some.attributes.nan_to_num() if labels_are_y else y, some.attributes)
        factors = tuple(
            replace(
                factor,
                name=attribute.name,
                mutually_exclusive=attribute.mutually_exclusive,
                m_minus=m_minus,
                m_plus=m_plus,
            )
            for factor, attribute, m_minus, m_plus in zip(
                factors, data.attributes, *(values.tolist() for values in means), strict=True
            )
        )
    typical = _typical(model, data.train.images[:NUM_TYPICAL])
    return ModelInfo(factors=factors, recipe=recipe.run_name, data=recipe.data, metrics=metrics, typical=typical)


@torch.no_grad()
def _typical(model: Model, images: UInt8[Tensor, "n c h w"]) -> Typical:
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


def _p99(values: Tensor) -> float:
    return float(values.sort().values[round(0.99 * (len(values) - 1))])
