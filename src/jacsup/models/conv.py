"""The paper's convolutional autoencoder (A.2): factors y as constant channels in every decoder layer."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.code import Code
from jacsup.config import IMAGE_SIZES, Conv
from jacsup.models.backbone import Model
from jacsup.models.convolution import Down, up
from jacsup.models.linear import lowered

# Below this side, one convolution of concatenated channels is faster than two.
SMALLEST_SPLIT_SIDE = 8


@final
class ConvAutoencoder(Model):
    """Map images (b, c, s, s) in `value_range` to a code of num_units factors y and z_channels maps z, and back.

    z is the map (z_channels, m, m), flattened; m = s / 2^(layers + 1), as each layer halves the side.
    """

    channels_last = True
    config: Conv
    encoder: _Encoder
    decoder: _Decoder
    code_layer = "encoder.to_code"
    norm_layer = "encoder.norm"

    def __init__(
        self,
        config: Conv,
        image_shape: tuple[int, int, int],
        num_units: int,
        z_channels: int = 0,
        *,
        normalized: bool = False,
    ):
        """Build the layers with weights from torch's global random state.

        Args:
            config: Widths of the convolutions, and the value range.
            image_shape: Channels, height and width.
            num_units: Number of factors y.
            z_channels: Channels of the nuisance map z; 0 for an ordered code.
            normalized: End y in a BatchNorm without affine part, as the first teacher of an ordered code does.

        Raises:
            ValueError: The images are not square, or the layers do not divide their side.
        """
        super().__init__(config, image_shape, num_units, z_channels, normalized=normalized)
        colours, height, width = image_shape
        map_side = height >> (len(config.channels) + 1)
        if height != width or height not in IMAGE_SIZES or not map_side:
            raise ValueError(
                f"images are {height}x{width} and model.channels has {len(config.channels)} layers; images must be "
                f"square with a side of {', '.join(map(str, IMAGE_SIZES))} pixels and at most log2(side) - 1 layers"
            )
        self.encoder = _Encoder(config, colours, num_units, z_channels, normalized)
        self.decoder = _Decoder(config, colours, num_units, z_channels, map_side)
        # z is not normalized.
        if normalized and not z_channels:
            self.drop_code_bias()

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        return self.num_units + self.z_channels * self.decoder.map_side**2

    def encode(self, x: Float[Tensor, "b c s s"]) -> Code:
        """E(x): y of shape (b, num_units) and z of shape (b, z_channels * m * m)."""
        with lowered(x, bfloat16=self.in_bfloat16):
            y, z = self.encoder(x)
        return Code(y.to(x.dtype), z.to(x.dtype))

    def decode(self, code: Code) -> Float[Tensor, "b c s s"]:
        """D(y, z): images in [-1, 1], trained to stay in the value range."""
        code = code.split(self.num_units)
        with lowered(code.y, bfloat16=self.in_bfloat16):
            x_hat = self.decoder(code.y, code.z)
        return x_hat.to(code.y.dtype)


class _Encoder(nn.Module):
    """Convolutions to num_units + z_channels maps; the first num_units, averaged over space, are y.

    Differs from the paper: the last layer is a convolution alone, because a code must easily reach both signs. A.2 can
    also be read as ending in a full block, which `code_block` adds.
    """

    def __init__(self, config: Conv, colours: int, num_units: int, z_channels: int, normalized: bool):
        super().__init__()
        self.num_units = num_units
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((colours, *config.channels)):
            layers += [Down(inputs, outputs, bias=not layers)]
            layers += [nn.BatchNorm2d(outputs)] if len(layers) > 1 else []
            layers += [nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.to_code = Down(config.channels[-1], num_units + z_channels, bias=not config.code_block)
        code_block = [nn.BatchNorm2d(num_units + z_channels), nn.LeakyReLU(0.2)] if config.code_block else []
        self.code_block = nn.Sequential(*code_block)
        self.norm = nn.BatchNorm1d(num_units, affine=False) if normalized else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.code_block(self.to_code(self.layers(x)))
        y = maps[:, : self.num_units].mean(dim=(2, 3))
        return (self.norm(y) if self.norm else y), maps[:, self.num_units :].flatten(1)


class _Decoder(nn.Module):
    """Mirror of the encoder; every layer sees y, except the last `layers_without_y`.

    In those, y could only add the same pattern to all images, which only the encoder would recognise as an attribute.
    """

    def __init__(self, config: Conv, colours: int, num_units: int, z_channels: int, map_side: int):
        super().__init__()
        self.z_channels, self.map_side = z_channels, map_side
        widths = (z_channels, *config.channels[::-1], colours)
        num_layers = len(widths) - 1
        num_with_y = num_layers - config.layers_without_y
        layers = [
            Up(inputs, num_units if number <= num_with_y else 0, outputs, bias=number == num_layers)
            for number, (inputs, outputs) in enumerate(pairwise(widths), start=1)
        ]
        self.layers = nn.ModuleList(layers[:-1])
        self.norms = nn.ModuleList(nn.BatchNorm2d(outputs) for outputs in widths[1:-1])
        self.to_image = layers[-1]

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        features = z.unflatten(1, (self.z_channels, self.map_side, self.map_side))
        for layer, norm in zip(self.layers, self.norms, strict=True):
            features = F.relu(norm(layer(features, y)))
        return self.to_image(features, y).tanh()


class Up(nn.Module):
    """Transposed convolution (kernel 4, stride 2, padding 1) of maps and of y as constant channels.

    The weights of y are a separate tensor (None without y), so that both inputs can grow by appending rows.
    """

    def __init__(self, inputs: int, num_units: int, outputs: int, *, bias: bool = False):
        super().__init__()
        bound = 1 / math.sqrt(16 * outputs)
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 4, 4).uniform_(-bound, bound))
        y_weight = torch.empty(num_units, outputs, 4, 4).uniform_(-bound, bound)
        self.y_weight = nn.Parameter(y_weight) if num_units else None
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None

    def forward(self, features: Float[Tensor, "b i s s"], y: Float[Tensor, "b k"]) -> Float[Tensor, "b o t t"]:
        """Return the transposed convolution of maps and y, at twice the side."""
        side = features.shape[2]
        if self.y_weight is None:
            return self._up(features, self.weight, self.bias)
        if side < SMALLEST_SPLIT_SIDE or not len(self.weight):
            maps = torch.cat([features, _constant(y, side)], dim=1)
            return self._up(maps, torch.cat([self.weight, self.y_weight]), self.bias)
        # The convolution of a constant varies only at the border, so that of a 2x2 map contains all its values.
        pattern = self._up(_constant(y, 2), self.y_weight, self.bias)
        return self._up(features, self.weight) + _continued(pattern, 2 * side)

    def _up(self, maps: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return up(maps, weight, bias, training=self.training)


def _constant(y: Tensor, side: int) -> Tensor:
    return y[:, :, None, None].expand(-1, -1, side, side)


def _continued(pattern: Float[Tensor, "b c 4 4"], side: int) -> Float[Tensor, "b c s s"]:
    """The 4x4 pattern extended to a larger side: the border is kept, the inner 2x2 is repeated."""
    # Two dimensions at a time: with four, torch.cat would choose another memory layout.
    repeats, pixels = side // 2 - 1, pattern.permute(0, 2, 3, 1)
    first, inner, last = (part.flatten(2) for part in pixels.split([1, 2, 1], dim=2))
    rows = torch.cat([first, inner.repeat(1, 1, repeats), last], dim=2)
    first, inner, last = (part.flatten(1) for part in rows.split([1, 2, 1], dim=1))
    whole = torch.cat([first, inner.repeat(1, repeats), last], dim=1)
    return whole.view(-1, side, side, pattern.shape[1]).permute(0, 3, 1, 2)
