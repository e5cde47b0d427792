"""Every method on the same data with the same autoencoder for as many images: who reconstructs, who separates."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from jacsup.atomic import write_atomically
from jacsup.baselines.pca import train_pca
from jacsup.baselines.pca_autoencoder import COVARIANCE_WEIGHT, train_pca_autoencoder
from jacsup.baselines.variational import WEIGHTS, require_pythae, train_variational
from jacsup.config import Objective, Recipe
from jacsup.curricula import split_epochs
from jacsup.data.dataset import Dataset, fingerprint_of
from jacsup.evaluate import judge_stages, judge_units
from jacsup.metrics.table import by_strength
from jacsup.models import Model, load, pick_device
from jacsup.recipes import RECIPES, with_arm
from jacsup.run import InUseError, Run
from jacsup.training.loop import DivergedError, train

# Raised when a baseline or a figure changes its meaning: older results are then not read.
VERSION = 2

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
# With attributes: our recipe and its arms.
FACE_METHODS = {
    "jacobian": "Jacobian supervision",
    "plain": "long code, trained as the teacher",
    "reconstruction": "long code, reconstruction alone",
    "longer": "short code, as long",
    "fader": "Fader Networks",
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
    """What is compared: a curriculum's data, model and settings, each method for as many images.

    codes, epochs: of an ordered code, the lengths and the epochs in all; a recipe with attributes has its own.
    """

    recipe: Recipe
    codes: tuple[int, ...] = ()
    epochs: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def methods(self) -> dict[str, str]:
        """The methods that can be compared, and their names."""
        return FACE_METHODS if self.recipe.supervised else METHODS


COMPARISONS = {
    "digits": Comparison(recipe=RECIPES["digits"], codes=(2, 4, 8), epochs=60),
    "mnist": Comparison(recipe=RECIPES["mnist-fast"], codes=(2, 4, 8, 16), epochs=30),
    "sprites": Comparison(recipe=RECIPES["sprites"], codes=(10,), epochs=10),
    **{name: Comparison(recipe=RECIPES[name], seeds=(0,)) for name in ("faces", "faces-mini", "celeba64")},
}


def recipe_of(comparison: Comparison, method: str, num_units: int, seed: int) -> Recipe:
    """What decides a method's result: its stages, which see the training images equally often for every method."""
    base = replace(comparison.recipe, seed=seed)
    if base.supervised:
        return base if method == "jacobian" else with_arm(base, method)
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
    comparison: Comparison,
    data: Dataset,
    out: Path,
    methods: Sequence[str],
    *,
    data_root: Path | None = None,
    device: str = "auto",
) -> Iterator[dict[str, Any]]:
    """The figures of every method, code length and seed, one after the other; those that lie in `out` are read.

    core_seconds are the processor's, of all threads; a GPU's time is not in them. A method that fails, or that another
    process is at, keeps nobody waiting: RuntimeError names them in the end. ValueError for wrong input, at once.
    """
    fingerprint = fingerprint_of(data)
    # All recipes first, so that wrong input is refused before anything is trained.
    plan: dict[Path, tuple[str, Recipe]] = {}
    for seed, num_units, method in product(comparison.seeds, comparison.codes or (0,), methods):
        recipe = recipe_of(comparison, method, num_units, seed)
        plan[out / _folder_name(method, num_units, recipe, data, fingerprint)] = method, recipe
    for folder in plan:
        if _file(folder).is_file():
            _read(folder)
    require_pythae([method for folder, (method, _) in plan.items() if not _file(folder).is_file()])
    data = data.to(pick_device(device))
    out.mkdir(parents=True, exist_ok=True)
    return _run(comparison, data, plan, {"data_root": data_root, "device": device})


