"""A student step at code 16, batch 128, with oneDNN's linear layers and with torch's own, in turns in one process.

Usage: python benchmarks/linear_layers.py [threads]
"""

from __future__ import annotations

import statistics
import sys
import time

import torch
from torch import nn

from jacsup.config import MLP, Adam, Weights
from jacsup.models.linear import Linear
from jacsup.models.mlp import MLPAutoencoder
from jacsup.objectives import Batch, student
from jacsup.training.step import make_optimizer, train_step

ROUNDS, STEPS = 7, 100


def seconds_per_step(model: MLPAutoencoder, batch: Batch) -> float:
    optimizer = make_optimizer(model, Adam())
    start = time.perf_counter()
    for _ in range(STEPS):
        train_step(model, (student(Weights(), 15),), optimizer, batch)
    return (time.perf_counter() - start) / STEPS


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    model = MLPAutoencoder(MLP(), (1, 28, 28), 16).train()
    batch = Batch(torch.rand(128, 1, 28, 28), torch.rand(128, 15), torch.rand(128, 1, 28, 28))
    forwards = {"oneDNN": Linear.forward, "torch": nn.Linear.forward}
    times: dict[str, list[float]] = {name: [] for name in forwards}
    for _ in range(ROUNDS):
        for name, forward in forwards.items():
            Linear.forward = forward  # pyright: ignore[reportAttributeAccessIssue]
            times[name].append(seconds_per_step(model, batch))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"student step, code 16, batch 128, {torch.get_num_threads()} threads, median of {ROUNDS} x {STEPS} steps")
    for name, value in medians.items():
        print(f"{name:>7}  {1000 * value:6.2f} ms")
    print(f"  ratio  {medians['torch'] / medians['oneDNN']:6.2f}")


if __name__ == "__main__":
    main()
