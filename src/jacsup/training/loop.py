"""The curriculum: each stage starts from the one before, learns, and becomes the next one's teacher."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jacsup import distributed as dist
from jacsup.config import Precision, Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.data.draws import require_full_batch
from jacsup.metrics.description import describe
from jacsup.models import build, load, pick_device, save_model
from jacsup.models.conv import ConvAutoencoder
from jacsup.objectives import Batch, Labels, updates
from jacsup.run import Run
from jacsup.training.batches import Batches
from jacsup.training.epoch_scores import Judges, get_judges, test_scores
from jacsup.training.graph import CapturedStep, waits_for_python
from jacsup.training.reporter import Reporter, cut_stats, peak_memory
from jacsup.training.speed import as_they_will_be_used, speed_up
from jacsup.training.start import describe_session, open_run, starting_model, take_over
from jacsup.training.state import Checkpoint, Position, Saver, capture, load_checkpoint, restore
from jacsup.training.step import learning_rate, make_optimizer, set_rate, train_step

SECONDS_BETWEEN_CHECKPOINTS = 20
SECONDS_BETWEEN_STATUS = 0.5
STEPS_BETWEEN_QUESTIONS = 8
ADVICE = (
    "what was saved before is kept: start again in another folder with a lower rate or weight "
    "(--set stages.adam.lr=...)"
)


class DivergedError(RuntimeError):
    """A loss became infinite or not a number."""


@dataclass(frozen=True)
class _Session:
    """What stays the same while a run trains."""

    run: Run
    recipe: Recipe
    data: Dataset
    device: torch.device
    judge: Judges
    reporter: Reporter
    saver: Saver
    interrupted: threading.Event
    precision: Precision
    compiled: bool


def train(
    recipe: Recipe,
    data: Dataset | None = None,
    out: str | Path | None = None,
    *,
    data_root: str | Path | None = None,
    device: str = "auto",
    num_stages: int | None = None,
    init: str | Path | None = None,
    deterministic: bool = False,
    precision: Precision = "float32",
    compile: bool = False,
    tensorboard: bool = False,
) -> Path:
    """Trains a recipe's curriculum and returns its run folder; called again, it goes on where it stopped.

    data: replaces the recipe's data set. out: the run folder, `runs/RECIPE[-ARM][-sSEED]` without one.
    data_root: folder with the data set's files. device: "auto", "cpu", "cuda" or "cuda:N".
    num_stages: stop after that many. init: RUN or RUN/STAGE, whose finished stages the run starts from.
    deterministic: bit-exact on CUDA too, slower. precision: what the layers compute in while they learn.
    compile: by torch.compile, which takes minutes first and a C++ compiler on a CPU; an MLP on a GPU as one CUDA graph.
    Raises ValueError for wrong input before anything is written, DivergedError for a loss that is not finite,
    KeyboardInterrupt after Ctrl-C, with the work saved.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if tensorboard and not importlib.util.find_spec("tensorboard"):
        raise ValueError("--tensorboard needs a package that is not installed; run `pip install tensorboard`")
    count = len(recipe.stages) if num_stages is None else num_stages
    if not 1 <= count <= len(recipe.stages):
        raise ValueError(f"stages is {count}; allowed are 1 to {len(recipe.stages)}, the stages of '{recipe.name}'")
    path = Path(out or Path("runs") / recipe.run_name)
    with dist.joined(pick_device(device)) as chosen:
        with dist.main_first():
            data = data or load_dataset(recipe.data, Path(data_root) if data_root else None)
        recipe = replace(recipe, data=data.config)
        _require_trainable(recipe, data, count)
        with open_run(recipe, path, init, data) as (run, recipe, source):
            checkpoint, judge, notes = load_checkpoint(run.checkpoint_file), None, []
            data = data.to(chosen)
            if dist.is_main():
                notes = describe_session(run, chosen, data_root, deterministic, precision, compiled=compile)
                notes += take_over(run, recipe, source, count) if checkpoint is None else []
                judge = get_judges(data, supervised=recipe.supervised)
            dist.barrier()
            with (
                Reporter(run, recipe, count, tensorboard=tensorboard) as reporter,
                _interruptible() as interrupted,
                Saver(run.checkpoint_file) as saver,
            ):
                for note in notes:
                    reporter.note(note)
                session = _Session(run, recipe, data, chosen, judge, reporter, saver, interrupted, precision, compile)
                _train_stages(session, count, checkpoint)
    return path


