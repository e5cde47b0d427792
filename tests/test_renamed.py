"""Names of version 0.1: recipes, fields and keywords that have changed still work, with a warning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jacsup.config import Stage, Weights, read_recipe
from jacsup.recipes import RECIPES, with_arm
from jacsup.renamed import current_field

# Recipes as version 0.1 wrote them.
OLD = json.loads((Path(__file__).parent / "golden" / "recipes-0.1.json").read_text())


@pytest.mark.parametrize("old", OLD, ids=lambda old: f"{old['name']}-{old['arm']}")
def test_an_old_recipe_is_the_same_recipe(old: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(old))
    recipe, arm = RECIPES[str(old["name"])], str(old["arm"])
    assert read_recipe(path) == (with_arm(recipe, arm) if arm else recipe)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stages.weights.diff", "stages.weights.jacobian"),
        ("stages.3.weights.diff", "stages.3.weights.jacobian"),
        ("stages.weights.balanced", "stages.options.balanced"),
        ("stages.0.taken", "stages.0.swap_probability"),
    ],
)
def test_an_old_field_is_answered_with_its_new_name(old: str, new: str) -> None:
    with pytest.warns(FutureWarning, match=f"'{old}' is now called '{new}'"):
        assert current_field(old) == new


@pytest.mark.parametrize("field", ["seed", "stages.epochs", "stages.1.weights.y", "model.hidden", "taken"])
def test_other_fields_stay(field: str) -> None:
    assert current_field(field) == field


def test_old_keywords_work_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match=r"Weights\.diff is now called 'jacobian'"):
        weights = Weights(diff=3.0)  # pyright: ignore[reportCallIssue]
    assert weights == Weights(jacobian=3.0)
    with pytest.warns(FutureWarning):
        assert weights.diff == 3.0  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.warns(FutureWarning):
        assert replace(weights, diff=1.0) == Weights()  # pyright: ignore[reportCallIssue]
    with pytest.warns(FutureWarning, match="'swap_probability'"):
        assert Stage(name="a", taken=0.5).swap_probability == 0.5  # pyright: ignore[reportCallIssue]
