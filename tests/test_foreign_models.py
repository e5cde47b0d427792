"""Models that this package has never seen: an ordered code and attributes with a nuisance part, judged and drawn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import jacsup
from jacsup import evaluate as evaluation
from jacsup.code import Code
from jacsup.config import Digits
from jacsup.data import load_dataset
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset, Split
from jacsup.evaluate import evaluate
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.attributes import stored_means
from jacsup.metrics.scores import ModelScores
from jacsup.models import Autoencoder, num_parameters
from jacsup.report.attribute_plots import Painter, draw_attributes
from jacsup.report.unit_plots import draw_factor_grid, draw_units

KEYS = set(ModelScores.__annotations__)
OF_UNITS = {
    "swap_classifier",
    "swap_label",
    "jacobian_error_first_teacher",
    "prefix_mse",
    "drop_per_unit",
    "energy_per_unit",
    "energy_monotony",
    "factor_scores",
}
OF_ATTRIBUTES = {
    "edit",
    "edit_all",
    "accuracy_at_equal_disturbance",
    "edit_pasted",
    "pasted_at_equal_disturbance",
    "change_outside",
    "counterfactual_gain",
    "counterfactual_gain_full",
    "identity_drift",
    "attributes",
}


class Lines(nn.Module):
    """An ordered code: three random projections, with dropout that eval mode takes off."""

    num_units = code_size = 3
    image_shape = (1, 8, 8)
    value_range = (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.dropout = nn.Linear(64, 3), nn.Linear(3, 64), nn.Dropout()

    def encode(self, x: Tensor) -> Code:
        return Code.of_units(self.down(self.dropout(x.flatten(1))))

    def decode(self, code: Code) -> Tensor:
        return self.up(code.y).unflatten(1, (1, 8, 8))


class Shades(nn.Module):
    """Attributes and z, without a parameter: how light the left and the right half are, and the rest of the image."""

    num_units, code_size = 2, 2 + 3 * 32 * 32
    image_shape = (3, 32, 32)
    value_range = (-1.0, 1.0)

    def encode(self, x: Tensor) -> Code:
        y = torch.stack([x[..., :16].mean(dim=(1, 2, 3)), x[..., 16:].mean(dim=(1, 2, 3))], dim=1)
        return Code(y, (x - self.shades(y)).flatten(1))

    def decode(self, code: Code) -> Tensor:
        return code.z.unflatten(1, (3, 32, 32)) + self.shades(code.y)

    def shades(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(16, dim=1)[:, None, None]


class Halves(nn.Module):
    """Above 0 where the left, the right half is light."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.stack([half.mean(dim=(1, 2, 3)) - 0.5 for half in pixels.split(16, dim=3)], dim=1)


