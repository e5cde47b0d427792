"""What only a GPU can show. These tests need none of the command line's packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_faces import small_photos

import jacsup
from jacsup.baselines.compare import Comparison, recipe_of
from jacsup.baselines.methods import METHODS
from jacsup.config import Digits
from jacsup.data import draws, load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES
from jacsup.run import Run

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")


@pytest.mark.parametrize("name", ["debug", "photos"])
def test_a_cuda_graph_takes_the_same_steps(tmp_path: Path, name: str) -> None:
    for how in ("compiled", "eager"):
        # In a process of its own: checks of shapes at every call cannot be compiled.
        command = [sys.executable, "-c", "import sys, test_gpu; test_gpu.train(*sys.argv[1:])", name, how]
        subprocess.run([*command, str(tmp_path / how)], check=True, cwd=Path(__file__).parent)
    compiled, eager = (Run(tmp_path / how).stats() for how in ("compiled", "eager"))
    assert len(compiled) == len(eager) > 3
    for played, taken in zip(compiled, eager, strict=True):
        for loss in {"rec", "pred", "test_mse"} & taken.keys():
            assert played[loss] == pytest.approx(taken[loss], rel=1e-3)


def train(name: str, how: str, out: str) -> None:
    """Train a small recipe on the GPU."""
    recipe = small_photos() if name == "photos" else set_field(RECIPES["debug"], "stages.adam.schedule", "one-cycle")
    jacsup.train(recipe, out=out, device=str(CUDA), compile=how == "compiled")


def test_noise_is_drawn_on_the_gpu_and_the_same_again() -> None:
    at = {"seed": 3, "stage": 1, "epoch": 2}
    first, again, other = (draws.noise((64, 3, 8, 8), CUDA, step=step, **at) for step in (0, 0, 1))
    assert first.is_cuda and first.equal(again) and not first.equal(other)
    assert abs(float(first.mean())) < 0.05 and float(first.std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("method", ["factor-vae", "pca-autoencoder"])
def test_training_a_peer_leaves_the_callers_random_state_alone(method: str) -> None:
    if method == "factor-vae":
        pytest.importorskip("pythae")
    digits = load_dataset(Digits())
    few = Dataset(digits.train.first(256), digits.test.first(100), Digits()).to(CUDA)
    fit = METHODS[method].training
    assert callable(fit)
    torch.cuda.manual_seed(99)
    before = torch.cuda.get_rng_state()
    fit(few, recipe_of(Comparison(recipe=RECIPES["digits"], codes=(3,), epochs=3, seeds=(0,)), method, 3, 0))
    assert torch.cuda.get_rng_state().equal(before)
