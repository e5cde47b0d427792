"""The code of an image, E(x) = (y, z), and the one place that converts pixel values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

# The range in which errors are reported.
UNIT = (0.0, 1.0)


@dataclass(frozen=True)
class Code:
    """Factors y and nuisance part z of a batch of images.

    A model that learned its factors without labels has one ordered row of units, unit 0 the most important.
    It hands them all out as `y`, with an empty `z`; `split(k)` draws the line for a stage.
    """

    y: Float[Tensor, "b k"]
    z: Float[Tensor, "b d"]

    @property
    def units(self) -> Float[Tensor, "b u"]:
        """y and z side by side."""
        return torch.cat([self.y, self.z], dim=1) if self.z.shape[1] else self.y

    @classmethod
    def of_units(cls, units: Float[Tensor, "b u"]) -> Code:
        """A code whose units are all factors."""
        return cls(units, units[:, :0])

    def split(self, num_factors: int) -> Code:
        """The same code with its first `num_factors` units as y and the rest as z."""
        if num_factors == self.y.shape[1]:
            return self
        units = self.units
        if not 0 <= num_factors <= units.shape[1]:
            raise ValueError(f"num_factors is {num_factors}; allowed are 0 to {units.shape[1]}, the units of this code")
        return Code(units[:, :num_factors], units[:, num_factors:])

    def swap(self, partner: Int[Tensor, " b"]) -> Code:
        """The partners' factors with each image's own z (section 3)."""
        return Code(self.y[partner], self.z)

    def with_factor(self, factor: int, value: float | Float[Tensor, " b"]) -> Code:
        """The code with factor number `factor` set to `value` for every image."""
        if not 0 <= factor < self.y.shape[1]:
            raise ValueError(f"factor is {factor}; allowed are 0 to {self.y.shape[1] - 1}")
        y = self.y.clone()
        y[:, factor] = value
        return Code(y, self.z)


def partners(
    values: Float[Tensor, "*shape"], swap_mask: Bool[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """Each row's random partner in the batch: its neighbour, since a batch is already in random order.

    swap_mask: what comes from the partner; the rest stays the row's own. Everything without it.
    """
    theirs = values.roll(1, dims=0)
    return theirs if swap_mask is None else torch.where(swap_mask, theirs, values)


def at_strength(m_minus: float | Float[Tensor, "*k"], m_plus: float | Float[Tensor, "*k"], strength: Any) -> Any:
    """The y of attributes at a strength, a number or a tensor: -1 is typical without (m-), 1 typical with (m+)."""
    return (m_plus + m_minus) / 2 + strength * (m_plus - m_minus) / 2


def to_float(pixels: UInt8[Tensor, "*shape"], value_range: Sequence[float]) -> Float[Tensor, "*shape"]:
    """uint8 pixels as floats in the model's `value_range` (low, high)."""
    low, high = value_range
    scaled = pixels.to(torch.get_default_dtype()).mul_((high - low) / 255)
    return scaled.add_(low) if low else scaled


def to_unit(x: Float[Tensor, "*shape"], value_range: Sequence[float]) -> Float[Tensor, "*shape"]:
    """Model values in `value_range` as floats clamped to [0, 1], in which errors are reported."""
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)


def to_uint8(x: Float[Tensor, "*shape"], value_range: Sequence[float]) -> UInt8[Tensor, "*shape"]:
    """Model values in `value_range` as uint8 pixels, rounded and clamped."""
    return to_unit(x, value_range).mul(255).round().to(torch.uint8)