class Alone:
    """A model that is no module at all: the mean of an image."""

    num_units = code_size = 1
    image_shape = (1, 8, 8)
    value_range = (0.0, 1.0)

    def encode(self, x: Tensor) -> Code:
        return Code.of_units(x.mean(dim=(2, 3)))

    def decode(self, code: Code) -> Tensor:
        return code.y[:, :, None, None].expand(-1, 1, 8, 8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(Digits())


@pytest.fixture(scope="module")
def shaded() -> Dataset:
    """Noise whose left and right halves are light or dark."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (60, 2), generator=generator) * 2.0 - 1
    images = torch.randint(100, 156, (60, 3, 32, 32), generator=generator) + 60 * Shades().shades(labels)
    split = Split(images.to(torch.uint8), None, labels)
    return Dataset(split.first(40), split.rows(slice(40, None)), Digits(), (Attribute(name="a"), Attribute(name="b")))


def test_an_ordered_code_has_all_scores_of_units(digits: Dataset) -> None:
    model = Lines()
    assert isinstance(model, Autoencoder)
    model.dropout.eval()
    modes = [module.training for module in model.modules()]
    scores = evaluate(model, digits)
    assert [module.training for module in model.modules()] == modes == [True, True, True, False]
    assert set(scores) == KEYS - OF_ATTRIBUTES
    nothing = {"jacobian_error", "jacobian_error_first_teacher", "finite_difference_error", "factor_scores"}
    assert {name for name, value in scores.items() if value is None} == nothing
    assert scores["num_parameters"] == 64 * 3 + 3 + 3 * 64 + 64
    model.train()
    assert evaluate(model, digits) == scores, "dropout is off"


def test_attributes_have_all_scores_of_attributes(shaded: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = AttributeJudge(Halves(), (1.0,) * 2, (1.0,) * 2, (1.0,) * 2)
    monkeypatch.setattr(evaluation, "get_attribute_judge", lambda data: judge)
    scores: Any = evaluate(Shades(), shaded)
    assert set(scores) == KEYS - OF_UNITS
    assert scores["num_parameters"] == num_parameters(Shades()) == 0
    assert scores["mse"] < 1e-9
    assert scores["edit"]["accuracy"][2] == 1, "the code is exact"
    assert list(scores["attributes"]) == ["a", "b"] and scores["attributes"]["a"]["learned"]


def test_a_model_need_not_be_a_module(digits: Dataset) -> None:
    scores: Any = evaluate(Alone(), digits)
    assert scores["num_parameters"] == 0 and scores["energy_monotony"] is None
    assert len(scores["prefix_mse"]) == 2


def test_a_loaded_model_is_judged_as_its_file(tmp_path: Path) -> None:
    run = jacsup.train(jacsup.recipe("debug"), out=tmp_path / "run", num_stages=1)
    (file,) = run.glob("stages/*/model.safetensors")
    assert evaluate(jacsup.load(run)) == evaluate(file)


def test_a_model_of_unknown_data_or_other_images_is_refused(
    digits: Dataset, shaded: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ValueError, match="this Lines was not loaded from a file, so its data are unknown; also pass data"
    ):
        evaluate(Lines())
    monkeypatch.setattr(evaluation, "describe", lambda *_: pytest.fail("the data were encoded"))
    with pytest.raises(
        ValueError, match=r"Lines is a model of images of shape \(1, 8, 8\), but the data have shape \(3, 32, 32\)"
    ):
        evaluate(Lines(), shaded)


def test_a_nuisance_part_needs_attributes(shaded: Dataset) -> None:
    without = Dataset(Split(shaded.train.images), Split(shaded.test.images), Digits())
    with pytest.raises(ValueError, match=r"Shades has 2 attributes \(unit 0, unit 1 ...\), but the data have 0"):
        evaluate(Shades(), without)


def test_a_description_names_attributes_and_units(digits: Dataset, shaded: Dataset) -> None:
    info = jacsup.describe(Shades(), shaded, recipe="by hand", metrics={"mse": 0.0})
    y, labels = Shades().encode(shaded.train.images / 127.5 - 1).y, shaded.train.attributes
    assert labels is not None
    for column, factor in enumerate(info.factors):
        assert factor.name == "ab"[column]
        assert factor.m_minus == pytest.approx(float(y[labels[:, column] < 0, column].mean()), abs=1e-5)
        assert factor.m_plus == pytest.approx(float(y[labels[:, column] > 0, column].mean()), abs=1e-5)
    assert (info.recipe, info.metrics, info.data) == ("by hand", {"mse": 0.0}, shaded.config)
    assert info.typical is not None and info.typical.mse < 1e-9 and len(info.typical.mean) == Shades.code_size
    (a, _) = jacsup.describe(Shades(), shaded, labels_are_y=True).factors
    assert (a.m_minus, a.m_plus) == (-1, 1)
    units = jacsup.describe(Lines(), digits).factors
    assert [factor.name for factor in units] == ["unit 0", "unit 1", "unit 2"]
    assert all(asdict(factor)["m_plus"] is None for factor in units)


def colours(path: Path) -> float:
    with Image.open(path) as image:
        return float(np.asarray(image.convert("L")).std())


def test_figures_are_drawn_from_them(digits: Dataset, shaded: Dataset, tmp_path: Path) -> None:
    lines, shades = Lines().eval(), Shades()
    factors = jacsup.describe(lines, digits).factors
    draw_factor_grid(tmp_path / "grid.png", lines, factors)
    draw_units(tmp_path / "units.png", lines, factors, (0, 2), digits.test.images[:3], ())
    painter = Painter(shades, shaded.attributes, stored_means(jacsup.describe(shades, shaded).factors))
    draw_attributes(tmp_path / "attributes.png", painter, (0, 1), shaded.test.first(4))
    assert all(colours(tmp_path / f"{name}.png") > 15 for name in ("grid", "units", "attributes"))
    dark: Any = painter.edited(shaded.test.images[:4], 0, torch.zeros(4, dtype=torch.bool), strength=1)
    assert dark[..., :16].mean() == pytest.approx(0.5 - 60 / 255, abs=0.02)
