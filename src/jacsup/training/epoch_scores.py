"""The scores on test images that each epoch ends with."""

from __future__ import annotations

import math

from jacsup.data.dataset import Dataset
from jacsup.metrics.attribute_judge import AttributeJudge, get_attribute_judge
from jacsup.metrics.attributes import attribute_means, edit_scores
from jacsup.metrics.images import encode_factors, mean_image_mse, reconstruction_mse, reconstruction_warning
from jacsup.metrics.jacobian import finite_difference_error
from jacsup.metrics.swap import Judge, get_judge, swap_scores
from jacsup.models import Model

NUM_TEST_IMAGES = 2000
# Test images whose attributes are edited after each epoch: few, as every attribute of each is flipped.
NUM_EPOCH_EDITS = 64
EPOCH_STRENGTH = 2
# Training images that an epoch's m- and m+ are means over.
NUM_EPOCH_MEANS = 1000

Judges = Judge | AttributeJudge | None


def get_judges(data: Dataset, *, supervised: bool) -> Judges:
    """Return the judge of the epochs' swap or edit score, None for data without what it needs.

    Args:
        data: The run's data set.
        supervised: Whether the run learns attributes, which are then edited. Units are swapped otherwise.
    """
    return get_attribute_judge(data) if supervised else get_judge(data)


def test_scores(model: Model, teacher: Model | None, data: Dataset, judge: Judges) -> dict[str, float]:
    """Score a model after an epoch, in eval mode, and put it back into training mode.

    Args:
        model: The model in training.
        teacher: The model whose Jacobian it follows, None for a first teacher.
        data: The run's data set; its first NUM_TEST_IMAGES test images are used.
        judge: The judge from `get_judges`.

    Returns:
        `test_mse`, and, where they can be measured, `test_swap`, `test_edit` and `test_jacobian`.
    """
    split = data.test.first(NUM_TEST_IMAGES)
    model.eval()
    scores = {"test_mse": reconstruction_mse(model, split.images)}
    if isinstance(judge, Judge):
        scores["test_swap"] = swap_scores(model, split, judge)["swap_classifier"]
    # There is no accuracy if the judge is reliable for none of the attributes.
    if isinstance(judge, AttributeJudge) and not math.isnan(edit := _edit_accuracy(model, data, judge)):
        scores["test_edit"] = edit
    if teacher:
        scores["test_jacobian"] = finite_difference_error(model, teacher, split.images)
    model.train()
    return scores


def learning_warning(scores: dict[str, float], data: Dataset) -> str | None:
    """Return one line if a model reconstructs no better than the mean image.

    Args:
        scores: What `test_scores` returned.
        data: The run's data set.
    """
    return reconstruction_warning(scores["test_mse"], mean_image_mse(data.test.first(NUM_TEST_IMAGES).images))


def _edit_accuracy(model: Model, data: Dataset, judge: AttributeJudge) -> float:
    """The share of flips at EPOCH_STRENGTH that succeed on a few test images."""
    some = data.train.first(NUM_EPOCH_MEANS)
    assert some.attributes is not None
    means = attribute_means(encode_factors(model, some.images), some.attributes)
    split, strengths = data.test.first(max(4, NUM_EPOCH_EDITS // model.passes_per_edit)), (EPOCH_STRENGTH,)
    return edit_scores(model, split, judge, data.attributes, means, strengths=strengths)["accuracy"][0]
