"""The training loop of peers with their own loss: random state, batches, rates and a progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

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


@contextlib.contextmanager
def own_random_state(data: Dataset, seed: int) -> Iterator[None]:
    """Seed torch for a training on the data's device and restore the caller's random state afterwards.

    Args:
        data: The data set that is trained on.
        seed: Passed to torch.manual_seed.
    """
    device = data.train.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def fit(
    data: Dataset,
    stage: Stage,
    seed: int,
    number: int,
    optimizer: torch.optim.Optimizer,
    step: Step,
    convert: Callable[[Tensor], Tensor],
) -> None:
    """Train for a stage's epochs, with the order of images and the learning rates of our own training.

    Args:
        data: Data set.
        stage: Epochs, batch size and learning rates.
        seed: Seed of the order of the images.
        number: Number of the stage, which changes that order.
        optimizer: The optimizer that follows the stage's schedule.
        step: Updates the model with a batch (images, their indices in the data set) and returns the loss.
        convert: Converts uint8 pixels to the values that `step` takes.

    Raises:
        DivergedError: A step failed, or the loss is not finite; the message names the stage.
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
