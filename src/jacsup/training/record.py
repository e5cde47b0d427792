"""The losses of an epoch's steps, and the first number in them that was not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jacsup.models import Model
from jacsup.objectives import Update


class Record:
    """What the steps of an epoch return, noted without waiting for the device.

    Args:
        model: The model in training.
        iteration: The updates of a step.
        optimizer: The optimizer of all weights.
        num_steps: Steps of an epoch.
        device: Where the model is.

    Attributes:
        term_names: Names of the losses.
        losses: The unweighted losses of each step, shape (steps, terms).
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
        self.losses = torch.zeros(num_steps, len(self.term_names), device=device)
        self._optimizer = optimizer
        self._weights = {
            f"{part}.{name}": weight
            for update in iteration
            for part in update.trains
            for name, weight in model.get_submodule(part).named_parameters()
        }
        # The first step whose gradient was not finite, by weight.
        self._spoilt_at = torch.full((len(self._weights),), num_steps, device=device)

    def moments(self) -> Float[Tensor, " weights"]:
        """Return the sum of each weight's mean gradient as Adam keeps it: finite while its gradients are."""
        return torch.stack([self._optimizer.state[weight]["exp_avg"].sum() for weight in self._weights.values()])

    def keep(self, step: int, values: Float[Tensor, " terms_and_weights"]) -> None:
        """Note a step.

        Args:
            step: Number of the step within the epoch, from 0.
            values: Its losses, then `moments` after it.
        """
        losses, moments = values.split([len(self.term_names), len(self._weights)])
        self.losses[step] = losses
        self._spoilt_at = torch.where(moments.isfinite(), self._spoilt_at, self._spoilt_at.clamp(max=step))

    def fault(self, num_steps: int) -> tuple[int, str] | None:
        """Return the first step that was not finite, with its culprit, or None.

        Args:
            num_steps: How many steps of the epoch are done.
        """
        bad_losses = (~self.losses[:num_steps].isfinite()).nonzero().tolist()
        spoilt_at = self._spoilt_at.tolist()
        step, term = min(bad_losses, default=(num_steps, 0))
        if (first := min(spoilt_at)) < step:
            # Gradients run from the loss to the first layer, so the last weight is nearest to the fault.
            name = [name for name, at in zip(self._weights, spoilt_at, strict=True) if at == first][-1]
            return first, f"the gradient of '{name}' is not finite"
        if step == num_steps:
            return None
        return step, f"the loss '{self.term_names[term]}' is {self.losses[step, term].item()}"
