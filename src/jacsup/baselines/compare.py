"""Compare methods on the same data, with the same autoencoder, for the same number of training images."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from jacsup.atomic import write_atomically
from jacsup.baselines.methods import ATTRIBUTE_METHODS, METHODS, Arm, Method
from jacsup.config import Recipe
from jacsup.curricula import split_epochs
from jacsup.data.dataset import Dataset, fingerprint_of
from jacsup.evaluate import judge_stages, judge_units
from jacsup.metrics.table import by_strength
from jacsup.models import load, pick_device
from jacsup.recipes import RECIPES, with_arm
from jacsup.run import InUseError, Run
from jacsup.training.loop import DivergedError, train

# Increased when a method or a score changes its meaning, so that older results are not read.
VERSION = 2
# The file of a result in its folder, and its name in earlier versions.
FILE = "scores.json"
OLD_FILE = "figures.json"
# Names of fields in version 0.1. Digests use them, because they are part of the folder names of existing results.
DIGEST_NAMES = {"jacobian": "diff", "swap_probability": "taken"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Data, model and settings of a comparison; every method is trained on the same number of images.

    Attributes:
        recipe: The curriculum that is compared with the other methods.
        codes: Code lengths, for ordered codes; a recipe with attributes defines its own.
        epochs: Total epochs of a run, for ordered codes; a recipe with attributes defines its own.
        seeds: Seeds of the repetitions.
    """

    recipe: Recipe
    codes: tuple[int, ...] = ()
    epochs: int = 0
    seeds: tuple[int, ...] = (0, 1, 2)

    @property
    def methods(self) -> dict[str, Method]:
        """The methods that can be compared, by key."""
        return ATTRIBUTE_METHODS if self.recipe.supervised else METHODS

    @property
    def labels(self) -> dict[str, str]:
        """The methods' names in tables and figures, by key."""
        return {key: method.label for key, method in self.methods.items()}


COMPARISONS = {
    "digits": Comparison(recipe=RECIPES["digits"], codes=(2, 4, 8), epochs=60),
    "mnist": Comparison(recipe=RECIPES["mnist-fast"], codes=(2, 4, 8, 16), epochs=30),
    "svhn": Comparison(recipe=RECIPES["svhn-fast"], codes=(4, 16), epochs=60),
    "sprites": Comparison(recipe=RECIPES["sprites"], codes=(10,), epochs=10),
    **{name: Comparison(recipe=RECIPES[name], seeds=(0,)) for name in ("faces", "faces-mini", "celeba64")},
}


def recipe_of(comparison: Comparison, method: str, num_units: int, seed: int) -> Recipe:
    """Return the recipe of a method, whose stages see the training images as often as those of every other method.

    Args:
        comparison: What is compared.
        method: One of the comparison's methods.
        num_units: Code length; ignored with attributes.
        seed: Seed of the recipe.

    Raises:
        ValueError: The comparison's recipe has no code of this length, or there are fewer epochs than stages.
    """
    base = replace(comparison.recipe, seed=seed)
    training = comparison.methods[method].training
    if base.supervised:
        if not isinstance(training, Arm):
            raise ValueError(
                f"method '{method}' is not an arm of the recipe; use an arm, because the recipe has attributes"
            )
        return with_arm(base, training.name) if training.name else base
    most = len(base.stages) + 1
    if not 2 <= num_units <= most:
        raise ValueError(
            f"code length (--codes) is {num_units}; must be between 2 and {most}, the units of recipe '{base.name}'"
        )
    if isinstance(training, Arm):
        stages = base.stages[: num_units - 1]
        lengths = split_epochs(comparison.epochs, len(stages))
        if training.in_one_step and len(stages) > 1:
            stages = stages[0], stages[-1]
            lengths = comparison.epochs // 3, comparison.epochs - comparison.epochs // 3
        stages = tuple(replace(stage, epochs=epochs) for stage, epochs in zip(stages, lengths, strict=True))
        recipe = replace(base, stages=stages)
        # Arms differ in their students, and a single stage has none.
        return with_arm(recipe, training.name) if training.name and len(stages) > 1 else recipe
    objective = training if isinstance(training, str) else "reconstruction"
    stage = replace(base.stages[0], name=method, objective=objective, num_units=num_units, epochs=comparison.epochs)
    return replace(base, stages=(stage,))


