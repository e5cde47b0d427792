"""What only a GPU can show. These tests need none of the command line's packages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_faces import small_photos

import jacsup
from jacsup.baselines.compare import Comparison, recipe_of
from jacsup.baselines.methods import METHODS
from jacsup.config import Digits, Recipe
from jacsup.data import draws, load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES
from jacsup.run import Run

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    "recipe",
    [set_field(RECIPES["debug"], "stages.adam.schedule", "one-cycle"), small_photos()],
    ids=["debug", "photos"],
)
def test_a_cuda_graph_takes_the_same_steps(tmp_path: Path, recipe: Recipe) -> None:
    runs = [Run(jacsup.train(recipe, out=tmp_path / str(how), device="cuda", compile=how)) for how in (True, False)]
    for played, taken in zip(*(run.stats() for run in runs), strict=True):
        for name in ("rec", "pred", "test_mse"):
            if name in taken:
                assert played[name] == pytest.approx(taken[name], rel=1e-3)


def test_noise_is_drawn_on_the_gpu_and_the_same_again() -> None:
    at = {"seed": 3, "stage": 1, "epoch": 2}
    first, again, other = (draws.noise((64, 3, 8, 8), CUDA, step=step, **at) for step in (0, 0, 1))
    assert first.is_cuda and first.equal(again) and not first.equal(other)
    assert abs(float(first.mean())) < 0.05 and float(first.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("method", ["factor-vae", "pca-autoencoder"])
def test_training_a_peer_leaves_the_callers_random_state_alone(method: str) -> None:
    digits = load_dataset(Digits())
    few = Dataset(digits.train.first(256), digits.test.first(100), Digits()).to(CUDA)
    train = METHODS[method].training
    assert callable(train)
    torch.cuda.manual_seed(99)
    before = torch.cuda.get_rng_state()
    train(few, recipe_of(Comparison(recipe=RECIPES["digits"], codes=(3,), epochs=3, seeds=(0,)), method, 3, 0))
    assert torch.cuda.get_rng_state().equal(before)
