"""What a user adds without editing the package: here in the test itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import jacsup
from jacsup.config import DataConfig, Recipe
from jacsup.data import DATA_SETS, Dataset, DatasetSpec, load_dataset
from jacsup.data.dataset import Split
from jacsup.evaluate import evaluate
from jacsup.hub import card
from jacsup.jsonable import from_dict, to_dict
from jacsup.models import load_info
from jacsup.recipes import RECIPES
from jacsup.run import Run


@dataclass(frozen=True, kw_only=True)
class Stripes(DataConfig):
    """Horizontal stripes."""

    num_images: int = 40


def load_stripes(config: Stripes, root: Path | None) -> Dataset:
    values = torch.linspace(0, 255, config.num_images * 8).to(torch.uint8).reshape(-1, 1, 8, 1)
    images = values.expand(-1, 1, 8, 8).contiguous()
    return Dataset(Split(images[10:]), Split(images[:10]), config, notes=("these stripes are not official",))


STRIPES = DatasetSpec(
    load=load_stripes, description=lambda config: f"{config.num_images} striped images", license="mit"
)


def test_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATA_SETS, Stripes, STRIPES)
    debug = RECIPES["debug"]
    stage = replace(debug.stages[0], epochs=1, batch_size=10)
    recipe = replace(debug, name="stripes", data=Stripes(num_images=30), stages=(stage,))
    assert to_dict(recipe)["data"] == {"type": "Stripes", "num_images": 30}
    assert from_dict(Recipe, to_dict(recipe)) == recipe

    out = jacsup.train(recipe, out=tmp_path / "run")
    assert Run(out).recipe == recipe
    assert load_info(out).data == recipe.data
    assert jacsup.load(out).image_shape == (1, 8, 8)
    assert evaluate(out)["mse"] > 0
    text = card(out, "me/stripes")
    assert "license: mit" in text and "Data: 30 striped images." in text


def test_a_data_set_without_an_entry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Stripes is not a known data set; add it to jacsup.data.DATA_SETS"):
        load_dataset(Stripes())
