"""Many processes, one batch: what a rank must ask the others, so that a recipe means the same on 1 or 64 devices.

Each rank holds an equal share of the global batch, its rows in the order of ranks. Every function here is the plain
one where a single process runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from jacsup import code

# What one message holds at least: worth its delay, and on its way early.
MESSAGE_BYTES = 8 * 2**20

# The others wait while rank 0 prepares images or describes a stage's model.
LONGEST_WAIT = timedelta(days=2)

# Small words between hosts, which must not wait for the devices, and gradients, for which small messages must not wait.
_control: Any = None
_gradients: Any = None


def rank() -> int:
    """This process's number among all."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes and tells."""
    return rank() == 0


def num_started() -> int:
    """How many processes torchrun started, joined or not."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """This process among those that torchrun started, on its own device; alone without torchrun.

    Raises ValueError where not every process can have a GPU of its own.
    """
    global _control, _gradients
    if num_started() == 1:
        yield device
        return
    if device.type == "cuda":
        device = _own_gpu(device)
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    _control = dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
    # NCCL's messages of two groups may not be under way at once.
    _gradients = dist.new_group() if device.type == "cpu" else None
    try:
        yield device
    except KeyboardInterrupt:
        _left()
        raise
    # After an error of this rank alone the others do not leave: NCCL would wait for them, torchrun stops them.
    _left()


def _left() -> None:
    global _control, _gradients
    _control = _gradients = None
    dist.destroy_process_group()


def _own_gpu(asked: torch.device) -> torch.device:
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if asked.index is not None:
        raise ValueError(f"device is {asked} for {num_started()} processes; give cuda, and each takes one of its own")
    if number >= there:
        started = os.environ["LOCAL_WORLD_SIZE"]
        raise ValueError(
            f"{started} processes were started on a machine with {there} GPUs; --nproc-per-node may be up to {there}"
        )
    return torch.device("cuda", number)


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Lets rank 0 do it first, then one process of each other machine: what they download or prepare, the rest find."""
    turn = 0 if is_main() else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for _ in range(turn):
        barrier()
    yield
    for _ in range(2 - turn):
        barrier()


def barrier() -> None:
    """Waits for all ranks."""
    if size() > 1:
        dist.barrier(_control)


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank; all ranks must ask."""
    if size() == 1:
        return flag
    word = torch.tensor(int(flag))
    dist.all_reduce(word, dist.ReduceOp.MAX, _control)
    return bool(word)


def require_same(numbers: Sequence[int], what: str) -> None:
    """RuntimeError where ranks have different numbers; all ranks must ask."""
    if size() == 1:
        return
    everyones = [torch.empty(len(numbers), dtype=torch.long) for _ in range(size())]
    dist.all_gather(everyones, torch.tensor(numbers), _control)
    if any(theirs.tolist() != list(numbers) for theirs in everyones):
        told = ", ".join(str(tuple(theirs.tolist())) for theirs in everyones)
        raise RuntimeError(f"{what} differs between processes ({told}); let all of them read the same folder")


def require_divisible(batch_size: int) -> None:
    """ValueError where a batch cannot be shared out evenly."""
    if batch_size % size():
        raise ValueError(
            f"batch_size is {batch_size} for {size()} processes; it must be a multiple of their number: start fewer, "
            "or --set stages.batch_size=..."
        )


def own(values: Tensor, dim: int = 0) -> Tensor:
    """This rank's share of a global batch that all ranks know, which lies along `dim`."""
    return values.chunk(size(), dim)[rank()]


