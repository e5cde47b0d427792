"""A whole training step as one CUDA graph: the GPU repeats it without waiting for Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.distributed import size
from jacsup.models import MLPAutoencoder
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
            self._warm_up()
            self._replay, self._losses = record(lambda: self._take_step(self._batch))
        given = _tensors(batch)
        for name, value in _tensors(self._batch).items():
            value.copy_(given[name])
        self._replay()
        return self._losses

    def _warm_up(self) -> None:
        """Leaves everything as it was, but for moments that start at zero and a rate that lies on the device."""
        before = {name: value.clone() for name, value in tensors_by_name(self._model, self._optimizer).items()}
        for _ in range(WARM_UP_STEPS):
            self._take_step(self._batch)
        for name, value in tensors_by_name(self._model, self._optimizer).items():
            value.detach().copy_(before.get(name, torch.zeros_like(value)))
        for group in self._optimizer.param_groups:
            group["capturable"], group["lr"] = True, torch.tensor(group["lr"], device=self._batch.x.device)


def waits_for_python(model: nn.Module) -> bool:
    """Whether the model's steps are so short on its device that Python takes most of the time."""
    return isinstance(model, MLPAutoencoder) and next(model.parameters()).is_cuda and size() == 1


def record(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """What repeats the work of `run`, and where its result will lie; recording does none of it."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph.replay, result


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if value is not None}
