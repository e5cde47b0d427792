"""Named runs, each one typed value, and the arms they are compared with."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

from jacsup.config import (
    MLP,
    MNIST,
    SVHN,
    Adam,
    DataConfig,
    Digits,
    Growth,
    Recipe,
    Stage,
    Weights,
    read_recipe,
    suggestion,
)

ARMS = {
    "plain": "the same curriculum with the reconstruction loss (eq. 8) alone",
    "plain-jump": "from the first teacher to the longest code at once, reconstruction loss alone",
}


def curriculum(
    *,
    max_units: int = 16,
    epochs: int = 100,
    batch_size: int = 128,
    weights: Weights = Weights(),
    adam: Adam = Adam(),
    growth: Growth = Growth(),
) -> tuple[Stage, ...]:
    """Section 3: a first teacher with 2 units, then one student for each further unit."""
    teacher = Stage(
        name="units-2", objective="reconstruction", num_units=2, epochs=epochs, batch_size=batch_size, adam=adam
    )
    return teacher, *(
        replace(teacher, name=f"units-{units}", objective="student", num_units=units, weights=weights, growth=growth)
        for units in range(3, max_units + 1)
    )


def _recipe(name: str, data: DataConfig, stages: tuple[Stage, ...], model: MLP = MLP()) -> Recipe:
    return Recipe(name=name, data=data, model=model, stages=stages)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # Section 3 and A.1 to the letter: 15 stages of 100 epochs, eq. 9's and 10's weights as printed.
        _recipe("mnist", MNIST(), curriculum()),
        # As the author's public code ran it.
        _recipe(
            "mnist-author",
            MNIST(),
            curriculum(weights=Weights(y=0.25, diff=0.1, xcov_norm=True), growth=Growth(new="random")),
        ),
        # Ours: a good student in minutes.
        _recipe(
            "mnist-fast",
            MNIST(),
            curriculum(
                epochs=12,
                weights=Weights(y=0.25, diff=0.3, xcov_norm=True),
                adam=Adam(lr=2e-3, schedule="one-cycle"),
            ),
        ),
        # The poster's second data set; it prints no settings, so these are MNIST's.
        _recipe("svhn", SVHN(), curriculum()),
        _recipe(
            "digits",
            Digits(),
            curriculum(max_units=10, epochs=60, batch_size=64, adam=Adam(lr=2e-3, schedule="one-cycle")),
        ),
        # Seconds: for tests and for trying the tool out.
        _recipe("debug", Digits(), curriculum(max_units=4, epochs=3), MLP(hidden=(32, 16))),
    )
}


def find(name: str) -> Recipe:
    """A recipe by built-in name, `file.py:name` or the path of a recipe.json; ValueError when there is none."""
    if name in RECIPES:
        return RECIPES[name]
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _from_python(Path(path), attribute)
    if name.endswith(".py"):
        raise ValueError(f"'{name}' names a file; name a recipe in it too: {name}:NAME")
    if name.endswith(".json"):
        return read_recipe(Path(name))
    raise ValueError(
        f"there is no recipe '{name}'; {suggestion(name, RECIPES)} "
        "(a built-in name, file.py:name or a recipe.json; `jacsup list` shows them)"
    )


def _from_python(path: Path, name: str) -> Recipe:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; give file.py:name")
    try:
        values = runpy.run_path(str(path))
    # Whatever the user's own file raises, with the file's name.
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}; give a Python file that defines recipes") from error
    found = {key: value for key, value in values.items() if isinstance(value, Recipe)}
    if name not in found:
        raise ValueError(f"{path} defines no recipe '{name}'; it defines {', '.join(found) or 'none'}")
    return found[name]


def with_arm(recipe: Recipe, arm: str) -> Recipe:
    """The recipe's baseline called `arm`; it keeps the first stage, so both start from the same first teacher."""
    if arm not in ARMS:
        raise ValueError(f"there is no arm '{arm}'; {suggestion(arm, ARMS)}")
    if recipe.arm:
        raise ValueError(f"recipe '{recipe.name}' already is the arm '{recipe.arm}'; start from the one without an arm")
    teacher, *students = recipe.stages
    if not students:
        raise ValueError(f"recipe '{recipe.name}' has one stage; arms differ in the later ones")
    plain = [replace(stage, objective="reconstruction") for stage in students]
    return replace(recipe, arm=arm, stages=(teacher, *(plain if arm == "plain" else plain[-1:])))
