"""Fifty steps of each objective, by as many processes as torchrun starts: python ranks.py FOLDER DTYPE..."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from small_faces import small_faces

from jacsup import distributed
from jacsup.baselines.fader import Discriminator
from jacsup.config import Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.models import Model, build
from jacsup.objectives import Labels, updates
from jacsup.recipes import RECIPES, with_arm
from jacsup.training.batches import Batches
from jacsup.training.step import make_optimizer, train_step

NUM_STEPS, BATCH = 50, 32
CPU = torch.device("cpu")


def faces() -> Recipe:
    return small_faces(batch_size=BATCH, flips=True)


def digits() -> Recipe:
    return set_field(RECIPES["debug"], "stages.batch_size", BATCH)


def with_norms(recipe: Recipe) -> Recipe:
    for name in ("xcov_norm", "cycle_z_norm", "cycle_predicted"):
        recipe = set_field(recipe, f"stages.1.options.{name}", True)
    return set_field(recipe, "stages.1.adam.clip", 1.0)


def nested() -> Recipe:
    return set_field(digits(), "stages.0.objective", "nested")


def ordered_images() -> Recipe:
    """The convolutional model with units in place of attributes."""
    return replace(digits(), data=faces().data, model=faces().model)


# The recipe and the stage of each case.
CASES: dict[str, tuple[Recipe, int]] = {
    "ordered teacher": (digits(), 0),
    "ordered student": (digits(), 1),
    "nested dropout": (nested(), 0),
    "convolutional ordered student": (ordered_images(), 1),
    "teacher with cycles": (faces(), 1),
    "teacher with norms": (with_norms(faces()), 1),
    "student": (faces(), 2),
    "fader": (with_arm(faces(), "fader"), 0),
}


def some_data(recipe: Recipe) -> Dataset:
    """The recipe's data; a third of the labels is missing, more in some batches than in others."""
    torch.set_default_dtype(torch.float32)
    data = load_dataset(recipe.data, None)
    if data.train.attributes is None:
        return data
    missing = torch.rand(data.train.attributes.shape, generator=torch.Generator().manual_seed(0)) < 1 / 3
    return replace(data, train=replace(data.train, attributes=data.train.attributes.masked_fill(missing, torch.nan)))


def networks(recipe: Recipe, number: int, data: Dataset) -> tuple[Model, Model | None]:
    """Student and teacher, or a teacher alone."""
    torch.manual_seed(0)
    stage = recipe.stages[number]
    if not recipe.supervised:
        make = [build(recipe.model, data.image_shape, units, normalized=units == 2) for units in (2, 3)]
        return (make[1].train(), make[0].eval()) if number else (make[0].train(), None)
    teacher = build(recipe.model, data.image_shape, len(data.attributes), 4, normalized=False)
    if stage.objective == "student":
        return build(recipe.model, data.image_shape, len(data.attributes), 8, normalized=False).train(), teacher.eval()
    if stage.objective == "fader":
        teacher.add_module("discriminator", Discriminator(4, 2, len(data.attributes), NUM_STEPS // 2))
    return teacher.train(), None


def train(case: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights, statistics and last losses after NUM_STEPS."""
    recipe, number = CASES[case]
    data = some_data(recipe)
    torch.set_default_dtype(dtype)
    if data.train.attributes is not None:
        data = replace(data, train=replace(data.train, attributes=data.train.attributes.to(dtype)))
    model, teacher = networks(recipe, number, data)
    distributed.synchronise(model)
    labels = None
    if data.attributes:
        labels = Labels(torch.zeros(len(data.attributes), dtype=torch.bool), torch.full((len(data.attributes),), 0.3))
    stage = recipe.stages[number]
    iteration = updates(stage, teacher.num_units if teacher else 0, labels)
    # At six times this rate, float32's rounding alone grows to .0015 in these steps.
    optimizer = make_optimizer(model, replace(stage.adam, lr=5e-5))
    batches = Batches(recipe, number, data, CPU, teacher)
    steps, epoch, losses = 0, 0, torch.zeros(0)
    while steps < NUM_STEPS:
        for batch in batches.epoch(epoch):
            losses = train_step(model, iteration, optimizer, batch, stage.adam.clip)
            steps += 1
            if steps == NUM_STEPS:
                break
        epoch += 1
    return {**model.state_dict(), "losses": losses}


def main() -> None:
    torch.set_num_threads(1)
    # Even these small models' gradients travel in several messages.
    distributed.MESSAGE_BYTES = 2**12
    with distributed.joined(CPU):
        for name in sys.argv[2:]:
            for case in CASES:
                weights = train(case, getattr(torch, name))
                if distributed.is_main():
                    save_file(weights, Path(sys.argv[1]) / f"{case} {name}.safetensors")


if __name__ == "__main__":
    main()
