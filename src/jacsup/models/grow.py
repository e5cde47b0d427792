"""Grow a teacher into a student that starts with its weights and, at first, gives the same output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacsup.config import Growth
from jacsup.models.autoencoder import Model, build


def grow(teacher: Model, num_units: int, z_channels: int, growth: Growth) -> Model:
    """Return a student with more units or channels that starts with the teacher's weights.

    New units and channels come last. With Growth(new="zero") the decoder ignores them at first, so the output is the
    teacher's. New weights of the encoder are initialised as in a new layer, from torch's global random state.

    Args:
        teacher: The model to grow.
        num_units: Number of factors y of the student.
        z_channels: Channels of its nuisance part z.
        growth: How the decoder's new weights are initialised.
    """
    assert num_units >= teacher.num_units and z_channels >= teacher.z_channels
    student = build(teacher.config, teacher.image_shape, num_units, z_channels, normalized=False)
    inherited = folded_state(teacher)
    with torch.no_grad():
        for name, value in student.state_dict().items():
            if name.startswith("decoder.") and growth.new == "zero":
                value.zero_()
            old = inherited[name]
            value[tuple(slice(size) for size in old.shape)] = old
    return student


def folded_state(model: Model) -> dict[str, Tensor]:
    """Return the state of `model` with the BatchNorm at the encoder's end folded into the layer before it."""
    state = dict(model.state_dict())
    if not model.normalized:
        return state
    # In a convolutional encoder, the mean over space comes between the two and commutes with both.
    mean, variance = state[f"{model.norm_layer}.running_mean"], state[f"{model.norm_layer}.running_var"]
    weight, bias = f"{model.code_layer}.weight", f"{model.code_layer}.bias"
    norm = model.get_submodule(model.norm_layer)
    assert isinstance(norm, nn.BatchNorm1d)
    scale = (variance + norm.eps).rsqrt()
    state[weight] = state[weight] * scale.view(-1, *[1] * (state[weight].ndim - 1))
    state[bias] = (state.get(bias, torch.zeros_like(mean)) - mean) * scale
    return {name: value for name, value in state.items() if not name.startswith(f"{model.norm_layer}.")}
