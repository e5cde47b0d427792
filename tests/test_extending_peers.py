"""A peer is one file with a training function and one entry in the table of methods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from jacsup.baselines.compare import COMPARISONS, all_results, run_comparison
from jacsup.baselines.fit import fit, own_random_state
from jacsup.baselines.frontier import write_comparison
from jacsup.baselines.methods import METHODS, Method
from jacsup.code import to_float
from jacsup.config import Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.losses import reconstruction
from jacsup.models import Model, build
from jacsup.training.step import make_adam


def train_denoising(data: Dataset, recipe: Recipe) -> Model:
    """A toy peer: an autoencoder that removes noise from its images."""
    stage = recipe.stages[-1]
    with own_random_state(data, recipe.seed):
        model = build(recipe.model, data.image_shape, stage.num_units, normalized=False).train()
        optimizer = make_adam([*model.parameters()], stage.adam)

        def step(x: Tensor, _index: Tensor) -> Tensor:
            loss = reconstruction(x, model.decode(model.encode(x + 0.1 * torch.randn_like(x))))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach()

        fit(data, stage, recipe.seed, 0, optimizer, step, lambda pixels: to_float(pixels, recipe.model.value_range))
    return model.eval()


def test_a_peer_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Method(
        key="denoising",
        label="denoising autoencoder",
        training=train_denoising,
        settings={"noise": 0.1},
        exception="the denoising autoencoder sees noisy images",
    )
    monkeypatch.setitem(METHODS, peer.key, peer)
    comparison = replace(COMPARISONS["digits"], codes=(2,), epochs=4, seeds=(0,))
    data = load_dataset(comparison.recipe.data)
    results = list(run_comparison(comparison, data, tmp_path, ["pca", "denoising"], device="cpu"))
    assert [each["method"] for each in results] == ["pca", "denoising"]
    assert all_results(comparison, data, tmp_path) == results
    assert 0 < results[1]["mse"] < 0.2 and results[1]["images_seen"] == 5888
    page = write_comparison(tmp_path, "digits", comparison.labels, results, "jacsup compare digits").read_text()
    assert "denoising autoencoder" in page and "sees noisy images" in page
    # Other settings are another result.
    monkeypatch.setitem(METHODS, peer.key, replace(peer, settings={"noise": 0.2}))
    assert [each["method"] for each in all_results(comparison, data, tmp_path)] == ["pca"]
