"""Prepare the first step: the run folder, stages copied from other runs, and the initial model."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import jacsup
from jacsup import distributed as dist
from jacsup.atomic import write_atomically
from jacsup.config import Folder, Growth, Recipe, ResidualStudent, Stage
from jacsup.data.dataset import Dataset
from jacsup.data.draws import initial_seed
from jacsup.data.prepared import read_manifest
from jacsup.hooks import hook_of
from jacsup.jsonable import differences, set_field
from jacsup.models import Model, build, load, load_metadata
from jacsup.models.grow import grow
from jacsup.models.residual import ResidualAutoencoder, addition_sizes
from jacsup.run import Run
from jacsup.training.options import Options
from jacsup.training.state import Position, load_checkpoint, save_checkpoint

MOST_NAMED = 8


@dataclass(frozen=True)
class InitialStages:
    """Where a new run's first stages come from: the first `count` stages of another run.

    If `extended` is true, its next stage too, as far as it is trained there.
    """

    run: Run
    count: int
    extended: bool = False


def default_folder(recipe: Recipe, options: Options) -> Path:
    """Return the default run folder of a recipe.

    Args:
        recipe: What is trained.
        options: The options of this session.
    """
    folder = Path("runs") / recipe.run_name
    return Path(f"{Path(options.init or folder)}-plus-{options.extend}") if options.extend is not None else folder


@contextlib.contextmanager
def open_run(
    recipe: Recipe, path: Path, init: str | Path | None, data: Dataset, extend: int | None = None
) -> Iterator[tuple[Run, Recipe, InitialStages | None]]:
    """Create or reopen the run folder of a recipe and hold its lock.

    Args:
        recipe: What is trained.
        path: The run folder.
        init: RUN or RUN/STAGE to start from, if any.
        data: The data set.
        extend: Further epochs for the last stage of `init`.

    Yields:
        The run, the recipe with its `init` and further epochs filled in, and the stages that `init` names.

    Raises:
        ValueError: The folder contains something else or the run of another recipe, or is in use.
    """
    run, initial = Run(path), None
    resumed = (path / "recipe.json").exists()
    if extend is not None:
        recipe, initial = _extended(recipe, Run(Path(init or Path("runs") / recipe.run_name)), extend)
    elif init:
        initial = _initial_stages(init, recipe, data, run.recipe.init if resumed else "")
        recipe = replace(recipe, init=initial.run.stage_digest(initial.count - 1))
    elif recipe.init and not resumed:
        raise ValueError(
            f"recipe '{recipe.name}' starts from a stage of another run; pass that stage as --init RUN/STAGE"
        )
    _refuse_other_content(run, recipe)
    path.mkdir(parents=True, exist_ok=True)
    with run.lock() if dist.is_main() else contextlib.nullcontext():
        if dist.is_main():
            # Checked again, because another process may have created it in the meantime.
            _refuse_other_content(run, recipe)
            if not (path / "recipe.json").exists():
                run.write_recipe(recipe)
        dist.barrier()
        if not (path / "recipe.json").exists():
            raise ValueError(f"rank {dist.rank()} cannot find {path}; pass a folder that all machines share as --out")
        yield run, recipe, initial


def _refuse_other_content(run: Run, recipe: Recipe) -> None:
    if (run.path / "recipe.json").exists():
        changed = differences(run.recipe, recipe)
        if changed:
            raise ValueError(
                f"{run.path} contains a run of another recipe ({_shortened(changed)}); "
                f"pass the same settings to resume it, or another --out to start anew{_way_to_extend(run, recipe)}"
            )
    elif run.path.exists() and (not run.path.is_dir() or any(map(_is_foreign, run.path.iterdir()))):
        raise ValueError(f"{run.path} exists and is not a run; pass a new folder with --out")


def _way_to_extend(run: Run, recipe: Recipe) -> str:
    """The command that extends a finished run, if the recipes differ only in epochs."""
    theirs, more = run.recipe, 0
    if len(theirs.stages) == len(recipe.stages):
        more = recipe.stages[-1].epochs - theirs.stages[-1].epochs
    if more < 1 or any(".epochs: " not in change for change in differences(theirs, recipe)):
        return ""
    sessions = run.sessions()
    root = sessions[-1].get("data_root") if sessions else None
    words = ["jacsup", "train", str(run.path / "recipe.json"), "--init", str(run.path), "--extend", str(more)]
    words += ["--data-root", str(root)] if root else []
    return f"; once it is finished, `{shlex.join(words)}` trains its last stage for {more} more epochs"


def _extended(recipe: Recipe, run: Run, num_epochs: int) -> tuple[Recipe, InitialStages]:
    """The recipe with a longer last stage, and the stages of it that a finished run of the recipe contains."""
    last = len(recipe.stages) - 1
    if num_epochs < 1:
        raise ValueError(f"--extend is {num_epochs}; must be at least 1 epoch")
    changed = differences(replace(run.recipe, init=""), replace(recipe, init=""))
    if changed:
        raise ValueError(
            f"{run.path} contains a run of another recipe ({_shortened(changed)}); to extend it, pass "
            f"{run.path / 'recipe.json'} as the recipe"
        )
    if len(run.finished_stages(recipe)) <= last:
        raise ValueError(f"{run.path} is not finished, so --extend cannot continue it; run its own command to the end")
    checkpoint = load_checkpoint(run.checkpoint_file)
    if not checkpoint or checkpoint.position != Position(stage=last, epoch=recipe.stages[last].epochs):
        raise ValueError(
            f"{run.path} has no final checkpoint, so --extend cannot continue it; train a new run with "
            f"--set stages.{last}.epochs=..."
        )
    longer = set_field(recipe, f"stages.{last}.epochs", recipe.stages[last].epochs + num_epochs)
    return replace(longer, init=run.stage_digest(last)), InitialStages(run, last, extended=True)


def _shortened(changes: list[str]) -> str:
    more = f"; and {len(changes) - MOST_NAMED} more" if len(changes) > MOST_NAMED else ""
    return "; ".join(changes[:MOST_NAMED]) + more


def _is_foreign(entry: Path) -> bool:
    """Whether a file is neither left behind by a run that was killed at its start, nor being written by one now."""
    return entry.name not in (".lock", "recipe.json") and entry.suffix != ".tmp"


def describe_session(run: Run, data: Dataset, device: torch.device, options: Options) -> list[str]:
    """Record in run.json where and how this session runs.

    Args:
        run: The run.
        data: Its data set, whose notes are recorded too.
        device: The device of this session.
        options: The options of this session.

    Returns:
        The data set's notes, and one for each difference from the last session.
    """
    session: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": dist.size(),
        "deterministic": options.deterministic,
        "precision": options.precision,
        "compile": options.compile,
        "data_root": str(Path(options.data_root).resolve()) if options.data_root else None,
        "jacsup": jacsup.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "host_cpus": os.cpu_count(),
    }
    if isinstance(data.config, Folder) and options.data_root:
        session["prepared_by"] = read_manifest(Path(options.data_root)).command
    if data.notes:
        session["data_notes"] = list(data.notes)
    earlier = run.sessions()
    changes = []
    if earlier:
        last = {name: value for name, value in earlier[-1].items() if name != "started"}
        changes = [f"changed since the last session: {change}" for change in differences(last, session)]
    run.add_session({"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **session})
    return [f"note: {note}" for note in (*data.notes, *changes)]


def copy_stages(run: Run, recipe: Recipe, initial: InitialStages | None, most: int) -> list[str]:
    """Copy finished stages into a run that has not been trained yet.

    Args:
        run: The run.
        recipe: Its recipe.
        initial: The stages to copy; defaults to those of the neighbouring run that shares the most stages.
        most: Largest number of stages to copy.

    Returns:
        Notes about the stages that were copied, if any, and about damaged stages that were not.

    Raises:
        ValueError: A stage of `initial` is damaged.
    """
    notes: list[str] = []
    if initial:
        for number in range(min(initial.count, most)):
            load(initial.run.stage_file(number))
    else:
        initial = _best_sibling(run, recipe, notes)
    count = min(initial.count, most) if initial else 0
    if initial is None or len(run.finished_stages(recipe)) >= count + initial.extended:
        return notes
    lines = [line for line in initial.run.stats() if line["stage"] < count or initial.extended]
    write_atomically(run.stats_file, "".join(json.dumps(line) + "\n" for line in lines).encode())
    for number in range(count):
        write_atomically(run.stage_file(number, recipe), initial.run.stage_file(number).read_bytes())
    if initial.extended:
        checkpoint = load_checkpoint(initial.run.checkpoint_file)
        assert checkpoint
        # Saved last, because nothing is copied into a run with a checkpoint.
        save_checkpoint(run.checkpoint_file, checkpoint)
        return [*notes, f"continues stage {recipe.stages[count].name} of {initial.run.path}"]
    names = ", ".join(stage.name for stage in recipe.stages[:count])
    return [*notes, f"copied from {initial.run.path}: {names}"]


def _best_sibling(run: Run, recipe: Recipe, notes: list[str]) -> InitialStages | None:
    """The run that shares the most intact stages; damaged ones are added to the notes.

    Runs of an identical recipe are ignored, because training it again serves to check or time it.
    """
    best = None
    for sibling, theirs in run.neighbours():
        count = 0 if theirs == recipe else len(sibling.finished_stages(theirs))
        while count and theirs.prefix(count) != recipe.prefix(count):
            count -= 1
        most = best.count if best else 0
        for number in range(count if count > most else 0):
            try:
                load(sibling.stage_file(number, theirs))
            except ValueError as error:
                notes.append(f"note: not copied because it is damaged: {error}")
                count = number
                break
        if count > most:
            best = InitialStages(sibling, count)
    return best


def _initial_stages(init: str | Path, recipe: Recipe, data: Dataset, recorded: str) -> InitialStages:
    """The stages that RUN or RUN/STAGE means. `recorded` is the digest that a resumed run began with: RUN may go on."""
    path = Path(init)
    run = Run(path if (path / "recipe.json").exists() else path.parent)
    if run.path.name == "stages":
        run = Run(run.path.parent)
    if not (run.path / "recipe.json").exists():
        raise ValueError(f"--init {init} is neither a run nor a stage of one; pass RUN or RUN/STAGE")
    theirs = run.recipe
    finished = {theirs.stages[number].name: number for number in run.finished_stages(theirs)}
    if not finished:
        raise ValueError(f"{run.path} has no finished stage to start from; finish its first stage, or pass another run")
    folders = {name: run.stage_file(number).parent.name for name, number in finished.items()}
    names = [name for name in finished if run.path == path or path.name in (name, folders[name])]
    if not names:
        raise ValueError(f"{run.path} has no finished stage '{path.name}'; it must be one of {', '.join(finished)}")
    sources = [InitialStages(run, finished[name] + 1) for name in names]
    source = next((known for known in sources if run.stage_digest(known.count - 1) == recorded), sources[-1])
    metadata = load_metadata(run.stage_file(source.count - 1))
    same = {
        "model": (theirs.model, recipe.model),
        "codes": tuple(
            [(stage.num_units, stage.z_channels) for stage in each.stages[: source.count]] for each in (theirs, recipe)
        ),
        "image shape": (tuple(metadata["image_shape"]), data.image_shape),
    }
    if recipe.supervised:
        names = [factor["name"] for factor in metadata["factors"]]
        same["attributes"] = names, [attribute.name for attribute in data.attributes]
    different = [name for name, (old, new) in same.items() if old != new]
    if different:
        raise ValueError(
            f"--init {init}: recipe '{recipe.name}' and its data differ from the run's first {source.count} stages in "
            f"{' and '.join(different)}; these must be equal"
        )
    if source.count >= len(recipe.stages):
        raise ValueError(
            f"--init {init} has all {source.count} stages of recipe '{recipe.name}', so nothing is left to train; "
            "pass RUN/STAGE of an earlier stage, or --extend N for more epochs of the last stage"
        )
    return source


def starting_model(run: Run, recipe: Recipe, number: int, data: Dataset) -> Model:
    """Return a stage's model before its first step: a new one, or the stage before it, grown."""
    stage = recipe.stages[number]
    num_units = len(data.attributes) if recipe.supervised else stage.num_units
    # Loading draws random numbers too, so it comes before seeding.
    before = load(run.stage_file(number - 1, recipe)) if number else None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(initial_seed(recipe.seed, number))
        if before and stage.objective == "residual":
            model = _residual_student(before, num_units, stage)
        elif before:
            model = grow(before, num_units, stage.z_channels, stage.growth)
        else:
            sizes = num_units, stage.z_channels
            model = build(recipe.model, data.image_shape, *sizes, normalized=not recipe.supervised)
        if hook := hook_of(stage.objective):
            hook.prepare(model, recipe, stage, len(data.train))
    return model


def _residual_student(teacher: Model, num_units: int, stage: Stage) -> Model:
    asked = stage.residual
    sizes = addition_sizes(asked, (num_units, stage.z_channels), (teacher.num_units, teacher.z_channels))
    addition = build(asked.model, teacher.image_shape, *sizes, normalized=False)
    if asked.grown:
        addition.decoder.load_state_dict(grow(teacher, *sizes, Growth()).decoder.state_dict())
    config = ResidualStudent(
        value_range=teacher.value_range,
        teacher=teacher.config,
        teacher_units=teacher.num_units,
        teacher_z_channels=teacher.z_channels,
        teacher_normalized=teacher.normalized,
        addition=addition.config,
        reads=asked.reads,
        sees_y=asked.sees_y,
        moments=asked.moments,
        grown=asked.grown,
    )
    return ResidualAutoencoder(config, teacher, addition)
