"""A student step on many ranks: gradients sent during the backward pass, after it, and not at all; in turns.

Usage: torchrun --nproc-per-node 2 benchmarks/messages.py
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import torch
from steps import Case, Steps, Student, faces, mnist, seconds_per_step
from torch import Tensor

from jacsup import distributed
from jacsup.training import step


def alone(loss: Tensor, weights: list[Tensor], told: Tensor) -> tuple[list[Tensor], Tensor]:
    return list(torch.autograd.grad(loss, weights)), told


def as_set(module: Any, name: str, value: object, steps: Steps) -> Steps:
    """The steps with one name of a module replaced."""

    def run(count: int) -> None:
        with patch.object(module, name, value):
            steps(count)

    return run


def measure(title: str, case: Case, count: int, device: torch.device) -> None:
    student = Student(case, device)
    distributed.synchronise(student.model)
    steps = student.ours()
    seconds = seconds_per_step({
        "overlapped": steps,
        "at the end": as_set(distributed, "MESSAGE_BYTES", 2**62, steps),
        "without": as_set(step, "mean_gradients", alone, steps),
    }, count)  # fmt: skip
    if distributed.is_main():
        mib = sum(weight.numel() for weight in student.model.parameters()) * 4 / 2**20
        times = "".join(f"{name:>12} {1000 * value:8.2f} ms" for name, value in seconds.items())
        print(f"{title:<16}{mib:6.1f} MiB of gradients{times}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    with distributed.joined(torch.device("cuda" if torch.cuda.is_available() else "cpu")) as device:
        if distributed.is_main():
            print(f"{distributed.size()} ranks")
        measure("MNIST, code 16", mnist(16), 100, device)
        measure("faces, 64x64", faces(64), 1, device)
        measure("faces, 256x256", faces(256, batch_size=16), 1, device)


if __name__ == "__main__":
    main()