def run_comparison(
    comparison: Comparison,
    data: Dataset,
    out: Path,
    methods: Sequence[str],
    *,
    data_root: Path | None = None,
    device: str = "auto",
) -> Iterator[dict[str, Any]]:
    """Train and judge every method, code length and seed, one after the other.

    Results that are already in `out` are read. A method that fails, or that another process is training, is skipped.

    Args:
        comparison: What is compared.
        data: The data set of the comparison's recipe.
        out: Folder of the results, with one folder for each method, code length and seed.
        methods: Keys of the methods.
        data_root: Folder of the data set's files, for our own training.
        device: auto, cpu, cuda, cuda:N or mps.

    Yields:
        The scores of one method or, with attributes, of one of its stages: those of docs/METRICS.md, and `method`,
        `seed`, `images_seen` and `core_seconds`, the processor time of all threads without a GPU's.

    Raises:
        ValueError: The input is wrong; nothing has been trained.
        RuntimeError: Results are missing at the end; the message names them.
    """
    fingerprint = fingerprint_of(data)
    # All recipes are made first, so that wrong input is found before anything is trained.
    plan: dict[Path, tuple[str, Recipe]] = {}
    for seed, num_units, method in product(comparison.seeds, comparison.codes or (0,), methods):
        recipe = recipe_of(comparison, method, num_units, seed)
        name = _folder_name(comparison.methods[method], num_units, recipe, data, fingerprint)
        plan[out / name] = method, recipe
    for folder in plan:
        if _stored(folder):
            _read(folder)
    _require_libraries([comparison.methods[method] for folder, (method, _) in plan.items() if not _stored(folder)])
    data = data.to(pick_device(device))
    out.mkdir(parents=True, exist_ok=True)
    return _run(comparison, data, plan, {"data_root": data_root, "device": device})


def _require_libraries(methods: Sequence[Method]) -> None:
    """Raise ValueError if methods need a package that is not installed."""
    missing = [method for method in methods if method.library and not importlib.util.find_spec(method.library)]
    if missing:
        library = missing[0].library
        keys = dict.fromkeys(method.key for method in missing if method.library == library)
        raise ValueError(
            f"{', '.join(keys)} need the package {library}; run `pip install {library}`, or omit them with --methods"
        )


