"""A run can be stopped anywhere, in any way, and ends with the same bits."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crashes import Stop, stop_after
from golden_curves import TIMES, follows_golden_curve
from safetensors.torch import save_file

import jacsup
from jacsup import atomic
from jacsup.cli import main as cli
from jacsup.code import to_float
from jacsup.config import Diffusion, Recipe, read_recipe
from jacsup.data import load_dataset
from jacsup.data.attributes import Attribute
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES, with_arm
from jacsup.run import Run
from jacsup.training import batches, loop, state, step
from jacsup.training.step import train_step
from jacsup.training.teacher import TeacherOutputs

DEBUG = RECIPES["debug"]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def stats(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in Run(folder).stats()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jacsup.train(DEBUG, out=tmp_path_factory.mktemp("finished") / "run")


def test_a_run_leaves_the_files_that_the_design_names(finished: Path) -> None:
    names = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    assert names == {
        ".lock",
        "recipe.json",
        "run.json",
        "stats.jsonl",
        "checkpoint.safetensors",
        "checkpoint.safetensors.prev",
        "model.safetensors",
        *(f"stages/0{i}-units-{i + 2}/model.safetensors" for i in range(3)),
    }
    assert Run(finished).recipe == DEBUG
    assert [(line["stage"], line["epoch"]) for line in stats(finished)] == [(s, e) for s in range(3) for e in range(3)]


def test_losses_follow_the_golden_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follows_golden_curve(DEBUG, load_dataset(DEBUG.data), "debug", tmp_path / "run", monkeypatch)


def test_training_again_changes_nothing(finished: Path) -> None:
    before = weights(finished), stats(finished)
    jacsup.train(DEBUG, out=finished)
    assert (weights(finished), stats(finished)) == before


def test_images_from_python_train_and_load(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    recipe = set_field(DEBUG, "stages.batch_size", 16)
    out = jacsup.train(recipe, jacsup.Dataset.from_arrays(images), tmp_path / "mine")
    model = jacsup.load(out)
    assert model.encode(torch.rand(2, 1, 6, 6)).y.shape == (2, 4)
    assert "test_swap" not in Run(out).stats()[0]
    with pytest.raises(ValueError, match=r"another recipe \(data.sha256: .* -> "):
        jacsup.train(recipe, jacsup.Dataset.from_arrays(255 - images), out)


@pytest.mark.parametrize("name", list(RECIPES))
def test_each_recipe_builds_and_steps_at_batch_2(name: str, tmp_path: Path) -> None:
    recipe = RECIPES[name]
    size = getattr(recipe.data, "size", 0)
    shape = {"SVHN": (3, 32, 32), "Sprites": (1, 64, 64), "MNIST": (1, 28, 28), "Digits": (1, 8, 8)}.get(
        type(recipe.data).__name__, (3, size, size)
    )
    images = np.random.default_rng(0).integers(0, 256, (12, *shape), dtype=np.uint8)
    recipe = set_field(set_field(recipe, "stages.batch_size", 2), "stages.epochs", 1)
    data = jacsup.Dataset.from_arrays(images[:2], test_images=images[2:])
    if recipe.supervised:
        # The paper's widths are for a GPU.
        recipe = set_field(recipe, "model.channels", [min(width, 32) for width in recipe.model.channels])
        recipe = set_field(recipe, "stages.z_channels", 3 if isinstance(recipe.model, Diffusion) else 8)
        labels = torch.tensor([[-1.0, 1.0, 0.5], [1.0, -1.0, math.nan]] * 6)
        train, test = (replace(split, attributes=labels[: len(split)]) for split in (data.train, data.test))
        attributes = (
            Attribute(name="Hat"),
            Attribute(name="Tie", mutually_exclusive=("Hat",)),
            Attribute(name="Age", std=2.0),
        )
        data = replace(data, train=train, test=test, attributes=attributes)
    out = jacsup.train(recipe, data, tmp_path / "run")
    assert len(Run(out).finished_stages()) == len(recipe.stages)
    assert jacsup.load(out).num_units == (3 if recipe.supervised else recipe.stages[-1].num_units)


@pytest.mark.parametrize("steps_before_crash", [1, 20, 33, 34, 50, 98])
def test_a_crash_at_any_step_is_resumed_bit_exactly(
    steps_before_crash: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(steps_before_crash, DEBUG, tmp_path / "run", monkeypatch)
    jacsup.train(DEBUG, out=tmp_path / "run")
    assert weights(tmp_path / "run") == weights(finished)
    assert stats(tmp_path / "run") == stats(finished)


def start(out: Path, *, threads: int) -> subprocess.Popen[bytes]:
    """The debug recipe with longer stages in a process of its own, checkpointing all the time."""
    program = (
        "import sys, torch, jacsup; from pathlib import Path; from jacsup.jsonable import set_field\n"
        "from jacsup.training import loop; loop.SECONDS_BETWEEN_CHECKPOINTS = 0.05\n"
        f"torch.set_num_threads({threads})\n"
        "recipe = set_field(jacsup.recipe('debug'), 'stages.epochs', 6)\n"
        f"jacsup.train(recipe, out={str(out)!r})"
    )
    # Threads that wait spin otherwise, and hold up others where no core is free: ten times as long.
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("threads", [1, 2])
def test_kill_9_and_resume_ends_with_the_same_bits(threads: int, tmp_path: Path) -> None:
    assert start(tmp_path / "a" / "run", threads=threads).wait(120) == 0
    killed = tmp_path / "b" / "run"
    for checkpoints in (1, 3):
        process = start(killed, threads=threads)
        seen: set[float] = set()
        while process.poll() is None and len(seen) < checkpoints:
            # While one checkpoint replaces another, its name is missing for an instant.
            with contextlib.suppress(FileNotFoundError):
                seen.add((killed / "checkpoint.safetensors").stat().st_mtime)
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(killed, threads=threads).wait(120) == 0
    assert weights(killed) == weights(tmp_path / "a" / "run")
    assert stats(killed) == stats(tmp_path / "a" / "run")


def test_ctrl_c_saves_the_last_step(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.train_step
    calls = []

    def interrupted_step(*arguments: object) -> torch.Tensor:
        calls.append(0)
        if len(calls) == 17:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(loop, "train_step", interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        jacsup.train(DEBUG, out=tmp_path / "run")
    assert len(calls) == 17
    jacsup.train(DEBUG, out=tmp_path / "run")
    assert len(calls) == 99, "no step is done twice"
    assert weights(tmp_path / "run") == weights(finished)


def test_training_in_a_thread_works_without_signals(tmp_path: Path, finished: Path) -> None:
    thread = threading.Thread(target=lambda: jacsup.train(DEBUG, out=tmp_path / "run"))
    thread.start()
    thread.join()
    assert weights(tmp_path / "run") == weights(finished)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stop_after(60, DEBUG, run, monkeypatch)
    content = bytearray((run / "checkpoint.safetensors").read_bytes())
    content[-5] ^= 1
    (run / "checkpoint.safetensors").write_bytes(content)
    jacsup.train(DEBUG, out=run)
    assert weights(run) == weights(finished)
    assert stats(run) == stats(finished)


def test_a_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stop_after(45, DEBUG, run, monkeypatch)
    before = (run / "checkpoint.safetensors").read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1)
        original = state.save_checkpoint

        def save_on_full_disk(*arguments: object) -> None:
            patch.setattr(atomic.os, "fsync", full)
            original(*arguments)  # pyright: ignore[reportArgumentType]

        patch.setattr(state, "save_checkpoint", save_on_full_disk)
        with pytest.raises(OSError, match="No space left"):
            jacsup.train(DEBUG, out=run)
    assert (run / "checkpoint.safetensors").read_bytes() == before
    assert not list(run.rglob("*.tmp"))
    jacsup.train(DEBUG, out=run)
    assert weights(run) == weights(finished)


def test_training_goes_on_while_a_checkpoint_is_written(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, write, given, events = state.Saver.save, state.save_checkpoint, list[state.Checkpoint](), list[str]()

    def save(self: state.Saver, checkpoint: state.Checkpoint) -> None:
        given.append(deepcopy(checkpoint))
        start(self, checkpoint)

    def slowly(path: Path, checkpoint: state.Checkpoint) -> None:
        time.sleep(0.05)
        expected = given[events.count("written")]
        assert all(value.equal(expected.tensors[name]) for name, value in checkpoint.tensors.items())
        write(path, checkpoint)
        events.append("written")

    def step(*arguments: object) -> torch.Tensor:
        events.append("step")
        return train_step(*arguments)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(state.Saver, "save", save)
        patch.setattr(state, "save_checkpoint", slowly)
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.002)
        patch.setattr(loop, "train_step", step)
        jacsup.train(DEBUG, out=tmp_path / "run", num_stages=1)
        assert "step written step" in " ".join(events)
    for name in ("checkpoint.safetensors", "checkpoint.safetensors.prev"):
        other = tmp_path / name
        shutil.copytree(tmp_path / "run", other)
        (other / name).replace(other / "checkpoint.safetensors")
        shutil.rmtree(other / "stages")
        jacsup.train(DEBUG, out=other)
        assert weights(other) == weights(finished) and stats(other) == stats(finished)


@pytest.mark.parametrize("term", ["rec", "jacobian"])
def test_a_loss_that_is_not_finite_stops_at_the_last_good_checkpoint(
    term: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop.train_step
    calls = []

    def poisoned(*arguments: object) -> torch.Tensor:
        values = original(*arguments)  # pyright: ignore[reportArgumentType]
        calls.append(0)
        if len(calls) == 40:
            values[["rec", "y", "jacobian", "xcov"].index(term)] = float("nan")
        return values

    monkeypatch.setattr(loop, "train_step", poisoned)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    with pytest.raises(loop.DivergedError, match=rf"the loss '{term}' is nan in stage 2 \(units-3\), epoch 1, step 7"):
        jacsup.train(DEBUG, out=tmp_path / "run")
    tensors = loop.load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert tensors is not None
    assert (tensors.position.stage, tensors.position.step) == (1, 6)
    assert all(value.isfinite().all() for value in tensors.tensors.values())


def spoil(where: torch.Tensor) -> None:
    with torch.no_grad():
        where.view(-1)[0] = float("nan")


@pytest.mark.parametrize("number", [1, -1])
def test_a_gradient_that_is_not_finite_stops_at_the_next_status_line_and_is_named(
    number: int, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = step.set_gradients, []

    def poisoned(weights: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
        calls.append(0)
        if len(calls) == 40:
            spoil(gradients[number])
        original(weights, gradients)

    with monkeypatch.context() as patch:
        patch.setattr(step, "set_gradients", poisoned)
        patch.setattr(loop, "SECONDS_BETWEEN_STATUS", -1)
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1)
        name = [name for name, _ in jacsup.load(finished).named_parameters()][number]
        with pytest.raises(loop.DivergedError, match=rf"gradient of '{name}' is not finite.* in stage 2 .*, step 7;"):
            jacsup.train(DEBUG, out=tmp_path / "run")
    assert len(calls) == 40
    jacsup.train(DEBUG, out=tmp_path / "run")
    assert weights(tmp_path / "run") == weights(finished)


def test_a_gradient_that_spoils_all_later_steps_is_still_the_one_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = step.set_gradients, []

    def poisoned(weights: list[torch.Tensor], gradients: list[torch.Tensor]) -> None:
        calls.append(0)
        if len(calls) == 3:
            spoil(gradients[1])
        original(weights, gradients)

    monkeypatch.setattr(step, "set_gradients", poisoned)
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_STATUS", 1000)
    with pytest.raises(loop.DivergedError, match=r"gradient of 'encoder\.\S+' .* in stage 1 .*, epoch 1, step 3;"):
        jacsup.train(DEBUG, out=tmp_path / "run")
    assert len(calls) == 11


def test_images_that_are_not_finite_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = batches.to_float

    def poisoned(pixels: torch.Tensor, value_range: tuple[float, float]) -> torch.Tensor:
        x = original(pixels, value_range)
        # One image is damaged, whichever batch it is in.
        x[(pixels == damaged).flatten(1).all(dim=1)] = float("nan")
        return x

    damaged = load_dataset(DEBUG.data).train.images[5]
    monkeypatch.setattr(batches, "to_float", poisoned)
    with pytest.raises(loop.DivergedError, match=r"the images are not finite in stage 1 .*; .* with corrected data"):
        jacsup.train(DEBUG, out=tmp_path / "run")


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    with pytest.raises(loop.DivergedError, match=r"the loss 'rec' is (nan|inf)|the gradient of '\S+' is not finite"):
        jacsup.train(set_field(DEBUG, "stages.adam.lr", 1e30), out=tmp_path / "run")
    checkpoint = loop.load_checkpoint(tmp_path / "run" / "checkpoint.safetensors")
    assert checkpoint is None or all(value.isfinite().all() for value in checkpoint.tensors.values())


def train_with_scores(scores: list[dict[str, float]], out: Path, patch: pytest.MonkeyPatch) -> None:
    """Two stages of as many epochs as there are scores, which both get."""
    told = iter(2 * scores)
    patch.setattr(loop, "test_scores", lambda *_arguments: next(told))
    jacsup.train(set_field(DEBUG, "stages.epochs", len(scores)), out=out, num_stages=2)


@pytest.mark.parametrize(
    ("errors", "warned_in"), [([0.2, 0.3, 0.4], 2), ([0.05, math.nan], 2), ([0.4, 0.3, 0.2], None), ([0.05, 0.1], None)]
)
def test_a_loss_that_explodes_is_told_once_during_training_and_at_the_end(
    errors: list[float],
    warned_in: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_with_scores([{"test_mse": error, "test_swap": 1.0} for error in errors], tmp_path / "run", monkeypatch)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    during = [line for line in warnings if "training diverges" in line]
    assert len(during) == (warned_in is not None)
    if warned_in:
        assert f"stage 1 (units-2), epoch {warned_in}: training diverges" in during[0] and "adam.lr" in during[0]
    assert sum("no better than the mean image" in line for line in warnings) == 2


@pytest.mark.parametrize(
    ("swaps", "errors", "warned_in"),
    [
        ([0.5, *[0.1] * 6], [0.06 - 0.001 * epoch for epoch in range(7)], 6),
        ([0.1] * 4 + [0.2] * 3, [0.06 - 0.001 * epoch for epoch in range(7)], None),
        ([0.0] * 7, [0.05] * 7, None),
        ([0.0] * 7, [0.3 - 0.01 * epoch for epoch in range(7)], None),
        ([0.0] * 4, [0.06 - 0.001 * epoch for epoch in range(4)], None),
        ([0.1] * 7 + [0.5] * 13, [0.06 - 0.001 * epoch for epoch in range(20)], None),
        ([0.1] * 20, [0.06 - 0.001 * epoch for epoch in range(20)], 8),
    ],
    ids=["chance", "control comes", "error stays", "all look alike", "too early", "a slow start", "none to the end"],
)
@pytest.mark.parametrize("name", ["test_swap", "test_edit"])
def test_factors_without_effect_are_told_once(
    name: str,
    swaps: list[float],
    errors: list[float],
    warned_in: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if name == "test_edit":
        swaps = [value / 2 for value in swaps]
    scores = [{"test_mse": error, name: swap} for error, swap in zip(errors, swaps, strict=True)]
    train_with_scores(scores, tmp_path / "run", monkeypatch)
    told = [line for line in capsys.readouterr().out.splitlines() if "the factors have no effect" in line]
    # The first stage learns its units by reconstruction alone.
    assert [line.startswith(f"warning: stage 2 (units-3), epoch {warned_in}: ") for line in told] == [True] * bool(
        warned_in
    )
    assert all(f"{name} has been at most" in line for line in told)


def test_an_arm_starts_from_the_same_first_teacher(finished: Path) -> None:
    folders = {arm: jacsup.train(with_arm(DEBUG, arm), out=finished.parent / arm) for arm in ("plain", "plain-jump")}
    first = finished / "stages" / "00-units-2" / "model.safetensors"
    for folder in folders.values():
        assert (folder / "stages" / "00-units-2" / "model.safetensors").read_bytes() == first.read_bytes()
        assert stats(folder)[:3] == stats(finished)[:3]
        assert weights(folder) != weights(finished)
    assert [line["units"] for line in stats(folders["plain-jump"])] == [2] * 3 + [4] * 3
    assert {"y", "jacobian", "xcov"}.isdisjoint(stats(folders["plain"])[-1])


def test_stages_stops_and_goes_on(tmp_path: Path, finished: Path) -> None:
    out = tmp_path / "run"
    jacsup.train(DEBUG, out=out, num_stages=2)
    assert jacsup.load(out).num_units == 3
    jacsup.train(DEBUG, out=out)
    assert weights(out) == weights(finished)


def test_another_seed_gives_other_weights(tmp_path: Path, finished: Path) -> None:
    assert weights(jacsup.train(replace(DEBUG, seed=1), out=tmp_path / "run")) != weights(finished)


def test_stages_also_ends_what_is_taken_over(tmp_path: Path, finished: Path) -> None:
    recipe = set_field(DEBUG, "stages.2.weights.y", 0.5)
    shutil.copytree(finished, tmp_path / "whole")
    out = jacsup.train(recipe, out=tmp_path / "run", num_stages=1)
    assert Run(out).finished_stages() == [0] and jacsup.load(out).num_units == 2


def test_init_takes_the_finished_stages_of_another_run(tmp_path: Path, finished: Path) -> None:
    recipe = set_field(DEBUG, "stages.weights.y", 0.5)
    out = jacsup.train(recipe, out=tmp_path / "run", init=finished / "units-3")
    for stage in ("00-units-2", "01-units-3"):
        name = f"stages/{stage}/model.safetensors"
        assert (out / name).read_bytes() == (finished / name).read_bytes()
    assert len(Run(out).recipe.init) == 64
    again = weights(out)
    jacsup.train(recipe, out=out, init=finished / "stages" / "01-units-3")
    assert weights(out) == again
    with pytest.raises(
        ValueError, match="has no finished stage 'units-9'; it must be one of units-2, units-3, units-4"
    ):
        jacsup.train(recipe, out=tmp_path / "other", init=finished / "units-9")
    with pytest.raises(
        ValueError, match="'debug' and its data differ from the run's first 3 stages in model; these must be equal"
    ):
        jacsup.train(set_field(recipe, "model.hidden", [16]), out=tmp_path / "other", init=finished)
    with pytest.raises(
        ValueError, match=r"has all 3 stages of recipe 'debug', so nothing is left to train; .*--extend N"
    ):
        jacsup.train(recipe, out=tmp_path / "other", init=finished)
    assert not (tmp_path / "other").exists()


def longer(recipe: Recipe, more: int) -> Recipe:
    last = len(recipe.stages) - 1
    return set_field(recipe, f"stages.{last}.epochs", recipe.stages[last].epochs + more)


def test_an_extended_run_is_one_with_more_epochs(tmp_path: Path, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    out = jacsup.train(DEBUG, out=tmp_path / "extended", init=finished, extend=2)
    at_once = jacsup.train(longer(DEBUG, 2), out=tmp_path / "alone" / "whole")
    assert weights(out) == weights(at_once)
    assert [(line["stage"], line["epoch"]) for line in stats(out)] == [
        (line["stage"], line["epoch"]) for line in stats(at_once)
    ]
    assert Run(out).recipe == replace(longer(Run(finished).recipe, 2), init=Run(finished).stage_digest(2))
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
    again = weights(out)
    assert jacsup.train(DEBUG, out=out, init=finished, extend=2) == out and weights(out) == again
    twice = jacsup.train(read_recipe(out / "recipe.json"), out=tmp_path / "twice", init=out, extend=1)
    assert weights(twice) == weights(jacsup.train(longer(DEBUG, 3), out=tmp_path / "alone" / "three"))
    told = stats(out)
    for file in out.glob("checkpoint*"):
        file.unlink()
    jacsup.train(DEBUG, out=out, init=finished, extend=2)
    assert weights(out) == again and stats(out) == told


@pytest.mark.parametrize("objective", ["residual", "one-cycle"])
def test_every_stage_can_be_extended(objective: str, tmp_path: Path) -> None:
    recipe = set_field(with_arm(DEBUG, "residual") if objective == "residual" else DEBUG, "stages.epochs", 1)
    if objective == "one-cycle":
        recipe = set_field(recipe, "stages.adam.schedule", "one-cycle")
    run = jacsup.train(recipe, out=tmp_path / "run")
    out = jacsup.train(recipe, out=tmp_path / "longer", init=run, extend=1)
    assert len(stats(out)) == len(stats(run)) + 1 and stats(out)[-1]["epoch"] == 1
    assert weights(out) != weights(run)


def test_an_extension_that_was_killed_at_once_goes_on(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr("jacsup.training.start.save_checkpoint", crash)
        with pytest.raises(Stop):
            jacsup.train(DEBUG, out=tmp_path / "run", init=finished, extend=1)
    jacsup.train(DEBUG, out=tmp_path / "run", init=finished, extend=1)
    whole = jacsup.train(DEBUG, out=tmp_path / "whole", init=finished, extend=1)
    assert weights(tmp_path / "run") == weights(whole) and len(stats(whole)) == len(stats(tmp_path / "run"))


def test_what_cannot_be_extended(tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(message: str, recipe: Recipe = DEBUG, init: Path = finished, extend: int = 1) -> None:
        with pytest.raises(ValueError, match=message):
            jacsup.train(recipe, out=tmp_path / "out", init=init, extend=extend)
        assert not (tmp_path / "out").exists()

    refused(r"^--extend is 0; must be at least 1 epoch", extend=0)
    refused(
        r"contains a run of another recipe \(seed: 0 -> 3\); to extend it, pass .*recipe.json",
        set_field(DEBUG, "seed", 3),
    )
    refused(r"is not a run", init=tmp_path)
    half = jacsup.train(DEBUG, out=tmp_path / "half", num_stages=2)
    refused(r"half is not finished, so --extend cannot continue it; run its own command to the end", init=half)
    whole = shutil.copytree(finished, tmp_path / "whole")
    for file in whole.glob("checkpoint*"):
        file.unlink()
    refused(r"whole has no final checkpoint, so --extend .*; train a new run with --set stages.2.epochs=", init=whole)


def test_more_epochs_of_a_finished_run_are_refused_with_the_command_that_trains_them(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValueError, match=r"; once it is finished, `(jacsup .*)` trains its last stage for 3"
    ) as refused:
        jacsup.train(longer(DEBUG, 3), out=finished)
    (command,) = re.findall("`(.*)`", str(refused.value))
    monkeypatch.setattr("sys.argv", [*shlex.split(command), "--out", str(tmp_path / "run")])
    cli.main()
    assert len(stats(tmp_path / "run")) == len(stats(finished)) + 3
    with pytest.raises(ValueError, match=r"or another --out to start anew$"):
        jacsup.train(set_field(longer(DEBUG, 3), "seed", 1), out=finished)


def test_another_recipe_in_the_same_folder_is_refused(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    other: Recipe = set_field(set_field(DEBUG, "stages.2.adam.lr", 0.1), "seed", 3)
    with pytest.raises(ValueError, match=r"stages.2.adam.lr: 0.0003 -> 0.1; seed: 0 -> 3"):
        jacsup.train(other, out=finished)
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_second_process_is_refused(finished: Path) -> None:
    with Run(finished).lock(), pytest.raises(ValueError, match="is in use by another process"):
        jacsup.train(DEBUG, out=finished)


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="exists and is not a run"):
        jacsup.train(DEBUG, out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_change_of_machine_is_noted_and_not_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jacsup.train(DEBUG, out=tmp_path / "run", num_stages=1)
    sessions = Run(tmp_path / "run").sessions()
    sessions[0]["threads"] = 64
    (tmp_path / "run" / "run.json").write_text(json.dumps({"sessions": sessions}))
    jacsup.train(DEBUG, out=tmp_path / "run", num_stages=1)
    assert "note: changed since the last session: threads: 64 -> 1" in capsys.readouterr().out


def test_the_teacher_pass_is_the_same_cached_or_not() -> None:
    data = load_dataset(DEBUG.data)
    torch.manual_seed(0)
    teacher = jacsup.models.mlp.MLPAutoencoder(DEBUG.model, data.image_shape, 2, normalized=True).eval()
    index = torch.tensor([5, 0, 77])
    x = to_float(data.train.images[index], (0.0, 1.0))
    cached = TeacherOutputs(teacher, data.train.images).of(index, x)
    fresh = TeacherOutputs(teacher, data.train.images, cache_bytes=0).of(index, x)
    for ours, theirs in zip(cached, fresh, strict=True):
        assert ours is not None and theirs is not None
        assert ours.allclose(theirs, atol=1e-6)
        assert not ours.requires_grad
    *_, swapped = TeacherOutputs(teacher, data.train.images, swaps=False).of(index, x)
    assert swapped is None


def test_tensorboard_gets_every_epoch(tmp_path: Path) -> None:
    out = jacsup.train(DEBUG, out=tmp_path / "run", num_stages=1, tensorboard=True)
    assert [path for path in (out / "tensorboard").iterdir() if path.stat().st_size > 100]


def test_tensorboard_without_its_package_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ValueError, match="pip install tensorboard"):
        jacsup.train(DEBUG, out=tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_weights_that_the_last_step_spoils_are_no_finished_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop.train_step
    calls = []

    def spoil_the_last(*arguments: object) -> torch.Tensor:
        values = original(*arguments)  # pyright: ignore[reportArgumentType]
        calls.append(0)
        if len(calls) == 33:
            with torch.no_grad():
                next(arguments[0].parameters()).fill_(float("nan"))  # pyright: ignore[reportAttributeAccessIssue]
        return values

    monkeypatch.setattr(loop, "train_step", spoil_the_last)
    with pytest.raises(loop.DivergedError, match=r"weights are not finite after stage 1 \(units-2\)"):
        jacsup.train(DEBUG, out=tmp_path / "run")
    assert not Run(tmp_path / "run").finished_stages()
    assert len(Run(tmp_path / "run").stats()) == 2


def test_init_wants_images_of_the_same_shape(tmp_path: Path, finished: Path) -> None:
    images = np.zeros((200, 6, 6), dtype=np.uint8)
    with pytest.raises(
        ValueError, match="and its data differ from the run's first 3 stages in image shape; these must be equal"
    ):
        jacsup.train(DEBUG, jacsup.Dataset.from_arrays(images), tmp_path / "run", init=finished)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_began_elsewhere_asks_where(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="starts from a stage of another run; pass that stage as --init RUN/STAGE"):
        jacsup.train(replace(DEBUG, init="0" * 64), out=tmp_path / "run")


@pytest.mark.parametrize("part", ["units", "3", "its-3", "01", "01-units"])
def test_init_matches_a_stages_whole_name(part: str, tmp_path: Path, finished: Path) -> None:
    with pytest.raises(ValueError, match=f"no finished stage '{part}'; it must be one of units-2, units-3, units-4"):
        jacsup.train(DEBUG, out=tmp_path / "run", init=finished / part)


def test_init_from_a_run_that_went_on_still_resumes(tmp_path: Path) -> None:
    source = jacsup.train(DEBUG, out=tmp_path / "source", num_stages=1)
    recipe = set_field(DEBUG, "stages.weights.y", 0.5)
    jacsup.train(recipe, out=tmp_path / "run", init=source, num_stages=2)
    jacsup.train(DEBUG, out=source)
    out = jacsup.train(recipe, out=tmp_path / "run", init=source)
    assert len(Run(out).finished_stages()) == 3


def test_the_same_recipe_beside_a_run_is_trained_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (jacsup.train(DEBUG, out=tmp_path / name, num_stages=1) for name in ("a", "b"))
    assert stats(first) == stats(second)
    assert "copied from" not in capsys.readouterr().out


def test_damaged_stages_are_not_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = jacsup.train(DEBUG, out=tmp_path / "a")
    other = set_field(DEBUG, "stages.2.epochs", DEBUG.stages[2].epochs + 1)
    damaged = Run(whole).stage_file(1)
    damaged.write_bytes(damaged.read_bytes()[:-100])
    jacsup.train(other, out=tmp_path / "b", num_stages=1)
    told = capsys.readouterr().out
    assert "note: not copied because it is damaged: " in told and f"copied from {whole}: units-2\n" in told
    Run(whole).stage_file(0).write_bytes(b"nothing")
    (whole / "recipe.json").with_name("stats.jsonl").write_text("[[[\n")
    jacsup.train(other, out=tmp_path / "c", num_stages=1)
    told = capsys.readouterr().out
    assert "note: not copied because it is damaged: " in told and "copied from" not in told
    assert Run(tmp_path / "c").finished_stages() == [0]
    with pytest.raises(ValueError, match="not a jacsup model"):
        jacsup.train(other, out=tmp_path / "d", init=whole / "units-3")


def test_a_start_that_was_killed_at_once_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    (tmp_path / "run" / ".recipe.json.123.tmp").write_text("{")
    jacsup.train(DEBUG, out=tmp_path / "run", num_stages=1)
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_a_checkpoint_without_its_header_counts_as_damaged(tmp_path: Path) -> None:
    save_file({"model.x": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    assert loop.load_checkpoint(tmp_path / "checkpoint.safetensors") is None


@pytest.mark.parametrize("option", ["--precision=bfloat16", "--compile"])
def test_precision_and_compilation_change_speed_alone(option: str, finished: Path, tmp_path: Path) -> None:
    # In a process of its own: checks of shapes at every call cannot be compiled.
    command = [sys.executable, "-m", "jacsup", "train", "debug", option]
    done = subprocess.run([*command, "--out", tmp_path / "run"], check=True, capture_output=True, text=True)
    assert "recompile_limit" not in done.stderr
    for ours, theirs in zip(stats(tmp_path / "run"), stats(finished), strict=False):
        for name in ("rec", "test_mse"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-2 if "bfloat16" in option else 1e-3)
    session = Run(tmp_path / "run").sessions()[0]
    assert session["compile"] == (option == "--compile")
    assert session["precision"] == ("float32" if session["compile"] else "bfloat16")


def test_notes_of_the_data_are_printed_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = replace(load_dataset(DEBUG.data), notes=("train.mat is not the official file",))
    run = Run(jacsup.train(set_field(DEBUG, "stages.epochs", 1), data, tmp_path / "run", num_stages=1))
    assert "note: train.mat is not the official file\n" in capsys.readouterr().out
    assert run.sessions()[-1]["data_notes"] == ["train.mat is not the official file"]
    jacsup.train(set_field(DEBUG, "stages.epochs", 1), data, tmp_path / "run", num_stages=2)
    assert "since the last session" not in capsys.readouterr().out
