"""Fader Networks' discriminator (Lample et al. 2017): which attributes can be read from z?"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup import distributed as dist

DROPOUT = 0.3


@final
class Discriminator(nn.Module):
    """One convolution to 512 channels and two linear layers, from z to the logit of each attribute.

    ramp: the number of steps in which the encoder's reward for fooling it rises to its full weight.
    Differs from the paper: dropout is a function of seed and step, so that a resumed run takes the same steps.
    """

    steps: Tensor

    def __init__(self, z_channels: int, map_side: int, num_attributes: int, ramp: int, seed: int = 0):
        super().__init__()
        self._shape, self._ramp, self._seed = (z_channels, map_side, map_side), ramp, seed << 32
        self.features = nn.Sequential(
            nn.Conv2d(z_channels, 512, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(512 * (map_side // 2) ** 2, 512),
            nn.LeakyReLU(0.2),
        )
        self.to_logits = nn.Linear(512, num_attributes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Logits, positive where an attribute is seen."""
        features = self.features(z.unflatten(1, self._shape))
        if self.training:
            generator = torch.Generator(z.device).manual_seed(self._seed + int(self.steps))
            of_all = torch.rand(dist.size() * len(z), features.shape[1], generator=generator, device=z.device)
            kept = dist.own(of_all) >= DROPOUT
            features = features * kept / (1 - DROPOUT)
        return self.to_logits(features)

    @property
    def strength(self) -> Float[Tensor, ""]:
        """The share of its weight that the encoder's reward has reached."""
        return (self.steps / self._ramp).clamp(max=1)
