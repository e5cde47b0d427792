"""Convolutions that halve or double the side (kernel 4, stride 2, padding 1), computed in the fastest way."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.models.linear import has_fast_products, product

SETTING = {"stride": 2, "padding": 1}
# On a CPU, maps of at least this side are stored channels last, which is up to 3 times as fast.
WIDE_SIDE = 16
# With at least this many pairs of channels, a convolution is one matrix product, which is 3 times as fast.
MANY_PAIRS = 2**18


class Down(nn.Conv2d):
    """Convolution of (b, i, s, s) to (b, o, s/2, s/2)."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool):
        super().__init__(inputs, outputs, kernel_size=4, bias=bias, stride=2, padding=1)

    def forward(self, input: Float[Tensor, "b i s s"]) -> Float[Tensor, "b o t t"]:
        """Return the maps at half the side."""
        if not _is_product(input, self.weight, training=self.training):
            return F.conv2d(_laid_out(input), self.weight, self.bias, **SETTING)
        side = input.shape[2] // 2
        patches = F.unfold(input, 4, **SETTING).transpose(1, 2).flatten(0, 1)
        pixels = product(patches, self.weight.flatten(1), self.bias)
        return pixels.unflatten(0, (len(input), side, side)).permute(0, 3, 1, 2)


def up(
    maps: Float[Tensor, "b i s s"],
    weight: Float[Tensor, "i o 4 4"],
    bias: Float[Tensor, " o"] | None = None,
    *,
    training: bool,
) -> Float[Tensor, "b o t t"]:
    """Return the transposed convolution of `maps`, at twice the side."""
    if not _is_product(maps, weight, training=training):
        return F.conv_transpose2d(_laid_out(maps), weight, bias, **SETTING)
    side = maps.shape[2]
    pixels = maps.permute(0, 2, 3, 1).flatten(0, 2)
    patches = product(pixels, weight.flatten(1).T, None).unflatten(0, (len(maps), side**2))
    bigger = F.fold(patches.transpose(1, 2), 2 * side, 4, **SETTING)
    return bigger if bias is None else bigger + bias[:, None, None]


def _laid_out(maps: Tensor) -> Tensor:
    wide = maps.shape[2] >= WIDE_SIDE or not maps.is_cpu
    return maps.contiguous(memory_format=torch.channels_last if wide else torch.contiguous_format)


def _is_product(maps: Tensor, weight: Tensor, *, training: bool) -> bool:
    return len(weight) * weight.shape[1] >= MANY_PAIRS and has_fast_products(maps, training=training)
