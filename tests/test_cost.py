from __future__ import annotations

from dataclasses import replace

import pytest
from small_faces import small_faces

from jacsup.data import load_dataset
from jacsup.recipes import RECIPES
from jacsup.training import cost


def test_every_step_of_every_stage_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_faces(epochs=3, batch_size=20)
    data = load_dataset(recipe.data)
    monkeypatch.setattr(cost, "_seconds_per_step", lambda recipe, number, data: float(number))
    expected = sum(n * stage.epochs * (len(data.train) // 20) for n, stage in enumerate(recipe.stages))
    assert cost.seconds_of_training(recipe, data) == pytest.approx(expected)
    assert expected > 0


@pytest.mark.parametrize("name", ["faces-mini", "debug"])
def test_steps_of_all_kinds_are_timed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small_faces() if name == "faces-mini" else RECIPES[name]
    data = load_dataset(recipe.data)
    taken: list[int] = []
    step = cost.train_step
    monkeypatch.setattr(cost, "train_step", lambda model, *rest: taken.append(model.num_units) or step(model, *rest))
    few = replace(data, train=data.train.first(recipe.stages[0].batch_size))
    assert cost.seconds_of_training(recipe, few) > 0
    assert len(taken) == (cost.STEPS + 1) * len(recipe.stages)