def _require_trainable(recipe: Recipe, data: Dataset, count: int) -> None:
    if recipe.supervised and not data.attributes:
        raise ValueError(
            f"recipe '{recipe.name}' learns attributes, and the images have none; pass a table with --attributes, "
            "or --unsupervised"
        )
    # Layers that do not fit the images are refused here; on this device they cost nothing.
    with torch.device("meta"):
        model = build(recipe.model, data.image_shape, 1, normalized=False)
    for stage in recipe.stages[:count]:
        require_full_batch(len(data.train), stage.batch_size)
        dist.require_divisible(stage.batch_size)
        if stage.objective == "fader" and isinstance(model, ConvAutoencoder) and model.decoder.map_side < 2:
            raise ValueError(
                f"stage '{stage.name}': the code's map is 1x1, a discriminator needs 2x2; use fewer model.channels"
            )


def _train_stages(session: _Session, count: int, checkpoint: Checkpoint | None) -> None:
    run, recipe = session.run, session.recipe
    finished = len(run.finished_stages(recipe))
    start = Position(stage=finished)
    if checkpoint and checkpoint.position.stage == finished:
        start = checkpoint.position
    else:
        checkpoint = None
    # What the others read of the folder comes before the first change; slow file systems show some of them an old one.
    dist.require_same((start.stage, start.epoch, start.step), "where training goes on (stage, epoch, step)")
    if dist.is_main():
        cut_stats(run, start.stage, start.epoch)
    for number in range(finished, count):
        _train_stage(session, number, checkpoint if number == finished else None)
        dist.barrier()
    newest = run.newest_model()
    assert newest
    if dist.is_main():
        run.install_model(newest)


