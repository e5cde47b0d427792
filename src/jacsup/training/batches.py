"""The batches of a stage: shuffled, mirrored, masked, and with the teacher's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jacsup import distributed as dist
from jacsup.code import to_float
from jacsup.config import Diffusion, Recipe
from jacsup.data import draws
from jacsup.data.dataset import Dataset
from jacsup.data.stream import batches_of_pixels
from jacsup.models import BACKBONES, Model
from jacsup.objectives import Batch
from jacsup.training.teacher import TeacherOutputs


class Batches:
    """The batches of one stage, pure functions of seed, stage and epoch. Each rank gets its own rows of a batch.

    Args:
        recipe: The recipe.
        number: Number of the stage, from 0.
        data: The data set.
        device: Where batches are needed.
        teacher: The model whose outputs a student's losses compare with.
    """

    def __init__(self, recipe: Recipe, number: int, data: Dataset, device: torch.device, teacher: Model | None):
        self._recipe, self._number, self._data, self._device = recipe, number, data, device
        self._stage = recipe.stages[number]
        self.num_steps = len(data.train) // self._stage.batch_size
        self._outputs = None
        if teacher and self._stage.is_student:
            swaps = self._stage.objective == "student"
            self._outputs = TeacherOutputs(teacher, data.train.images, flips=recipe.flips, swaps=swaps)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """Yield an epoch's batches.

        Args:
            epoch: Number of the epoch within the stage, from 0.
            first_step: Number of the first batch to yield.
        """
        stage, attributes = self._stage, self._data.train.attributes
        sizes = len(self._data.train), stage.batch_size
        drawn = {"seed": self._recipe.seed, "stage": self._number, "epoch": epoch}
        order = self._own(draws.batch_order(*sizes, **drawn))[first_step:]
        mirrored = self._own(draws.flip_mask(*sizes, **drawn)) if self._recipe.flips else None
        kept = self._own(draws.kept_mask(*sizes, stage.num_units, **drawn)) if stage.objective == "nested" else None
        swapped = None
        if stage.swap_probability < 1:
            swapped = self._own(draws.swap_mask(*sizes, self._data.attributes, stage.swap_probability, **drawn))
        noise = self._noise(drawn) if stage.objective == "diffusion" else None
        streamed = batches_of_pixels(self._data.train, order, self._device)
        for step, (index, pixels) in enumerate(zip(order, streamed, strict=True), first_step):
            flips, *masks = (None if mask is None else mask[step] for mask in (mirrored, swapped, kept))
            if flips is not None:
                pixels = torch.where(flips[:, None, None, None], pixels.flip(3), pixels)
            # The memory layout of convolutions, so that the losses get images and outputs in the same layout.
            if BACKBONES[type(self._recipe.model)].channels_last:
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            x = to_float(pixels, self._recipe.model.value_range)
            of_teacher = self._outputs.of(index, x, masks[0]) if self._outputs else (None,) * 4
            labels = None if attributes is None else attributes[index]
            yield Batch(x, labels, *of_teacher, *masks, **(noise(step) if noise else {}))

    def _noise(self, drawn: dict[str, int]) -> Callable[[int], dict[str, Tensor]]:
        """A function that returns, for the number of a step, what a denoiser's batch has besides images and labels."""
        size, config = self._stage.batch_size, self._recipe.model
        assert isinstance(config, Diffusion)
        sizes, num_attributes = (len(self._data.train), size), len(self._data.attributes)
        levels = self._own(draws.noise_levels(*sizes, config.log_sigma, **drawn))
        shown = self._own(draws.shown_mask(*sizes, num_attributes, config.shown, **drawn))

        def of_step(step: int) -> dict[str, Tensor]:
            noise = draws.noise((size, *self._data.image_shape), self._device, **drawn, step=step)
            return {"sigma": levels[step], "shown": shown[step], "noise": dist.own(noise)}

        return of_step

    def _own(self, drawn: Tensor) -> Tensor:
        return dist.own(drawn, dim=1).to(self._device)
