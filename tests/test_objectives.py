from __future__ import annotations

from dataclasses import replace

import pytest
import reference
import torch

from jacsup import losses
from jacsup.code import Code, partners
from jacsup.config import MLP, Adam, Conv, LossOptions, Stage, Weights
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.mlp import MLPAutoencoder
from jacsup.objectives import Batch, cycle, student, teacher, updates
from jacsup.training.step import learning_rate, make_optimizer, train_step

SHAPE = (1, 3, 3)


def make_student() -> MLPAutoencoder:
    torch.manual_seed(0)
    return MLPAutoencoder(MLP(hidden=(8, 6)), SHAPE, 4).double()


def make_batch() -> Batch:
    torch.manual_seed(1)
    x, teacher_y, teacher_x_hat = (
        torch.rand(*shape, dtype=torch.float64) for shape in ((5, *SHAPE), (5, 3), (5, *SHAPE))
    )
    return Batch(x, None, teacher_y, None, teacher_x_hat, partners(teacher_x_hat))


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
        "jacobian": reference.jacobian(nothing, nothing, x_hat, swapped, teacher, rolled, 0, 1),
        "xcov": reference.cross_covariance(y, z),
    }


@pytest.mark.parametrize("norm", [False, True])
def test_the_student_has_the_papers_losses(norm: bool) -> None:
    model, batch = make_student(), make_batch()
    terms = student(Weights(), 3, LossOptions(xcov_norm=norm)).losses(model, batch, model.encode(batch.x))
    expected = naive_terms(model, batch, 3)
    expected["xcov"] **= 0.5 if norm else 1
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("off", ["rec", "y", "jacobian", "xcov"])
def test_a_term_of_weight_zero_is_not_computed(off: str) -> None:
    update = student(replace(Weights(), **{off: 0.0}), 3)
    model, batch = make_student(), make_batch()
    terms = update.losses(model, batch, model.encode(batch.x))
    assert set(terms) == set(update.weights) == {"rec", "y", "jacobian", "xcov"} - {off}


def test_gradients_flow_through_the_partners_factors() -> None:
    model, batch = make_student(), make_batch()
    terms = student(Weights(), 3).losses(model, batch, model.encode(batch.x))
    (gradient,) = torch.autograd.grad(terms["jacobian"], model.encoder.get_parameter("0.weight"))
    assert gradient.abs().max() > 0


def test_a_step_is_adam_on_the_weighted_sum() -> None:
    model, batch = make_student(), make_batch()
    adam = Adam(lr=0.01, weight_decay=0.1)
    iteration = (student(Weights(), 3),)
    optimizer = make_optimizer(model, adam)
    name = "decoder.0.bias"
    start = model.get_parameter(name)[2].item()
    gradients = []
    for _ in range(3):
        terms = iteration[0].losses(model, batch, model.encode(batch.x))
        loss = terms["rec"] + 0.1 * terms["y"] + terms["jacobian"] + 1e-3 * terms["xcov"]
        gradients.append(torch.autograd.grad(loss, model.get_parameter(name))[0][2].item())
        values = train_step(model, iteration, optimizer, batch)
        assert values.tolist() == pytest.approx([terms[key].item() for key in ("rec", "y", "jacobian", "xcov")])
    expected = reference.adam(start, gradients, 0.01, (0.9, 0.999), 0.1)
    assert model.get_parameter(name)[2].item() == pytest.approx(expected, rel=1e-9)


def test_a_stage_chooses_its_losses() -> None:
    plain = Stage(name="a", objective="reconstruction", num_units=2)
    assert [set(update.weights) for update in updates(plain, 0)] == [{"rec"}]
    assert [set(update.weights) for update in updates(Stage(name="b", num_units=3), 2)] == [
        {"rec", "y", "jacobian", "xcov"}
    ]


FACES = Weights(rec=2.0, y=0.5, jacobian=3.0, xcov=0.1, pred=0.7, cycle_y=0.2, cycle_z=0.3)


def make_supervised(seed: int = 0) -> ConvAutoencoder:
    torch.manual_seed(seed)
    return ConvAutoencoder(Conv(channels=(4, 4)), (3, 32, 32), 3, 2).double()


def supervised_batch() -> Batch:
    torch.manual_seed(1)
    x = torch.rand(6, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        teacher = make_supervised(3).eval()
        code = teacher.encode(x)
        swapped = teacher.decode(Code(partners(code.y), code.z))
        labels = torch.randn(6, 3, dtype=torch.float64).sign()
        return Batch(x, labels, code.y, code.z, teacher.decode(code), swapped)


def test_a_teacher_has_equations_8_10_and_11() -> None:
    model, batch = make_supervised(), supervised_batch()
    code = model.encode(batch.x)
    terms = teacher(FACES).losses(model, batch, code)
    assert batch.attributes is not None
    labels = batch.attributes.tolist()
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {
            "rec": reference.reconstruction(batch.x.flatten(1).tolist(), model.decode(code).flatten(1).tolist()),
            "xcov": reference.cross_covariance(code.y.tolist(), code.z.tolist()),
            "pred": reference.prediction(code.y.tolist(), labels, [False] * 3),
        }
    )