def _run(
    comparison: Comparison, data: Dataset, plan: dict[Path, tuple[str, Recipe]], where: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    left = list[Path]()
    for number, (folder, (key, recipe)) in enumerate(plan.items()):
        method = comparison.methods[key]
        if not _stored(folder):
            print(f"{number + 1} of {len(plan)}: {method.label}, {folder.name}", flush=True)
            try:
                with _held(method, folder):
                    # Another process may have finished it in the meantime.
                    if not _stored(folder):
                        scores = _scores(method, recipe, comparison.recipe, data, folder, where)
                        named = [{"method": key, "seed": recipe.seed, **each} for each in scores]
                        write_atomically(folder / FILE, json.dumps(named, indent=2).encode())
            except (DivergedError, InUseError) as error:
                print(f"skipped: {error}", flush=True)
                left.append(folder)
                continue
        yield from _read(folder)
    # Another process may have finished some in the meantime.
    finished = [folder for folder in left if _stored(folder)]
    for folder in finished:
        yield from _read(folder)
    if missing := [folder.name for folder in left if folder not in finished]:
        raise RuntimeError(
            f"{len(missing)} of {len(plan)} results are missing for the reasons above: {', '.join(missing)}; run the "
            "same command again to continue"
        )


def _held(method: Method, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Lock the folder of a peer with its own training; our training locks its folder itself."""
    if not callable(method.training):
        return contextlib.nullcontext()
    folder.mkdir(exist_ok=True)
    return Run(folder).lock()


def all_results(comparison: Comparison, data: Dataset, out: Path) -> list[dict[str, Any]]:
    """Return this comparison's results in a folder, for any method, code length and seed, in the methods' order.

    Args:
        comparison: What is compared; its `codes` and `seeds` do not restrict the results.
        data: The data set of its recipe.
        out: Folder of the results.
    """
    fingerprint, found = fingerprint_of(data), []
    places = {method: place for place, method in enumerate(comparison.methods)}
    for folder in out.glob("*"):
        method, num_units, seed = _parsed(folder.name)
        if method not in places or not _stored(folder):
            continue
        with contextlib.suppress(ValueError):
            recipe = recipe_of(comparison, method, num_units, seed)
            if folder.name == _folder_name(comparison.methods[method], num_units, recipe, data, fingerprint):
                found.append(((seed, num_units, places[method]), _read(folder)))
    return [scores for _, each in sorted(found, key=lambda pair: pair[0]) for scores in each]


def _folder_name(method: Method, num_units: int, recipe: Recipe, data: Dataset, fingerprint: str) -> str:
    length = f"-{num_units}" if num_units else ""
    # The data's own config contains the checksum of the files, which the recipe may lack.
    digest = _digest(method, replace(recipe, data=data.config), fingerprint)
    return f"{method.key}{length}-s{recipe.seed}-{digest}"


def _parsed(folder_name: str) -> tuple[str, int, int]:
    """Method, code length (0 if the name has none) and seed of a result's folder."""
    parts = re.fullmatch(r"(.+?)(?:-(\d+))?-s(\d+)-[0-9a-f]{8}", folder_name)
    return (parts[1], int(parts[2] or 0), int(parts[3])) if parts else ("", 0, 0)


def _stored(folder: Path) -> Path | None:
    """The file of a result, or None if the folder has none."""
    return next((folder / name for name in (FILE, OLD_FILE) if (folder / name).is_file()), None)


def _read(folder: Path) -> list[dict[str, Any]]:
    file = _stored(folder)
    assert file
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise ValueError(f"{file} is damaged; delete it and run the same command again") from None


def _scores(
    method: Method, recipe: Recipe, base: Recipe, data: Dataset, folder: Path, where: dict[str, Any]
) -> list[dict[str, Any]]:
    """Train a method and judge it or, with attributes, each of its stages."""
    if callable(method.training):
        started = time.process_time()
        model = method.training(data, recipe)
        cost = _cost(data, recipe, time.process_time() - started)
        if method.passes is not None:
            cost["images_seen"] = method.passes * len(data.train)
    else:
        run = Run(train(recipe, data, folder, **where))
        if recipe.supervised:
            return _stage_scores(run, base, data.to("cpu"))
        model = load(run.model_file, data.train.images.device)
        cost = _cost(data, recipe, sum(line["core_seconds"] for line in run.stats()))
    return [cost | judge_units(model, data, ordered=method.ordered)]


def _stage_scores(run: Run, base: Recipe, data: Dataset) -> list[dict[str, Any]]:
    """The scores of the stages of a recipe with attributes; for an arm, only of those that differ from the recipe."""
    recipe = run.recipe
    pairs = enumerate(zip(recipe.stages, base.stages, strict=False))
    shared = next((number for number, (ours, theirs) in pairs if ours != theirs), 0)
    lines, stages = run.stats(), []
    for number, scores in enumerate(judge_stages(run, range(shared, len(recipe.stages)), data), start=shared):
        until = replace(recipe, stages=recipe.stages[: number + 1])
        seconds = sum(line["core_seconds"] for line in lines if line["stage"] <= number)
        edit = by_strength(scores.get("edit") or {})
        stages.append({"stage": scores["name"], **_cost(data, until, seconds), **scores, **edit})
    return stages


def _cost(data: Dataset, recipe: Recipe, core_seconds: float) -> dict[str, int | float]:
    seen = [stage.epochs * (len(data.train) // stage.batch_size) * stage.batch_size for stage in recipe.stages]
    return {"images_seen": sum(seen), "core_seconds": round(core_seconds, 1)}


def _digest(method: Method, recipe: Recipe, fingerprint: str) -> str:
    """A digest of all that determines a result. Fields at their defaults are omitted, so new fields change nothing."""
    text = json.dumps([VERSION, method.key, _given(recipe), method.settings, fingerprint], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _given(value: Any) -> Any:
    """The fields of a recipe that are not at their defaults, as version 0.1 wrote them."""
    if is_dataclass(value):
        values = {field.name: getattr(value, field.name) for field in fields(value)}
        changed = {
            DIGEST_NAMES.get(f.name, f.name): _given(values[f.name])
            for f in fields(value)
            if values[f.name] != f.default
        }
        # In version 0.1, the options of the losses were fields of their weights.
        if "options" in changed:
            changed["weights"] = {**changed.pop("options"), **changed.get("weights", {}), "type": "Weights"}
        return {"type": type(value).__name__, **changed}
    return [_given(item) for item in value] if isinstance(value, tuple) else value
