"""Student steps to time: ours, those of the literal twin, and the arithmetic of ours alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import literal
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from jacsup.config import Conv, Recipe
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.models import Model, build
from jacsup.objectives import Batch, updates
from jacsup.recipes import RECIPES, with_size
from jacsup.training.batches import Batches
from jacsup.training.graph import CapturedStep, waits_for_python
from jacsup.training.speed import speed_up
from jacsup.training.step import make_optimizer, train_step

Steps = Callable[[int], None]
ARITHMETIC = ("convolution", "convolution_backward", "mm", "addmm", "bmm", "_linear_pointwise")


@dataclass(frozen=True)
class Case:
    """A stage of a recipe on random images; num_attributes is 0 for an ordered code."""

    recipe: Recipe
    stage: int
    image_shape: tuple[int, int, int]
    num_images: int
    num_attributes: int = 0

    @property
    def batch_size(self) -> int:
        """Images per step."""
        return self.recipe.stages[self.stage].batch_size


def mnist(code: int, num_images: int = 60_000) -> Case:
    """The paper's student with `code` units."""
    return Case(RECIPES["mnist"], code - 2, (1, 28, 28), num_images)


def faces(size: int, *, num_attributes: int = 40, batch_size: int = 128, z_channels: int = 0) -> Case:
    """The paper's student C, with fewer layers for images smaller than 256x256.

    z_channels: those of the teacher, defaults to the recipe's; the student has twice as many.
    """
    recipe = set_field(with_size(RECIPES["celeba"], size), "stages.batch_size", batch_size)
    if z_channels:
        # All stages at once, as a code must not be shorter than that of the stage before.
        stages = zip(recipe.stages, (1, 1, 2, 4), strict=True)
        stages = tuple(replace(stage, z_channels=z_channels * growth) for stage, growth in stages)
        recipe = replace(recipe, stages=stages)
    # The teacher sees mirrored images every time, as it does in a data set too large to keep its outputs.
    recipe = replace(recipe, flips=True)
    return Case(recipe, 2, (3, size, size), 2 * batch_size, num_attributes)


class Student:
    """Model, teacher and data of a case."""

    def __init__(self, case: Case, device: torch.device):
        self.recipe, self.device, self.number = case.recipe, device, case.stage
        self.stage = case.recipe.stages[case.stage]
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (case.num_images, *case.image_shape), np.uint8)
        names = [f"attribute {number}" for number in range(case.num_attributes)]
        signs = {name: np.resize([-1.0, 1.0], case.num_images) for name in names} or None
        self.data = Dataset.from_arrays(
            images, test_images=images[:1], attributes=signs, test_attributes=signs and {name: [1.0] for name in names}
        ).to(device)
        earlier = case.recipe.stages[case.stage - 1]
        self.num_factors = case.num_attributes or earlier.num_units
        self.model = self._build(self.stage.num_units or case.num_attributes, self.stage.z_channels).train()
        self.teacher = self._build(self.num_factors, earlier.z_channels).eval()

    def _build(self, num_units: int, z_channels: int) -> Model:
        sizes = (num_units, z_channels) if isinstance(self.recipe.model, Conv) else (num_units,)
        return build(self.recipe.model, self.data.image_shape, *sizes, normalized=False).to(self.device)

    def ours(self, *, fast: bool = False) -> Steps:
        """Our step with our batches; fast means --compile and, for convolutions, --precision bfloat16."""
        iteration = updates(self.stage, self.num_factors)
        optimizer, batches = make_optimizer(self.model, self.stage.adam), self._batches()
        if fast:
            precision = "bfloat16" if isinstance(self.recipe.model, Conv) else "float32"
            speed_up([self.model, self.teacher], precision, compiled=True)

        def take_step(batch: Batch) -> Tensor:
            return train_step(self.model, iteration, optimizer, batch)

        as_one = fast and waits_for_python(self.model)
        step = CapturedStep(take_step, self.model, optimizer) if as_one else take_step

        def run(count: int) -> None:
            for _ in range(count):
                step(next(batches))

        return run

    def _batches(self) -> Iterator[Batch]:
        batches = Batches(self.recipe, self.number, self.data, self.device, self.teacher)
        return _endless(batches.epoch)

    def twin(self, load: Callable[..., Iterator[Tensor]]) -> Steps:
        """The literal step with one of the loaders of literal.py."""
        student, teacher = (literal.literal(model).to(self.device) for model in (self.model, self.teacher))
        optimizer = literal.make_optimizer(student, self.stage.adam)
        images, value_range = self.data.train.images.cpu(), self.recipe.model.value_range
        batches = _endless(lambda _: load(images, value_range, self.stage.batch_size))

        def run(count: int) -> None:
            for _ in range(count):
                x = next(batches).to(self.device)
                literal.student_step(student, teacher, optimizer, x, self.num_factors, self.stage.weights)

        return run

    def floor(self) -> Steps:
        """Only the matrix products and convolutions of our step, on the same numbers."""
        step = self.ours()
        step(1)
        with _Recorder() as recorder:
            step(1)

        @torch.no_grad()
        def run(count: int) -> None:
            for _ in range(count):
                for operator, arguments, options in recorder.calls:
                    operator(*arguments, **options)

        return run


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in ARITHMETIC:
            self.calls.append((func, args, kwargs))
        return func(*args, **kwargs)


def _endless(epoch: Callable[[int], Iterator[Any]]) -> Iterator[Any]:
    number = 0
    while True:
        yield from epoch(number)
        number += 1


def seconds_per_step(candidates: dict[str, Steps], count: int, rounds: int = 7) -> dict[str, float]:
    """Median over `rounds` turns of `count` steps; candidates take turns, so that a slow minute affects them all."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, run in candidates.items():
            _wait()
            start = time.perf_counter()
            run(count)
            _wait()
            # The first turn warms up.
            times[name] += [time.perf_counter() - start] if turn else []
    return {name: median(values) / count for name, values in times.items()}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
