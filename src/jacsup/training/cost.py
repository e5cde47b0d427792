"""Estimate how long a recipe trains, from a few steps of each stage."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from statistics import median

from jacsup.config import Recipe
from jacsup.data.dataset import Dataset
from jacsup.models import Model, build
from jacsup.objectives import updates
from jacsup.training.batches import Batches
from jacsup.training.step import make_optimizer, train_step

# Measured steps of each stage, after a first one, which also prepares what later steps reuse.
STEPS = 2


def seconds_of_training(recipe: Recipe, data: Dataset) -> float:
    """Estimate how long a recipe with the losses of eq. 8 to 13 trains, without the scores after each epoch.

    Takes a few steps of each stage with random weights, on the device of the data.

    Args:
        recipe: The recipe.
        data: The data set, with at least a batch of training images.

    Returns:
        The time of all steps, in seconds.
    """
    return sum(
        _seconds_per_step(recipe, number, data) * stage.epochs * (len(data.train) // stage.batch_size)
        for number, stage in enumerate(recipe.stages)
    )


def _seconds_per_step(recipe: Recipe, number: int, data: Dataset) -> float:
    stage, device = recipe.stages[number], data.train.images.device
    few = replace(data, train=data.train.first((STEPS + 1) * stage.batch_size))

    def built(of_stage: int) -> Model:
        sizes = recipe.stages[of_stage].num_units or len(data.attributes), recipe.stages[of_stage].z_channels
        return build(recipe.model, data.image_shape, *sizes, normalized=False).to(device)

    model, teacher = built(number).train(), built(recipe.teacher_of(number)).eval() if stage.is_student else None
    optimizer, iteration = make_optimizer(model, stage.adam), updates(stage, teacher.num_units if teacher else 0)
    batches, seconds = Batches(recipe, number, few, device, teacher), list[float]()
    # One epoch may have fewer batches.
    every = (batch for epoch in range(STEPS + 1) for batch in batches.epoch(epoch))
    for batch in itertools.islice(every, STEPS + 1):
        started_at = time.perf_counter()
        train_step(model, iteration, optimizer, batch, stage.adam.clip)
        seconds.append(time.perf_counter() - started_at)
    return median(seconds[1:])
