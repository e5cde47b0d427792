"""A curriculum of drawn faces that trains in seconds."""

from __future__ import annotations

from dataclasses import replace

from jacsup.config import Conv, Recipe
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES


def small_faces(name: str = "faces-mini", *, epochs: int = 1, batch_size: int = 30, flips: bool = False) -> Recipe:
    """A recipe for drawn faces with few images, channels and epochs."""
    recipe = replace(RECIPES[name], model=Conv(channels=(8, 8, 16)), flips=flips)
    for field, value in (("data.num_images", 200), ("stages.epochs", epochs), ("stages.batch_size", batch_size)):
        recipe = set_field(recipe, field, value)
    for number, channels in enumerate((4, 4, 8)):
        recipe = set_field(recipe, f"stages.{number}.z_channels", channels)
    return recipe
