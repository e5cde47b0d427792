"""What happens before the first step: the device, the run folder, and stages taken over from other runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

import jacsup
from jacsup.config import Recipe, differences
from jacsup.run import Run, write_atomically


def pick_device(name: str) -> torch.device:
    """ "auto" is the first GPU if there is one. ValueError for a device that torch does not know or see here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device is '{name}'; allowed are auto, cpu, cuda and cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is '{name}'; allowed are auto, cpu, cuda and cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is '{name}', but torch sees {torch.cuda.device_count()} GPUs here; use cpu or auto")
    return device


@contextlib.contextmanager
def open_run(recipe: Recipe, path: Path, init: str | Path | None) -> Iterator[tuple[Run, Recipe]]:
    """The locked run folder of a recipe, new or resumed, and the recipe with its `init` filled in.

    ValueError if the folder holds something else, another recipe's run, or is in use.
    """
    run = Run(path)
    if init:
        recipe = replace(recipe, init=_digest(_init_source(init, recipe)[0]))
    if (path / "recipe.json").exists():
        changed = differences(run.recipe, recipe)
        if changed:
            raise ValueError(
                f"{path} holds a run of another recipe ({'; '.join(changed)}); "
                "pass another folder with --out, or the same settings to resume it"
            )
    elif path.exists() and (not path.is_dir() or any(entry.name != ".lock" for entry in path.iterdir())):
        raise ValueError(f"{path} exists and is not a run; pass a new folder with --out")
    path.mkdir(parents=True, exist_ok=True)
    with run.lock():
        if not (path / "recipe.json").exists():
            run.write_recipe(recipe)
        yield run, recipe


def describe_session(run: Run, device: torch.device, data_root: str | Path | None, deterministic: bool) -> list[str]:
    """Adds where and how this session runs to run.json; returns a note for each difference from the last one."""
    session = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "deterministic": deterministic,
        "data_root": str(Path(data_root).resolve()) if data_root else None,
        "jacsup": jacsup.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "host_cpus": os.cpu_count(),
    }
    earlier = run.sessions()
    notes = []
    if earlier:
        last = {name: value for name, value in earlier[-1].items() if name != "started"}
        notes = [f"note: since the last session, {change}" for change in differences(last, session)]
    run.add_session({"started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **session})
    return notes


def take_over(run: Run, recipe: Recipe, init: str | Path | None) -> list[str]:
    """Copies finished stages into a run that has none of its own work yet; returns notes.

    From `init` if given; else from the run beside it that agrees with the recipe over the most stages.
    """
    own = len(run.finished_stages(recipe))
    if init:
        model, source, count = _init_source(init, recipe)
    else:
        source, count = _best_sibling(run, recipe)
        model = source.path
    if count <= own:
        return []
    lines = [line for line in source.stats() if line["stage"] < count]
    write_atomically(run.stats_file, "".join(json.dumps(line) + "\n" for line in lines).encode())
    for number in range(count):
        content = source.stage_file(number).read_bytes()
        write_atomically(run.stage_file(number, recipe), content)
    names = ", ".join(stage.name for stage in recipe.stages[:count])
    return [f"taken over from {model}: {names}"]


def _best_sibling(run: Run, recipe: Recipe) -> tuple[Run, int]:
    best, best_count = run, 0
    for path in sorted(run.path.parent.glob("*/recipe.json")):
        sibling = Run(path.parent)
        try:
            theirs = sibling.recipe
        except ValueError:
            continue
        count = len(sibling.finished_stages(theirs))
        while count > best_count and theirs.prefix(count) != recipe.prefix(count):
            count -= 1
        if count > best_count:
            best, best_count = sibling, count
    return best, best_count


def _init_source(init: str | Path, recipe: Recipe) -> tuple[Path, Run, int]:
    """The model file behind RUN or RUN/STAGE, its run, and how many stages of `recipe` it stands for."""
    path = Path(init)
    run = Run(path if (path / "recipe.json").exists() else path.parent)
    if run.path.name == "stages":
        run = Run(run.path.parent)
    if not (run.path / "recipe.json").exists():
        raise ValueError(f"--init {init} is neither a run nor a stage of one; give RUN or RUN/STAGE")
    theirs = run.recipe
    finished = {theirs.stages[number].name: number for number in run.finished_stages(theirs)}
    if not finished:
        raise ValueError(f"{run.path} has no finished stage to start from")
    name = list(finished)[-1] if run.path == path else path.name
    name = name if name in finished else name.partition("-")[2]
    if name not in finished:
        raise ValueError(f"{run.path} has no finished stage '{path.name}'; allowed are {', '.join(finished)}")
    count = finished[name] + 1
    ours = [stage.num_units for stage in recipe.stages[:count]]
    if ours != [stage.num_units for stage in theirs.stages[:count]] or theirs.model != recipe.model:
        raise ValueError(
            f"--init {init}: its first {count} stages do not fit recipe '{recipe.name}'; "
            "model and num_units of these stages must agree"
        )
    return run.stage_file(finished[name], theirs), run, count


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
