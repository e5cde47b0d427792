"""One training iteration."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from jacsup import distributed as dist
from jacsup.code import Code
from jacsup.config import Adam
from jacsup.models import Model
from jacsup.objectives import Batch, Update

WARM_UP = 0.3


def make_adam(weights: Sequence[Tensor], adam: Adam) -> torch.optim.Optimizer:
    """Adam with a config's settings."""
    return torch.optim.Adam(weights, lr=adam.lr, betas=adam.betas, weight_decay=adam.weight_decay, fused=True)


def make_optimizer(model: Model, adam: Adam) -> torch.optim.Optimizer:
    """One Adam for all updates: a second one for the same weights would cancel the losses' weights."""
    return make_adam(list(model.parameters()), adam)


def learning_rate(adam: Adam, step: int, num_steps: int) -> float:
    """The rate at `step` of a stage of `num_steps`."""
    if adam.schedule == "constant":
        return adam.lr
    progress = step / num_steps
    if progress < WARM_UP:
        return adam.lr * (0.04 + 0.96 * progress / WARM_UP)
    return adam.lr * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The rate of the steps to come; one that a graph reads stays where it lies."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate


def set_gradients(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Hands gradients to an optimiser, each in its weight's memory layout.

    torch's fused Adam walks through memory: a gradient in another layout would go to the wrong weights, unnoticed.
    """
    for weight, gradient in zip(weights, gradients, strict=True):
        same = gradient.stride() == weight.stride()
        weight.grad = gradient if same else torch.empty_like(weight).copy_(gradient)


def train_step(
    model: Model, updates: Sequence[Update], optimizer: torch.optim.Optimizer, batch: Batch, clip: float = 0
) -> Float[Tensor, " terms"]:
    """Takes each update's step and returns all unweighted losses, on the device, in the updates' order.

    The first update sees E(x) with its gradient, the others as a constant. clip: the largest norm of a gradient, or 0.
    """
    values: list[Tensor] = []
    code = model.encode(batch.x)
    for update in updates:
        terms = update.losses(model, batch, code)
        loss = torch.stack([weight * terms[name] for name, weight in update.weights.items()]).sum()
        weights = [weight for name in update.trains for weight in model.get_submodule(name).parameters()]
        told = torch.stack([terms[name].detach() for name in update.weights])
        gradients, told = dist.mean_gradients(loss, weights, told)
        # Weights without a gradient stay as they are, moments and all.
        optimizer.zero_grad()
        set_gradients(weights, gradients)
        if clip:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        values.append(told)
        code = Code(code.y.detach(), code.z.detach())
    return torch.cat(values)
