"""The residual student on MNIST: MSE and swap scores over the amount that it adds, one line per seed and amount.

python experiments/residual.py FOLDER [--held-out] [--seeds 0 1 2] [--out runs/residual]

FOLDER has MNIST's files. --held-out trains and judges on training images alone, which is what settings are chosen on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import jacsup
from jacsup.config import MNIST
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.metrics.images import reconstruction_mse
from jacsup.metrics.swap import get_judge, swap_scores
from jacsup.models import load
from jacsup.models.residual import ResidualAutoencoder
from jacsup.recipes import RECIPES
from jacsup.run import Run
from jacsup.tuning import hold_out

AMOUNTS = (1.0, 0.85, 0.7, 0.5)


def measure(seed: int, data: Dataset, out: Path) -> None:
    """Train a seed and print its scores."""
    judge = get_judge(data)
    assert judge
    run = Run(jacsup.train(replace(RECIPES["mnist-residual"], seed=seed), data, out / f"s{seed}"))
    seconds = sum(line["core_seconds"] for line in run.stats())
    teacher, model = load(run.stage_file(0)), load(run.path)
    first = swap_scores(teacher, data.test, judge)["swap_label"]
    print(f"seed {seed}: {seconds:.0f} core-seconds; first teacher: swap against labels {first:.3f}")
    assert isinstance(model, ResidualAutoencoder)
    for amount in AMOUNTS:
        student = model.with_amount(amount)
        error, scores = reconstruction_mse(student, data.test.images), swap_scores(student, data.test, judge)
        share = scores["swap_label"] / first
        swaps = f"{scores['swap_classifier']:.3f} / {scores['swap_label']:.3f}"
        print(
            f"seed {seed} amount {amount}: MSE {error:.4f}, swap {swaps}, {share:.1%} of the first teacher's",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/residual"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(MNIST(), given.folder)
    for number in given.seeds:
        measure(number, hold_out(dataset) if given.held_out else dataset, given.out)
