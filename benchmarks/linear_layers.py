"""MNIST's student step at code 16 with oneDNN's linear layers and with torch's own, in turns in one process.

Usage: python benchmarks/linear_layers.py [--threads N] [--quick]
"""

from __future__ import annotations

import argparse

import torch
from steps import Steps, Student, mnist, seconds_per_step

from jacsup.models import linear


def with_products_of(onednn: bool, step: Steps) -> Steps:
    def run(count: int) -> None:
        linear.ONEDNN = onednn
        step(count)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few images, one step")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    num_images, steps, rounds = (256, 1, 1) if arguments.quick else (60_000, 100, 7)
    step = Student(mnist(16, num_images), torch.device("cpu")).ours()
    candidates = {"oneDNN": with_products_of(True, step), "torch": with_products_of(False, step)}
    seconds = seconds_per_step(candidates, steps, rounds)
    print(
        f"MNIST student step, code 16, batch 128, {torch.get_num_threads()} threads, median of {rounds} x {steps} steps"
    )
    for name, value in seconds.items():
        print(f"{name:>7}  {1000 * value:6.2f} ms")
    print(f"  ratio  {seconds['torch'] / seconds['oneDNN']:6.2f}")


if __name__ == "__main__":
    main()
