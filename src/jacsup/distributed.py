"""Train with several processes that share one batch, so that a recipe gives the same results on 1 or 64 devices.

Each rank has an equal share of the global batch, whose rows are in the order of ranks. With a single process, all
functions here do the same without communication.
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

# Smallest size of a message of gradients: large enough to be worth its latency, small enough to be sent early.
MESSAGE_BYTES = 8 * 2**20

# The other ranks wait while rank 0 prepares images or describes a stage's model.
LONGEST_WAIT = timedelta(days=2)

# The variables that torchrun sets for each of its processes. If only some are set, another program has set them.
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

# Two groups of processes: small messages between hosts must not wait for the devices, nor for gradients.
_control: Any = None
_gradients: Any = None


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that writes files and reports."""
    return rank() == 0


def num_started() -> int:
    """Number of processes that torchrun started, even if they have not joined yet."""
    return int(os.environ["WORLD_SIZE"]) if _by_torchrun() else 1


def is_first_started() -> bool:
    """Whether this is the first of the processes that torchrun started, which prints for all of them."""
    return not _by_torchrun() or os.environ["RANK"] == "0"


def _by_torchrun() -> bool:
    return all(os.environ.get(name) for name in TORCHRUN)


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started; do nothing without torchrun.

    Args:
        device: The device asked for.

    Yields:
        This process's own device.

    Raises:
        ValueError: There are fewer GPUs than processes.
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
    # With NCCL, messages of two groups must not be in flight at the same time.
    _gradients = dist.new_group() if device.type == "cpu" else None
    try:
        yield device
    except KeyboardInterrupt:
        _left()
        raise
    # Not after an error of only this rank: NCCL would wait for the others, which torchrun stops.
    _left()


def _left() -> None:
    global _control, _gradients
    _control = _gradients = None
    dist.destroy_process_group()


def _own_gpu(asked: torch.device) -> torch.device:
    number, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if asked.index is not None:
        raise ValueError(
            f"device is {asked} for {num_started()} processes; pass cuda, so that each process uses its own GPU"
        )
    if number >= there:
        started = os.environ["LOCAL_WORLD_SIZE"]
        raise ValueError(
            f"{started} processes were started on a machine with {there} GPUs; --nproc-per-node must be at most {there}"
        )
    return torch.device("cuda", number)


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """Let rank 0 go first, then one process of each other machine, so that the others find what these have prepared."""
    turn = 0 if is_main() else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for _ in range(turn):
        barrier()
    yield
    for _ in range(2 - turn):
        barrier()


def barrier() -> None:
    """Wait for all ranks."""
    if size() > 1:
        dist.barrier(_control)


def any_rank(flag: bool) -> bool:
    """Whether a flag is set on any rank. All ranks must call this."""
    if size() == 1:
        return flag
    word = torch.tensor(int(flag))
    dist.all_reduce(word, dist.ReduceOp.MAX, _control)
    return bool(word)


def require_same(numbers: Sequence[int], what: str) -> None:
    """Check that all ranks have the same numbers. All ranks must call this.

    Args:
        numbers: This rank's numbers.
        what: Name of the numbers, for the message.

    Raises:
        RuntimeError: They differ.
    """
    if size() == 1:
        return
    everyones = [torch.empty(len(numbers), dtype=torch.long) for _ in range(size())]
    dist.all_gather(everyones, torch.tensor(numbers), _control)
    if any(theirs.tolist() != list(numbers) for theirs in everyones):
        told = ", ".join(str(tuple(theirs.tolist())) for theirs in everyones)
        raise RuntimeError(f"{what} differs between processes ({told}); make sure that all read the same folder")


def require_divisible(batch_size: int) -> None:
    """Raise ValueError unless a batch can be divided evenly among the ranks."""
    if batch_size % size():
        raise ValueError(
            f"batch_size is {batch_size} for {size()} processes; it must be a multiple of their number: start another "
            "number of processes, or use --set stages.batch_size=..."
        )


def own(values: Tensor, dim: int = 0) -> Tensor:
    """Return this rank's rows of a global batch that all ranks have.

    Args:
        values: The global batch.
        dim: Dimension of the batch.
    """
    return values.chunk(size(), dim)[rank()]


def gather(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*gathered"]:
    """Return the rows (b, ...) of all ranks, in their order, as (b * size, ...); differentiable."""
    return _Gather.apply(values) if size() > 1 else values


def mean(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the mean of each number over all ranks; differentiable."""
    return _Mean.apply(values) if size() > 1 else values


def partners(
    values: Float[Tensor, "*shape"], swap_mask: Bool[Tensor, "*shape"] | None = None
) -> Float[Tensor, "*shape"]:
    """Apply `code.partners` to the global batch: the partner of a rank's first row is the previous rank's last row.

    Args:
        values: One row per image of this rank.
        swap_mask: Which values come from the partner; all by default.

    Returns:
        The partners' values, in the shape of `values`.
    """
    if size() == 1:
        return code.partners(values, swap_mask)
    last_rows = gather(values[-1:])
    theirs = torch.cat([last_rows[rank() - 1][None], values[:-1]])
    return theirs if swap_mask is None else torch.where(swap_mask, theirs, values)


def mean_gradients(
    loss: Float[Tensor, ""], weights: Sequence[Tensor], told: Float[Tensor, " n"]
) -> tuple[list[Tensor], Float[Tensor, " n"]]:
    """Average a loss's gradients over all ranks.

    Gradients are sent while the backward pass computes further ones; all ranks compute them in the same order.

    Args:
        loss: This rank's loss.
        weights: The weights to differentiate with respect to.
        told: Numbers to average along with the gradients.

    Returns:
        The mean gradients and the mean of `told`.
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
    """Copy rank 0's weights to all ranks, and let BatchNorm use the statistics of the global batch from now on."""
    if size() == 1:
        return
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, 0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.forward = partial(_batch_norm, module)  # pyright: ignore[reportAttributeAccessIssue]


def _batch_norm(norm: _BatchNorm, x: Float[Tensor, "b c *space"]) -> Float[Tensor, "b c *space"]:
    """BatchNorm with the statistics of all ranks' rows, through which gradients flow."""
    if not norm.training:
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    # Statistics are in float32, as in torch's own layer.
    given, x = x.dtype, x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
    axes = [0, *range(2, x.dim())]
    local = torch.stack([x.mean(axes), x.var(axes, unbiased=False)])
    # As all shares are equal, the variance of all rows is the mean of the variances plus the variance of the means.
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
        # The loss of every rank depends on these rows, so their gradient is the sum over ranks. mean_gradients later
        # averages the weights' gradients, which gives the gradient of the global loss.
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return own(gradient)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _mean(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        # The loss of every rank depends on these numbers through the mean, whose factor is 1 / size: the sum over ranks
        # times this factor is the mean of the gradients.
        return _mean(gradient)


def _mean(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values)
    return values / size()
