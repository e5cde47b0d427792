"""The curriculum: each stage starts from the one before it and becomes the teacher of the next one."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from jacsup import distributed as dist
from jacsup.bounded import refusing
from jacsup.config import Recipe, Stage
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.data.draws import require_full_batch
from jacsup.hooks import hook_of
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.calibration import calibrated, standardise
from jacsup.metrics.description import describe
from jacsup.models import Model, build, load, pick_device, save_model
from jacsup.models.diffusion import DiffusionEditor
from jacsup.models.residual import ResidualAutoencoder
from jacsup.objectives import Batch, Labels, updates
from jacsup.run import Run
from jacsup.training.batches import Batches
from jacsup.training.epoch_scores import (
    Judges,
    collapse,
    divergence,
    get_judges,
    learning_warning,
    test_scores,
)
from jacsup.training.graph import CapturedStep, waits_for_python
from jacsup.training.options import Options, TrainingOptions
from jacsup.training.order import order_units
from jacsup.training.record import Record
from jacsup.training.reporter import Reporter, cut_stats, peak_memory
from jacsup.training.speed import as_they_will_be_used, speed_up
from jacsup.training.start import InitialStages, copy_stages, default_folder, describe_session, open_run, starting_model
from jacsup.training.state import (
    UNFIT,
    Checkpoint,
    Position,
    Saver,
    capture,
    load_checkpoint,
    restore,
    tensors_by_name,
)
from jacsup.training.step import learning_rate, make_optimizer, set_rate, train_step

SECONDS_BETWEEN_CHECKPOINTS = 20
SECONDS_BETWEEN_STATUS = 0.5
STEPS_BETWEEN_QUESTIONS = 8
AGAIN = "earlier checkpoints are kept; train again in another folder with"
ADVICE = f"{AGAIN} a lower learning rate or loss weight (--set stages.adam.lr=...)"


class DivergedError(RuntimeError):
    """A loss, a gradient, a weight or a batch became infinite or not a number."""


@dataclass(frozen=True)
class _Session:
    """What stays the same while a run trains, and the warnings it has given."""

    run: Run
    recipe: Recipe
    data: Dataset
    device: torch.device
    judge: Judges
    reporter: Reporter
    saver: Saver
    interrupted: threading.Event
    options: Options
    warned: set[str] = field(default_factory=set)


def train(
    recipe: Recipe,
    data: Dataset | None = None,
    out: str | Path | None = None,
    **options: Unpack[TrainingOptions],
) -> Path:
    """Train a recipe's curriculum. Calling it again with the same arguments continues where it stopped.

    Args:
        recipe: What to train.
        data: Data set to use instead of the recipe's.
        out: The run folder; defaults to `runs/RECIPE[-ARM][-sSEED]`, and for an extended run to this name followed by
            `-plus-N`.
        **options: Where and how to train; see `jacsup.training.options.TrainingOptions`.

    Returns:
        The run folder. docs/formats.md describes its files.

    Raises:
        ValueError: The input is wrong; nothing has been written.
        DivergedError: A loss, a gradient, a weight or a batch is not finite; earlier checkpoints are kept.
        KeyboardInterrupt: Ctrl-C was pressed; the work is saved.
    """
    chosen = Options(**options)
    if chosen.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if chosen.tensorboard and not importlib.util.find_spec("tensorboard"):
        raise ValueError("--tensorboard needs a package that is not installed; run `pip install tensorboard`")
    count = len(recipe.stages) if chosen.num_stages is None else chosen.num_stages
    if not 1 <= count <= len(recipe.stages):
        raise ValueError(
            f"stages is {count}; it must be between 1 and {len(recipe.stages)}, the number of stages in '{recipe.name}'"
        )
    path = Path(out or default_folder(recipe, chosen))
    with dist.joined(pick_device(chosen.device)) as device:
        with dist.main_first():
            data = data or load_dataset(recipe.data, Path(chosen.data_root) if chosen.data_root else None)
        recipe = replace(recipe, data=data.config)
        _require_trainable(recipe, data, count)
        with open_run(recipe, path, chosen.init, data, chosen.extend) as (run, recipe, initial):
            _train_run(run, recipe, initial, data.to(device), device, count, chosen)
    return path


def _train_run(
    run: Run,
    recipe: Recipe,
    initial: InitialStages | None,
    data: Dataset,
    device: torch.device,
    count: int,
    options: Options,
) -> None:
    """Train the stages that are not finished yet, up to `count`, in a locked run folder."""
    checkpoint, judge = load_checkpoint(run.checkpoint_file), None
    reporter = Reporter(run, recipe, count, tensorboard=options.tensorboard)
    if dist.is_main():
        notes = describe_session(run, data, device, options)
        notes += copy_stages(run, recipe, initial, count) if checkpoint is None else []
        for note in notes:
            reporter.note(note)
        # This takes minutes for a large data set that has no judge in the cache yet.
        judge = get_judges(data, supervised=recipe.supervised)
    dist.barrier()
    checkpoint = checkpoint or load_checkpoint(run.checkpoint_file)
    with reporter, _interruptible() as interrupted, Saver(run.checkpoint_file) as saver:
        session = _Session(run, recipe, data, device, judge, reporter, saver, interrupted, options)
        _train_stages(session, count, checkpoint)


def _require_trainable(recipe: Recipe, data: Dataset, count: int) -> None:
    if recipe.supervised and not data.attributes:
        raise ValueError(
            f"recipe '{recipe.name}' learns attributes, but the images have none; pass a table with --attributes, or "
            "--unsupervised"
        )
    # Raises an error if the layers do not fit the images; on this device, building costs nothing.
    with torch.device("meta"):
        model = build(recipe.model, data.image_shape, 1, normalized=False)
    for stage in recipe.stages[:count]:
        require_full_batch(len(data.train), stage.batch_size)
        dist.require_divisible(stage.batch_size)
        if hook := hook_of(stage.objective):
            hook.require_trainable(stage, model)


def _train_stages(session: _Session, count: int, checkpoint: Checkpoint | None) -> None:
    run, recipe = session.run, session.recipe
    finished = len(run.finished_stages(recipe))
    start = Position(stage=finished)
    if checkpoint and checkpoint.position.stage == finished:
        start = checkpoint.position
    else:
        checkpoint = None
    # All ranks must have read the folder before it changes; slow file systems may show some of them an old state.
    dist.require_same((start.stage, start.epoch, start.step), "where training continues (stage, epoch, step)")
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
    """Train one stage from its first step, or from a checkpoint, to its model file."""
    work = _prepare(session, number, checkpoint)
    scores: dict[str, float] = {}
    for epoch in range(work.start.epoch, work.stage.epochs):
        _train_epoch(session, work, epoch)
        scores = _report_epoch(session, work, epoch)
    _save(session, work, Position(stage=number, epoch=work.stage.epochs))
    if dist.is_main():
        _finish(session, work, scores)


class _Timer:
    """Seconds since its last restart."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._started_at = time.monotonic()

    def passed(self, seconds: int | float) -> bool:
        return time.monotonic() - self._started_at > seconds


