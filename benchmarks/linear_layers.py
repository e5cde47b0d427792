"""MNIST's student step at code 16 with oneDNN's linear layers and with torch's own, in turns in one process.

Usage: python benchmarks/linear_layers.py [threads]
"""

from __future__ import annotations

import sys

import torch
from steps import Steps, Student, mnist, seconds_per_step

from jacsup.models import linear

STEPS = 100


def with_products_of(onednn: bool, step: Steps) -> Steps:
    def run(count: int) -> None:
        linear.ONEDNN = onednn
        step(count)

    return run


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
    step = Student(mnist(16), torch.device("cpu")).ours()
    candidates = {"oneDNN": with_products_of(True, step), "torch": with_products_of(False, step)}
    seconds = seconds_per_step(candidates, STEPS)
    print(f"MNIST student step, code 16, batch 128, {torch.get_num_threads()} threads, median of 7 x {STEPS} steps")
    for name, value in seconds.items():
        print(f"{name:>7}  {1000 * value:6.2f} ms")
    print(f"  ratio  {seconds['torch'] / seconds['oneDNN']:6.2f}")


if __name__ == "__main__":
    main()