def test_a_supervised_student_is_held_to_the_teachers_swapped_images() -> None:
    model, batch = make_supervised(), supervised_batch()
    code = model.encode(batch.x)
    terms = student(FACES, 3).losses(model, batch, code)
    # One batch of 2B: both sides share their batch statistics.
    both = model.decode(Code(torch.cat([code.y, code.y.roll(1, 0)]), torch.cat([code.z, code.z])))
    x_hat, swapped = (part.flatten(1).tolist() for part in both.chunk(2))
    assert batch.teacher_x_hat is not None and batch.teacher_x_hat_swapped is not None
    of_teacher = batch.teacher_x_hat.flatten(1).tolist(), batch.teacher_x_hat_swapped.flatten(1).tolist()
    nothing = [[0.0]]
    expected = reference.jacobian(nothing, nothing, x_hat, swapped, *of_teacher, 0, 1)
    assert terms["jacobian"].item() == pytest.approx(expected)
    assert set(terms) == {"rec", "y", "jacobian", "xcov", "pred"}


@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("predicted", [False, True])
def test_the_cycle_judges_swapped_images_with_the_encoder_as_it_will_be_used(predicted: bool, blurred: bool) -> None:
    model, batch = make_supervised(), supervised_batch()
    code = model.encode(batch.x)
    options = LossOptions(cycle_predicted=predicted, cycle_blurred=blurred)
    statistics = [value.clone() for value in model.encoder.buffers()]
    terms = cycle(FACES, options).losses(model, batch, code)
    assert all(a.equal(b) for a, b in zip(statistics, model.encoder.buffers(), strict=True))
    assert model.training and model.encoder.training
    fabricated = model.decode(Code(code.y.roll(1, 0), code.z))
    if blurred:
        planes = [[reference.blurred(plane) for plane in image] for image in fabricated.tolist()]
        fabricated = torch.tensor(planes, dtype=torch.float64)
    again = model.eval().encode(fabricated)
    assert batch.attributes is not None
    labels = (code.y.sign() if predicted else batch.attributes).roll(1, 0)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {
            "cycle_y": reference.cycle_factors(again.y.tolist(), labels.tolist(), [False] * 3),
            "cycle_z": reference.cycle_nuisance(again.z.tolist(), code.z.tolist()),
        }
    )
    norm = cycle(FACES, replace(options, cycle_z_norm=True)).losses(model.train(), batch, code)
    assert norm["cycle_z"].item() == pytest.approx(terms["cycle_z"].item() ** 0.5)


def test_an_iteration_steps_all_on_l1_then_the_decoder_on_l2_with_the_same_moments() -> None:
    """Section 4's two updates, against plain Adam on hand-made gradients."""
    stage = Stage(name="b", objective="teacher", z_channels=2, weights=FACES)
    adam = Adam(lr=0.01, weight_decay=0.0)
    model, twin, batch = make_supervised(), make_supervised(), supervised_batch()
    optimizer, iteration = make_optimizer(model, adam), updates(stage, 3)
    assert [update.trains for update in iteration] == [("encoder", "decoder"), ("decoder",)]
    moments = {name: torch.optim.Adam(net.parameters(), lr=0.01) for name, net in twin.named_children()}
    for _ in range(3):
        values = train_step(model, iteration, optimizer, batch)
        assert batch.attributes is not None
        code = twin.encode(batch.x)
        l1 = 2.0 * (twin.decode(code) - batch.x).square().mean()
        l1 = l1 + 0.1 * losses.cross_covariance(code.y, code.z) + 0.7 * losses.prediction(code.y, batch.attributes)
        twin.zero_grad()
        l1.backward()
        for each in moments.values():
            each.step()
        y, z = code.y.detach().roll(1, 0), code.z.detach()
        fabricated = twin.decode(Code(y, z))
        twin.encoder.eval()
        again = twin.encode(fabricated)
        twin.encoder.train()
        l2 = 0.2 * losses.cycle_factors(again.y, batch.attributes.roll(1, 0))
        l2 = l2 + 0.3 * losses.cycle_nuisance(again.z, z)
        twin.zero_grad()
        l2.backward()
        moments["decoder"].step()
        assert values[3:].detach().dot(torch.tensor([0.2, 0.3], dtype=torch.float64)).item() == pytest.approx(l2.item())
    for (name, a), b in zip(model.state_dict().items(), twin.state_dict().values(), strict=True):
        assert a.allclose(b, atol=1e-10), name


def test_a_gradient_longer_than_the_clip_is_shortened() -> None:
    stage = Stage(name="a", objective="teacher", z_channels=2, weights=replace(FACES, cycle_y=0.0, cycle_z=0.0))
    model, batch = make_supervised(), supervised_batch()
    train_step(model, updates(stage, 3), make_optimizer(model, Adam()), batch, 1e-3)
    gradients = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    assert torch.cat(gradients).norm().item() == pytest.approx(1e-3, rel=1e-4)


def test_learning_rates() -> None:
    constant, cycle = Adam(lr=0.5), Adam(lr=0.5, schedule="one-cycle")
    assert {learning_rate(constant, step, 10) for step in range(10)} == {0.5}
    rates = [learning_rate(cycle, step, 1000) for step in range(1000)]
    assert rates[300] == max(rates) == 0.5
    assert rates[0] == pytest.approx(0.02)
    assert rates[:301] == sorted(rates[:301])
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[-1] < 1e-5
