"""Every method on the same data with the same autoencoder for as many images: who reconstructs, who separates."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from jacsup.baselines.pca import train_pca
from jacsup.baselines.pca_autoencoder import train_pca_autoencoder
from jacsup.baselines.variational import WEIGHTS, train_variational
from jacsup.config import Objective, Recipe
from jacsup.curricula import split_epochs
from jacsup.data.dataset import Dataset
from jacsup.evaluate import judge_units
from jacsup.jsonable import to_dict
from jacsup.models import Model, load
from jacsup.recipes import RECIPES, with_arm
from jacsup.run import Run, write_atomically
from jacsup.training.loop import train

# Raised when a baseline or a figure changes its meaning: older results are then not read.
VERSION = 1

METHODS = {
    "jacobian": "Jacobian supervision",
    "plain": "the same curriculum without it",
    "autoencoder": "autoencoder",
    "nested-dropout": "nested dropout",
    "pca-autoencoder": "PCA autoencoder",
    "pca": "PCA",
    "vae": "VAE",
    "beta-vae": "beta-VAE",
    "factor-vae": "FactorVAE",
    "beta-tcvae": "beta-TCVAE",
}
# Those whose units come in the order of their importance.
ORDERED = ("jacobian", "plain", "nested-dropout", "pca-autoencoder", "pca")
# What our own training loop does, as objective of a single stage.
OBJECTIVES: dict[str, Objective] = {"autoencoder": "reconstruction", "nested-dropout": "nested"}
# The others: recipe and data to a trained model.
TRAINERS: dict[str, Callable[[Dataset, Recipe], Model]] = {
    "pca": train_pca,
    "pca-autoencoder": train_pca_autoencoder,
    **{kind: partial(train_variational, kind) for kind in WEIGHTS},
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared: a curriculum's data, model and settings, at some code lengths, each for `epochs` in all."""

    recipe: str
    codes: tuple[int, ...]
    epochs: int
    seeds: tuple[int, ...] = (0, 1, 2)


COMPARISONS = {
    "digits": Comparison(recipe="digits", codes=(2, 4, 8), epochs=60),
    "mnist": Comparison(recipe="mnist-fast", codes=(2, 4, 8, 16), epochs=30),
    "sprites": Comparison(recipe="sprites", codes=(10,), epochs=10),
}


def recipe_of(comparison: Comparison, method: str, num_units: int, seed: int) -> Recipe:
    """What decides a method's result: its stages, which see `epochs` times the training images together."""
    base = replace(RECIPES[comparison.recipe], seed=seed)
    most = len(base.stages) + 1
    if not 2 <= num_units <= most:
        raise ValueError(f"codes has {num_units}; allowed are 2 to {most}, the units of recipe '{base.name}'")
    if method in ("jacobian", "plain"):
        stages = base.stages[: num_units - 1]
        lengths = split_epochs(comparison.epochs, len(stages))
        stages = tuple(replace(stage, epochs=epochs) for stage, epochs in zip(stages, lengths, strict=True))
        recipe = replace(base, stages=stages)
        return with_arm(recipe, "plain") if method == "plain" and len(stages) > 1 else recipe
    stage = replace(base.stages[0], name=method, num_units=num_units, epochs=comparison.epochs)
    return replace(base, stages=(replace(stage, objective=OBJECTIVES.get(method, "reconstruction")),))


def run_comparison(
    comparison: Comparison, data: Dataset, out: Path, methods: Sequence[str], data_root: Path | None = None
) -> list[dict[str, Any]]:
    """The figures of every method, code length and seed; those that lie in `out` already are read, not made again."""
    # All recipes first, so that wrong input is refused before anything is trained.
    plan = [
        (method, num_units, seed, recipe_of(comparison, method, num_units, seed))
        for seed in comparison.seeds
        for num_units in comparison.codes
        for method in methods
    ]
    results = []
    for number, (method, num_units, seed, recipe) in enumerate(plan, start=1):
        folder = out / f"{method}-{num_units}-s{seed}-{_digest(method, recipe)}"
        file = folder / "figures.json"
        if not file.is_file():
            print(f"{number} of {len(plan)}: {METHODS[method]}, {num_units} units, seed {seed}", flush=True)
            figures = {"method": method, "seed": seed, **_trained_and_judged(method, recipe, data, folder, data_root)}
            write_atomically(file, json.dumps(figures, indent=2).encode())
        results.append(json.loads(file.read_text()))
    return results


def _trained_and_judged(
    method: str, recipe: Recipe, data: Dataset, folder: Path, data_root: Path | None
) -> dict[str, Any]:
    stages, per_epoch = recipe.stages, len(data.train) // recipe.stages[0].batch_size * recipe.stages[0].batch_size
    seen = sum(stage.epochs for stage in stages) * per_epoch
    if method in TRAINERS:
        started = time.process_time()
        model = TRAINERS[method](data, recipe)
        seconds = time.process_time() - started
        seen = len(data.train) if method == "pca" else seen
    else:
        run = Run(train(recipe, data, folder, data_root=data_root))
        model, seconds = load(run.model_file), sum(line["core_seconds"] for line in run.stats())
    return {
        "images_seen": seen,
        "core_seconds": round(seconds, 1),
        **judge_units(model, data, ordered=method in ORDERED),
    }


def _digest(method: str, recipe: Recipe) -> str:
    text = json.dumps([VERSION, method, to_dict(recipe), WEIGHTS.get(method)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
