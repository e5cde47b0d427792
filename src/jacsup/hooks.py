"""Hooks of baselines that train in their own way: what their stages may add to training, and where each is defined.

The core does not import these baselines; each is loaded when a recipe names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, get_args, runtime_checkable

from jacsup.config import Objective, Recipe, Stage


@runtime_checkable
class StageHook(Protocol):
    """What a stage with the objective of a baseline does in addition to other stages.

    Attributes:
        labels_are_y: Whether the decoder gets the labels instead of the predicted y.
    """

    labels_are_y: bool

    def arm(self, recipe: Recipe) -> tuple[Stage, ...]:
        """Return the stages of the recipe's arm that this baseline is."""
        ...

    def require_trainable(self, stage: Stage, model: Any) -> None:
        """Raise ValueError, before anything is written, if a model cannot be trained in this way."""
        ...

    def prepare(self, model: Any, recipe: Recipe, stage: Stage, num_images: int) -> None:
        """Add to a new model what the stage's training needs."""
        ...

    def updates(self, stage: Stage, labels: Any) -> tuple[Any, ...]:
        """Return the updates of one iteration; see objectives.Update."""
        ...

    def finish(self, model: Any) -> None:
        """Remove from a trained model what only training needs."""
        ...


@dataclass(frozen=True)
class Baseline:
    """A baseline whose stages need a hook.

    Attributes:
        module: The module that defines its StageHook as `HOOK`.
        description: What its arm trains, shown by `jacsup list`.
    """

    module: str
    description: str

    @property
    def hook(self) -> StageHook:
        """The baseline's hook."""
        return import_module(self.module).HOOK


# By the name of the objective, which is also the name of the arm.
BASELINES = {
    "fader": Baseline(
        "jacsup.baselines.fader",
        "Fader Networks: the long code, trained adversarially from scratch for as many images as all stages",
    ),
}


def hook_of(objective: str) -> StageHook | None:
    """Return the hook of a stage's objective.

    Args:
        objective: Name of the objective.

    Returns:
        The hook of a baseline; None for an objective of the method itself.

    Raises:
        ValueError: The objective is unknown.
    """
    own = get_args(Objective)
    if objective in own:
        return None
    if objective not in BASELINES:
        raise ValueError(f"unknown objective '{objective}'; it must be one of {', '.join((*own, *BASELINES))}")
    return BASELINES[objective].hook