def _train_stage(session: _Session, number: int, checkpoint: Checkpoint | None) -> None:
    """One stage from its first step, or from a checkpoint, to its model file."""
    run, data, stage = session.run, session.data, session.recipe.stages[number]
    recipe = session.recipe
    teacher = load(run.stage_file(recipe.teacher_of(number), recipe), session.device) if number else None
    model = starting_model(run, recipe, number, data).to(session.device).train()
    dist.synchronise(model)
    speed_up([model, teacher] if teacher else [model], session.precision, compiled=session.compiled)
    optimizer = make_optimizer(model, stage.adam)
    iteration = updates(stage, teacher.num_units if teacher else 0, _labels(data))
    term_names = [name for update in iteration for name in update.weights]
    cpu_started_at = time.process_time()
    batches = Batches(recipe, number, data, session.device, teacher)
    num_steps = batches.num_steps
    record = torch.zeros(num_steps, len(term_names), device=session.device)
    position = Position(stage=number)
    if checkpoint:
        position = checkpoint.position
        record.copy_(checkpoint.tensors.pop("record"))
        restore(checkpoint.tensors, model, optimizer)

    def take_step(batch: Batch) -> Tensor:
        return train_step(model, iteration, optimizer, batch, stage.adam.clip)

    as_one = session.compiled and waits_for_python(model)
    fast_step = CapturedStep(take_step, model, optimizer) if as_one else take_step

    def save(at: Position) -> None:
        if not dist.is_main():
            return
        tensors = {**capture(model, optimizer), "record": record.cpu().clone()}
        # Weights that a last finite loss has spoilt would make the checkpoint useless: the next step names the term.
        if all(bool(value.isfinite().all()) for value in tensors.values()):
            session.saver.save(Checkpoint(at, tensors))

    def check(steps: int) -> None:
        _require_finite(record[:steps], term_names, f"stage {number + 1} ({stage.name}), epoch {epoch + 1}")

    tests: dict[str, float] = {}
    saved_at = status_at = time.monotonic()
    for epoch in range(position.epoch, stage.epochs):
        first_step = position.step if epoch == position.epoch else 0
        started_at = time.monotonic() - (position.seconds if epoch == position.epoch else 0)
        for step, batch in enumerate(batches.epoch(epoch, first_step), first_step):
            rate = learning_rate(stage.adam, epoch * num_steps + step, stage.epochs * num_steps)
            set_rate(optimizer, rate)
            record[step] = fast_step(batch)
            now = time.monotonic()
            if now - status_at > SECONDS_BETWEEN_STATUS:
                status_at = now
                check(step + 1)
                losses = dict(zip(term_names, record[step].tolist(), strict=True))
                session.reporter.status(number, stage, epoch, (step + 1) / num_steps, losses)
            stopping = _interrupted_anywhere(session, step)
            if now - saved_at > SECONDS_BETWEEN_CHECKPOINTS or stopping:
                check(step + 1)
                save(Position(stage=number, epoch=epoch, step=step + 1, seconds=now - started_at))
                saved_at = time.monotonic()
            if stopping:
                raise KeyboardInterrupt
        check(num_steps)
        if not all(bool(weight.isfinite().all()) for weight in model.state_dict().values()):
            raise DivergedError(f"the weights are not finite after stage {number + 1} ({stage.name}); {ADVICE}")
        seconds, core_seconds = time.monotonic() - started_at, time.process_time() - cpu_started_at
        means = dict(zip(term_names, record.mean(dim=0).tolist(), strict=True))
        tests = {}
        if dist.is_main():
            with as_they_will_be_used(model, teacher, compiled=session.compiled):
                tests = test_scores(model, teacher, data, session.judge)
        session.reporter.epoch(
            {
                "stage": number, "name": stage.name, "units": stage.num_units, "epoch": epoch, **means, **tests,
                "seconds": round(seconds, 3), "core_seconds": round(core_seconds, 3),
                "peak_memory_mib": peak_memory(session.device),
            }
        )  # fmt: skip
        cpu_started_at = time.process_time()
    save(Position(stage=number, epoch=stage.epochs))
    if not dist.is_main():
        return
    if stage.objective == "fader":
        del model.discriminator
    with as_they_will_be_used(model, teacher, compiled=session.compiled):
        tests = tests or test_scores(model, teacher, data, session.judge)
        model.eval()
        info = describe(model, data, recipe=recipe.run_name, metrics=tests, labels_are_y=stage.objective == "fader")
    save_model(run.stage_file(number, recipe), model, info)


def _interrupted_anywhere(session: _Session, step: int) -> bool:
    """Ranks must stop after the same step; asking takes a message, so they do not ask after each."""
    if dist.size() > 1 and step % STEPS_BETWEEN_QUESTIONS:
        return False
    return dist.any_rank(session.interrupted.is_set())


def _labels(data: Dataset) -> Labels | None:
    """What the attributes hold, None where there are none."""
    y_bar = data.train.attributes
    if y_bar is None:
        return None
    continuous = torch.tensor([attribute.continuous for attribute in data.attributes], device=y_bar.device)
    return Labels(continuous, (y_bar > 0).sum(dim=0) / (~y_bar.isnan()).sum(dim=0))


def _require_finite(record: Tensor, names: list[str], where: str) -> None:
    bad = (~record.isfinite()).nonzero()
    if len(bad):
        step, term = bad[0].tolist()
        raise DivergedError(
            f"the loss '{names[term]}' is {record[step, term].item()} in {where}, step {step + 1}; {ADVICE}"
        )


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C or SIGTERM into an event that the loop answers with a checkpoint; a second one kills."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return
    previous: dict[int, Any] = {}

    def handle(number: int, _frame: Any) -> None:
        event.set()
        signal.signal(number, previous[number])

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield event
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
