"""The command that searches for loss weights."""

from __future__ import annotations

import importlib.util
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import tyro

from jacsup.cli import lazy
from jacsup.cli.options import Option, RecipeName
from jacsup.cli.table import print_table
from jacsup.jsonable import set_field
from jacsup.recipes import find
from jacsup.renamed import current_field


def tune(
    recipe: RecipeName,
    /,
    *,
    grid: tyro.conf.UseAppendAction[tuple[str, ...]] = (),
    epochs: int = 10,
    stages: Option[int] = None,
    floor: float = 0.5,
    trials: Option[int] = None,
    storage: Annotated[str, tyro.conf.arg(help_behavior_hint="")] = "",
    data_root: Option[Path] = None,
    out: Option[Path] = None,
    device: str = "auto",
) -> None:
    """Search for loss weights on held-out images. The same command, even on other machines, continues the search.

    Args:
        recipe: The name of a built-in recipe (see `jacsup list`), FILE.py:NAME, or the path of a recipe.json.
        grid: A field and values to try, such as stages.weights.jacobian=0.1,0.3,1; defaults to both weights of eq. 9.
        epochs: Epochs of each stage.
        stages: Train only this many of the recipe's stages; defaults to all.
        floor: The lowest swap score, or edit accuracy of attributes, that the best choice may have, from 0 to 1.
        trials: How many choices to try in this call; defaults to all that remain.
        storage: URL of a database that machines share, such as postgresql://...; defaults to a file in --out.
        data_root: The folder with the data set's files.
        out: The folder for runs and results; defaults to runs/tune-RECIPE.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
    """
    _require_sensible(floor, trials, stages, epochs)
    base = find(recipe)
    chosen = set_field(base, "stages.epochs", epochs)
    choices = dict(map(_field_and_values, grid))
    if len(choices) < len(grid):
        raise ValueError(f"--grid is {' '.join(grid)}; pass each field once")
    if stages is not None and stages > len(chosen.stages):
        raise ValueError(
            f"--stages is {stages}; must be between 1 and {len(chosen.stages)}, the number of stages of '{base.name}'"
        )
    if stages:
        chosen = replace(chosen, stages=chosen.stages[:stages])
    choices = choices or (lazy.SUPERVISED_GRID if chosen.supervised else lazy.GRID)
    data = lazy.hold_out(lazy.load_dataset(chosen.data, data_root))
    out = out or Path("runs") / f"tune-{base.name}"
    found = lazy.search(chosen, data, choices, out, floor=floor, storage=storage, num_trials=trials, device=device)
    rows = [(*(t.values.get(f) for f in choices), t.state, t.num_stages, t.mse, t.control) for t in found]
    print_table((*choices, "state", "stages", "MSE", "control"), rows)
    best = found[0] if found else None
    if best is None or best.mse is None or best.control is None:
        print("no choice of weights has a result yet: each has diverged or is still being trained elsewhere")
        return
    lazy.draw_trials(out / "frontier.png", found, floor)
    if best.control < floor:
        raise RuntimeError(
            f"no setting reaches a control score of {floor}; lower --floor, or try other values with --grid"
        )
    changes = [f"{field}={value:g}" for field, value in best.values.items()]
    where = ["--data-root", str(data_root)] if data_root else []
    print(f"best choice: {shlex.join(['jacsup', 'train', recipe, *where, '--set', *changes])}")
    print(f"all choices: {out / 'frontier.png'}")


def _require_sensible(floor: float, trials: int | None, stages: int | None, epochs: int) -> None:
    if not importlib.util.find_spec("optuna"):
        raise ValueError("tune needs the library optuna; run `pip install 'jacsup[tune]'`")
    if lazy.num_started() > 1:
        raise ValueError(
            "tune runs in a single process; to use several devices, start the same command once per device with the "
            "same --storage"
        )
    if not 0 <= floor <= 1:
        raise ValueError(f"--floor is {floor}; must be between 0 and 1")
    for flag, given in (("--trials", trials), ("--stages", stages), ("--epochs", epochs)):
        if given is not None and given < 1:
            raise ValueError(f"{flag} is {given}; must be at least 1")


def _field_and_values(text: str) -> tuple[str, list[int | float]]:
    field, equals, values = text.partition("=")
    try:
        numbers = [json.loads(value) for value in values.split(",")]
    except ValueError:
        numbers = []
    if not all(isinstance(number, int | float) for number in numbers):
        numbers = []
    if not equals or not numbers:
        raise ValueError(f"--grid is '{text}'; use FIELD=VALUE,VALUE,..., such as stages.weights.jacobian=0.1,0.3,1")
    return current_field(field), numbers
