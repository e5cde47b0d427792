"""The student inherits the teacher: every weight it can, and at first the same output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jacsup.config import Growth
from jacsup.models.mlp import MLPAutoencoder


def grow(teacher: MLPAutoencoder, num_units: int, growth: Growth) -> MLPAutoencoder:
    """A student with `num_units` > teacher's units that starts from the teacher's weights; new units come last.

    With Growth(new="zero") the decoder ignores the new units at first, so the output is the teacher's.
    Their encoder rows start as a fresh layer's. Draws from torch's global random state.
    """
    assert num_units > teacher.num_units
    student = MLPAutoencoder(teacher.config, teacher.image_shape, num_units)
    inherited = folded_state(teacher)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if name.startswith("decoder.") and growth.new == "zero":
                weight.zero_()
            old = inherited[name]
            weight[tuple(slice(size) for size in old.shape)] = old
    return student


def folded_state(model: MLPAutoencoder) -> dict[str, Tensor]:
    """The model's weights with the BatchNorm at the encoder's end folded into the linear layer before it."""
    state = dict(model.state_dict())
    norm = model.encoder[-1]
    if not isinstance(norm, nn.BatchNorm1d):
        return state
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    last, norm_index = len(model.encoder) - 2, len(model.encoder) - 1
    scale = (variance + norm.eps).rsqrt()
    state[f"encoder.{last}.weight"] = state[f"encoder.{last}.weight"] * scale[:, None]
    state[f"encoder.{last}.bias"] = (state[f"encoder.{last}.bias"] - mean) * scale
    return {name: value for name, value in state.items() if not name.startswith(f"encoder.{norm_index}.")}
