"""Networks that replace an autoencoder's encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """Several encoders as one: their units are concatenated and cut to the first `num_units`."""

    def __init__(self, encoders: list[nn.Module], num_units: int):
        super().__init__()
        self.encoders, self.num_units = nn.ModuleList(encoders), num_units

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return what the encoders return: units, or (y, z) of convolutional encoders."""
        outputs = [encoder(x) for encoder in self.encoders]
        # Convolutional encoders return y and an empty z.
        if isinstance(outputs[0], tuple):
            return torch.cat([y for y, _ in outputs], dim=1)[:, : self.num_units], outputs[0][1]
        return torch.cat(outputs, dim=1)[:, : self.num_units]
