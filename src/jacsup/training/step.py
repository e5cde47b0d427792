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
    """Return an Adam optimizer of some weights with a config's settings."""
    return torch.optim.Adam(weights, lr=adam.lr, betas=adam.betas, weight_decay=adam.weight_decay, fused=True)


def make_optimizer(model: Model, adam: Adam) -> torch.optim.Optimizer:
    """Return one Adam for all updates of a model.

    A second Adam for the same weights would cancel the weights of its losses, as Adam is invariant to their scale.
    """
    return make_adam([weight for weight in model.parameters() if weight.requires_grad], adam)


def learning_rate(adam: Adam, step: int, num_steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        adam: Settings of the optimizer.
        step: Number of the step within its stage, from 0.
        num_steps: Steps of the stage.

    Returns:
        The rate.
    """
    if adam.schedule == "constant":
        return adam.lr
    progress = step / num_steps
    if progress < WARM_UP:
        return adam.lr * (0.04 + 0.96 * progress / WARM_UP)
    return adam.lr * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next steps; a tensor, which a CUDA graph reads, is changed in place."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"].fill_(rate) if isinstance(group["lr"], Tensor) else rate


def set_gradients(weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    """Pass gradients to an optimizer, each in the memory layout of its weight.

    torch's fused Adam reads memory linearly: it would silently apply a gradient in another layout to the wrong weights.
    """
    for weight, gradient in zip(weights, gradients, strict=True):
        same = gradient.stride() == weight.stride()
        weight.grad = gradient if same else torch.empty_like(weight).copy_(gradient)


def train_step(
    model: Model, updates: Sequence[Update], optimizer: torch.optim.Optimizer, batch: Batch, clip: float = 0
) -> Float[Tensor, " terms"]:
    """Take one optimizer step for each update.

    The first update gets E(x) with its gradient; later updates get it as a constant.

    Args:
        model: The model.
        updates: The updates of an iteration.
        optimizer: The optimizer of all weights.
        batch: The batch.
        clip: Largest norm of an update's gradient; 0 disables clipping.

    Returns:
        All unweighted losses, on the device, in the order of the updates.
    """
    values: list[Tensor] = []
    code = updates[0].encode(model, batch)
    for update in updates:
        terms = update.losses(model, batch, code)
        loss = torch.stack([weight * terms[name] for name, weight in update.weights.items()]).sum()
        weights = [weight for name in update.trains for weight in model.get_submodule(name).parameters()]
        told = torch.stack([terms[name].detach() for name in update.weights])
        gradients, told = dist.mean_gradients(loss, weights, told)
        # Weights without a gradient keep their values and moments.
        optimizer.zero_grad()
        set_gradients(weights, gradients)
        if clip:
            torch.nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()
        values.append(told)
        code = Code(code.y.detach(), code.z.detach())
    return torch.cat(values)
