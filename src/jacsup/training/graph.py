"""A whole training step as one CUDA graph: the GPU repeats it without waiting for Python."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup import distributed as dist
from jacsup.models.mlp import MLPAutoencoder
from jacsup.objectives import Batch
from jacsup.training.state import tensors_by_name

# Steps that let the libraries choose their algorithms, which they cannot while a graph is recorded.
WARM_UP_STEPS = 3


class CapturedStep:
    """`take_step`, recorded at the first batch and played back for that and all later ones, whose shapes are the same.

    It must train `model` with `optimizer`, draw no random numbers and read nothing from the device; what it returns is
    overwritten by the next call.
    """

    def __init__(self, take_step: Callable[[Batch], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer):
        self._take_step, self._model, self._optimizer = take_step, model, optimizer
        self._replay: Callable[[], None] | None = None

    def __call__(self, batch: Batch) -> Float[Tensor, " terms"]:
        """One step; the losses before it."""
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
        """Leaves everything as it was, but for moments that start at zero and a rate that lies on the device."""
        before = {name: value.clone() for name, value in tensors_by_name(self._model, self._optimizer).items()}
        for group in self._optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=self._batch.x.device)
        for _ in range(WARM_UP_STEPS):
            self._take_step(self._batch)
        for name, value in tensors_by_name(self._model, self._optimizer).items():
            value.copy_(before.get(name, torch.zeros_like(value)))
        for group in self._optimizer.param_groups:
            group["capturable"] = True


def waits_for_python(model: nn.Module) -> bool:
    """Whether the model's steps are so short on its device that Python takes most of the time."""
    return isinstance(model, MLPAutoencoder) and next(model.parameters()).is_cuda and dist.size() == 1


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[Any]:
    """A stream of its own on the device, where a graph is to be recorded, and nothing that runs before is missed."""
    with torch.cuda.device(device):
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            yield stream
        torch.cuda.current_stream(device).wait_stream(stream)


def record(run: Callable[[], Tensor], stream: Any) -> tuple[Callable[[], None], Tensor]:
    """What repeats the work of `run`, and where its result will lie; recording does none of it."""
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on with what a recording thread may not do: they read images ahead.
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        result = run()
    return graph.replay, result


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}
