"""The code of an image, E(x) = (y, z), and all conversions of pixel values."""

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

    A model that learned its factors without labels has one ordered row of units, unit 0 being the most important. It
    returns all of them as `y`, with an empty `z`; `split(k)` separates a stage's factors from the rest.

    Attributes:
        y: Factors, shape (b, k).
        z: Nuisance part, shape (b, d).
    """

    y: Float[Tensor, "b k"]
    z: Float[Tensor, "b d"]

    @property
    def units(self) -> Float[Tensor, "b u"]:
        """y and z in one row, shape (b, k + d)."""
        return torch.cat([self.y, self.z], dim=1) if self.z.shape[1] else self.y

    @classmethod
    def of_units(cls, units: Float[Tensor, "b u"]) -> Code:
        """Make a code whose units are all factors.

        Args:
            units: Units, shape (b, u).

        Returns:
            The code, with an empty z.
        """
        return cls(units, units[:, :0])

    def split(self, num_factors: int) -> Code:
        """Return the same code with its first units as y and the rest as z.

        Args:
            num_factors: Number of units that become y.

        Returns:
            The code.

        Raises:
            ValueError: The code has fewer units.
        """
        if num_factors == self.y.shape[1]:
            return self
        units = self.units
        if not 0 <= num_factors <= units.shape[1]:
            raise ValueError(
                f"num_factors is {num_factors}; it must be between 0 and {units.shape[1]}, the number of units"
            )
        return Code(units[:, :num_factors], units[:, num_factors:])

    def swap(self, partner: Int[Tensor, " b"]) -> Code:
        """Give each image its partner's factors and keep its own z (section 3).

        Args:
            partner: Index of each image's partner in the batch, shape (b,).

        Returns:
            The swapped code.
        """
        return Code(self.y[partner], self.z)

    def with_factor(self, factor: int, value: float | Float[Tensor, " b"]) -> Code:
        """Set one factor of every image.

        Args:
            factor: Index of the factor, from 0.
            value: Its new value, one for all images or one for each.

        Returns:
            The changed code.

        Raises:
            ValueError: There is no such factor.
        """
        if not 0 <= factor < self.y.shape[1]:
            raise ValueError(f"factor is {factor}; it must be between 0 and {self.y.shape[1] - 1}")
        y = self.y.clone()
        y[:, factor] = value
        return Code(y, self.z)


def partners(
    values: Float[Tensor, "*shape"], swap_mask: Bool[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """Return the values of each row's random partner: its neighbour, since a batch is already in random order.

    Args:
        values: One row per image.
        swap_mask: Which values come from the partner, in the shape of `values`; by default all. Others keep the row's
            own value.

    Returns:
        The partners' values, in the shape of `values`.
    """
    theirs = values.roll(1, dims=0)
    return theirs if swap_mask is None else torch.where(swap_mask, theirs, values)


def at_strength(m_minus: float | Float[Tensor, "*k"], m_plus: float | Float[Tensor, "*k"], strength: Any) -> Any:
    """Convert strengths to values of y: (m_plus + m_minus) / 2 + strength * (m_plus - m_minus) / 2.

    Args:
        m_minus: Mean y of images without the attribute, which is the y of strength -1.
        m_plus: Mean y of images with it, which is the y of strength 1.
        strength: Strength, a number or a tensor.

    Returns:
        The values of y.
    """
    return (m_plus + m_minus) / 2 + strength * (m_plus - m_minus) / 2


def to_float(pixels: UInt8[Tensor, "*shape"], value_range: Sequence[float]) -> Float[Tensor, "*shape"]:
    """Convert uint8 pixels to a model's values.

    Args:
        pixels: Pixels from 0 to 255.
        value_range: The model's lowest and highest value.

    Returns:
        Floats in the value range, in torch's default dtype.
    """
    low, high = value_range
    scaled = pixels.to(torch.get_default_dtype()).mul_((high - low) / 255)
    return scaled.add_(low) if low else scaled


def to_unit(x: Float[Tensor, "*shape"], value_range: Sequence[float]) -> Float[Tensor, "*shape"]:
    """Convert a model's values to [0, 1], in which errors are reported.

    Args:
        x: Images in the model's value range.
        value_range: The model's lowest and highest value.

    Returns:
        Floats, clamped to [0, 1].
    """
    low, high = value_range
    return ((x - low) / (high - low)).clamp(0, 1)


def to_uint8(x: Float[Tensor, "*shape"], value_range: Sequence[float]) -> UInt8[Tensor, "*shape"]:
    """Convert a model's values to uint8 pixels.

    Args:
        x: Images in the model's value range.
        value_range: The model's lowest and highest value.

    Returns:
        Pixels from 0 to 255, rounded and clamped.
    """
    return to_unit(x, value_range).mul(255).round().to(torch.uint8)
