"""The commands that evaluate, report and compare models."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jacsup.cli import lazy
from jacsup.cli.options import Flag, Model, Name, Option, RunFolder, Several
from jacsup.cli.table import print_json, print_table
from jacsup.jsonable import suggestion
from jacsup.recipes import find
from jacsup.run import Run

# Keys of METRICS that the tables of stages and of attributes show.
UNIT_SCORES = ("code_size", "mse", "psnr", "ssim", "swap_classifier", "swap_label", "jacobian_error", "num_parameters")
EDIT_SCORES = ("accuracy 1", "accuracy 2", "accuracy 4", "preservation_error 0", "preservation_error 2")
ATTRIBUTE_STAGE_SCORES = (
    "code_size",
    "psnr",
    "ssim",
    *EDIT_SCORES,
    "accuracy_at_equal_disturbance",
    "pasted_at_equal_disturbance",
    "change_outside",
    "counterfactual_gain",
    "jacobian_error",
)
PASTED_SCORES = ("pasted_at_equal_disturbance", "change_outside")
ATTRIBUTE_SCORES = (*EDIT_SCORES, *PASTED_SCORES, "classifier_auc", "counterfactual_gain")
DRIFTS = ("reconstruction", "edited", "same_person")


def evaluate(
    model: Model,
    /,
    *,
    data: Option[str] = None,
    data_root: Option[Path] = None,
    identity: Option[Path] = None,
    json: Flag = False,
) -> None:
    """Evaluate a model on its test images. The scores of a run are saved in its metrics.json.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos, faces or mnist).
        data: A recipe, on whose data the newest model is evaluated without saving the scores; defaults to the model's
            own data.
        data_root: The folder with the data set's files, if they have moved.
        identity: A face-recognition network (dlib or an .onnx file), to test whether edited faces show the same person.
        json: Print the scores as JSON instead of a table.
    """
    if data:
        other = lazy.load_dataset(find(data).data, data_root)
        metrics = lazy.evaluate(lazy.model_file(model), other, identity=identity)
    else:
        metrics = lazy.evaluate(model, data_root=data_root, identity=identity)
    if json:
        print_json(metrics)
        return
    stages = metrics.get("stages", [{"name": Path(model).stem, **metrics}])
    shown, judged = UNIT_SCORES, "swaps"
    if "edit" in metrics:
        stages, shown, judged = lazy.stage_scores(stages), ATTRIBUTE_STAGE_SCORES, "edits"
        _print_attributes(lazy.attribute_scores(metrics))
    print_table(("stage", *_headings(shown)), [(stage["name"], *_cells(stage, shown)) for stage in stages])
    if warning := metrics.get("warning"):
        print(f"warning: {warning}")
    if drift := metrics.get("identity_drift"):
        print("identity drift: " + ", ".join(f"{name} {drift[name]:.3f}" for name in DRIFTS))
    if factor_scores := metrics.get("factor_scores"):
        print()
        known = lazy.flat_scores(factor_scores)
        rows = list(zip(_headings([*known]), _cells(known, [*known]), strict=True))
        print_table(("score of known factors", "value"), rows)
    if metrics.get("classifier_accuracy") is not None:
        print(f"{judged} are judged by a classifier with an accuracy of {metrics['classifier_accuracy']:.4f}")


def _print_attributes(attributes: dict[str, dict[str, Any]]) -> None:
    ordered = sorted(attributes.items(), key=lambda item: -(item[1].get("accuracy 2") or 0))
    rows = [
        (name, *_cells(scores, ATTRIBUTE_SCORES), "yes" if scores.get("learned") else "no") for name, scores in ordered
    ]
    print_table(("attribute", *_headings(ATTRIBUTE_SCORES), "learned"), rows)
    print()


def _headings(keys: Sequence[str]) -> list[str]:
    return [lazy.metric_of(key).column for key in keys]


def _cells(scores: Mapping[str, Any], keys: Sequence[str]) -> list[str | None]:
    """The scores in the formats of their metrics; None where a score was not measured."""
    values = {key: scores.get(key) for key in keys}
    return [None if value is None else f"{value:{lazy.metric_of(key).format}}" for key, value in values.items()]


def report(run: RunFolder, /, *, data_root: Option[Path] = None) -> None:
    """Write report/index.html, with figures and scores of a run and of the arms beside it, evaluated if necessary.

    Args:
        run: A run folder.
        data_root: The folder with the data set's files, if they have moved.
    """
    own = Run(run)
    own.require()
    data = lazy.find_data(run, data_root)
    trained = [arm for arm in lazy.find_siblings(own).values() if len(arm.finished_stages()) == len(arm.recipe.stages)]
    for each in (own, *trained):
        if not lazy.current_metrics(each):
            lazy.evaluate(each.path, data)
    print(f"the report is in {lazy.write_report(run, data, lazy.current_metrics(own))}")


def compare(
    name: Name,
    /,
    *,
    data_root: Option[Path] = None,
    methods: Several[str] = (),
    codes: Several[int] = (),
    seeds: Several[int] = (),
    epochs: Option[int] = None,
    out: Option[Path] = None,
    device: str = "auto",
) -> None:
    """Train and evaluate several methods on the same data. Running the same command again resumes the comparison.

    Args:
        name: digits, mnist, svhn, sprites, faces, faces-mini or celeba64.
        data_root: The folder with the data set's files; by default, MNIST is downloaded once.
        methods: The methods to compare; defaults to all.
        codes: Code lengths; defaults to the comparison's own.
        seeds: Seeds; defaults to 0 1 2, or to 0 for faces.
        epochs: Total epochs of each run; defaults to the comparison's own.
        out: The folder for all results and the page that shows them; defaults to runs/compare-NAME.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
    """
    if lazy.num_started() > 1:
        raise ValueError(
            "compare runs in a single process; to use several devices, start it once per device with different "
            "--methods or --seeds"
        )
    if name not in lazy.COMPARISONS:
        raise ValueError(f"unknown comparison '{name}'; {suggestion(name, lazy.COMPARISONS)}")
    comparison = lazy.COMPARISONS[name]
    known = comparison.methods
    for method in methods:
        if method not in known:
            raise ValueError(f"unknown method '{method}' of comparison '{name}'; {suggestion(method, known)}")
    for flag, given in (("--methods", methods), ("--codes", codes), ("--seeds", seeds)):
        if len({*given}) < len(given):
            raise ValueError(f"{flag} is {' '.join(map(str, given))}; values must be unique")
    if epochs is not None and epochs < 1:
        raise ValueError(f"--epochs is {epochs}; must be at least 1")
    if comparison.recipe.supervised and (codes or epochs):
        raise ValueError(f"--codes and --epochs are only for ordered codes; omit them for '{name}'")
    changes = {"codes": codes, "seeds": seeds, "epochs": epochs}
    comparison = replace(comparison, **{key: value for key, value in changes.items() if value})
    data = lazy.load_dataset(comparison.recipe.data, data_root)
    options = {"epochs": epochs, "data-root": data_root, "out": out, "device": None if device == "auto" else device}
    out = out or Path("runs") / f"compare-{name}"
    measured = lazy.run_comparison(comparison, data, out, methods or tuple(known), data_root=data_root, device=device)
    try:
        list(measured)
    finally:
        # An interrupted comparison shows its results so far.
        _show(name, lazy.all_results(comparison, data, out), out, options)


def _show(name: str, results: list[dict[str, Any]], out: Path, options: dict[str, Any]) -> None:
    """Print the table and write the page of a comparison, if it has results."""
    if not results:
        return
    known = lazy.COMPARISONS[name].labels
    header, rows = lazy.table_rows(lazy.points(results), known)
    print_table(tuple(header), [tuple(row) for row in rows])
    page = lazy.write_comparison(out, name, known, results, _call(name, results, options))
    print(f"the comparison is in {page}")


def _call(name: str, results: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """The one command that reproduces these results, which may come from several calls."""
    comparison = lazy.COMPARISONS[name]
    there = {key: {result[key] for result in results} for key in ("method", "code_size", "seed")}
    choices = {
        "methods": (tuple(comparison.methods), [method for method in comparison.methods if method in there["method"]]),
        "codes": (comparison.codes, sorted(there["code_size"]) if comparison.codes else ()),
        "seeds": (comparison.seeds, sorted(there["seed"])),
    }
    words = ["jacsup", "compare", name]
    for flag, (usual, present) in choices.items():
        words += [f"--{flag}", *map(str, present)] if tuple(present) != usual else []
    for flag, value in options.items():
        words += [f"--{flag}", str(value)] if value is not None else []
    return shlex.join(words)
