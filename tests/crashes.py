"""A training that crashes where a test wants it to."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import jacsup
from jacsup.config import Recipe
from jacsup.training import loop


class Stop(BaseException):
    """A crash that nothing catches."""


def stop_after(num_steps: int, recipe: Recipe, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains with a checkpoint at every step and crashes after `num_steps` of them."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1)
        steps = iter(range(num_steps))
        original = loop.train_step

        def step(*arguments: object) -> torch.Tensor:
            if next(steps, None) is None:
                raise Stop
            return original(*arguments)  # pyright: ignore[reportArgumentType]

        patch.setattr(loop, "train_step", step)
        with pytest.raises(Stop):
            jacsup.train(recipe, out=out)
