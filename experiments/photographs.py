"""The residual student on photographs: CelebA at 64x64, 8 epochs after one teacher B; one line per seed and model.

python experiments/photographs.py FOLDER [--validation] [--seeds 0 1 2] [--out runs/photographs]

FOLDER has CelebA's files. --validation scores the validation photographs, which settings are chosen on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import jacsup
from jacsup.config import CelebA, Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.metrics.attribute_judge import get_attribute_judge
from jacsup.metrics.attributes import accuracy_at_equal_disturbance, edit_scores, stored_means
from jacsup.metrics.images import reconstruction_scores
from jacsup.models import load, load_info
from jacsup.models.residual import ResidualAutoencoder
from jacsup.recipes import RECIPES, with_arm

EPOCHS = (6, 10, 4, 4)
AMOUNTS = (1.0, 0.7, 0.5)


def recipe_of(seed: int, num_shortened: int = len(EPOCHS)) -> Recipe:
    """celeba64 with fewer epochs in its first stages. What is measured while it trains are validation photographs."""
    recipe = replace(RECIPES["celeba64"], seed=seed, data=CelebA(judged_on="validation"))
    for number, epochs in enumerate(EPOCHS[:num_shortened]):
        recipe = set_field(recipe, f"stages.{number}.epochs", epochs)
    return recipe


def measure(seed: int, data: Dataset, folder: Path, out: Path) -> None:
    """Train the models of a seed and print their scores on the test images of the data."""
    recipe, judge = recipe_of(seed), get_attribute_judge(data)
    assert judge
    b = jacsup.train(recipe_of(seed, 2), out=out / "b", num_stages=2, data_root=str(folder))
    arms = {"exact": with_arm(recipe, "exact"), "reconstruction": with_arm(recipe, "reconstruction"), "eq9": recipe}
    runs = {name: jacsup.train(arm, out=out / name, init=b, data_root=str(folder)) for name, arm in arms.items()}
    for name, run in {"b": b, **runs}.items():
        model, means = load(run), stored_means(load_info(run).factors)
        for amount in AMOUNTS if isinstance(model, ResidualAutoencoder) else (1.0,):
            scored = model.with_amount(amount) if isinstance(model, ResidualAutoencoder) else model
            images = reconstruction_scores(scored, data.test.images)
            edits = edit_scores(scored, data.test, judge, data.attributes, means)
            accuracy = " / ".join(f"{value:.3f}" for value in edits["accuracy"][1:])
            print(
                f"seed {seed} {name} amount {amount}: PSNR {images['psnr']:.2f}, SSIM {images['ssim']:.3f}, "
                f"edit accuracy {accuracy}, changed at 2 {edits['preservation_error'][2]:.3f}, "
                f"at equal disturbance {accuracy_at_equal_disturbance(edits):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/photographs"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load_dataset(CelebA(judged_on="validation" if given.validation else "test"), given.folder)
    for number in given.seeds:
        measure(number, dataset, given.folder, given.out / f"s{number}")