@dataclass
class _Work:
    """What the loop over one stage's steps works on.

    Attributes:
        record: The losses of the epoch's steps.
        start: Where this session starts within the stage.
        history: The test scores of the stage's epochs so far.
        epoch_started_at: When the epoch started, moved back by the time that earlier sessions spent on it.
    """

    number: int
    stage: Stage
    model: Model
    teacher: Model | None
    optimizer: torch.optim.Optimizer
    batches: Batches
    take_step: Callable[[Batch], Tensor]
    record: Record
    start: Position
    cpu_started_at: float
    history: list[dict[str, Any]]
    epoch_started_at: float = 0.0
    since_save: _Timer = field(default_factory=_Timer)
    since_status: _Timer = field(default_factory=_Timer)

    def require_finite(self, epoch: int, num_steps: int) -> None:
        """Raise DivergedError if something in an epoch's first steps is not finite."""
        fault = self.record.fault(num_steps)
        if fault is None:
            return
        step, culprit = fault
        where = f"stage {self.number + 1} ({self.stage.name}), epoch {epoch + 1}, step {step + 1}"
        if not next(self.batches.epoch(epoch, step)).x.isfinite().all():
            raise DivergedError(f"the images are not finite in {where}; {AGAIN} corrected data")
        raise DivergedError(f"{culprit} in {where}; {ADVICE}")


