"""Report the progress of training: the progress bar, stats.jsonl and TensorBoard."""

from __future__ import annotations

import json
import os
import sys
from types import TracebackType
from typing import Any

import torch

from jacsup import distributed as dist
from jacsup.atomic import write_atomically
from jacsup.config import Recipe, Stage
from jacsup.run import Run

try:
    import resource
except ModuleNotFoundError:
    # Windows has none.
    resource = None


def cut_stats(run: Run, stage: int, epoch: int) -> None:
    """Remove the lines of stats.jsonl from (stage, epoch) on, which will be written again."""
    kept = [line for line in run.stats() if (line["stage"], line["epoch"]) < (stage, epoch)]
    write_atomically(run.stats_file, "".join(json.dumps(line) + "\n" for line in kept).encode())


class Reporter:
    """Writes each epoch's losses and scores to stats.jsonl, to the terminal and, if asked to, to TensorBoard.

    A terminal shows one live bar for the whole curriculum; a log file gets one plain line per epoch. If there are
    several processes, only the first one reports.

    Args:
        run: The run.
        recipe: Its recipe.
        num_stages: How many stages are trained.
        tensorboard: Whether to write TensorBoard event files.
    """

    def __init__(self, run: Run, recipe: Recipe, num_stages: int, *, tensorboard: bool):
        self._run, self._num_stages = run, num_stages
        self._total = [stage.epochs for stage in recipe.stages[:num_stages]]
        self._bar: Any = None
        self._writer: Any = None
        self._silent = not dist.is_main()
        if tensorboard and not self._silent:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(run.path / "tensorboard")

    def __enter__(self) -> Reporter:
        if sys.stderr.isatty() and not self._silent:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            # The time left follows from the speed of the last minutes, as later stages may cost more than the first.
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}"),
                console=Console(stderr=True),
                speed_estimate_period=180,
            )
            self._task = self._bar.add_task("starting", total=sum(self._total), losses="")
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._bar:
            self._bar.stop()
        if self._writer:
            self._writer.close()

    def status(self, number: int, stage: Stage, epoch: int, share: float, losses: dict[str, float]) -> None:
        """Move the bar and show the latest losses.

        Args:
            number: Number of the stage, from 0.
            stage: The stage.
            epoch: Number of the epoch within the stage, from 0.
            share: Share of the epoch that is done.
            losses: The latest losses by name.
        """
        if self._bar:
            self._bar.update(
                self._task,
                completed=sum(self._total[:number]) + epoch + share,
                description=f"stage {number + 1}/{self._num_stages} {stage.name}, epoch {epoch + 1}/{stage.epochs}",
                losses=_format(losses),
            )

    def epoch(self, line: dict[str, Any]) -> None:
        """Record a finished epoch.

        Args:
            line: The line for stats.jsonl.
        """
        if self._silent:
            return
        with open(self._run.stats_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        values = {name: value for name, value in line.items() if isinstance(value, float)}
        if self._writer:
            step = sum(self._total[: line["stage"]]) + line["epoch"]
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        if not self._bar:
            where = f"stage {line['stage'] + 1}/{self._num_stages} {line['name']} epoch {line['epoch'] + 1}"
            print(f"{where}: {_format(values)}", flush=True)

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar:
            self._bar.console.print(text, markup=False)
        elif not self._silent:
            print(text, flush=True)


def _format(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in values.items())


def peak_memory(device: torch.device) -> float:
    """Return the peak memory in MiB: of the tensors on a GPU, else of the process; 0 if the system cannot tell."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
