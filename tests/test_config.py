from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jacsup.config import (
    MLP,
    MNIST,
    SVHN,
    Adam,
    Arrays,
    CelebA,
    Conv,
    Digits,
    Recipe,
    Stage,
    Weights,
)
from jacsup.curricula import face_curriculum
from jacsup.jsonable import differences, from_dict, set_field, to_dict
from jacsup.recipes import ARMS, RECIPES, SUPERVISED_ARMS, arms_of, find, with_arm, with_size

DEBUG = RECIPES["debug"]


def refusal(call: Callable[..., Any], *arguments: Any, **options: Any) -> str:
    """The one line with which a call refuses what it was given."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        call(*arguments, **options)
    return str(caught.value)


def as_json(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    """A recipe as its recipe.json holds it, with some top-level fields changed."""
    return json.loads(json.dumps(to_dict(recipe))) | changes


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_every_recipe_survives_json(recipe: Recipe) -> None:
    back = from_dict(Recipe, as_json(recipe))
    assert back == recipe
    assert hash(back) == hash(recipe)


@pytest.mark.parametrize(
    "data", [MNIST(), SVHN(), Digits(), Arrays(sha256="0" * 64)], ids=lambda data: type(data).__name__
)
def test_every_data_config_survives_json_by_its_name(data: Any) -> None:
    recipe = replace(DEBUG, data=data)
    assert as_json(recipe)["data"]["type"] == type(data).__name__
    assert from_dict(Recipe, as_json(recipe)) == recipe


def test_whole_numbers_of_json_become_floats_where_floats_are_meant() -> None:
    found = set_field(DEBUG, "stages.adam.lr", 1).stages[0].adam.lr
    assert found == 1.0
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "recipe has no field 'colour'; it must be one of name, data"),
        ({"stagse": []}, "recipe has no field 'stagse'; did you mean 'stages'?"),
        ({"data": {"type": "Mnist"}}, "recipe.data.type is 'Mnist'; must be one of MNIST, SVHN, Digits, Faces"),
        ({"data": "MNIST"}, "recipe.data.type is None; must be one of MNIST, SVHN, Digits, Faces"),
        ({"data": {"type": "Arrays"}}, "recipe.data lacks the field 'sha256'"),
        ({"model": {"type": "MLP", "supports_attributes": True}}, "recipe.model has no field 'supports_attributes'"),
        ({"stages": 3}, "recipe.stages is 3; must be a list"),
        ({"stages": [3]}, "recipe.stages.0 is 3; must be an object with the fields of Stage"),
        ({"seed": True}, "recipe.seed is True; must be of type int"),
    ],
)
def test_json_that_is_no_recipe_is_refused_with_the_field(changes: dict[str, Any], message: str) -> None:
    assert refusal(from_dict, Recipe, as_json(DEBUG, **changes)).startswith(message)


def test_set_field_reaches_nested_fields_and_changes_nothing_else() -> None:
    changed = set_field(DEBUG, "model.hidden", [8])
    assert changed == replace(DEBUG, model=replace(DEBUG.model, hidden=(8,)))
    assert DEBUG.model == MLP(hidden=(32, 16))
    assert set_field(DEBUG, "seed", 7) == replace(DEBUG, seed=7)
    assert set_field(DEBUG, "data", {"type": "MNIST"}) == replace(DEBUG, data=MNIST())


def test_set_field_without_a_number_changes_all_stages() -> None:
    changed = set_field(DEBUG, "stages.adam.lr", 0.5)
    assert changed == replace(DEBUG, stages=tuple(replace(stage, adam=Adam(lr=0.5)) for stage in DEBUG.stages))


def test_set_field_with_a_number_changes_that_stage() -> None:
    first, second, third = DEBUG.stages
    changed = set_field(DEBUG, "stages.1.weights.jacobian", 3.0)
    assert changed == replace(DEBUG, stages=(first, replace(second, weights=Weights(jacobian=3.0)), third))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sede", 1, "a recipe has no field 'sede'; did you mean 'seed'?"),
        ("stages.adam.rl", 1, "a recipe has no field 'stages.adam.rl'; did you mean 'lr'?"),
        ("stages.epoch", 1, "a recipe has no field 'stages.epoch'; did you mean 'epochs'?"),
        ("model.type", "MLP", "a recipe has no field 'model.type'; it must be one of value_range, hidden"),
        ("seed.low", 1, "a recipe has no field 'seed.low'; a field in this path is a single value"),
        ("stages.3.epochs", 1, "'stages.3.epochs': item 3 does not exist; the index must be between 0 and 2"),
        ("seed", "1", "recipe.seed is '1'; must be of type int"),
        ("seed", 1.0, "recipe.seed is 1.0; must be of type int"),
        ("stages.1.epochs", "many", "recipe.stages.1.epochs is 'many'; must be of type int"),
        ("stages.adam.lr", None, "recipe.stages.0.adam.lr is None; must be of type float"),
        ("stages.adam.lr", True, "recipe.stages.0.adam.lr is True; must be of type float"),
        ("stages.options.xcov_norm", 1, "recipe.stages.0.options.xcov_norm is 1; must be of type bool"),
        ("stages.growth.new", "ones", "recipe.stages.0.growth.new is 'ones'; must be one of 'zero', 'random'"),
        ("model.value_range", [0.0], "recipe.model.value_range has 1 values; must have 2"),
        ("model.hidden", 32, "recipe.model.hidden is 32; must be a list such as [1, 2]"),
        ("stages.epochs", 0, "stage 'units-2': epochs is 0; it must be at least 1"),
    ],
)
def test_set_field_refuses_what_does_not_fit(path: str, value: Any, message: str) -> None:
    assert refusal(set_field, DEBUG, path, value) == message


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("stages", [], "recipe 'debug' has no stages; it needs at least one"),
        ("stages.0.objective", "student", "recipe 'debug' starts with a student, which has no teacher"),
        ("stages.1.epochs", -1, "stage 'units-3': epochs is -1; it must be at least 1"),
        ("stages.1.batch_size", 1, "stage 'units-3': batch_size is 1; it must be at least 2"),
        ("stages.1.adam.lr", 0.0, "stage 'units-3': adam.lr is 0.0; it must be a positive number"),
        ("stages.1.num_units", 1, "stage 'units-3': num_units is 1; it must be at least 3"),
        ("stages.1.num_units", 2, "stage 'units-3': num_units is 2; it must be at least 3"),
        ("stages.0.num_units", 0, "stage 'units-2': num_units is 0; it must be at least 1"),
        ("model.value_range", [0.0, 2.0], "model.value_range is 0.0, 2.0; it must be low < high within [-1, 1]"),
        ("model.value_range", [0.5, 0.5], "model.value_range is 0.5, 0.5; it must be low < high within [-1, 1]"),
        ("seed", -1, "seed is -1; it must be at least 0"),
        ("stages.1.weights.pred", 0.1, "stage 'units-3': weights.pred is 0.1; without attributes it must be 0.0"),
        ("stages.2.weights.cycle_y", 0.1, "stage 'units-4': weights.cycle_y is 0.1; without attributes it must be 0.0"),
        ("stages.2.weights.cycle_z", 0.1, "stage 'units-4': weights.cycle_z is 0.1; without attributes it must be 0.0"),
        ("stages.weights.adv", 0.1, "stage 'units-2': weights.adv is 0.1; without attributes it must be 0.0"),
        (
            "stages.1.swap_probability",
            0.5,
            "stage 'units-3': swap_probability is 0.5; without attributes it must be 1.0",
        ),
    ],
)
def test_recipes_that_cannot_train_are_refused(path: str, value: Any, message: str) -> None:
    assert refusal(set_field, DEBUG, path, value).startswith(message)


def test_an_ordered_code_has_no_block_behind_it() -> None:
    message = "model.code_block must be false with num_units, as units have no activation"
    assert refusal(set_field, RECIPES["sprites"], "model.code_block", True) == message


def test_a_recipe_made_in_python_is_checked_too() -> None:
    assert refusal(Recipe, name="mine", data=Digits(), stages=()).startswith("recipe 'mine' has no stages")
    assert "no teacher to follow" in refusal(replace, DEBUG, stages=DEBUG.stages[1:])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"seed": 3}, ["seed: 0 -> 3"]),
        ({"data": MNIST()}, ['data.type: "Digits" -> "MNIST"']),
        (
            {"model": MLP(hidden=(32, 8), value_range=(-1.0, 1.0))},
            ["model.value_range.0: 0.0 -> -1.0", "model.hidden.1: 16 -> 8"],
        ),
        ({"data": Arrays(sha256="ab")}, ['data.type: "Digits" -> "Arrays"', 'data.sha256: null -> "ab"']),
    ],
)
def test_differences_lists_exactly_the_changed_fields(changes: dict[str, Any], expected: list[str]) -> None:
    assert differences(DEBUG, replace(DEBUG, **changes)) == expected


def test_differences_finds_one_field_of_one_stage() -> None:
    changed = set_field(set_field(DEBUG, "stages.2.adam.betas", [0.5, 0.999]), "stages.1.name", "other")
    expected = ['stages.1.name: "units-3" -> "other"', "stages.2.adam.betas.0: 0.9 -> 0.5"]
    assert differences(DEBUG, changed) == expected
    assert differences(to_dict(DEBUG), to_dict(changed)) == expected


def test_built_in_recipes_are_found_by_name() -> None:
    for name, recipe in RECIPES.items():
        assert find(name) is recipe
        assert recipe.name == name


def test_a_recipe_is_found_in_a_python_file(tmp_path: Path) -> None:
    path = tmp_path / "my_runs.py"
    path.write_text(
        "from dataclasses import replace\nfrom jacsup.recipes import RECIPES\n"
        "quick = replace(RECIPES['debug'], name='quick')\n"
    )
    assert find(f"{path}:quick") == replace(DEBUG, name="quick")
    assert refusal(find, f"{path}:quikc") == f"{path} defines no recipe 'quikc'; it defines quick"
    assert refusal(find, f"{path}:RECIPES").startswith(f"{path} defines no recipe 'RECIPES'; ")
    missing = tmp_path / "missing.py"
    assert refusal(find, f"{missing}:quick") == f"{missing}: no such file; pass file.py:name"


def test_a_recipe_is_found_in_a_json_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    recipe = set_field(DEBUG, "stages.1.epochs", 9)
    path.write_text(json.dumps(to_dict(recipe)))
    assert find(str(path)) == recipe


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"name": "x",', "line 1 column 14"),
        ("", "line 1 column 1"),
        ("[]", "recipe is []; must be an object with the fields of Recipe"),
        (json.dumps(as_json(DEBUG, stages=[])), "recipe 'debug' has no stages"),
        ("{}", "recipe lacks the field 'name'"),
    ],
)
def test_a_broken_recipe_file_is_refused_with_its_path(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(content)
    message = refusal(find, str(path))
    assert message.startswith(f"{path}: not a recipe: ")
    assert reason in message


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    assert refusal(find, str(path)) == f"{path}: no such file; pass the path of a recipe.json"


def test_an_unknown_recipe_is_answered_with_the_closest_name() -> None:
    assert refusal(find, "mnits").startswith("unknown recipe 'mnits'; did you mean 'mnist'?")
    assert all(re.search(rf"\b{name}\b", refusal(find, "qqq")) for name in (*RECIPES, "file.py:name", "recipe.json"))


UNSUPERVISED = {name: recipe for name, recipe in RECIPES.items() if not recipe.supervised}
SUPERVISED = {
    name: recipe
    for name, recipe in RECIPES.items()
    if recipe.supervised and any(stage.is_student for stage in recipe.stages)
}


@pytest.mark.parametrize("count", [-1, 5])
def test_some_layer_of_the_decoder_sees_y(count: int) -> None:
    with pytest.raises(ValueError, match=f"model.layers_without_y is {count}; it must be between 0 and 4"):
        set_field(RECIPES["celeba64"], "model.layers_without_y", count)


@pytest.mark.parametrize("recipe", UNSUPERVISED.values(), ids=UNSUPERVISED)
@pytest.mark.parametrize("arm", sorted(set(ARMS) - {"residual", "exact"}))
def test_an_arm_keeps_the_first_stage_and_only_reconstructs(arm: str, recipe: Recipe) -> None:
    baseline = with_arm(recipe, arm)
    assert baseline.stages[0] == recipe.stages[0]
    assert {stage.objective for stage in baseline.stages} == {"reconstruction"}
    kept = {"plain": recipe.stages[1:], "plain-jump": recipe.stages[-1:]}[arm]
    assert baseline.stages[1:] == tuple(replace(stage, objective="reconstruction") for stage in kept)
    assert replace(baseline, arm="", stages=recipe.stages) == recipe
    assert baseline.run_name == f"{recipe.name}-{arm}"
    assert len(with_arm(recipe, "plain-jump").stages) == 2


@pytest.mark.parametrize("recipe", SUPERVISED.values(), ids=SUPERVISED)
@pytest.mark.parametrize("arm", sorted(set(SUPERVISED_ARMS) - {"fader", "exact"}))
def test_a_supervised_arm_keeps_the_teachers_and_loses_the_supervision(arm: str, recipe: Recipe) -> None:
    baseline = with_arm(recipe, arm)
    teachers, students, rest = recipe.stages[:2], recipe.stages[2:], baseline.stages[2:]
    assert baseline.stages[:2] == teachers
    assert baseline.run_name == f"{recipe.name}-{arm}"
    assert sum(stage.epochs for stage in rest) == sum(stage.epochs for stage in students)
    assert {stage.objective for stage in rest} == {"reconstruction" if arm == "reconstruction" else "teacher"}
    assert arm == "reconstruction" or {stage.weights for stage in rest} == {teachers[-1].weights}
    assert {stage.adam for stage in rest} == {stage.adam for stage in students}
    assert {stage.teacher for stage in rest} == {teachers[-1].name}
    sizes = [teachers[-1].z_channels] if arm == "longer" else [stage.z_channels for stage in students]
    assert [stage.z_channels for stage in rest] == sizes


@pytest.mark.parametrize(
    ("name", "recipe"),
    [(name, recipe) for recipe in RECIPES.values() for name in ("residual", "exact") if name in arms_of(recipe)],
)
def test_a_residual_student_gets_the_students_code_images_and_rates(name: str, recipe: Recipe) -> None:
    arm = with_arm(recipe, name)
    students = [stage for stage in recipe.stages if stage.is_student]
    assert arm.stages[:-1] == recipe.stages[: -len(students)]
    stage, last = arm.stages[-1], students[-1]
    assert (stage.objective, stage.residual.model) == ("residual", recipe.model)
    assert stage.residual.sees_y == bool(stage.residual.moments) == (name == "residual")
    assert stage.residual.reads == ("rest" if isinstance(recipe.model, Conv) else "image")
    assert stage.epochs == sum(each.epochs for each in students)
    for name in ("num_units", "z_channels", "batch_size", "adam"):
        assert getattr(stage, name) == getattr(last, name)


@pytest.mark.parametrize("recipe", SUPERVISED.values(), ids=SUPERVISED)
def test_fader_networks_get_the_same_code_images_and_rates(recipe: Recipe) -> None:
    (stage,) = with_arm(recipe, "fader").stages
    assert stage.z_channels == recipe.stages[-1].z_channels
    assert stage.epochs == sum(each.epochs for each in recipe.stages)
    assert (stage.batch_size, stage.adam) == (recipe.stages[-1].batch_size, recipe.stages[-1].adam)
    assert stage.weights.adv == pytest.approx(1e-4 * stage.weights.rec)
    assert stage.weights.pred == recipe.stages[0].weights.pred


@pytest.mark.parametrize("recipe", SUPERVISED.values(), ids=SUPERVISED)
def test_all_students_are_held_to_the_teacher_with_cycles(recipe: Recipe) -> None:
    assert [recipe.teacher_of(number) for number in range(1, len(recipe.stages))] == [
        0,
        *[1] * (len(recipe.stages) - 2),
    ]


def test_the_paper_and_its_author_to_the_letter() -> None:
    paper, author = RECIPES["celeba"], RECIPES["celeba-author"]
    a, b, c, d = paper.stages
    assert [stage.z_channels for stage in paper.stages] == [512, 512, 1024, 2048]
    assert [stage.epochs for stage in paper.stages] == [100, 100, 200, 200]
    assert paper.model == Conv(channels=(16, 32, 64, 128, 256, 512), code_block=True)
    assert {stage.adam for stage in paper.stages} == {Adam(lr=2e-3, betas=(0.5, 0.999), weight_decay=0.0)}
    assert {stage.batch_size for stage in paper.stages} == {128} and not paper.flips
    assert a.weights == Weights(rec=100.0, y=0.0, jacobian=0.0, xcov=0.1, pred=0.1)
    assert b.weights == replace(a.weights, cycle_y=1e-3, cycle_z=1e-4)
    assert c.weights == d.weights == Weights(rec=100.0, y=1.0, jacobian=50.0, xcov=0.0)
    assert author.flips and author.model == Conv(channels=(32, 64, 128, 256, 512, 512), code_block=True)
    assert {(stage.batch_size, stage.adam.clip) for stage in author.stages} == {(64, 10.0)}


@pytest.mark.parametrize(
    ("size", "channels"),
    [
        (32, (24, 48, 96)),
        (64, (24, 48, 96, 192)),
        (256, (24, 48, 96, 192, 384, 512)),
        (512, (24, 48, 96, 192, 384, 512, 512)),
    ],
)
def test_another_size_drops_layers_at_the_deep_end(size: int, channels: tuple[int, ...]) -> None:
    recipe = with_size(RECIPES["celeba64"], size)
    assert recipe.data == CelebA(size=size) and recipe.model == Conv(channels=channels, layers_without_y=2)
    there_and_back = with_size(with_size(RECIPES["faces"], size), 64)
    assert there_and_back == RECIPES["faces"], "the code stays a map of one pixel"
    expected = [stage.z_channels * size // 64 for stage in RECIPES["celeba64"].stages]
    assert [stage.z_channels for stage in recipe.stages] == expected


def test_the_papers_codes_at_64_pixels() -> None:
    assert [stage.z_channels for stage in with_size(RECIPES["celeba"], 64).stages] == [128, 128, 256, 512]


def test_a_size_that_no_model_has_is_refused() -> None:
    assert refusal(with_size, RECIPES["faces"], 48) == "size is 48; must be one of 32, 64, 128, 256, 512"
    assert refusal(with_size, DEBUG, 64) == "recipe 'debug' has images of a fixed size; omit --size"


def test_an_arm_that_is_not_there_is_refused() -> None:
    assert refusal(with_arm, DEBUG, "plian") == "recipe 'debug' has no arm 'plian'; did you mean 'plain'?"
    assert refusal(with_arm, DEBUG, "longer").startswith("recipe 'debug' has no arm 'longer'; it must be one of")
    one_stage = Recipe(name="one", data=Digits(), stages=(Stage(name="a", objective="reconstruction", num_units=2),))
    assert refusal(with_arm, one_stage, "plain") == (
        "recipe 'one' has no student, so it has no arms; use a recipe with a student"
    )


@pytest.mark.parametrize(("channels", "epochs"), [((8, 8), (1, 1, 1)), ((), ()), ((8,) * 5, (1,) * 5)])
def test_a_face_curriculum_needs_epochs_for_each_of_its_stages(
    channels: tuple[int, ...], epochs: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="must be the same number, between 1 and 4"):
        face_curriculum(
            z_channels=channels,
            epochs=epochs,
            batch_size=8,
            teacher=Weights(pred=1.0),
            cycles={},
            student=Weights(),
            adam=Adam(),
        )
