"""Drawn faces as a data set, and the true images of their edits."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jacsup.config import IMAGE_SIZES, Faces
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset, Split
from jacsup.data.drawn.faces import ATTRIBUTES, draw_set, flipped, mutually_exclusive, render, sample

SEED = 0
FEWEST = 100


def load_faces(config: Faces, cache: Path) -> Dataset:
    """The drawn faces of a config, drawn once into `cache`; the last tenth is the test set."""
    if config.size not in IMAGE_SIZES or config.num_images < FEWEST:
        raise ValueError(
            f"data are {config.num_images} faces of {config.size} pixels; allowed are {FEWEST} and more faces of "
            f"{', '.join(map(str, IMAGE_SIZES))} pixels"
        )
    strengths, _ = sample(config.num_images, SEED)
    images = draw_set(config.num_images, config.size, SEED, cache=cache)
    on = strengths.gt(0)
    everything = Split(images, None, on.float() * 2 - 1, on.long())
    attributes = tuple(
        Attribute(name=name, mutually_exclusive=tuple(ATTRIBUTES[other] for other in mutually_exclusive(factor)))
        for factor, name in enumerate(ATTRIBUTES)
    )
    first = num_train(config)
    return Dataset(everything.rows(slice(first)), everything.rows(slice(first, None)), config, attributes)


def num_train(config: Faces) -> int:
    """How many of the faces are for training."""
    return config.num_images - config.num_images // 10


def counterfactual(config: Faces, factor: int, count: int) -> tuple[UInt8[Tensor, "n c h w"], Bool[Tensor, " n"]]:
    """The first `count` test faces drawn again with attribute `factor` turned over, and where it was turned on."""
    strengths, nuisance = (values[:count] for values in _test_people(config))
    return render(flipped(strengths, factor), nuisance, config.size), strengths[:, factor] == 0


def test_faces(config: Faces, count: int, size: int) -> UInt8[Tensor, "n c h w"]:
    """The first `count` test faces at any size."""
    strengths, nuisance = (values[:count] for values in _test_people(config))
    return render(strengths, nuisance, size)


@lru_cache(maxsize=1)
def _test_people(config: Faces) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n m"]]:
    """Strengths and nuisance of the test faces; every attribute's truth starts from them."""
    strengths, nuisance = (values[num_train(config) :].clone() for values in sample(config.num_images, SEED))
    return strengths, nuisance
