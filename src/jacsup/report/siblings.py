"""The arms in the folder beside a run, and the commands that train the missing ones."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from jacsup.config import Arrays, CelebA, Recipe
from jacsup.hooks import BASELINES
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES, arms_of, with_arm
from jacsup.run import Run


def arm_label(arm: str) -> str:
    """Name of an arm in legends and tables."""
    return arm or "Jacobian supervision"


def stage_letter(number: int) -> str:
    """Letter of a stage in section 4: A, B, C, D."""
    return chr(ord("A") + number)


def purpose(recipe: Recipe) -> str:
    """What a run of this recipe's arm trains."""
    return arms_of(recipe).get(recipe.arm, "each student's decoder keeps its teacher's Jacobian")


def progress(run: Run) -> str:
    """Progress of a run, such as "7 of 15 stages"."""
    return f"{len(run.finished_stages())} of {len(run.recipe.stages)} stages"


def last_lines(run: Run) -> list[dict[str, Any]]:
    """The last line of stats.jsonl of each finished stage."""
    last = {line["stage"]: line for line in run.stats()}
    return [last[number] for number in run.finished_stages() if number in last]


def find_siblings(run: Run) -> dict[str, Run]:
    """Find the runs in the same folder that differ from a run only in their arm.

    They share the recipe's name, data, model, seed and teachers.

    Args:
        run: The run.

    Returns:
        Runs by arm; of several with the same arm, the one that has trained furthest.
    """
    ours = run.recipe
    found: dict[str, Run] = {}
    for sibling, theirs in run.neighbours():
        shared = _num_teachers(ours, theirs)
        same_start = replace(theirs, init=ours.init).prefix(shared) == ours.prefix(shared) and theirs.name == ours.name
        if same_start and theirs.arm != ours.arm and theirs.arm in ("", *arms_of(ours)):
            found[theirs.arm] = max(found.get(theirs.arm, sibling), sibling, key=lambda each: len(each.stats()))
    return found


def _num_teachers(ours: Recipe, theirs: Recipe) -> int:
    """The number of stages that two arms share: those before the first student, which only a run without an arm has.

    The arms in hooks.BASELINES share none.
    """
    if not BASELINES.keys().isdisjoint((ours.arm, theirs.arm)):
        return 0
    are_students = [stage.is_student for recipe in (ours, theirs) if not recipe.arm for stage in recipe.stages]
    return are_students.index(True) if True in are_students else 1


def missing_arms(run: Run, siblings: dict[str, Run]) -> dict[str, str]:
    """Return the commands that train the missing arms beside a run, by arm."""
    ours = run.recipe
    if len(ours.stages) < 2:
        return {}
    missing = [arm for arm in ("", *arms_of(ours)) if arm != ours.arm and arm not in siblings]
    commands = {arm: _train_command(run, siblings, arm) for arm in missing}
    return {arm: command for arm, command in commands.items() if command}


def shown(path: Path) -> str:
    """A path as the user would type it: relative to the working folder if it is inside."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _train_command(run: Run, siblings: dict[str, Run], arm: str) -> str:
    recipe = run.recipe
    default_name = replace(recipe, arm=arm).run_name
    name = default_name if run.path.name == recipe.run_name else f"{run.path.name}-{arm or 'jacobian'}"
    out = run.path.parent / name
    if isinstance(recipe.data, Arrays):
        chosen = f"jacsup.recipes.with_arm(recipe, {arm!r})" if arm else "recipe"
        return f"jacsup.train({chosen}, data, out={shown(out)!r})"
    arguments = _recipe_arguments(run, siblings)
    if not arguments:
        return ""
    arguments += ["--arm", arm] if arm else []
    sessions = run.sessions()
    if sessions and sessions[-1].get("data_root"):
        arguments += ["--data-root", sessions[-1]["data_root"]]
    if recipe.init:
        taken = next(number for number in run.finished_stages() if run.stage_digest(number) == recipe.init)
        arguments += ["--init", shown(run.path / recipe.stages[taken].name)]
    if out != Path("runs", default_name).resolve():
        arguments += ["--out", shown(out)]
    return shlex.join(["jacsup", "train", *arguments])


def _recipe_arguments(run: Run, siblings: dict[str, Run]) -> list[str]:
    """The run's recipe without its arm, as arguments of `jacsup train`; empty if no file contains it."""
    ours = run.recipe
    if ours.name in RECIPES and ours.arm in ("", *arms_of(ours)):
        builtin = replace(RECIPES[ours.name], seed=ours.seed, init=ours.init)
        if isinstance(ours.data, CelebA) and isinstance(builtin.data, CelebA):
            builtin = set_field(builtin, "data.sha256", ours.data.sha256)
        epochs = ours.stages[0].epochs
        for extra, recipe in (([], builtin), (["--epochs", str(epochs)], set_field(builtin, "stages.epochs", epochs))):
            if (with_arm(recipe, ours.arm) if ours.arm else recipe) == ours:
                return [ours.name, *extra, *(["--seed", str(ours.seed)] if ours.seed else [])]
    base = siblings.get("") if ours.arm else run
    return [shown(base.path / "recipe.json")] if base else []
