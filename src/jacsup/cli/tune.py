"""The command line's search over loss weights."""

from __future__ import annotations

import importlib.util
import json
import shlex
from dataclasses import replace
from pathlib import Path

import tyro

from jacsup.cli.table import print_table
from jacsup.jsonable import set_field
from jacsup.recipes import find

Positional = tyro.conf.Positional


def tune(
    recipe: Positional[str],
    /,
    *,
    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    epochs: int = 10,
    stages: int | None = None,
    floor: float = 0.5,
    trials: int | None = None,
    storage: str = "",
    data_root: Path | None = None,
    out: Path | None = None,
    device: str = "auto",
) -> None:
    """Search loss weights on images held out of training; the same command goes on, on many machines if you like.

    Args:
        recipe: A built-in name (see `jacsup list`), file.py:name, or the path of a recipe.json.
        grid: A recipe field and numbers for it, such as stages.weights.jacobian=0.1,0.3,1; once for each. A weight
            of all stages changes those that have it. Without any, the two weights of eq. 9.
        epochs: Epochs of each stage.
        stages: Train that many of the recipe's stages.
        floor: The lowest swap score (edit accuracy of attributes) that will do; among those that reach it, the lowest
            MSE is best.
        trials: How many choices to try now; all that are left without it.
        storage: URL of a database, such as postgresql://..., that many machines share; without one a file in --out.
        data_root: Folder with the data set's files.
        out: Where runs and results are kept; runs/tune-RECIPE without one.
        device: auto, cpu, cuda or cuda:N.
    """
    _require_sensible(floor, trials, stages, epochs)
    base = find(recipe)
    chosen = set_field(base, "stages.epochs", epochs)
    choices = dict(map(_field_and_values, grid))
    if len(choices) < len(grid):
        raise ValueError(f"--grid is {' '.join(grid)}; give each field once")

    from jacsup.data import load_dataset
    from jacsup.tuning import GRID, SUPERVISED_GRID, draw_trials, hold_out, search

    if stages is not None and stages > len(chosen.stages):
        raise ValueError(f"--stages is {stages}; allowed are 1 to {len(chosen.stages)}, the stages of '{base.name}'")
    if stages:
        chosen = replace(chosen, stages=chosen.stages[:stages])
    choices = choices or (SUPERVISED_GRID if chosen.supervised else GRID)
    data = hold_out(load_dataset(chosen.data, data_root))
    out = out or Path("runs") / f"tune-{base.name}"
    found = search(chosen, data, choices, out, floor=floor, storage=storage, num_trials=trials, device=device)
    rows = [(*(t.values.get(f) for f in choices), t.state, t.num_stages, t.mse, t.control) for t in found]
    print_table((*choices, "state", "stages", "MSE", "control"), rows)
    best = found[0] if found else None
    if best is None or best.mse is None or best.control is None:
        print("no choice has a result: all of them diverged, or are trained elsewhere")
        return
    draw_trials(out / "frontier.png", found, floor)
    if best.control < floor:
        raise RuntimeError(f"no choice reaches a control of {floor}; lower --floor, or search elsewhere with --grid")
    changes = [f"{field}={value:g}" for field, value in best.values.items()]
    where = ["--data-root", str(data_root)] if data_root else []
    print(f"the best: {shlex.join(['jacsup', 'train', recipe, *where, '--set', *changes])}")
    print(f"all of them: {out / 'frontier.png'}")


def _require_sensible(floor: float, trials: int | None, stages: int | None, epochs: int) -> None:
    from jacsup.distributed import num_started

    if not importlib.util.find_spec("optuna"):
        raise ValueError("tune needs the library optuna; run `pip install 'jacsup[tune]'`")
    if num_started() > 1:
        raise ValueError("tune runs in one process; start the same command on each device instead, with one --storage")
    if not 0 <= floor <= 1:
        raise ValueError(f"--floor is {floor}; allowed are 0 to 1")
    for flag, given in (("--trials", trials), ("--stages", stages), ("--epochs", epochs)):
        if given is not None and given < 1:
            raise ValueError(f"{flag} is {given}; allowed are 1 and more")


def _field_and_values(text: str) -> tuple[str, list[int | float]]:
    field, equals, values = text.partition("=")
    try:
        numbers = [json.loads(value) for value in values.split(",")]
    except ValueError:
        numbers = []
    if not all(isinstance(number, int | float) for number in numbers):
        numbers = []
    if not equals or not numbers:
        raise ValueError(
            f"--grid is '{text}'; allowed is FIELD=VALUE,VALUE,..., such as stages.weights.jacobian=0.1,0.3,1"
        )
    return field, numbers
