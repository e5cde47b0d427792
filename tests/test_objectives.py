from __future__ import annotations

from dataclasses import replace

import pytest
import reference
import torch

from jacsup.config import MLP, Adam, Stage, Weights
from jacsup.models.mlp import MLPAutoencoder
from jacsup.objectives import Batch, student, updates
from jacsup.training.step import learning_rate, make_optimizers, set_learning_rate, train_step

SHAPE = (1, 3, 3)


def make_student() -> MLPAutoencoder:
    torch.manual_seed(0)
    return MLPAutoencoder(MLP(hidden=(8, 6)), SHAPE, 4).double()


def make_batch() -> Batch:
    torch.manual_seed(1)
    return Batch(*(torch.rand(*shape, dtype=torch.float64) for shape in ((5, *SHAPE), (5, 3), (5, *SHAPE))))


def naive_terms(model: MLPAutoencoder, batch: Batch, num_factors: int) -> dict[str, float]:
    """Eq. 8 to 10 one image at a time, partner j = the image before (section 3)."""
    assert batch.teacher_y is not None and batch.teacher_x_hat is not None
    with torch.no_grad():
        codes = [model.encode(image[None]).units[0] for image in batch.x]

        def decode(factors: torch.Tensor, own: torch.Tensor) -> list[float]:
            units = torch.cat([factors[:num_factors], own[num_factors:]])[None]
            return model.decoder(units)[0].tolist()

        x_hat = [decode(code, code) for code in codes]
        swapped = [decode(codes[i - 1], codes[i]) for i in range(len(codes))]
    teacher = batch.teacher_x_hat.flatten(1).tolist()
    y, z = [code[:num_factors].tolist() for code in codes], [code[num_factors:].tolist() for code in codes]
    rolled = [teacher[i - 1] for i in range(len(teacher))]
    nothing = [[0.0]]
    return {
        "rec": reference.reconstruction(batch.x.flatten(1).tolist(), x_hat),
        "y": reference.reconstruction(y, batch.teacher_y.tolist()),
        "diff": reference.jacobian(nothing, nothing, x_hat, swapped, teacher, rolled, 0, 1),
        "xcov": reference.cross_covariance(y, z),
    }


@pytest.mark.parametrize("norm", [False, True])
def test_the_student_has_the_papers_losses(norm: bool) -> None:
    model, batch = make_student(), make_batch()
    terms = student(Weights(xcov_norm=norm), 3).losses(model, batch)
    expected = naive_terms(model, batch, 3)
    expected["xcov"] **= 0.5 if norm else 1
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("off", ["rec", "y", "diff", "xcov"])
def test_a_term_of_weight_zero_is_not_computed(off: str) -> None:
    update = student(replace(Weights(), **{off: 0.0}), 3)
    terms = update.losses(make_student(), make_batch())
    assert set(terms) == set(update.weights) == {"rec", "y", "diff", "xcov"} - {off}


def test_gradients_flow_through_the_partners_factors() -> None:
    model, batch = make_student(), make_batch()
    terms = student(Weights(), 3).losses(model, batch)
    (gradient,) = torch.autograd.grad(terms["diff"], model.encoder.get_parameter("0.weight"))
    assert gradient.abs().max() > 0


def test_a_step_is_adam_on_the_weighted_sum() -> None:
    model, batch = make_student(), make_batch()
    adam = Adam(lr=0.01, weight_decay=0.1)
    iteration = (student(Weights(), 3),)
    optimizers = make_optimizers(model, adam)
    name = "decoder.0.bias"
    start = model.get_parameter(name)[2].item()
    gradients = []
    for _ in range(3):
        terms = iteration[0].losses(model, batch)
        loss = terms["rec"] + 0.1 * terms["y"] + terms["diff"] + 1e-3 * terms["xcov"]
        gradients.append(torch.autograd.grad(loss, model.get_parameter(name))[0][2].item())
        values = train_step(model, iteration, optimizers, batch)
        assert values.tolist() == pytest.approx([terms[key].item() for key in ("rec", "y", "diff", "xcov")])
    expected = reference.adam(start, gradients, 0.01, (0.9, 0.999), 0.1)
    assert model.get_parameter(name)[2].item() == pytest.approx(expected, rel=1e-9)


def test_a_stage_chooses_its_losses() -> None:
    plain = Stage(name="a", objective="reconstruction", num_units=2)
    assert [set(update.weights) for update in updates(plain, 0)] == [{"rec"}]
    assert [set(update.weights) for update in updates(Stage(name="b", num_units=3), 2)] == [
        {"rec", "y", "diff", "xcov"}
    ]


def test_learning_rates() -> None:
    constant, cycle = Adam(lr=0.5), Adam(lr=0.5, schedule="one-cycle")
    assert {learning_rate(constant, step, 10) for step in range(10)} == {0.5}
    rates = [learning_rate(cycle, step, 1000) for step in range(1000)]
    assert rates[300] == max(rates) == 0.5
    assert rates[0] == pytest.approx(0.02)
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[-1] < 1e-5


def test_every_network_gets_the_rate() -> None:
    optimizers = make_optimizers(make_student(), Adam())
    set_learning_rate(optimizers, 0.125)
    assert {name: optimizer.param_groups[0]["lr"] for name, optimizer in optimizers.items()} == {
        "encoder": 0.125,
        "decoder": 0.125,
    }
