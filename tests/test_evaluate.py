"""metrics.json: its fixed keys, and that its scores are those of the stages' models."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from known_models import random_images, random_model

import jacsup
from jacsup.config import Digits
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset, Split
from jacsup.evaluate import NUM_JACOBIAN_IMAGES, current_metrics, evaluate, judge_units
from jacsup.jsonable import set_field
from jacsup.metrics import mig
from jacsup.metrics.images import encode_all, mse, reconstruct
from jacsup.metrics.jacobian import finite_difference_error, jacobian_error
from jacsup.metrics.table import flat_scores
from jacsup.models import num_parameters
from jacsup.recipes import RECIPES
from jacsup.run import Run

DEBUG = RECIPES["debug"]
NUMBERS = {
    "mse",
    "psnr",
    "ssim",
    "code_size",
    "num_parameters",
    "mse_of_mean_image",
    "swap_classifier",
    "swap_label",
    "classifier_accuracy",
    "jacobian_error",
    "jacobian_error_first_teacher",
    "finite_difference_error",
    "energy_monotony",
}
AGAINST_A_TEACHER = {"jacobian_error", "jacobian_error_first_teacher", "finite_difference_error"}
LISTS = {"prefix_mse": 1, "drop_per_unit": 0, "energy_per_unit": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return jacsup.train(DEBUG, out=tmp_path_factory.mktemp("evaluate") / "run")


@pytest.fixture(scope="module")
def metrics(run: Path) -> Any:
    return evaluate(run)


def strict_json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_metrics_json_is_what_evaluate_returns(run: Path, metrics: Any) -> None:
    assert strict_json((run / "metrics.json").read_text()) == metrics
    assert current_metrics(Run(run)) == metrics


def test_every_stage_has_all_keys(metrics: Any) -> None:
    assert set(metrics) == NUMBERS | {*LISTS, "factor_scores", "warning", "stages"}
    assert [stage["name"] for stage in metrics["stages"]] == ["units-2", "units-3", "units-4"]
    for stage, units in zip(metrics["stages"], (2, 3, 4), strict=True):
        assert set(stage) == NUMBERS | {*LISTS, "factor_scores", "warning", "name"}
        assert (stage["warning"] is None) == (stage["mse"] < stage["mse_of_mean_image"])
        assert stage["code_size"] == units
        for name, more in LISTS.items():
            assert len(stage[name]) == units + more, name
            assert all(type(value) is float and math.isfinite(value) for value in stage[name])
        missing = {name for name in NUMBERS if stage[name] is None}
        assert missing == (AGAINST_A_TEACHER if units == 2 else set())
    last = {name: value for name, value in metrics["stages"][-1].items() if name != "name"}
    assert {name: value for name, value in metrics.items() if name != "stages"} == last


def test_scores_are_those_of_each_stages_model(run: Path, metrics: Any) -> None:
    test = load_dataset(DEBUG.data).test
    models = [jacsup.load(Run(run).stage_file(number)) for number in range(3)]
    for number, (model, stage) in enumerate(zip(models, metrics["stages"], strict=True)):
        error = mse(reconstruct(model, test.images), test.images)
        assert stage["mse"] == error
        pixels = test.images.double() / 255
        assert stage["mse_of_mean_image"] == pytest.approx(float((pixels - pixels.mean(dim=0)).square().mean()))
        assert stage["psnr"] == pytest.approx(-10 * math.log10(error))
        assert stage["prefix_mse"][-1] == pytest.approx(error)
        assert stage["num_parameters"] == num_parameters(model)
        if number:
            some = test.images[:NUM_JACOBIAN_IMAGES]
            assert stage["jacobian_error"] == jacobian_error(model, models[number - 1], some)
            assert stage["jacobian_error_first_teacher"] == jacobian_error(model, models[0], some, 2)
            assert stage["finite_difference_error"] == finite_difference_error(model, models[number - 1], test.images)


def test_a_model_file_is_judged_like_its_stage_without_a_teacher(run: Path, metrics: Any) -> None:
    for number, stage in enumerate(metrics["stages"]):
        alone = evaluate(Run(run).stage_file(number))
        assert alone == {**{name: stage[name] for name in alone}, **dict.fromkeys(AGAINST_A_TEACHER)}
        assert set(alone) == set(stage) - {"name"}


def test_the_last_epochs_statistics_say_the_same(run: Path, metrics: Any) -> None:
    test = load_dataset(DEBUG.data).test
    for number, stage in enumerate(metrics["stages"]):
        line = [line for line in Run(run).stats() if line["stage"] == number][-1]
        model = jacsup.load(Run(run).stage_file(number))
        first = test.images[:2000]
        assert line["test_mse"] == pytest.approx(mse(reconstruct(model, first), first), abs=1e-6)
        assert line["test_swap"] == pytest.approx(stage["swap_classifier"], abs=1e-6)
        if number:
            assert line["test_jacobian"] == pytest.approx(stage["finite_difference_error"], rel=1e-4)


def test_an_unfinished_run_has_its_finished_stages(tmp_path: Path) -> None:
    run = Run(jacsup.train(DEBUG, out=tmp_path / "run", num_stages=2))
    metrics: Any = evaluate(run.path)
    assert [stage["name"] for stage in metrics["stages"]] == ["units-2", "units-3"]
    assert metrics["code_size"] == 3
    assert current_metrics(run) == metrics
    jacsup.train(DEBUG, out=run.path)
    assert current_metrics(run) is None, "a newer stage is not judged yet"
    evaluate(run.path)
    assert len((current_metrics(run) or {}).get("stages", [])) == 3


def test_metrics_older_than_the_newest_stage_do_not_count(run: Path, metrics: Any, tmp_path: Path) -> None:
    copy = Run(Path(shutil.copytree(run, tmp_path / "copy")))
    assert current_metrics(copy) == metrics
    newest = copy.newest_model()
    assert newest
    later = (copy.path / "metrics.json").stat().st_mtime + 1
    os.utime(newest, (later, later))
    assert current_metrics(copy) is None
    (copy.path / "metrics.json").unlink()
    assert current_metrics(copy) is None


@pytest.mark.parametrize(("size", "has_ssim"), [(6, True), (2, False)])
def test_images_without_labels_have_no_swap_scores(size: int, has_ssim: bool, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, size, size), dtype=np.uint8)
    data = jacsup.Dataset.from_arrays(images)
    out = jacsup.train(set_field(DEBUG, "stages.batch_size", 16), data, tmp_path / "run", num_stages=2)
    metrics: Any = evaluate(out, data)
    assert {"swap_classifier", "swap_label", "classifier_accuracy"} == {
        name for name in NUMBERS - {"ssim"} if metrics[name] is None
    }
    assert (metrics["ssim"] is not None) == has_ssim
    with pytest.raises(ValueError, match="were passed from Python and are not stored"):
        evaluate(out)


@pytest.mark.parametrize("num_units", [1, 3])
def test_the_first_teacher_is_followed_in_its_first_two_units_or_its_only_one(num_units: int, tmp_path: Path) -> None:
    first, *_, last = DEBUG.stages
    recipe = replace(DEBUG, stages=(replace(first, num_units=num_units), last))
    run = Run(jacsup.train(recipe, out=tmp_path / "run"))
    teacher, student = (jacsup.load(run.stage_file(number)) for number in (0, 1))
    some = load_dataset(DEBUG.data).test.images[:NUM_JACOBIAN_IMAGES]
    errors = [jacobian_error(student, teacher, some, count) for count in (min(num_units, 2), num_units)]
    metrics: Any = evaluate(run.path)
    assert [metrics["jacobian_error_first_teacher"], metrics["jacobian_error"]] == errors


def test_where_nothing_can_be_judged_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "cache"))
    started = Run(tmp_path / "started")
    started.write_recipe(DEBUG)
    with pytest.raises(ValueError, match="has no finished stage yet; run `jacsup train debug` to continue"):
        evaluate(started.path)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match=r"pictures is not a run: it has no recipe.json; pass a folder that"):
        evaluate(tmp_path / "pictures")
    with pytest.raises(ValueError, match="nowhere: no such run folder or model file"):
        evaluate(tmp_path / "nowhere")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["pictures", "recipe.json", "started"]


def test_a_model_of_other_images_is_refused_before_a_judge_is_trained(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jacsup.evaluate.get_judge", lambda data: pytest.fail("a judge was trained"))
    with pytest.raises(ValueError, match="is a model of images"):
        evaluate(run, Dataset.from_arrays(np.zeros((20, 9, 9), np.uint8)))
    with pytest.raises(ValueError, match="omit --identity"):
        evaluate(run, identity=Path("none.onnx"))


def test_scores_of_known_factors_leave_out_what_a_part_lacks() -> None:
    images, rng = random_images(300), np.random.default_rng(0)
    factors = torch.from_numpy(rng.integers(3, size=(300, 4)))
    factors[:, 2] = 0
    factors[250:, 2] = 1
    factors[:, 3] = torch.arange(300) % 200
    model = random_model(3)
    data = Dataset(Split(images[:100]), Split(images, factors=factors), Digits())
    scores = judge_units(model, data)["factor_scores"]
    assert list(scores) == [
        "factor_vae",
        "beta_vae",
        "mig",
        "dci_fast",
        "sap",
        "sap_r2",
        "modularity",
        "explicitness",
        "infomec",
        "irs",
    ]
    codes = encode_all(model, images).double().numpy()[:200]
    assert scores["mig"] == pytest.approx(mig(codes, factors[:200, :2].numpy()))
    assert flat_scores(scores)["dci_fast completeness"] == scores["dci_fast"]["completeness"]
    alone = Dataset(Split(images[:100]), Split(images, factors=factors[:, [0, 2]]), Digits())
    for without in (alone, Dataset(Split(images[:100]), Split(images), Digits())):
        assert judge_units(model, without)["factor_scores"] is None
