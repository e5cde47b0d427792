"""The exact student: the teacher inside the decoder, so that its Jacobian is the teacher's by construction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import stop_after
from small_faces import small_faces
from torch import Tensor

import jacsup
from jacsup.code import Code
from jacsup.config import MLP, Conv, ModelConfig, Recipe, Residual, ResidualStudent, Stage
from jacsup.evaluate import evaluate
from jacsup.export import export
from jacsup.jsonable import set_field, to_dict
from jacsup.metrics.jacobian import decoder_jacobian
from jacsup.models import Model, build, load
from jacsup.models.residual import GATE_BIAS, ResidualAutoencoder
from jacsup.objectives import Batch, residual
from jacsup.recipes import RECIPES
from jacsup.run import Run
from jacsup.training import epoch_scores

SHAPE = (1, 4, 4)


def exact_digits(gate: tuple[int, ...] = (), *, stages: int = 2) -> Recipe:
    """A teacher of 2 units, then exact students of 5 and 7 units, each holding the one before."""
    debug = RECIPES["debug"]
    added = Residual(model=MLP(hidden=(24,)), gate=gate)
    students = tuple(
        Stage(name=f"exact-{units}", objective="residual", num_units=units, epochs=2, residual=added)
        for units in (5, 7)
    )
    return replace(debug, name="exact", stages=(debug.stages[0], *students[: stages - 1]))


def exact_faces() -> Recipe:
    """Teachers A and B of drawn faces, then an exact student of B."""
    faces = small_faces()
    added = Residual(model=Conv(channels=(4, 6, 8)))
    student = replace(faces.stages[2], objective="residual", residual=added, z_channels=6)
    return replace(faces, stages=(*faces.stages[:2], student))


def student(gate: tuple[int, ...] = (), amount: float = 1.0) -> tuple[ResidualAutoencoder, Model, Model]:
    """An exact student of random weights, its teacher and its addition, in float64."""
    torch.manual_seed(0)
    teacher = build(MLP(hidden=(6,)), SHAPE, 2, normalized=True)
    addition = build(MLP(hidden=(5,)), SHAPE, 3, normalized=False)
    config = ResidualStudent(teacher=teacher.config, addition=addition.config, gate=gate, amount=amount)
    model = ResidualAutoencoder(config, teacher, addition)
    return model.double().eval(), teacher, addition


def images(count: int = 5) -> Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_decoder_is_the_teachers_and_what_it_lacks() -> None:
    model, teacher, addition = student(gate=(7,), amount=0.5)
    x = images()
    y = teacher.encode(x).y
    z = addition.encode(x - teacher.decode(Code.of_units(y))).y
    code = model.encode(x)
    assert code.units.allclose(torch.cat([y, z], dim=1)) and code.z.shape == (5, 0)
    gate = torch.sigmoid(model.gate(y) + GATE_BIAS).view(-1, *SHAPE)
    expected = teacher.decode(Code.of_units(y)) + 0.5 * gate * addition.decode(Code.of_units(z))
    assert model.decode(code).allclose(expected)
    assert model.decode(code.split(2)).allclose(expected)


def test_without_a_gate_the_jacobian_is_the_teachers() -> None:
    model, teacher, _ = student()
    code = model.encode(images())
    of_teacher = decoder_jacobian(teacher, teacher.encode(images()), 2)
    torch.testing.assert_close(decoder_jacobian(model, code, 2), of_teacher, rtol=0, atol=1e-12)
    moved = Code.of_units(code.units + torch.tensor([0.0, 0, 3, -2, 1]))
    torch.testing.assert_close(decoder_jacobian(model, moved, 2), of_teacher, rtol=0, atol=1e-12)


def test_with_a_gate_the_jacobian_has_the_gates_beside_it() -> None:
    model, teacher, addition = student(gate=(7,))
    code = model.encode(images())
    y, added = code.split(2).y, addition.decode(Code.of_units(code.split(2).z))
    step = 1e-6
    for unit in range(2):
        ends = [y.clone(), y.clone()]
        ends[0][:, unit] -= step
        ends[1][:, unit] += step
        gates = [torch.sigmoid(model.gate(end) + GATE_BIAS).view(-1, *SHAPE) for end in ends]
        slope = ((gates[1] - gates[0]) / (2 * step) * added).flatten(1)
        expected = decoder_jacobian(teacher, Code.of_units(y), 2)[unit] + slope
        torch.testing.assert_close(decoder_jacobian(model, code, 2)[unit], expected, rtol=0, atol=1e-8)


def test_the_loss_is_the_reconstruction_and_the_teacher_gets_no_gradient() -> None:
    model, teacher, _ = student(gate=(7,))
    x = images()
    y = teacher.encode(x).y
    batch = Batch(x, teacher_y=y, teacher_x_hat=teacher.decode(Code.of_units(y)))
    update = residual()
    loss = update.losses(model.train(), batch, update.encode(model, batch))["rec"]
    assert loss.item() == pytest.approx((model.decode(model.encode(x)) - x).square().mean().item())
    loss.backward()
    assert all(weight.grad is None for weight in teacher.parameters())
    trained = [weight for name in update.trains for weight in model.get_submodule(name).parameters()]
    assert {id(weight) for weight in trained} == {id(weight) for weight in model.parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trained)
    assert not teacher.training and model.addition.training


@pytest.mark.parametrize("gate", [(), (8,)])
def test_an_ordered_code_grows_by_exact_students(gate: tuple[int, ...], tmp_path: Path) -> None:
    run = jacsup.train(exact_digits(gate, stages=3), out=tmp_path / "run")
    metrics: Any = evaluate(run)
    assert [stage["code_size"] for stage in metrics["stages"]] == [2, 5, 7]
    errors = [stage["mse"] for stage in metrics["stages"]]
    assert errors == sorted(errors, reverse=True)
    drift = [stage["jacobian_error_first_teacher"] for stage in metrics["stages"][1:]]
    assert all(error < 1e-5 for error in drift) == (not gate)
    model = load(run)
    assert isinstance(model, ResidualAutoencoder) and isinstance(model.teacher, ResidualAutoencoder)
    first = load(Run(run).stage_file(0))
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(model.encode(x).units[:, :2], first.encode(x).units)


def test_attributes_stay_the_teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    run = Run(jacsup.train(exact_faces(), out=tmp_path / "run"))
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
        ("stages.1.teacher", "exact-7", "teacher is 'exact-7'; it must be"),
        ("stages.0.objective", "residual", "its first stage has no teacher to follow"),
        ("stages.1.residual.gate", [0], r"residual.gate is \(0,\); widths must be at least 1"),
        ("stages.1.residual.model.hidden", [], r"model.hidden is \(\); it must be one or more widths"),
    ],
)
def test_exact_students_that_cannot_be_are_refused(path: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        set_field(exact_digits(stages=3), path, value)


def test_exact_attributes_need_channels_of_their_own() -> None:
    with pytest.raises(ValueError, match="z_channels is 4; it must be above 4"):
        set_field(exact_faces(), "stages.2.z_channels", 4)
    with pytest.raises(ValueError, match="z_channels need a convolutional model"):
        set_field(exact_faces(), "stages.2.residual.model", to_dict(MLP(), ModelConfig))


def test_an_exact_student_is_exported(tmp_path: Path) -> None:
    run = jacsup.train(exact_digits((8,)), out=tmp_path / "run")
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
    [(exact_digits((8,), stages=3), 11), (exact_faces(), 6)],
    ids=["units", "attributes"],
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
