"""The supervised curriculum, small: it learns, resumes with the same bits, and shares its teachers with its arms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from crashes import stop_after
from golden_curves import TIMES, follows_golden_curve
from small_faces import small_faces

import jacsup
from jacsup import evaluate as evaluation
from jacsup.config import Conv, Folder, Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.evaluate import evaluate
from jacsup.jsonable import set_field
from jacsup.metrics import attributes
from jacsup.models import load, load_info
from jacsup.recipes import RECIPES, SUPERVISED_ARMS, with_arm
from jacsup.run import Run
from jacsup.training import epoch_scores


def small(name: str = "faces-mini") -> Recipe:
    return small_faces(name, epochs=2, flips=True)


def stats(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in Run(folder).stats()]


@pytest.fixture(scope="module", autouse=True)
def _few_edits() -> Iterator[None]:
    """Every attribute of every edited image is one decoding and one verdict."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
        patch.setattr(attributes, "NUM_EDITED_IMAGES", 8)
        patch.setattr(evaluation, "NUM_DRAWN", 8)
        patch.setattr(evaluation, "NUM_JACOBIAN_IMAGES", 8)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jacsup.train(small(), out=tmp_path_factory.mktemp("faces") / "run")


def test_losses_follow_the_golden_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On noise: of drawn faces a pixel or two differ between processors, which grows to percents."""
    data, generator = load_dataset(small().data), torch.Generator().manual_seed(0)
    train, test = (
        replace(split, images=torch.randint(256, split.images.shape, dtype=torch.uint8, generator=generator))
        for split in (data.train, data.test)
    )
    follows_golden_curve(small(), replace(data, train=train, test=test), "faces", tmp_path / "run", monkeypatch)


@pytest.mark.parametrize("steps_before_crash", [3, 12, 17, 27, 33])
def test_a_crash_at_any_step_is_resumed_bit_exactly(
    steps_before_crash: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(steps_before_crash, small(), tmp_path / "run", monkeypatch)
    jacsup.train(small(), out=tmp_path / "run")
    assert (tmp_path / "run/model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    assert stats(tmp_path / "run") == stats(finished)


@pytest.mark.parametrize("arm", sorted(set(SUPERVISED_ARMS) - {"fader"}))
def test_arms_start_from_the_same_teachers(arm: str, finished: Path) -> None:
    run = Run(jacsup.train(with_arm(small(), arm), out=finished.parent / arm))
    for number in (0, 1):
        assert run.stage_digest(number) == Run(finished).stage_digest(number)
    assert run.stage_digest(2) != Run(finished).stage_digest(2)
    assert jacsup.load(run.path).z_channels == (4 if arm == "longer" else 8)


def test_the_model_file_knows_its_attributes(finished: Path) -> None:
    info = load_info(finished)
    assert len(info.factors) == jacsup.load(finished).num_units == 36
    bald = next(factor for factor in info.factors if factor.name == "Bald")
    assert "Blond_Hair" in bald.mutually_exclusive
    assert all(f.m_minus is not None and f.m_plus is not None and f.p01 < f.mean < f.p99 for f in info.factors)
    typical = info.typical
    assert typical is not None and typical.mean.shape == typical.std.shape == (jacsup.load(finished).code_size,)
    assert 0 < typical.mse < 1 and typical.distance > 0


def test_evaluation_has_the_keys_that_scripts_rely_on(finished: Path) -> None:
    metrics: Any = evaluate(finished)
    assert metrics == json.loads((finished / "metrics.json").read_text())
    assert [stage["name"] for stage in metrics["stages"]] == ["teacher", "teacher-cycles", "student-1"]
    for figures in (metrics, *metrics["stages"]):
        assert {"mse", "psnr", "ssim", "code_size", "num_parameters", "jacobian_error", "classifier_accuracy"} <= {
            *figures
        }
        assert figures["edit"]["strengths"] == [0, 1, 2, 4]
        assert len(figures["edit"]["accuracy"]) == len(figures["edit"]["preservation_error"]) == 4
        assert figures["counterfactual_gain"] < 1 and figures["counterfactual_gain_full"] < 1
        assert set(figures["attributes"]) == {factor.name for factor in load_info(finished).factors}
        assert figures["attributes"]["Smiling"]["counterfactual_gain"] < 1
    assert metrics["jacobian_error"] > 0 and metrics["stages"][0]["jacobian_error"] is None


def test_an_attribute_is_learned_edited_and_kept_by_the_student(tmp_path: Path) -> None:
    """Squares on noise: the edit must draw and remove the square, and the student must do it too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 120, (400, 8, 8, 3), dtype=np.uint8).repeat(4, 1).repeat(4, 2)
    square, age = rng.random(400) < 0.5, rng.random(400)
    images[square, 8:20, 8:20] = 250
    images[:, 26:, :, 0] = (255 * age)[:, None, None]
    known = np.where(rng.random(400) < 0.8, square, np.nan)
    data = jacsup.Dataset.from_arrays(images, attributes={"Square": known, "Age": 20 + 30 * age})
    recipe = set_field(replace(small(), flips=False), "stages.epochs", 12)
    model = jacsup.load(jacsup.train(recipe, data, tmp_path / "run"))
    info = load_info(tmp_path / "run")
    assert all(factor.learned for factor in info.factors)
    x = jacsup.code.to_float(data.test.images, model.value_range)
    code = model.encode(x)
    assert data.test.attributes is not None
    age_column = torch.stack([code.y[:, 1].detach(), data.test.attributes[:, 1]])
    assert age_column.corrcoef()[0, 1] > 0.9
    for value, brightness in ((info.factors[0].m_plus, 0.6), (info.factors[0].m_minus, 0.4)):
        assert value is not None
        edited = model.decode(code.with_factor(0, value))
        middle = (edited[:, :, 10:18, 10:18].mean() + 1) / 2
        assert (middle > brightness) if brightness > 0.5 else (middle < brightness)


