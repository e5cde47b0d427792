"""The work behind the page of an ordered code: decode units, and show what each of them changes."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from jacsup.code import Code, to_float, to_uint8
from jacsup.models import Autoencoder, ModelInfo, device_of
from jacsup.serve.answers import NUM_STARTS, amount_of, as_number, image_of, in_page, png, test_images, with_amount

# The side of a decoded image, in pixels.
UNITS_SIDE = 280
MAP_TILES = 12
STRIP_TILES = 9
# If no unit has an effect, all have equal shares.
LEAST_EFFECT = 1e-9


class UnitStudio:
    """A model with an ordered code, whose units are its sliders."""

    def __init__(self, model: Autoencoder, info: ModelInfo, name: str):
        self._model, self._info, self._name = model, info, name

    def description(self) -> dict[str, Any]:
        """Return what the page shows."""
        effects = self._effects()
        factors = [
            {
                "name": factor.name,
                "low": factor.p01,
                "high": factor.p99,
                "mean": factor.mean,
                "std": factor.std,
                "effect": round(effect / sum(effects), 4),
            }
            for factor, effect in zip(self._info.factors, effects, strict=True)
        ]
        return {
            "name": self._name,
            "kind": "units",
            "factors": factors,
            "amount": amount_of(self._model),
            "starts": self._starts(),
        }

    def decode(self, asked: dict[str, Any]) -> bytes:
        """Return the image decoded from `units`, a list with one number for each unit, as PNG.

        For a residual student, `amount` is the share of the rest that is added to the teacher's image.
        """
        units = asked.get("units")
        count = len(self._info.factors)
        if not isinstance(units, list) or len(units) != count:
            raise ValueError(f"units are {units!r:.60}; must be a list of {count} numbers")
        values = torch.tensor([[as_number(value, "a unit") for value in units]])
        pixels = _decoded(with_amount(self._model, asked), values)
        return png(image_of(pixels[0]).resize((UNITS_SIDE, UNITS_SIDE), Image.Resampling.NEAREST))

    def strip(self, number: int) -> bytes:
        """Return, as PNG, images side by side in which unit `number` goes from its lowest to its highest value."""
        if not 0 <= number < len(self._info.factors):
            raise ValueError(f"unit is {number}; must be between 0 and {len(self._info.factors) - 1}")
        factor = self._info.factors[number]
        units = self._means().repeat(STRIP_TILES, 1)
        units[:, number] = torch.linspace(factor.p01, factor.p99, STRIP_TILES)
        return png(image_of(_decoded(self._model, units).permute(1, 2, 0, 3).flatten(2)))

    @torch.no_grad()
    def _starts(self) -> list[dict[str, Any]]:
        """Test images, the first of each class, and their units; none if the data set is not on this machine."""
        test = test_images(self._model)
        if test is None:
            return []
        pixels = test.first(NUM_STARTS).images
        if test.labels is not None:
            pixels = test.images[[int((test.labels == label).nonzero()[0]) for label in test.labels.unique()]]
        x = to_float(pixels.to(device_of(self._model)), self._model.value_range)
        units = self._model.encode(x).units.cpu()
        return [{"picture": in_page(image), "units": row.tolist()} for image, row in zip(pixels, units, strict=True)]

    def _means(self) -> Float[Tensor, " u"]:
        return torch.tensor([factor.mean for factor in self._info.factors])

    def _effects(self) -> list[float]:
        """The mean squared change of pixels between a standard deviation below and above each unit's mean."""
        spread = torch.tensor([factor.std for factor in self._info.factors]).diag()
        low, high = (_decoded(self._model, self._means() + sign * spread).cpu().double() for sign in (-1, 1))
        return [max(float(each), LEAST_EFFECT) for each in (high - low).square().flatten(1).mean(dim=1)]

    def map(self) -> bytes:
        """Return, as PNG, a grid of images: the first unit varies from left to right, the second upwards."""
        across, up = (
            torch.linspace(factor.p01, factor.p99, 2 * MAP_TILES + 1)[1::2] for factor in self._info.factors[:2]
        )
        units = self._means().repeat(MAP_TILES**2, 1)
        units[:, 0], units[:, 1] = across.repeat(MAP_TILES), up.flip(0).repeat_interleave(MAP_TILES)
        tiles = _decoded(self._model, units).unflatten(0, (MAP_TILES, MAP_TILES))
        return png(image_of(tiles.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)))


@torch.no_grad()
def _decoded(model: Autoencoder, units: Float[Tensor, "n u"]) -> UInt8[Tensor, "n c h w"]:
    units = units.to(device_of(model))
    return to_uint8(model.decode(Code.of_units(units)), model.value_range).cpu()
