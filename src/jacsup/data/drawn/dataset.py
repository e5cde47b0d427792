"""Drawn faces as a data set, and the true images of their edits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jacsup.config import Faces, require_image_size
from jacsup.data.attributes import Attribute
from jacsup.data.cache import cache_folder
from jacsup.data.dataset import Dataset, Split
from jacsup.data.drawn.faces import ATTRIBUTES, FLIPPED_ON, draw_set, flipped, mutually_exclusive, render, sample
from jacsup.data.spec import DatasetSpec
from jacsup.jsonable import suggestion

SEED = 0
FEWEST = 100


def load_faces(config: Faces) -> Dataset:
    """Load drawn faces with their 36 attributes, which are also known factors. The first call draws and caches them.

    Args:
        config: The data set's config.

    Returns:
        The data set; the last tenth of the faces is the test split.

    Raises:
        ValueError: The size is not supported, or there are fewer than 100 faces.
    """
    require_image_size(config.size)
    if config.num_images < FEWEST:
        raise ValueError(f"data.num_images is {config.num_images}; must be at least {FEWEST}")
    strengths, _ = sample(config.num_images, SEED)
    images = draw_set(config.num_images, config.size, SEED, cache=cache_folder())
    on = strengths.gt(0)
    everything = Split(images, None, on.float() * 2 - 1, on.long())
    attributes = tuple(
        Attribute(name=name, mutually_exclusive=tuple(ATTRIBUTES[other] for other in mutually_exclusive(factor)))
        for factor, name in enumerate(ATTRIBUTES)
    )
    first = num_train(config)
    return Dataset(everything.rows(slice(first)), everything.rows(slice(first, None)), config, attributes)


def num_train(config: Faces) -> int:
    """Return the number of training images of a config."""
    return config.num_images - config.num_images // 10


def counterfactual(config: Faces, factor: int, count: int) -> tuple[UInt8[Tensor, "n c h w"], Bool[Tensor, " n"]]:
    """Draw the first test faces again with one attribute flipped: the true images of an edit.

    Args:
        config: The data set's config.
        factor: Number of the attribute in ATTRIBUTES.
        count: Number of test faces.

    Returns:
        The images, and where the attribute was set rather than removed.

    Raises:
        ValueError: There is no such attribute.
    """
    strengths, nuisance = (values[:count] for values in _test_people(config))
    return render(flipped(strengths, factor), nuisance, config.size), strengths[:, factor] == 0


def test_faces(config: Faces, count: int, size: int) -> UInt8[Tensor, "n c h w"]:
    """Draw the first test faces at any size.

    Args:
        config: The data set's config.
        count: Number of test faces.
        size: Side of the square images, at least 16 pixels.

    Returns:
        RGB images.

    Raises:
        ValueError: The size is below 16.
    """
    strengths, nuisance = (values[:count] for values in _test_people(config))
    return render(strengths, nuisance, size)


def true_edit(config: Faces, number: int, strengths: Mapping[str, float], size: int) -> UInt8[Tensor, "c h w"]:
    """Draw a test face again with attributes at strengths: what an edit of it should look like.

    Args:
        config: The data set's config.
        number: Number of the test face, from 0.
        strengths: Strengths by attribute, as in the editor: -1 is without it, 1 is with it; drawings do not change
            beyond 5/3. Other attributes keep their values, except that a strength above 0 removes those it excludes.
        size: Side of the square image, at least 16 pixels.

    Raises:
        ValueError: There is no such face or attribute, or the size is below 16.
    """
    people, nuisance = _test_people(config)
    if not 0 <= number < len(people):
        raise ValueError(f"the test face is {number}; must be between 0 and {len(people) - 1}")
    unknown = [name for name in strengths if name not in ATTRIBUTES]
    if unknown:
        raise ValueError(f"drawn faces have no attribute '{unknown[0]}'; {suggestion(unknown[0], ATTRIBUTES)}")
    person = people[number].clone()
    for name, strength in strengths.items():
        if strength > 0:
            person[mutually_exclusive(ATTRIBUTES.index(name))] = 0
    for name, strength in strengths.items():
        person[ATTRIBUTES.index(name)] = min(1.0, max(0.0, FLIPPED_ON * (strength + 1) / 2))
    return render(person[None], nuisance[number : number + 1], size)[0]


def num_test(config: Faces) -> int:
    """Return the number of test images of a config."""
    return config.num_images - num_train(config)


@lru_cache(maxsize=1)
def _test_people(config: Faces) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n m"]]:
    """Strengths and nuisance of the test faces."""
    strengths, nuisance = (values[num_train(config) :].clone() for values in sample(config.num_images, SEED))
    return strengths, nuisance


DATA_SET = DatasetSpec(
    load=lambda config, _: load_faces(config),
    description=lambda config: f"{config.num_images:,} faces drawn by the package, {config.size} pixels",
    license="apache-2.0",
    limits="It was trained on drawn faces only and does not know photographs.",
    faces=True,
    drawn=True,
    counterfactual=counterfactual,
)
