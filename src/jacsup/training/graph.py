"""Capture a whole training step as one CUDA graph, which the GPU replays without waiting for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup import distributed as dist
from jacsup.models import Model
from jacsup.objectives import Batch
from jacsup.training.state import tensors_by_name

# Steps in which libraries choose their algorithms; they cannot do this while a graph is recorded.
WARM_UP_STEPS = 3


class CapturedStep:
    """A step that is recorded with the first batch and replayed for it and for all later batches of the same shapes.

    Args:
        take_step: The step, a function of a batch. It must not draw random numbers nor read from the device; the next
            call overwrites what it returns.
        model: The model that it trains.
        optimizer: The optimizer that it uses.
    """

    def __init__(self, take_step: Callable[[Batch], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer):
        self._take_step, self._model, self._optimizer = take_step, model, optimizer
        self._replay: Callable[[], None] | None = None

    def __call__(self, batch: Batch) -> Float[Tensor, " terms"]:
        """Take one step and return its losses."""
        if self._replay is None:
            self._batch = Batch(**{name: value.clone() for name, value in _tensors(batch).items()})
            with side_stream(batch.x.device) as stream:
                self._warm_up()
                self._replay, self._losses = record(lambda: self._take_step(self._batch), stream)
        given = _tensors(batch)
        for name, value in _tensors(self._batch).items():
            value.copy_(given[name])
        self._replay()
        return self._losses

    def _warm_up(self) -> None:
        """Take a few steps and undo them, so that a graph can be recorded.

        A graph replays fixed addresses and constants. So the optimizer's moments, which its first step creates, must
        exist; the learning rate must be a tensor on the device, because a number would stay constant; and the libraries
        must have chosen their algorithms. Weights and moments are then restored in place: moments that did not exist
        before start at zero, as in a step without a graph.
        """
        before = {name: value.clone() for name, value in tensors_by_name(self._model, self._optimizer).items()}
        for group in self._optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=self._batch.x.device)
        for _ in range(WARM_UP_STEPS):
            self._take_step(self._batch)
        for name, value in tensors_by_name(self._model, self._optimizer).items():
            value.copy_(before.get(name, torch.zeros_like(value)))
        # Not earlier: outside of a recording, steps of a capturable optimizer wait for the device.
        for group in self._optimizer.param_groups:
            group["capturable"] = True


def waits_for_python(model: Model) -> bool:
    """Return whether a step of the model on its device is so short that Python takes most of the time."""
    return model.launch_bound and next(model.parameters()).is_cuda and dist.size() == 1


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[Any]:
    """A separate stream on the device for recording a graph; it waits for earlier work, and later work waits for it."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield stream
        torch.cuda.current_stream(device).wait_stream(stream)


def record(run: Callable[[], Tensor], stream: Any) -> tuple[Callable[[], None], Tensor]:
    """Record the work of `run` without doing it; return a function that replays it, and the tensor of its result."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on reading images; only calls of the recording thread are restricted.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        result = run()
    return graph.replay, result


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}
