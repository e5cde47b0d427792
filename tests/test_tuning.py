"""The search over loss weights: what a choice changes, what it costs, and that it can be cut off and go on."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crashes import Stop
from small_faces import small_faces

from jacsup import tuning
from jacsup.cli.tune import tune
from jacsup.config import Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES
from jacsup.run import Run
from jacsup.training import epoch_scores
from jacsup.tuning import Trial, hold_out, loss_of, search, with_values

GRID = {"stages.weights.y": [0.1, 1.0], "stages.weights.jacobian": [0.1, 1.0]}
RECIPE = set_field(RECIPES["debug"], "stages.epochs", 1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return hold_out(load_dataset(RECIPE.data, None))


def test_images_are_held_out_of_training_and_the_test_split_is_not_touched(data: Dataset) -> None:
    whole = load_dataset(RECIPE.data, None)
    assert len(data.train) + len(data.test) == len(whole.train) and len(data.test) == len(whole.train) // 10
    assert data.train.images.equal(whole.train.images[: len(data.train)])
    assert data.test.images.equal(whole.train.images[len(data.train) :])
    assert data.config != whole.config


def test_images_that_nothing_can_judge_are_refused(tmp_path: Path) -> None:
    bare = hold_out(Dataset.from_arrays(np.zeros((40, 8, 8), np.uint8)))
    with pytest.raises(ValueError, match="is judged by classes or attributes, but the images have none"):
        search(RECIPE, bare, GRID, tmp_path, floor=0.0)
    assert not list(tmp_path.iterdir())


def test_a_point_of_the_frontier_as_one_number() -> None:
    assert loss_of(0.02, 0.6, floor=0.5) == 0.02
    assert loss_of(0.02, 0.5, floor=0.5) < loss_of(0.01, 0.49, floor=0.5) < loss_of(0.01, 0.3, floor=0.5)
    assert Trial({}, "fail").loss(0.5) == math.inf


def test_a_weight_changes_where_there_is_such_a_term() -> None:
    changed = with_values(RECIPE, {"stages.weights.jacobian": 7.0})
    assert [stage.weights.jacobian for stage in changed.stages][1:] == [7.0, 7.0]
    assert changed.stages[0] == RECIPE.stages[0]
    faces = RECIPES["faces"]
    changed = with_values(faces, {"stages.weights.cycle_y": 0.5, "stages.weights.y": 3.0, "stages.1.weights.pred": 9.0})
    assert [stage.weights.cycle_y for stage in changed.stages] == [0.5] * 4
    assert [stage.weights.y for stage in changed.stages] == [0.0, 0.0, 3.0, 3.0]
    assert [stage.weights.pred for stage in changed.stages][:2] == [faces.stages[0].weights.pred, 9.0]
    with pytest.raises(ValueError, match="must be one of rec, y, jacobian"):
        with_values(RECIPE, {"stages.weights.dif": 1.0})


def test_every_choice_is_tried_once_and_the_best_comes_first(data: Dataset, tmp_path: Path) -> None:
    found = search(RECIPE, data, GRID, tmp_path, floor=0.0)
    assert {tuple(trial.values.values()) for trial in found} == {
        (y, jacobian) for y in (0.1, 1.0) for jacobian in (0.1, 1.0)
    }
    assert all(trial.state == "complete" and trial.num_stages == 3 for trial in found)
    assert [trial.loss(0.0) for trial in found] == sorted(trial.mse or math.inf for trial in found)
    best = Run(tmp_path / tuning._name(found[0].values))
    assert best.stats()[-1]["test_mse"] == found[0].mse and best.stats()[-1]["test_swap"] == found[0].control
    # The first teacher has none of these weights: one run has trained it for all.
    firsts = {Run(folder.parent).stage_digest(0) for folder in tmp_path.glob("*/recipe.json")}
    assert len(firsts) == 1 and len(list(tmp_path.glob("*/recipe.json"))) == 4


@pytest.mark.parametrize("kind", [Stop, KeyboardInterrupt, OSError])
def test_a_search_that_is_cut_off_goes_on(
    kind: type[BaseException], data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(search(RECIPE, data, GRID, tmp_path, floor=0.0, num_trials=1)) == 1
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "train", _stop_after_one_stage(tuning.train, kind))
        with pytest.raises(kind):
            search(RECIPE, data, GRID, tmp_path, floor=0.0)
    cut_off = {folder.parent.name for folder in tmp_path.glob("*/recipe.json")}
    assert len(cut_off) == 2
    found = [trial for trial in search(RECIPE, data, GRID, tmp_path, floor=0.0) if trial.state == "complete"]
    assert len({tuple(trial.values.values()) for trial in found}) == 4
    again = [trial for trial in search(RECIPE, data, GRID, tmp_path, floor=0.0) if trial.state == "complete"]
    assert again == found


def _stop_after_one_stage(train, kind: type[BaseException]):
    def stopping(*arguments: object, num_stages: int, **more: object) -> Path:
        if num_stages > 1:
            raise kind
        return train(*arguments, num_stages=num_stages, **more)

    return stopping


@pytest.mark.parametrize("worst_first", [False, True])
def test_hopeless_choices_are_given_up(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worst_first: bool
) -> None:
    monkeypatch.setattr(tuning, "NUM_WARM_UP_TRIALS", 1)
    monkeypatch.setattr(tuning, "NUM_WARM_UP_STAGES", 0)
    monkeypatch.setattr(
        tuning,
        "_stages",
        lambda recipe, *_: ((recipe.stages[1].weights.jacobian / number, 1.0) for number in (1, 2, 3)),
    )
    # What is given up depends on what was seen before it.
    monkeypatch.setattr(tuning.random, "sample", lambda numbers, _: sorted(numbers, reverse=worst_first))
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = search(RECIPE, data, {"stages.weights.jacobian": values}, tmp_path, floor=0.5)
    assert [trial.values["stages.weights.jacobian"] for trial in found] == values
    if worst_first:
        assert {(trial.state, trial.num_stages) for trial in found} == {("complete", 3)}
    else:
        assert [(trial.state, trial.num_stages) for trial in found] == [("complete", 3)] + 4 * [("pruned", 1)]


def test_a_choice_that_diverges_is_a_failed_trial(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = search(RECIPE, data, {"stages.adam.lr": [1e-3, 1e30]}, tmp_path, floor=0.0)
    assert [trial.state for trial in found] == ["complete", "fail"]
    assert found[0].values == {"stages.adam.lr": 1e-3} and found[1].mse is None
    monkeypatch.setattr(tuning, "train", None)
    assert search(RECIPE, data, {"stages.adam.lr": [1e-3, 1e30]}, tmp_path, floor=0.0) == found


def test_grids_may_grow_and_floors_may_change(data: Dataset, tmp_path: Path) -> None:
    sizes = {"stages.batch_size": [32, 64]}
    assert len(search(RECIPE, data, sizes, tmp_path, floor=0.0)) == 2
    grown = search(RECIPE, data, {"stages.batch_size": [64, 128]}, tmp_path, floor=0.0)
    assert {trial.values["stages.batch_size"] for trial in grown} == {32, 64, 128}
    assert len(search(RECIPE, data, sizes, tmp_path, floor=0.9)) == 2


def test_a_supervised_recipe_is_judged_by_its_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [{"stage": number, "test_mse": 0.1, "test_edit": 0.7} for number in range(4)]
    monkeypatch.setattr(tuning, "train", lambda *_, **__: tmp_path)
    monkeypatch.setattr(Run, "stats", lambda _: lines)
    faces: Recipe = replace(RECIPES["faces"], seed=3)
    assert list(tuning._stages(faces, load_dataset(RECIPE.data, None), tmp_path, "cpu")) == [(0.1, 0.7)] * 4


def test_where_no_attribute_can_be_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "_edit_accuracy", lambda *_: math.nan)
    images = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), np.uint8)
    data = Dataset.from_arrays(images, attributes={"Hat": np.arange(60) % 2})
    with pytest.raises(ValueError, match="the judge recognises no attribute well enough"):
        search(small_faces(batch_size=20), data, {"stages.weights.y": [1.0]}, tmp_path, floor=0.5, device="cpu")
    (stats,) = tmp_path.rglob("stats.jsonl")
    assert "test_edit" not in stats.read_text() and "NaN" not in stats.read_text()


def test_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jacsup", "tune", "debug", "--epochs", "1", "--stages", "2", "--floor", "0"]
    command += ["--grid", "stages.weights.jacobian=0.1,1", "--out", str(tmp_path / "search")]
    # Two at once share the work.
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert done.count("complete  2") == 2 and "jacsup train debug --set stages.weights.jacobian=" in done
    assert any("stage 2/2" in output for output in outputs)
    assert (tmp_path / "search" / "frontier.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"storage": "nonsense"}, "--storage nonsense cannot be used"),
        ({"grid": ("stages.weights.jacobian",)}, "use FIELD=VALUE"),
        ({"grid": ("stages.weights.jacobian=a,b",)}, "use FIELD=VALUE"),
        ({"grid": ("stages.weights.nothing=1",)}, "no field"),
        ({"floor": 2.0}, "--floor is 2.0"),
        ({"trials": 0}, "--trials is 0"),
        ({"stages": 9}, "--stages is 9"),
    ],
)
def test_wrong_input(
    arguments: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(ValueError, match=message):
        tune("debug", out=tmp_path / "search", **arguments)  # pyright: ignore[reportArgumentType]
    assert not list(tmp_path.glob("search/*/recipe.json"))
