"""The command line's part that judges models."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import tyro

from jacsup.cli.table import print_json, print_table
from jacsup.jsonable import suggestion
from jacsup.recipes import find

Positional = tyro.conf.Positional
SWAP_SCORES = (
    "code_size", "mse", "psnr", "ssim", "swap_classifier", "swap_label", "jacobian_error", "num_parameters",
)  # fmt: skip
DRIFTS = ("reconstruction", "edited")
# Titles of the edit scores that `evaluate` shows, and what face_numbers calls them.
EDIT_COLUMNS = {
    "edit@1": "accuracy 1",
    "edit@2": "accuracy 2",
    "edit@4": "accuracy 4",
    "changed@0": "preservation_error 0",
    "changed@2": "preservation_error 2",
}


def evaluate(
    model: Positional[str],
    /,
    *,
    data: str | None = None,
    data_root: Path | None = None,
    identity: Path | None = None,
    json: bool = False,
) -> None:
    """Judge a model on its test images; a run's figures are kept in its metrics.json.

    Args:
        model: A run folder or a model file.
        data: A recipe whose data to judge the newest model on, in place of its own; nothing is kept then.
        data_root: Folder with the data set's files, if they have moved.
        identity: A face-recognition network (.onnx, such as OpenCV's SFace): how far edits move faces from themselves.
        json: Print metrics.json in place of the table.
    """
    from jacsup.evaluate import evaluate as judge
    from jacsup.metrics.table import attribute_scores, flat_scores, stage_scores

    metrics: Any
    if data:
        from jacsup.data import load_dataset
        from jacsup.models import model_file

        metrics = judge(model_file(Path(model)), load_dataset(find(data).data, data_root), identity=identity)
    else:
        metrics = judge(model, data_root=data_root, identity=identity)
    if json:
        print_json(metrics)
        return
    stages = metrics.get("stages", [{"name": Path(model).stem, **metrics}])
    columns, scores = {name: name for name in SWAP_SCORES}, "swap scores"
    if "edit" in metrics:
        stages, scores = stage_scores(stages), "edits"
        columns = {name: name for name in ("code_size", "psnr", "ssim")} | EDIT_COLUMNS
        columns |= {name: name for name in ("counterfactual_gain", "jacobian_error")}
        _print_attributes(attribute_scores(metrics))
    print_table(("stage", *columns), [(stage["name"], *map(stage.get, columns.values())) for stage in stages])
    if metrics.get("identity_drift"):
        print("identity drift: " + ", ".join(f"{name} {metrics['identity_drift'][name]:.3f}" for name in DRIFTS))
    if metrics.get("factor_scores"):
        print()
        print_table(("score of known factors", "value"), list(flat_scores(metrics["factor_scores"]).items()))
    if metrics.get("classifier_accuracy") is not None:
        print(f"{scores} are judged by a classifier with an accuracy of {metrics['classifier_accuracy']:.4f}")


def _print_attributes(attributes: dict[str, dict[str, Any]]) -> None:
    names = ("classifier_auc", "learned", "counterfactual_gain")
    ordered = sorted(attributes.items(), key=lambda item: -(item[1].get("accuracy 2") or 0))
    rows = [(name, *(figures.get(key) for key in (*EDIT_COLUMNS.values(), *names))) for name, figures in ordered]
    print_table(("attribute", *EDIT_COLUMNS, *names), rows)
    print()


def report(run: Positional[Path], /, *, data_root: Path | None = None) -> None:
    """Draw a run's figures and write its report/index.html, with the arms found beside it; judge those not judged yet.

    Args:
        run: A run folder.
        data_root: Folder with the data set's files, if they have moved.
    """
    from jacsup.data.of_run import find_data
    from jacsup.evaluate import current_metrics
    from jacsup.evaluate import evaluate as judge
    from jacsup.report import write_report
    from jacsup.report.siblings import find_siblings
    from jacsup.run import Run

    own = Run(run)
    own.require()
    data = find_data(run, data_root)
    trained = [arm for arm in find_siblings(own).values() if len(arm.finished_stages()) == len(arm.recipe.stages)]
    for each in (own, *trained):
        if not current_metrics(each):
            judge(each.path, data)
    print(f"the report is in {write_report(run, data, current_metrics(own))}")


def compare(
    name: Positional[str],
    /,
    *,
    data_root: Path | None = None,
    methods: tuple[str, ...] = (),
    codes: tuple[int, ...] = (),
    seeds: tuple[int, ...] = (),
    epochs: int | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> None:
    """Train and judge every method on the same data; one figure, one table, one page. The same command resumes.

    The page holds all results of this comparison that lie in its folder, of earlier calls too. A peer that was
    interrupted starts anew, what was finished does not.

    Args:
        name: digits, mnist, sprites, faces, faces-mini or celeba64.
        data_root: Folder with the data set's files; without one MNIST is downloaded once.
        methods: Some of the methods; all without it.
        codes: Code lengths in place of the comparison's own.
        seeds: Seeds in place of 0 1 2 (of faces 0 alone).
        epochs: Epochs in all, in place of the comparison's own.
        out: Where results are kept and the page is written; runs/compare-NAME without one.
        device: auto, cpu, cuda or cuda:N.
    """
    from dataclasses import replace

    from jacsup.baselines.compare import COMPARISONS, all_results, run_comparison
    from jacsup.data import load_dataset
    from jacsup.distributed import num_started

    if num_started() > 1:
        raise ValueError("compare runs in one process; start it on each device with some of the --methods or --seeds")
    if name not in COMPARISONS:
        raise ValueError(f"there is no '{name}' to compare; {suggestion(name, COMPARISONS)}")
    comparison = COMPARISONS[name]
    known = comparison.methods
    for method in methods:
        if method not in known:
            raise ValueError(f"there is no '{method}' to compare; {suggestion(method, known)}")
    for flag, given in (("--methods", methods), ("--codes", codes), ("--seeds", seeds)):
        if len({*given}) < len(given):
            raise ValueError(f"{flag} is {' '.join(map(str, given))}; give each once")
    if epochs is not None and epochs < 1:
        raise ValueError(f"--epochs is {epochs}; allowed are 1 and more")
    if comparison.recipe.supervised and (codes or epochs):
        raise ValueError(f"--codes and --epochs are for ordered codes; '{name}' has its own: leave them away")
    changes = {"codes": codes, "seeds": seeds, "epochs": epochs}
    comparison = replace(comparison, **{key: value for key, value in changes.items() if value})
    data = load_dataset(comparison.recipe.data, data_root)
    options = {"epochs": epochs, "data-root": data_root, "out": out, "device": None if device == "auto" else device}
    out = out or Path("runs") / f"compare-{name}"
    measured = run_comparison(comparison, data, out, methods or tuple(known), data_root=data_root, device=device)
    try:
        list(measured)
    finally:
        # Also of a comparison that was interrupted.
        _show(name, all_results(comparison, data, out), out, options)


def _show(name: str, results: list[dict[str, Any]], out: Path, options: dict[str, Any]) -> None:
    """Prints the table and writes the page, of a comparison that has results."""
    from jacsup.baselines.compare import COMPARISONS
    from jacsup.baselines.frontier import points, table_rows, write_comparison

    if not results:
        return
    known = COMPARISONS[name].methods
    header, rows = table_rows(points(results), known)
    print_table(tuple(header), [tuple(row) for row in rows])
    page = write_comparison(out, name, known, results, _call(name, results, options))
    print(f"the comparison is in {page}")


def _call(name: str, results: list[dict[str, Any]], options: dict[str, Any]) -> str:
    """The command whose results these are, be they of several calls."""
    from jacsup.baselines.compare import COMPARISONS

    comparison = COMPARISONS[name]
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