def _prepare(session: _Session, number: int, checkpoint: Checkpoint | None) -> _Work:
    """Model, teacher, optimizer and batches of a stage, new or from the checkpoint."""
    run, recipe, data, device = session.run, session.recipe, session.data, session.device
    stage, compiled = recipe.stages[number], session.options.compile
    teacher = load(run.stage_file(recipe.teacher_of(number), recipe), device) if recipe.has_teacher(number) else None
    model = starting_model(run, recipe, number, data).to(device).train()
    dist.synchronise(model)
    speed_up([model, teacher] if teacher else [model], session.options.precision, compiled=compiled)
    optimizer = make_optimizer(model, stage.adam)
    iteration = updates(stage, teacher.num_units if teacher else 0, _labels(data))
    cpu_started_at = time.process_time()
    batches = Batches(recipe, number, data, device, teacher)
    record, start = Record(model, iteration, optimizer, batches.num_steps, device), Position(stage=number)
    if checkpoint:
        start = checkpoint.position
        with refusing(run.checkpoint_file, UNFIT):
            if not (0 <= start.epoch <= stage.epochs and 0 <= start.step <= batches.num_steps):
                raise ValueError(f"epoch {start.epoch + 1}, step {start.step} is not in the stage")
            record.losses.copy_(checkpoint.tensors.pop("record"))
            restore(checkpoint.tensors, model, optimizer)

    def take_step(batch: Batch) -> Tensor:
        return record.row(train_step(model, iteration, optimizer, batch, stage.adam.clip))

    as_one = compiled and waits_for_python(model)
    step = CapturedStep(take_step, model, optimizer) if as_one else take_step
    lines = [line for line in run.stats() if line["stage"] == number and isinstance(line.get("test_mse"), float)]
    history = [{name: value for name, value in line.items() if isinstance(value, float)} for line in lines]
    return _Work(number, stage, model, teacher, optimizer, batches, step, record, start, cpu_started_at, history)


def _train_epoch(session: _Session, work: _Work, epoch: int) -> None:
    """Take the remaining steps of one epoch. On Ctrl-C, save the work and raise KeyboardInterrupt."""
    stage, num_steps = work.stage, work.batches.num_steps
    resumed = epoch == work.start.epoch
    first_step = work.start.step if resumed else 0
    work.epoch_started_at = time.monotonic() - (work.start.seconds if resumed else 0)
    for step, batch in enumerate(work.batches.epoch(epoch, first_step), first_step):
        set_rate(work.optimizer, learning_rate(stage.adam, epoch * num_steps + step, stage.epochs * num_steps))
        work.record.keep(step, work.take_step(batch))
        if work.since_status.passed(SECONDS_BETWEEN_STATUS):
            work.since_status.restart()
            work.require_finite(epoch, step + 1)
            losses = dict(zip(work.record.term_names, work.record.losses[step].tolist(), strict=True))
            session.reporter.status(work.number, stage, epoch, (step + 1) / num_steps, losses)
        stopping = _interrupted_anywhere(session, step)
        if stopping or work.since_save.passed(SECONDS_BETWEEN_CHECKPOINTS):
            work.require_finite(epoch, step + 1)
            seconds = time.monotonic() - work.epoch_started_at
            _save(session, work, Position(stage=work.number, epoch=epoch, step=step + 1, seconds=seconds))
            work.since_save.restart()
        if stopping:
            raise KeyboardInterrupt
    work.require_finite(epoch, num_steps)
    for name, value in tensors_by_name(work.model, work.optimizer).items():
        if not value.isfinite().all():
            where = f"stage {work.number + 1} ({stage.name}), epoch {epoch + 1}"
            raise DivergedError(f"moments or weights are not finite after {where}: '{name}'; {ADVICE}")


