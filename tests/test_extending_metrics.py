"""The table of metrics: a new score is a function and a line, and docs/METRICS.md and the types say the same as it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY
from known_models import random_images, random_model
from numpy import ndarray
from small_faces import small_faces

import jacsup
from jacsup import evaluate as evaluation
from jacsup.baselines.frontier import points, table_rows
from jacsup.config import Digits
from jacsup.data.dataset import Dataset, Split
from jacsup.evaluate import evaluate
from jacsup.metrics import attributes
from jacsup.metrics.scores import AttributeScores, EditScores, IdentityDrift, ModelScores, Scores, StageScores
from jacsup.metrics.table import METRICS, Metric, flat_scores, metric_of
from jacsup.models import save_model
from jacsup.recipes import RECIPES
from jacsup.report import write_report
from jacsup.run import Run
from jacsup.training import epoch_scores


def sizes(codes: ndarray, factors: ndarray) -> dict[str, float]:
    """A toy score of two parts."""
    return {"codes": float(codes.shape[1]), "factors": float(factors.shape[1])}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Metric(title="toy", format=".2f", better="lower", parts={"codes": "toy of codes"}, of_factors=sizes)
    monkeypatch.setitem(METRICS, "toy_sizes", metric)


@pytest.fixture
def known() -> Dataset:
    """Images of two known factors."""
    images = random_images(300)
    factors = torch.from_numpy(np.random.default_rng(0).integers(3, size=(300, 2)))
    return Dataset(Split(images[:100]), Split(images, factors=factors), Digits())


@pytest.mark.usefixtures("toy")
def test_a_new_score_of_known_factors_is_computed_and_shown(known: Dataset, tmp_path: Path) -> None:
    model = random_model(3)
    scores: Any = evaluate(model, known)
    assert scores["factor_scores"]["toy_sizes"] == {"codes": 3, "factors": 2}
    assert list(flat_scores(scores["factor_scores"]).items())[-2:] == [("toy_sizes codes", 3), ("toy_sizes factors", 2)]
    results = [{"method": "mine", "seed": seed, **scores} for seed in (0, 1)]
    header, rows = table_rows(points(results), {"mine": "Mine"})
    shown = dict(zip(header, rows[0], strict=True))
    assert (shown["toy of codes"], shown["toy factors"]) == ("3.00 ± 0.00", "2.00 ± 0.00")
    run = Run(tmp_path / "run")
    run.write_recipe(RECIPES["debug"])
    save_model(run.stage_file(0), model, jacsup.describe(model, known))
    metrics: Any = {**scores, "stages": []}
    page = write_report(run.path, known, metrics).read_text()
    assert "<td>Toy of codes</td><td>3.00</td><td>lower</td>" in page


def test_titles_name_the_part() -> None:
    titles = {
        "mse": "MSE",
        "psnr": "PSNR, dB",
        "accuracy 2": "edit accuracy at 2",
        "dci_fast completeness": "DCI C",
        "infomec infom": "InfoM",
        "identity_drift edited": "identity drift of edits",
    }
    assert {key: metric_of(key).heading for key in titles} == titles


@pytest.fixture(scope="module")
def of_attributes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
        patch.setattr(attributes, "NUM_EDITED_IMAGES", 4)
        patch.setattr(evaluation, "NUM_DRAWN", 4)
        patch.setattr(evaluation, "NUM_JACOBIAN_IMAGES", 4)
        return evaluate(jacsup.train(small_faces(), out=tmp_path_factory.mktemp("faces") / "run", num_stages=1))


def keys_of(kind: Any) -> set[str]:
    return set(kind.__annotations__)


def test_results_have_the_keys_of_their_types(known: Dataset, of_attributes: Any) -> None:
    of_units: Any = evaluate(random_model(3), known)
    shared = set(of_units) & set(of_attributes)
    assert set(of_units) | (set(of_attributes) - {"stages"}) == keys_of(ModelScores)
    assert shared == {
        "code_size",
        "num_parameters",
        "mse",
        "mse_of_mean_image",
        "warning",
        "psnr",
        "ssim",
        "jacobian_error",
        "finite_difference_error",
        "classifier_accuracy",
    }
    assert keys_of(Scores) == keys_of(ModelScores) | {"stages"}
    assert set(of_attributes["stages"][0]) <= keys_of(StageScores) == keys_of(ModelScores) | {"name"}
    assert set(of_attributes["edit_pasted"]) == keys_of(EditScores) == {*of_attributes["edit"], "change_outside"}
    assert set(of_attributes["edit"]) == {*of_attributes["edit_all"], "strengths"}
    assert {frozenset(each) for each in of_attributes["attributes"].values()} == {frozenset(keys_of(AttributeScores))}
    assert set(of_units["factor_scores"]) == {name for name, metric in METRICS.items() if metric.of_factors}


def all_keys(scores: Any) -> Iterator[str]:
    """The keys of scores; the names of attributes are none."""
    for key, value in scores.items():
        yield key
        for inner in value.values() if key == "attributes" else value if key == "stages" else [value]:
            if isinstance(inner, dict):
                yield from all_keys(inner)


def test_every_key_is_documented_and_no_other(known: Dataset, of_attributes: Any) -> None:
    text = (REPOSITORY / "docs" / "METRICS.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \|", text, re.MULTILINE)
    assert len(rows) == len({*rows}), "each key is defined once"
    documented, named = {row.rpartition(".")[2] for row in rows}, {*re.findall(r"`(\w+)`", text)}
    of_units: Any = evaluate(random_model(3), known)
    results = {*all_keys(of_units), *all_keys(of_attributes), *keys_of(IdentityDrift)}
    parts = {key.partition(" ")[2] for key in flat_scores(of_units["factor_scores"])} - {""}
    assert results - parts - {"stages", "name", "per_attribute"} <= documented
    assert results <= documented | named
    assert set(METRICS) <= documented <= results | set(METRICS)