def test_an_ordered_code_of_colour_images(tmp_path: Path) -> None:
    """The unsupervised curriculum on the convolutional model."""
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    recipe = replace(RECIPES["folder-ordered"], model=Conv(channels=(4, 4, 4)), data=Folder(size=32))
    recipe = replace(recipe, stages=recipe.stages[:4])
    recipe = set_field(set_field(recipe, "stages.epochs", 1), "stages.batch_size", 16)
    run = jacsup.train(recipe, jacsup.Dataset.from_arrays(images), tmp_path / "run")
    model = jacsup.load(run)
    assert model.num_units == 5 and model.code_size == 5
    figures: Any = evaluate(run, jacsup.Dataset.from_arrays(images))
    assert len(figures["prefix_mse"]) == 6 and "edit" not in figures


def test_images_without_attributes_cannot_be_edited(tmp_path: Path) -> None:
    images = np.zeros((64, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="recipe 'faces-mini' learns attributes, but the images have none"):
        jacsup.train(small(), jacsup.Dataset.from_arrays(images), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_convolutions_in_bfloat16_learn_the_same(finished: Path, tmp_path: Path) -> None:
    out = jacsup.train(small(), out=tmp_path / "run", precision="bfloat16")
    assert next(load(out).parameters()).dtype == torch.float32
    for ours, theirs in zip(stats(out), stats(finished), strict=True):
        for name in ours.keys() & {"rec", "pred", "y", "test_mse"}:
            assert ours[name] == pytest.approx(theirs[name], rel=0.05), (theirs["epoch"], name)


@pytest.mark.parametrize(
    ("path", "value", "different"),
    [("stages.0.z_channels", 3, "codes"), ("stages.1.z_channels", 5, "codes"), ("model.channels", [8, 8], "model")],
)
def test_init_wants_the_same_codes(path: str, value: Any, different: str, tmp_path: Path, finished: Path) -> None:
    with pytest.raises(ValueError, match=f"and its data differ from the run's first . stages in {different};"):
        jacsup.train(set_field(small(), path, value), out=tmp_path / "run", init=finished)
    assert not (tmp_path / "run").exists()


def test_init_wants_the_same_attributes(tmp_path: Path, finished: Path) -> None:
    data = load_dataset(small().data, None)
    values = data.train.attributes
    assert values is not None
    columns = {name: values[:, number] for number, name in enumerate(("Smiling", "Male"))}
    other = Dataset.from_arrays(data.train.images, attributes=columns)
    with pytest.raises(ValueError, match=r"and its data differ from the run's first . stages in attributes;"):
        jacsup.train(small(), other, tmp_path / "run", init=finished)
