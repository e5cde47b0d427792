"""The losses of an epoch's steps, and the first number in them that was not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jacsup.models import Model
from jacsup.objectives import Update


class Record:
    """The losses of an epoch's steps, recorded without waiting for the device.

    Args:
        model: The model in training.
        iteration: The updates of a step.
        optimizer: The optimizer of all weights.
        num_steps: Steps of an epoch.
        device: Where the model is.

    Attributes:
        term_names: Names of the losses.
    """

    def __init__(
        self,
        model: Model,
        iteration: Sequence[Update],
        optimizer: torch.optim.Optimizer,
        num_steps: int,
        device: torch.device,
    ):
        self.term_names = [name for update in iteration for name in update.weights]
        self._optimizer = optimizer
        # Vectors only, such as biases: a fault in the gradient of a layer's matrix shows in them too, at lower cost.
        self._weights = {
            f"{part}.{name}": weight
            for update in iteration
            for part in update.trains
            for name, weight in model.get_submodule(part).named_parameters()
            if weight.ndim <= 1
        }
        self._rows = torch.zeros(num_steps, len(self.term_names) + len(self._weights), device=device)

    @property
    def losses(self) -> Float[Tensor, "steps terms"]:
        """The unweighted losses of each step."""
        return self._rows[:, : len(self.term_names)]

    def row(self, losses: Float[Tensor, " terms"]) -> Float[Tensor, " columns"]:
        """Return the values that are recorded after a step.

        Args:
            losses: The step's unweighted losses.
        """
        # The mean gradient as Adam keeps it is finite while all gradients are.
        sums = [self._optimizer.state[weight]["exp_avg"].sum() for weight in self._weights.values()]
        return torch.cat([losses, torch.stack(sums)]) if sums else losses

    def keep(self, step: int, row: Float[Tensor, " columns"]) -> None:
        """Record a step.

        Args:
            step: Number of the step within the epoch, from 0.
            row: What `row` returned.
        """
        self._rows[step] = row

    def fault(self, num_steps: int) -> tuple[int, str] | None:
        """Return the first step that was not finite, with the loss or weight responsible, or None.

        Args:
            num_steps: How many steps of the epoch are done.
        """
        bad = ~self._rows[:num_steps].isfinite()
        if not bad.any():
            return None
        step = int(bad.any(dim=1).nonzero()[0])
        column = int(bad[step].nonzero()[0])
        if column < len(self.term_names):
            return step, f"the loss '{self.term_names[column]}' is {self.losses[step, column].item()}"
        # Gradients run from the loss to the first layer, so the last weight is nearest to the fault.
        last = int(bad[step].nonzero()[-1]) - len(self.term_names)
        return step, f"the gradient of '{[*self._weights][last]}' is not finite"
