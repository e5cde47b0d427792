"""The loop that baselines share which are no objective of ours: batches, schedule and a bar."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from jacsup.config import Stage
from jacsup.data.dataset import Dataset
from jacsup.data.draws import batch_order
from jacsup.progress import track
from jacsup.training.loop import DivergedError
from jacsup.training.step import learning_rate

Step = Callable[[Float[Tensor, "b c h w"], Int[Tensor, " b"]], Tensor]


def fit(
    data: Dataset,
    stage: Stage,
    seed: int,
    number: int,
    optimizer: torch.optim.Optimizer,
    step: Step,
    convert: Callable[[Tensor], Tensor],
) -> None:
    """Trains for a stage's epochs, in the order and at the rates of our own training.

    step: (images, their numbers) -> the loss, after one update; `optimizer` gets the schedule's rates.
    convert: uint8 pixels to what `step` takes. Raises DivergedError, with the name, for a step that fails or a loss
    that is not finite.
    """
    num_steps = len(data.train) // stage.batch_size
    loss = torch.zeros(())
    for epoch in track(range(stage.epochs), stage.name):
        order = batch_order(len(data.train), stage.batch_size, seed=seed, stage=number, epoch=epoch)
        for place, index in enumerate(order.to(data.train.images.device)):
            rate = learning_rate(stage.adam, epoch * num_steps + place, stage.epochs * num_steps)
            optimizer.param_groups[0]["lr"] = rate
            try:
                loss = step(convert(data.train.images[index]), index)
            except RuntimeError as error:
                raise DivergedError(f"{stage.name} failed in epoch {epoch + 1}: {error}") from error
        if not loss.isfinite():
            raise DivergedError(f"{stage.name} failed in epoch {epoch + 1}: its loss is {loss.item()}")
