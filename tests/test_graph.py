"""Steps that are recorded once and played back: their twin is the same step, taken by Python each time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import stop_after
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import jacsup
from jacsup.jsonable import set_field
from jacsup.run import Run
from jacsup.training import graph, loop

# A rate that changes from step to step.
DEBUG = set_field(jacsup.recipe("debug"), "stages.adam.schedule", "one-cycle")


class Tape(TorchDispatchMode):
    """Writes down every operation below autograd, and what the ones that write in place overwrite."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.overwritten: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                self.overwritten += [(each, each.clone()) for each in tree_leaves(value)]
        outputs = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, outputs))
        return outputs


def record_without_a_gpu(run: Callable[[], Tensor], stream: None) -> tuple[Callable[[], None], Tensor]:
    """What graph.record does: recording leaves no trace, and what is repeated are operations on the same memory.

    So whatever Python decided or computed while recording stays as it was.
    """
    with Tape() as tape:
        result = run()
    for value, before in reversed(tape.overwritten):
        value.detach().copy_(before)

    @torch.no_grad()
    def replay() -> None:
        for func, args, kwargs, outputs in tape.calls:
            for old, new in zip(tree_leaves(outputs), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)

    return replay, result


@pytest.fixture
def played_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "record", record_without_a_gpu)
    monkeypatch.setattr(graph, "side_stream", nullcontext)
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
