"""Checkpoints: one file with everything that a bit-exact resume needs."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from jacsup.atomic import naming, sync_folder, write_atomically
from jacsup.bounded import refusing
from jacsup.jsonable import from_dict

# The message about a complete checkpoint that another run has written.
UNFIT = "not a checkpoint of this run; delete it to continue from the last finished stage"


@dataclass(frozen=True, kw_only=True)
class Position:
    """Progress of a run: `step` batches of epoch `epoch` in stage `stage` are done, after `seconds` of the epoch."""

    stage: int
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """A position, and the weights, moments and losses at it."""

    position: Position
    tensors: dict[str, Tensor]


def tensors_by_name(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the model's weights and the optimizer's moments, without copying them."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for weight_name, weight in model.named_parameters():
        tensors |= {f"adam.{weight_name}.{name}": value for name, value in optimizer.state[weight].items()}
    return tensors


def capture(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copy the model's weights and the optimizer's moments to the CPU."""
    tensors = tensors_by_name(model, optimizer)
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def restore(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Set the weights and moments that `capture` returned.

    Raises:
        ValueError: The tensors do not fit the model.
    """
    prefix = "model."
    for name, weight in model.named_parameters():
        expected = {"step": torch.Size(), "exp_avg": weight.shape, "exp_avg_sq": weight.shape}
        moments = {moment: tensors[key] for moment in expected if (key := f"adam.{name}.{moment}") in tensors}
        if moments and any(moments[moment].shape != shape for moment, shape in expected.items()):
            raise ValueError(f"the moments of {name} have another shape than its weights")
        if any(value.dtype != weight.dtype for moment, value in moments.items() if moment != "step"):
            raise ValueError(f"the moments of {name} have another data type than its weights")
    model.load_state_dict({name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)})
    for weight_name, weight in model.named_parameters():
        names = [name for name in tensors if name.rpartition(".")[0] == f"adam.{weight_name}"]
        optimizer.state[weight] = {name.rpartition(".")[2]: tensors[name].to(weight.device) for name in names}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint and keep the previous one as `.prev`. A full disk leaves both as they were."""
    position = json.dumps(asdict(checkpoint.position))
    metadata = {"position": position, "sha256": _digest(position, checkpoint.tensors)}
    fresh = path.with_name(f"{path.name}.new")
    with naming(path):
        write_atomically(fresh, save(checkpoint.tensors, metadata))
        if path.exists():
            os.replace(path, _previous(path))
        os.replace(fresh, path)
    sync_folder(path.parent)


class Saver:
    """Writes checkpoints in the background, one at a time; leaving the context waits for the last one.

    An error while writing is raised by the next call, or on leaving.
    """

    def __init__(self, path: Path):
        self._path, self._writer = path, ThreadPoolExecutor(1)
        self._last: Future[None] | None = None

    def save(self, checkpoint: Checkpoint) -> None:
        """Start writing as soon as the previous checkpoint is written. The tensors must not change afterwards."""
        self._wait()
        self._last = self._writer.submit(save_checkpoint, self._path, checkpoint)

    def _wait(self) -> None:
        if self._last:
            last, self._last = self._last, None
            last.result()

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            self._writer.shutdown()
        except KeyboardInterrupt:
            # Wait, because the next process that locks the folder would delete the unfinished file.
            self._writer.shutdown()
            raise
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self._wait()


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Return the newest undamaged checkpoint, or None if there is none."""
    for candidate in (path, _previous(path)):
        checkpoint = _read(candidate)
        if checkpoint:
            return checkpoint
    return None


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.prev")


def _read(path: Path) -> Checkpoint | None:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            # Copied, because Windows does not replace a file that is mapped into memory.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}
    except (FileNotFoundError, SafetensorError):
        return None
    if "position" not in metadata or metadata.get("sha256") != _digest(metadata["position"], tensors):
        return None
    with refusing(path, UNFIT):
        return Checkpoint(from_dict(Position, json.loads(metadata["position"]), "position"), tensors)


def _digest(position: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(position.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