def _run(
    comparison: Comparison, data: Dataset, plan: dict[Path, tuple[str, Recipe]], where: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    left = list[Path]()
    for number, (folder, (method, recipe)) in enumerate(plan.items()):
        if not _file(folder).is_file():
            print(f"{number + 1} of {len(plan)}: {comparison.methods[method]}, {folder.name}", flush=True)
            try:
                with _held(method, folder):
                    # Another process may have finished it just now.
                    if not _file(folder).is_file():
                        figures = _figures(method, recipe, comparison.recipe, data, folder, where)
                        named = [{"method": method, "seed": recipe.seed, **each} for each in figures]
                        write_atomically(_file(folder), json.dumps(named, indent=2).encode())
            except (DivergedError, InUseError) as error:
                print(f"left out: {error}", flush=True)
                left.append(folder)
                continue
        yield from _read(folder)
    # Another process may have finished some meanwhile.
    finished = [folder for folder in left if _file(folder).is_file()]
    for folder in finished:
        yield from _read(folder)
    if missing := [folder.name for folder in left if folder not in finished]:
        raise RuntimeError(f"{len(missing)} of {len(plan)} are missing, for the reasons above: {', '.join(missing)}")


def _held(method: str, folder: Path) -> contextlib.AbstractContextManager[None]:
    """A peer's folder against a second process; our own training sees to its own."""
    if method not in TRAINERS:
        return contextlib.nullcontext()
    folder.mkdir(exist_ok=True)
    return Run(folder).lock()


def all_results(comparison: Comparison, data: Dataset, out: Path) -> list[dict[str, Any]]:
    """The figures of this comparison that lie in `out`, of any method, code length and seed, in the methods' order."""
    fingerprint, found = fingerprint_of(data), []
    names = {method: place for place, method in enumerate(comparison.methods)}
    for file in out.glob("*/figures.json"):
        method, num_units, seed = _parsed(file.parent.name)
        if method not in names:
            continue
        with contextlib.suppress(ValueError):
            recipe = recipe_of(comparison, method, num_units, seed)
            if file.parent.name == _folder_name(method, num_units, recipe, data, fingerprint):
                found.append(((seed, num_units, names[method]), _read(file.parent)))
    return [figures for _, each in sorted(found, key=lambda pair: pair[0]) for figures in each]


def _folder_name(method: str, num_units: int, recipe: Recipe, data: Dataset, fingerprint: str) -> str:
    length = f"-{num_units}" if num_units else ""
    # The data's own config has the checksum of its files, where the recipe leaves it open.
    digest = _digest(method, replace(recipe, data=data.config), fingerprint)
    return f"{method}{length}-s{recipe.seed}-{digest}"


def _parsed(folder_name: str) -> tuple[str, int, int]:
    """Method, code length (0 where there is one alone) and seed of a result's folder."""
    parts = re.fullmatch(r"(.+?)(?:-(\d+))?-s(\d+)-[0-9a-f]{8}", folder_name)
    return (parts[1], int(parts[2] or 0), int(parts[3])) if parts else ("", 0, 0)


def _read(folder: Path) -> list[dict[str, Any]]:
    try:
        return json.loads(_file(folder).read_text())
    except ValueError:
        raise ValueError(f"{_file(folder)} is damaged; delete it and run the same command again") from None


def _file(folder: Path) -> Path:
    return folder / "figures.json"


def _figures(
    method: str, recipe: Recipe, base: Recipe, data: Dataset, folder: Path, where: dict[str, Any]
) -> list[dict[str, Any]]:
    """Trains a method and judges it, or each of its stages where these are a result of their own."""
    if method in TRAINERS:
        started = time.process_time()
        model = TRAINERS[method](data, recipe)
        cost = _cost(data, recipe, time.process_time() - started)
        if method == "pca":
            cost["images_seen"] = len(data.train)
    else:
        run = Run(train(recipe, data, folder, **where))
        if recipe.supervised:
            return _stages(run, base, data.to("cpu"))
        model = load(run.model_file, data.train.images.device)
        cost = _cost(data, recipe, sum(line["core_seconds"] for line in run.stats()))
    return [cost | judge_units(model, data, ordered=method in ORDERED)]


def _stages(run: Run, base: Recipe, data: Dataset) -> list[dict[str, Any]]:
    """The stages of a recipe with attributes; of an arm those that it does not share with the recipe."""
    recipe = run.recipe
    pairs = enumerate(zip(recipe.stages, base.stages, strict=False))
    shared = next((number for number, (ours, theirs) in pairs if ours != theirs), 0)
    lines, figures = run.stats(), []
    for number, figure in enumerate(judge_stages(run, range(shared, len(recipe.stages)), data), start=shared):
        until = replace(recipe, stages=recipe.stages[: number + 1])
        seconds = sum(line["core_seconds"] for line in lines if line["stage"] <= number)
        edit = by_strength(figure.get("edit") or {})
        figures.append({"stage": figure["name"], **_cost(data, until, seconds), **figure, **edit})
    return figures


def _cost(data: Dataset, recipe: Recipe, core_seconds: float) -> dict[str, int | float]:
    seen = [stage.epochs * (len(data.train) // stage.batch_size) * stage.batch_size for stage in recipe.stages]
    return {"images_seen": sum(seen), "core_seconds": round(core_seconds, 1)}


def _digest(method: str, recipe: Recipe, fingerprint: str) -> str:
    """Of all that decides a result; fields at their defaults are left out, so that new ones change no name."""
    weights = {**WEIGHTS, "pca-autoencoder": COVARIANCE_WEIGHT}.get(method)
    text = json.dumps([VERSION, method, _given(recipe), weights, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _given(value: Any) -> Any:
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        changed = {f.name: _given(values[f.name]) for f in fields(value) if values[f.name] != f.default}
        return {"type": type(value).__name__, **changed}
    return [_given(item) for item in value] if isinstance(value, tuple) else value
