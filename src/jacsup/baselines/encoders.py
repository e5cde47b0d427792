"""Networks in the place of an autoencoder's encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SideBySide(nn.Module):
    """Several encoders as one: their units next to each other, of which the first `num_units` stay."""

    def __init__(self, encoders: list[nn.Module], num_units: int):
        super().__init__()
        self.encoders, self.num_units = nn.ModuleList(encoders), num_units

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """What an encoder of this kind returns of images."""
        outputs = [encoder(x) for encoder in self.encoders]
        # Convolutional encoders return y and an empty z.
        if isinstance(outputs[0], tuple):
            return torch.cat([y for y, _ in outputs], dim=1)[:, : self.num_units], outputs[0][1]
        return torch.cat(outputs, dim=1)[:, : self.num_units]
