"""The scores on test images at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
# An error that does not fall and is this many times the mean image's is not a slow start but divergence.
FAR_WORSE = 2
# Consecutive epochs, and the share of a stage's epochs, after which factors without effect are not a slow start: small
# data sets have few steps per epoch, and the rate of a one-cycle schedule rises for .3 of the stage.
PATIENCE, START = 5, 0.4
# The share of edits that succeed where factors have no effect.
CHANCE_OF_EDITS = 0.05

Judges = Judge | AttributeJudge | None


def get_judges(data: Dataset, *, supervised: bool) -> Judges:
    """Return the judge of the epochs' swap or edit score, or None for data without labels.

    Args:
        data: The run's data set.
        supervised: Whether the run learns attributes, which are then edited; otherwise units are swapped.
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
        `test_mse`, for pixels in [0, 1], and, where they can be measured, `test_swap`, `test_edit` and `test_jacobian`;
        see docs/METRICS.md.
    """
    split = data.test.first(NUM_TEST_IMAGES)
    model.eval()
    scores = {"test_mse": reconstruction_mse(model, split.images)}
    if isinstance(judge, Judge):
        scores["test_swap"] = swap_scores(model, split, judge)["swap_classifier"]
    # There is no accuracy if the judge is unreliable for all attributes.
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
    return reconstruction_warning(scores["test_mse"], _mean_image_mse(data))


def divergence(history: Sequence[Mapping[str, float]], data: Dataset) -> str | None:
    """Return one line if the test error is far above the mean image's and does not fall.

    Args:
        history: What `test_scores` returned in each epoch of the stage so far.
        data: The run's data set.
    """
    *before, last = (scores["test_mse"] for scores in history)
    if not before or last < min(before):
        return None
    of_mean = _mean_image_mse(data)
    if last < FAR_WORSE * of_mean:
        return None
    return (
        f"training diverges: the test error does not fall and is {last / of_mean:.2g} times the mean image's "
        f"(MSE {last:.3g}, of the mean image {of_mean:.3g}); train again in another folder with a lower learning rate "
        "(--set stages.adam.lr=...)"
    )


def collapse(history: Sequence[Mapping[str, float]], data: Dataset, num_epochs: int) -> str | None:
    """Return one line if the test error falls while swaps or edits succeed no more often than by chance.

    Args:
        history: What `test_scores` returned in each epoch of the stage so far.
        data: The run's data set.
        num_epochs: The stage's epochs.
    """
    recent = history[-PATIENCE:]
    name = "test_edit" if "test_edit" in recent[0] else "test_swap"
    if len(history) < max(PATIENCE, START * num_epochs) or not all(name in scores for scores in recent):
        return None
    chance = CHANCE_OF_EDITS
    if name == "test_swap":
        assert data.train.labels is not None
        chance = 1 / (int(data.train.labels.max()) + 1)
    control, error = max(scores[name] for scores in recent), recent[-1]["test_mse"]
    # While all images of a model look alike, nothing can be swapped yet.
    if control > chance or error >= min(recent[0]["test_mse"], _mean_image_mse(data)):
        return None
    return (
        f"the factors have no effect: the test error falls, but for {PATIENCE} epochs {name} has been at most "
        f"{control:.2g}, which is chance level; train again in another folder with more weight on the losses of the "
        "factors (--set stages.weights.NAME=...)"
    )


def _mean_image_mse(data: Dataset) -> float:
    return mean_image_mse(data.test.first(NUM_TEST_IMAGES).images)


def _edit_accuracy(model: Model, data: Dataset, judge: AttributeJudge) -> float:
    """The share of flips at EPOCH_STRENGTH that succeed on a few test images."""
    some = data.train.first(NUM_EPOCH_MEANS)
    assert some.attributes is not None
    means = attribute_means(encode_factors(model, some.images), some.attributes)
    split, strengths = data.test.first(max(4, NUM_EPOCH_EDITS // model.passes_per_edit)), (EPOCH_STRENGTH,)
    return edit_scores(model, split, judge, data.attributes, means, strengths=strengths)["accuracy"][0]