def _report_epoch(session: _Session, work: _Work, epoch: int) -> dict[str, float]:
    """Write the epoch's line of stats.jsonl; return the scores on test images, which only rank 0 computes."""
    seconds, core_seconds = time.monotonic() - work.epoch_started_at, time.process_time() - work.cpu_started_at
    means = dict(zip(work.record.term_names, work.record.losses.mean(dim=0).tolist(), strict=True))
    scores = _test(session, work) if dist.is_main() else {}
    session.reporter.epoch(
        {
            "stage": work.number,
            "name": work.stage.name,
            "units": work.stage.num_units,
            "epoch": epoch,
            **means,
            **scores,
            "seconds": round(seconds, 3),
            "core_seconds": round(core_seconds, 3),
            "peak_memory_mib": peak_memory(session.device),
        }
    )
    if scores:
        work.history.append(scores)
        _warn_once(session, work, epoch)
    work.cpu_started_at = time.process_time()
    return scores


def _warn_once(session: _Session, work: _Work, epoch: int) -> None:
    """Warn, once per run and kind, of problems that the stage's scores show."""
    warnings = {"divergence": divergence(work.history, session.data)}
    if work.stage.objective != "reconstruction":
        warnings["collapse"] = collapse(work.history, session.data, work.stage.epochs)
    for name, warning in warnings.items():
        if warning and name not in session.warned:
            session.warned.add(name)
            where = f"stage {work.number + 1} ({work.stage.name}), epoch {epoch + 1}"
            session.reporter.note(f"warning: {where}: {warning}")


def _test(session: _Session, work: _Work) -> dict[str, float]:
    with as_they_will_be_used(work.model, work.teacher, compiled=session.options.compile):
        return test_scores(work.model, work.teacher, session.data, session.judge)


def _save(session: _Session, work: _Work, at: Position) -> None:
    """Write a checkpoint, on rank 0."""
    if not dist.is_main():
        return
    tensors = {**capture(work.model, work.optimizer), "record": work.record.losses.cpu().clone()}
    # Weights may become infinite after a last finite loss. They are not saved; the next step will name the loss.
    if all(bool(value.isfinite().all()) for value in tensors.values()):
        session.saver.save(Checkpoint(at, tensors))


def _finish(session: _Session, work: _Work, scores: dict[str, float]) -> None:
    """Write the stage's model file."""
    recipe, hook = session.recipe, hook_of(work.stage.objective)
    if hook:
        hook.finish(work.model)
    scores = scores or _test(session, work)
    if warning := learning_warning(scores, session.data):
        session.reporter.note(f"warning: stage {work.number + 1} ({work.stage.name}): {warning}")
    with as_they_will_be_used(work.model, work.teacher, compiled=session.options.compile):
        work.model.eval()
        if isinstance(work.model, ResidualAutoencoder):
            order_units(work.model, session.data.train.images)
        if drawn := work.stage.objective == "diffusion":
            assert isinstance(work.model, DiffusionEditor)
            standardise(work.model, session.data.train, session.data.attributes)
        labels_are_y = drawn or (hook is not None and hook.labels_are_y)
        info = describe(work.model, session.data, recipe=recipe.run_name, metrics=scores, labels_are_y=labels_are_y)
        if drawn and isinstance(session.judge, AttributeJudge):
            assert isinstance(work.model, DiffusionEditor)
            info = calibrated(info, work.model, session.data.train, session.judge, session.data.attributes)
    save_model(session.run.stage_file(work.number, recipe), work.model, info)


def _interrupted_anywhere(session: _Session, step: int) -> bool:
    """Whether any rank was interrupted. Ranks must stop after the same step, but asking after each would be slow."""
    if dist.size() > 1 and step % STEPS_BETWEEN_QUESTIONS:
        return False
    return dist.any_rank(session.interrupted.is_set())


def _labels(data: Dataset) -> Labels | None:
    """The kinds and frequencies of the attributes, or None if there are none."""
    y_bar = data.train.attributes
    if y_bar is None:
        return None
    continuous = torch.tensor([attribute.continuous for attribute in data.attributes], device=y_bar.device)
    return Labels(continuous, (y_bar > 0).sum(dim=0) / (~y_bar.isnan()).sum(dim=0))


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event, upon which the loop saves a checkpoint; a second one kills."""
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
