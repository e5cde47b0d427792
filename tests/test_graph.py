"""Steps that are recorded once and played back: their twin is the same step, taken by Python each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from crashes import stop_after
from torch import Tensor

import jacsup
from jacsup.run import Run
from jacsup.training import graph, loop

DEBUG = jacsup.recipe("debug")


def record_without_a_gpu(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """graph.record to the letter: nothing happens at first, later runs know only the tensors of the first one."""
    result = torch.empty(0)

    def replay() -> None:
        values = run()
        result.resize_(values.shape).copy_(values)

    return replay, result


@pytest.fixture
def played_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "record", record_without_a_gpu)
    monkeypatch.setattr(loop, "waits_for_python", lambda model: True)
    # What is compiled below the graph is another test's; checks of shapes at every call cannot be.
    monkeypatch.setattr(loop, "speed_up", lambda *arguments, **options: None)


def curve(folder: Path) -> list[tuple[float, float]]:
    return [(line["rec"], line["test_mse"]) for line in Run(folder).stats()]


def compare(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> None:
    assert len(ours) == len(theirs) > 3
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_recording_changes_neither_weights_nor_moments_nor_losses(tmp_path: Path, played_back: None) -> None:
    compare(
        curve(jacsup.train(DEBUG, out=tmp_path / "played", compile=True)),
        curve(jacsup.train(DEBUG, out=tmp_path / "taken")),
    )


def test_a_recorded_run_goes_on_with_its_moments(
    tmp_path: Path, played_back: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(20, DEBUG, tmp_path / "played", monkeypatch)
    jacsup.train(DEBUG, out=tmp_path / "played", compile=True)
    compare(curve(tmp_path / "played"), curve(jacsup.train(DEBUG, out=tmp_path / "taken")))


def test_layers_that_keep_a_processor_busy_are_not_recorded() -> None:
    model = jacsup.models.build(DEBUG.model, (1, 8, 8), 2, normalized=True)
    assert not graph.waits_for_python(model)


@pytest.mark.gpu
def test_a_cuda_graph_takes_the_same_steps(tmp_path: Path) -> None:
    compare(
        curve(jacsup.train(DEBUG, out=tmp_path / "played", device="cuda", compile=True)),
        curve(jacsup.train(DEBUG, out=tmp_path / "taken", device="cuda")),
    )