def gather(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*gathered"]:
    """The rows (b, ...) of all ranks, in their order, as (b * size, ...), with their gradients."""
    return _Gather.apply(values) if size() > 1 else values


def mean(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The mean of each number over all ranks, with its gradients."""
    return _Mean.apply(values) if size() > 1 else values


def partners(
    values: Float[Tensor, "*shape"], swap_mask: Bool[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """code.partners over the global batch: the partner of a rank's first row is the last row of the rank before."""
    if size() == 1:
        return code.partners(values, swap_mask)
    last_rows = gather(values[-1:])
    theirs = torch.cat([last_rows[rank() - 1][None], values[:-1]])
    return theirs if swap_mask is None else torch.where(swap_mask, theirs, values)


def mean_gradients(
    loss: Float[Tensor, ""], weights: Sequence[Tensor], told: Float[Tensor, " n"]
) -> tuple[list[Tensor], Float[Tensor, " n"]]:
    """The loss's gradients in the weights, and `told`, as means over all ranks.

    Gradients travel while the backward pass makes the next ones: all ranks make them in the same order.
    """
    if size() == 1:
        return list(torch.autograd.grad(loss, weights)), told
    messages = _Messages()
    hooks = [weight.register_hook(partial(messages.add, number)) for number, weight in enumerate(weights)]
    try:
        torch.autograd.grad(loss, weights)
    finally:
        for hook in hooks:
            hook.remove()
    messages.add(len(weights), told)
    *gradients, told = messages.means()
    return gradients, told


class _Messages:
    """Numbered tensors on their way to all ranks, several in one message."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Tensor]] = []
        self._sent: list[tuple[Any, Tensor, tuple[int, ...], list[torch.Size]]] = []

    def add(self, number: int, tensor: Tensor) -> None:
        self._waiting.append((number, tensor))
        if sum(each.nbytes for _, each in self._waiting) >= MESSAGE_BYTES:
            self._send()

    def means(self) -> list[Tensor]:
        self._send()
        means: dict[int, Tensor] = {}
        for work, flat, numbers, shapes in self._sent:
            work.wait()
            parts = flat.div_(size()).split([shape.numel() for shape in shapes])
            means |= {number: part.view(shape) for number, part, shape in zip(numbers, parts, shapes, strict=True)}
        return [means[number] for number in range(len(means))]

    def _send(self) -> None:
        if not self._waiting:
            return
        numbers, tensors = zip(*self._waiting, strict=True)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        self._sent.append(
            (dist.all_reduce(flat, group=_gradients, async_op=True), flat, numbers, [each.shape for each in tensors])
        )
        self._waiting = []


def synchronise(model: nn.Module) -> None:
    """From now on all ranks start from rank 0's weights, and BatchNorm sees the global batch."""
    if size() == 1:
        return
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, 0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_batch_norm, module)  # pyright: ignore[reportAttributeAccessIssue]


def _batch_norm(norm: _BatchNorm, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """BatchNorm whose statistics, and their gradients, are those of all ranks' rows together."""
    if not norm.training:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    # Statistics in float32, as torch's own layer keeps them.
    given, x = x.dtype, x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    axes = [0, *range(2, x.dim())]
    local = torch.stack([x.mean(axes), x.var(axes, unbiased=False)])
    # Shares are equal: the variance of all rows is the mean of variances plus the variance of means.
    means, variances = gather(local[None]).unbind(1)
    centre, variance = means.mean(0), variances.mean(0) + means.var(0, unbiased=False)
    _update(norm, centre.detach(), variance.detach(), size() * x.numel() // x.shape[1])
    scale = (variance + norm.eps).rsqrt()
    scale, shift = (scale * norm.weight, norm.bias) if norm.affine else (scale, torch.zeros_like(centre))
    shape = (1, -1, *[1] * (x.dim() - 2))
    return ((x - centre.view(shape)) * scale.view(shape) + shift.view(shape)).to(given)


def _update(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * count / (count - 1), norm.momentum)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        everyones = [torch.empty_like(values) for _ in range(size())]
        dist.all_gather(everyones, values.contiguous())
        return torch.cat(everyones)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Every rank's loss depends on these rows.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return own(gradient)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _mean(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # Every rank's loss depends on these numbers.
        return _mean(gradient)


def _mean(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values / size()
