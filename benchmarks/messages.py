"""A student step on many ranks: gradients sent during the backward pass, after it, and not at all; in turns.

Usage: torchrun --nproc-per-node 2 benchmarks/messages.py [--device cpu|cuda] [--quick]
"""

from __future__ import annotations

import argparse
from unittest.mock import patch

import torch
from steps import Case, Steps, Student, faces, mnist, seconds_per_step
from torch import Tensor

from jacsup import distributed


def local_gradients(loss: Tensor, weights: list[Tensor], told: Tensor) -> tuple[list[Tensor], Tensor]:
    return list(torch.autograd.grad(loss, weights)), told


def as_set(name: str, value: object, steps: Steps) -> Steps:
    """The steps with one name of jacsup.distributed replaced."""

    def run(count: int) -> None:
        with patch.object(distributed, name, value):
            steps(count)

    return run


def measure(title: str, case: Case, count: int, rounds: int, device: torch.device) -> None:
    student = Student(case, device)
    distributed.synchronise(student.model)
    steps = student.ours()
    candidates = {
        "overlapped": steps,
        "at the end": as_set("MESSAGE_BYTES", 2**62, steps),
        "without": as_set("mean_gradients", local_gradients, steps),
    }
    seconds = seconds_per_step(candidates, count, rounds)
    if distributed.is_main():
        mib = sum(weight.numel() for weight in student.model.parameters()) * 4 / 2**20
        times = "".join(f"{name:>12} {1000 * value:8.2f} ms" for name, value in seconds.items())
        print(f"{title:<16}{mib:6.1f} MiB of gradients{times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small images and batches, one step each")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    quick = arguments.quick
    small, large, small_batch, large_batch = (32, 64, 2, 2) if quick else (64, 256, 128, 16)
    num_images, count, rounds = (256, 1, 1) if quick else (60_000, 100, 7)
    torch.set_num_threads(1)
    with distributed.joined(torch.device(arguments.device)) as device:
        if distributed.is_main():
            print(f"{distributed.size()} ranks")
        measure("MNIST, code 16", mnist(16, num_images), count, rounds, device)
        for size, batch in ((small, small_batch), (large, large_batch)):
            measure(f"faces, {size}x{size}", faces(size, batch_size=batch), 1, rounds, device)


if __name__ == "__main__":
    main()
