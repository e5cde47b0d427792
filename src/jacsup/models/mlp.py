"""The paper's multi-layer perceptron (A.1): D-256-128-64-units and back."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP
from jacsup.models.linear import Layers, Linear, lowered


@final
class MLPAutoencoder(nn.Module):
    """Images (b, c, h, w) in `value_range` to a code of `num_units` ordered units and back.

    normalized: end the encoder in a BatchNorm without affine part, as the first teacher does.
    Differs from the paper: the printed first layer of 768 inputs is a misprint for 784 = 28 * 28.
    """

    z_channels = 0
    # Layers in bfloat16; weights, statistics, codes and images stay as they are.
    in_bfloat16 = False
    # The file that it was loaded from.
    source: Path | None = None

    def __init__(self, config: MLP, image_shape: tuple[int, int, int], num_units: int, *, normalized: bool = False):
        super().__init__()
        self.config, self.image_shape, self.num_units = config, image_shape, num_units
        sizes = (math.prod(image_shape), *config.hidden, num_units)
        self.encoder = Layers(*_layers(sizes))
        self.code_layer, self.norm_layer = f"encoder.{len(self.encoder) - 1}", f"encoder.{len(self.encoder)}"
        if normalized:
            self.encoder.append(nn.BatchNorm1d(num_units, affine=False))
        self.decoder = Layers(*_layers(sizes[::-1]), nn.Tanh())

    @property
    def normalized(self) -> bool:
        """Whether the encoder ends in a BatchNorm."""
        return isinstance(self.encoder[-1], nn.BatchNorm1d)

    @property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest pixel value that images have."""
        return self.config.value_range

    @property
    def code_size(self) -> int:
        """How many numbers a code has."""
        return self.num_units

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): all units as factors y of shape (b, num_units), z empty."""
        with lowered(x, bfloat16=self.in_bfloat16):
            units = self.encoder(x.flatten(1))
        return Code.of_units(units.to(x.dtype))

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z): images in [-1, 1], trained towards the value range."""
        with lowered(code.y, bfloat16=self.in_bfloat16):
            pixels = self.decoder(code.units)
        return pixels.to(code.y.dtype).unflatten(1, self.image_shape)


def _layers(sizes: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]
