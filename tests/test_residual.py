"""The residual student: the teacher inside the decoder, with exactly its Jacobian and without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import stop_after
from golden_curves import follows_golden_curve
from small_faces import small_faces
from torch import Tensor

import jacsup
from jacsup import losses
from jacsup.code import Code
from jacsup.config import MLP, Conv, ModelConfig, Recipe, Residual, ResidualStudent, Stage
from jacsup.data import load_dataset
from jacsup.evaluate import evaluate
from jacsup.export import export
from jacsup.jsonable import set_field, to_dict
from jacsup.metrics.images import encode_all
from jacsup.metrics.jacobian import decoder_jacobian
from jacsup.metrics.order import energy_per_unit
from jacsup.models import Model, build, load
from jacsup.models.residual import ResidualAutoencoder
from jacsup.objectives import Batch, residual
from jacsup.recipes import RECIPES, with_arm
from jacsup.run import Run
from jacsup.training import epoch_scores
from jacsup.training.order import NUM_DIFFERENTIATED, order_units
from jacsup.training.speed import as_they_will_be_used, speed_up
from jacsup.training.start import starting_model

SHAPE = (1, 4, 4)


# The student with the teacher's Jacobian, and the one that is trained by default.
EXACT: dict[str, Any] = {"sees_y": False, "moments": (), "reads": "rest"}
FULL: dict[str, Any] = {"sees_y": True, "moments": (7,), "reads": "image"}
# Of attributes: R is the teacher's decoder, grown.
GROWN: dict[str, Any] = EXACT | {"grown": True}
FORMS = pytest.mark.parametrize(
    "form",
    [EXACT, EXACT | {"reads": "image"}, FULL, EXACT | {"moments": (7,)}, FULL | {"moments": ()}],
)


def residual_digits(form: dict[str, Any] = EXACT, *, stages: int = 2) -> Recipe:
    """A teacher of 2 units, then residual students of 5 and 7 units, each holding the one before."""
    debug = RECIPES["debug"]
    added = Residual(model=MLP(hidden=(24,)), **form)
    students = tuple(
        Stage(name=f"residual-{units}", objective="residual", num_units=units, epochs=8, residual=added)
        for units in (5, 7)
    )
    return replace(debug, name="exact", stages=(debug.stages[0], *students[: stages - 1]))


def residual_faces(form: dict[str, Any] = EXACT) -> Recipe:
    """Teachers A and B of drawn faces, then a residual student of B."""
    faces = small_faces()
    added = Residual(model=faces.model if form.get("grown") else Conv(channels=(4, 6, 8)), **form)
    student = replace(faces.stages[2], objective="residual", residual=added, z_channels=6)
    return replace(faces, stages=(*faces.stages[:2], student))


def student(form: dict[str, Any] = EXACT, amount: float = 1.0) -> tuple[ResidualAutoencoder, Model, Model]:
    """A residual student of random weights with 3 new units, its teacher and its addition, in float64."""
    torch.manual_seed(0)
    teacher = build(MLP(hidden=(6,)), SHAPE, 2, normalized=True)
    addition = build(MLP(hidden=(5,)), SHAPE, 5 if form["sees_y"] else 3, normalized=False)
    config = ResidualStudent(teacher=teacher.config, addition=addition.config, amount=amount, **form)
    model = ResidualAutoencoder(config, teacher, addition)
    return model.double().eval(), teacher, addition


def images(count: int = 5) -> Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def turned(model: ResidualAutoencoder) -> Tensor:
    """Give the new units a basis of random directions, and return it."""
    basis = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    model.turn(basis)
    return basis


@FORMS
def test_the_decoder_is_the_teachers_and_what_it_lacks(form: dict[str, Any]) -> None:
    model, teacher, addition = student(form, amount=0.5)
    basis = turned(model)
    x = images()
    y = teacher.encode(x).y
    u = addition.encode(x - teacher.decode(Code.of_units(y)) if form["reads"] == "rest" else x).y[:, -3:]
    mean, deviation = model.moments_of(y) if form["moments"] else (0, 1)
    code = model.encode(x)
    assert code.units.allclose(torch.cat([y, (u - mean) / deviation @ basis], dim=1)) and code.z.shape == (5, 0)
    assert model.code_size == model.num_units == 5
    read = torch.cat([y, u], dim=1) if form["sees_y"] else u
    expected = teacher.decode(Code.of_units(y)) + 0.5 * addition.decode(Code.of_units(read))
    assert model.decode(code).allclose(expected)
    assert model.decode(code.split(2)).allclose(expected)


def test_the_jacobian_is_the_teachers() -> None:
    model, teacher, _ = student(EXACT)
    turned(model)
    code = model.encode(images())
    of_teacher = decoder_jacobian(teacher, teacher.encode(images()), 2)
    torch.testing.assert_close(decoder_jacobian(model, code, 2), of_teacher, rtol=0, atol=1e-12)
    moved = Code.of_units(code.units + torch.tensor([0.0, 0, 3, -2, 1]))
    torch.testing.assert_close(decoder_jacobian(model, moved, 2), of_teacher, rtol=0, atol=1e-12)


def test_an_edit_moves_the_rest_to_the_same_place_in_its_distribution() -> None:
    model, teacher, addition = student(FULL)
    x = images()
    y, z = teacher.encode(x).y, model.encode(x).units[:, 2:]
    y_swapped, u = y.roll(1, 0), addition.encode(x).y[:, 2:]
    (mean, deviation), (mean_swapped, deviation_swapped) = model.moments_of(y), model.moments_of(y_swapped)
    moved = mean_swapped + deviation_swapped * (u - mean) / deviation
    added = addition.decode(Code.of_units(torch.cat([y_swapped, moved], dim=1)))
    found = model.decode(Code.of_units(torch.cat([y_swapped, z], dim=1)))
    assert found.allclose(teacher.decode(Code.of_units(y_swapped)) + added)


def test_another_amount_shares_the_networks() -> None:
    model, teacher, _ = student(FULL)
    code = model.encode(images())
    whole, none = model.decode(code), model.with_amount(0.0).decode(code)
    assert none.equal(teacher.decode(Code.of_units(code.y[:, :2])))
    assert model.with_amount(0.25).decode(code).allclose(none + 0.25 * (whole - none))
    assert model.config.amount == 1 and model.with_amount(0.25).addition is model.addition
    for amount in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"amount is {amount}; it must be between 0 and 1"):
            model.with_amount(amount)


def test_the_moments_are_learned() -> None:
    """u = 3 sin(y) + (0.5 + |y|) times noise: the loss finds both functions of y."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    y = torch.rand(4000, 1, generator=generator) * 4 - 2
    u = 3 * y.sin() + (0.5 + y.abs()) * torch.randn(4000, 1, generator=generator)
    teacher, addition = (build(MLP(hidden=(5,)), SHAPE, 1, normalized=False) for _ in range(2))
    model = ResidualAutoencoder(ResidualStudent(teacher_units=1, moments=(32, 32)), teacher, addition)
    optimizer = torch.optim.Adam(model.moments.parameters(), lr=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        losses.moments(u, *model.moments_of(y)).backward()
        optimizer.step()
    mean, deviation = model.moments_of(y)
    assert (mean - 3 * y.sin()).abs().mean() < 0.15
    assert (deviation - 0.5 - y.abs()).abs().mean() < 0.15


def test_the_loss_is_the_reconstruction_and_the_teacher_gets_no_gradient() -> None:
    model, teacher, _ = student(FULL)
    x = images()
    y = teacher.encode(x).y
    batch = Batch(x, teacher_y=y, teacher_z=y[:, :0], teacher_x_hat=teacher.decode(Code.of_units(y)))
    update = residual(moments=True)
    values = update.losses(model.train(), batch, update.encode(model, batch))
    assert values["rec"].item() == pytest.approx((model.decode(model.encode(x)) - x).square().mean().item())
    values["moments"].backward(retain_graph=True)
    assert all((weight.grad is None) != name.startswith("moments") for name, weight in model.named_parameters())
    values["rec"].backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    trained = [weight for name in update.trains for weight in model.get_submodule(name).parameters()]
    assert {id(weight) for weight in trained} == {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained)
    assert not teacher.training and model.addition.training


@FORMS
def test_an_ordered_code_grows_by_residual_students(form: dict[str, Any], tmp_path: Path) -> None:
    run = jacsup.train(residual_digits(form, stages=3), out=tmp_path / "run")
    metrics: Any = evaluate(run)
    assert [stage["code_size"] for stage in metrics["stages"]] == [2, 5, 7]
    errors = [stage["mse"] for stage in metrics["stages"]]
    assert errors == sorted(errors, reverse=True)
    drift = [stage["jacobian_error_first_teacher"] for stage in metrics["stages"][1:]]
    assert all(error < 1e-5 for error in drift) == (not form["sees_y"] and not form["moments"])
    model = load(run)
    assert isinstance(model, ResidualAutoencoder) and isinstance(model.teacher, ResidualAutoencoder)
    first = load(Run(run).stage_file(0))
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(model.encode(x).units[:, :2], first.encode(x).units)


def test_the_new_units_are_in_the_order_of_their_effect(tmp_path: Path) -> None:
    recipe = residual_digits(FULL)
    run = jacsup.train(recipe, out=tmp_path / "run")
    model, data = load(run), load_dataset(recipe.data, None)
    assert isinstance(model, ResidualAutoencoder)
    units = encode_all(model, data.train.images)
    torch.testing.assert_close(units[:, 2:].T.cov(), torch.eye(3), rtol=0, atol=1e-3)
    some = data.train.images[:NUM_DIFFERENTIATED]
    energies = energy_per_unit(model, some, units.std(dim=0))[2:]
    assert energies == sorted(energies, reverse=True)
    # The same directions, found by naive loops.
    rows = decoder_jacobian(model, Code.of_units(units[:NUM_DIFFERENTIATED]), 5)[2:]
    products = [[float((a * b).sum(dim=1).mean()) for a in rows] for b in rows]
    for i in range(3):
        for j in range(i):
            assert abs(products[i][j]) < 1e-3 * products[i][i] ** 0.5 * products[j][j] ** 0.5


def test_a_single_new_unit_is_scaled(tmp_path: Path) -> None:
    recipe = with_arm(replace(RECIPES["debug"], stages=RECIPES["debug"].stages[:2]), "exact")
    model = load(jacsup.train(recipe, out=tmp_path / "run"))
    units = encode_all(model, load_dataset(recipe.data, None).train.images)
    assert units.shape[1] == 3 and units[:, 2].std().item() == pytest.approx(1, abs=1e-3)


def test_losses_follow_the_golden_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = with_arm(RECIPES["debug"], "residual")
    follows_golden_curve(recipe, load_dataset(recipe.data, None), "residual", tmp_path / "run", monkeypatch)


def test_the_networks_inside_compute_in_bfloat16_while_they_learn() -> None:
    model, teacher, addition = student(FULL)
    speed_up([model], "bfloat16", compiled=False)
    assert teacher.in_bfloat16 and addition.in_bfloat16
    with as_they_will_be_used(model, None, compiled=False):
        assert not teacher.in_bfloat16 and not addition.in_bfloat16
    assert teacher.in_bfloat16 and addition.in_bfloat16


def test_turning_the_units_changes_no_image() -> None:
    model, _, _ = student(FULL)
    x = images()
    before = model.decode(model.encode(x))
    turned(model)
    torch.testing.assert_close(model.decode(model.encode(x)), before, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dead", [[1], [0, 1, 2]])
def test_units_that_never_change_can_be_ordered(dead: list[int]) -> None:
    model, _, addition = student()
    addition.encoder[-1].weight.data[dead] = 0
    order_units(model.float(), torch.randint(256, (50, *SHAPE), dtype=torch.uint8))
    assert model.basis.isfinite().all() and model.inverse.isfinite().all()


def test_a_grown_decoder_adds_what_it_gained_at_average_factors() -> None:
    torch.manual_seed(0)
    teacher = build(Conv(channels=(4, 6, 8)), (3, 32, 32), 5, 2, normalized=False).eval()
    addition = build(teacher.config, teacher.image_shape, 5, 3, normalized=False).eval()
    config = ResidualStudent(teacher_units=5, reads="rest", grown=True)
    model = ResidualAutoencoder(config, teacher, addition)
    x = torch.rand(4, 3, 32, 32)
    known = teacher.encode(x)
    u = addition.encode(x - teacher.decode(known)).z[:, 2 * 4 :]
    code = model.encode(x)
    assert code.z.equal(torch.cat([known.z, u], dim=1)) and model.code_size == 5 + 3 * 4
    still = torch.zeros(4, 5)
    gained = addition.decode(Code(still, code.z)) - teacher.decode(Code(still, known.z))
    torch.testing.assert_close(model.decode(code), teacher.decode(known) + gained)


def test_a_grown_student_starts_as_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    recipe = residual_faces(GROWN)
    run = Run(jacsup.train(recipe, out=tmp_path / "run", num_stages=2))
    model = starting_model(run, recipe, 2, load_dataset(recipe.data, None)).eval()
    assert isinstance(model, ResidualAutoencoder)
    x = torch.rand(3, *model.image_shape) * 2 - 1
    torch.testing.assert_close(model.decode(model.encode(x)), model.teacher.decode(model.teacher.encode(x)))


@pytest.mark.parametrize("form", [EXACT, GROWN])
def test_edits_of_attributes_are_the_teachers(
    form: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    run = Run(jacsup.train(residual_faces(form), out=tmp_path / "run"))
    model, teacher = load(run.path), load(run.stage_file(1))
    x = torch.rand(3, *model.image_shape) * 2 - 1
    code, known = model.encode(x), teacher.encode(x)
    assert code.y.equal(known.y) and code.z[:, : known.z.shape[1]].equal(known.z)
    assert code.z.shape[1] == model.code_size - model.num_units == 6 * 4
    edited = Code(code.y.roll(1, 0), code.z)
    change = model.decode(edited) - model.decode(code)
    expected = teacher.decode(Code(known.y.roll(1, 0), known.z)) - teacher.decode(known)
    torch.testing.assert_close(change, expected, rtol=0, atol=1e-5)
    assert "test_edit" in run.stats()[-1] and run.stats()[-1]["test_jacobian"] < 1e-9


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("stages.2.objective", "student", "objective is student; after a residual stage it must be residual"),
        ("stages.1.teacher", "residual-7", "teacher is 'residual-7'; it must be"),
        ("stages.0.objective", "residual", "which has no teacher to follow"),
        ("stages.1.residual.moments", [0], r"residual.moments is \(0,\); widths must be at least 1"),
        ("stages.1.residual.model.hidden", [], r"model.hidden is \(\); it must be one or more widths"),
    ],
)
def test_residual_students_that_cannot_be_are_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_field(residual_digits(stages=3), path, value)


def test_exact_attributes_need_channels_of_their_own() -> None:
    with pytest.raises(ValueError, match="z_channels is 4; it must be above 4"):
        set_field(residual_faces(), "stages.2.z_channels", 4)
    with pytest.raises(ValueError, match="z_channels need a convolutional model"):
        set_field(residual_faces(), "stages.2.residual.model", to_dict(MLP(), ModelConfig))


@pytest.mark.parametrize(
    ("recipe", "path", "value"),
    [
        (residual_faces(GROWN), "stages.2.residual.sees_y", True),
        (residual_faces(GROWN), "stages.2.residual.model.channels", [4, 6, 8]),
        (residual_faces(EXACT), "stages.2.residual.grown", True),
        (residual_digits(), "stages.1.residual.grown", True),
    ],
)
def test_what_cannot_grow_is_refused(recipe: Recipe, path: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"residual.grown needs attributes, .*, and sees_y=False"):
        set_field(recipe, path, value)


def test_a_residual_student_is_exported(tmp_path: Path) -> None:
    run = jacsup.train(residual_digits(FULL), out=tmp_path / "run")
    encoder, decoder, _ = export(run, tmp_path / "export", "torch")
    x, model = torch.rand(3, 1, 8, 8), load(run)
    with torch.no_grad():
        code = model.encode(x)
        x_hat = model.decode(code)
    (units,) = torch.export.load(encoder).module()(x)
    torch.testing.assert_close(units, code.units, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.export.load(decoder).module()(units), x_hat, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("recipe", "steps_per_epoch"),
    [(residual_digits(FULL, stages=3), 11), (residual_faces(FULL), 6), (residual_faces(GROWN), 6)],
    ids=["units", "attributes", "grown"],
)
def test_a_run_resumes_bit_exactly(
    recipe: Recipe, steps_per_epoch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    whole = jacsup.train(recipe, out=tmp_path / "whole")
    before_the_last = sum(stage.epochs for stage in recipe.stages[:-1]) * steps_per_epoch
    stop_after(before_the_last + 3, recipe, tmp_path / "cut", monkeypatch)
    jacsup.train(recipe, out=tmp_path / "cut")
    assert (tmp_path / "cut/model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
