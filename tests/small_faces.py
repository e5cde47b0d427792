"""A curriculum of drawn faces that trains in seconds."""

from __future__ import annotations

from dataclasses import replace

from jacsup.config import Conv, Diffusion, Recipe
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES

SMALL_EDITOR = Diffusion(
    patch=2,
    channels=(8, 16),
    embedding=8,
    encoder_channels=(8, 8),
    log_sigma=(-0.2, 1.1),
    shown=0.9,
    noise_levels=(2.0, 0.5),
    guidance=4.0,
)


def small_faces(name: str = "faces-mini", *, epochs: int = 1, batch_size: int = 30, flips: bool = False) -> Recipe:
    """A recipe for drawn faces with few images, channels and epochs."""
    recipe = replace(RECIPES[name], model=Conv(channels=(8, 8, 16)), flips=flips)
    for field, value in (("data.num_images", 200), ("stages.epochs", epochs), ("stages.batch_size", batch_size)):
        recipe = set_field(recipe, field, value)
    for number, channels in enumerate((4, 4, 8)):
        recipe = set_field(recipe, f"stages.{number}.z_channels", channels)
    return recipe


def small_photos() -> Recipe:
    """The recipe `photos` on a few drawn faces, with few channels and epochs."""
    faces, photos = small_faces(flips=True), RECIPES["photos"]
    recipe = replace(photos, data=faces.data, model=SMALL_EDITOR)
    for field, value in (("stages.epochs", 2), ("stages.batch_size", 30), ("stages.1.adam.lr", 1e-3)):
        recipe = set_field(recipe, field, value)
    return recipe
