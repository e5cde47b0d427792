"""The paper's multi-layer perceptron (A.1): D-256-128-64-units and back."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP
from jacsup.models.backbone import Model
from jacsup.models.linear import Layers, Linear, lowered


@final
class MLPAutoencoder(Model):
    """Map images (b, c, h, w) in `value_range` to a code of `num_units` ordered units and back.

    Differs from the paper: the printed first layer of 768 inputs is a misprint for 784 = 28 * 28.
    """

    launch_bound = True
    config: MLP
    encoder: Layers
    decoder: Layers

    def __init__(
        self,
        config: MLP,
        image_shape: tuple[int, int, int],
        num_units: int,
        z_channels: int = 0,
        *,
        normalized: bool = False,
    ):
        """Build the layers with weights from torch's global random state.

        Args:
            config: Widths of the hidden layers, and the value range.
            image_shape: Channels, height and width.
            num_units: Number of units of the code.
            z_channels: Must be 0: the code has no nuisance part.
            normalized: End the encoder in a BatchNorm without affine part, as the first teacher does.

        Raises:
            ValueError: `z_channels` is not 0.
        """
        if z_channels:
            raise ValueError(f"z_channels is {z_channels}; must be 0 for an MLP, whose code has no nuisance part")
        super().__init__(config, image_shape, num_units, normalized=normalized)
        sizes = (math.prod(image_shape), *config.hidden, num_units)
        self.encoder = Layers(*dense_layers(sizes))
        self.code_layer, self.norm_layer = f"encoder.{len(self.encoder) - 1}", f"encoder.{len(self.encoder)}"
        if normalized:
            self.encoder.append(nn.BatchNorm1d(num_units, affine=False))
        self.decoder = Layers(*dense_layers(sizes[::-1]), nn.Tanh())
        if normalized:
            self.drop_code_bias()

    @property
    def code_size(self) -> int:
        """Number of units of a code."""
        return self.num_units

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): all units as factors y of shape (b, num_units), z empty."""
        with lowered(x, bfloat16=self.in_bfloat16):
            units = self.encoder(x.flatten(1))
        return Code.of_units(units.to(x.dtype))

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z): images in [-1, 1], trained to stay in the value range."""
        with lowered(code.y, bfloat16=self.in_bfloat16):
            pixels = self.decoder(code.units)
        return pixels.to(code.y.dtype).unflatten(1, self.image_shape)


def dense_layers(sizes: tuple[int, ...]) -> list[nn.Module]:
    """Return linear layers of these widths, with a ReLU between consecutive layers.

    Args:
        sizes: Widths, from the input's to the output's.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]
