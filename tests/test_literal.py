"""The benchmarks' denominator computes what our own step computes: the same losses, the same gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import literal
import pytest
import torch
from torch import Tensor

from jacsup.code import to_float
from jacsup.config import MLP, Adam, Conv, LossOptions, Weights
from jacsup.models import Model, build
from jacsup.models.mlp import MLPAutoencoder
from jacsup.objectives import Batch, student
from jacsup.training.step import make_optimizer, train_step
from jacsup.training.teacher import TeacherOutputs

K = 3
WEIGHTS = Weights(rec=2.0, y=0.3, jacobian=0.7, xcov=0.01)
MODELS = {
    "mlp": (MLP(), (1, 28, 28), (K, 5), (0, 0)),
    "conv": (Conv(channels=(6, 8, 10), layers_without_y=1), (3, 32, 32), (K, K), (2, 4)),
}


def make(kind: str) -> tuple[Model, Model, Tensor]:
    """Student, teacher and uint8 images."""
    config, shape, units, channels = MODELS[kind]
    torch.manual_seed(0)
    teacher, model = (build(config, shape, n, z, normalized=False) for n, z in zip(units, channels, strict=True))
    return model.train(), teacher.eval(), torch.randint(256, (8, *shape), dtype=torch.uint8)


def plain_gradients(model: Model) -> list[Tensor]:
    """The gradients in .grad, in the order of the twin's parameters and in its shapes."""
    gradients = [_gradient(weight) for weight in model.encoder.parameters()]
    if isinstance(model, MLPAutoencoder):
        return gradients + [_gradient(weight) for weight in model.decoder.parameters()]
    decoder = model.decoder
    gradients += [_gradient(weight) for weight in decoder.norms.parameters()]
    for layer in (*decoder.layers, decoder.to_image):
        named = {name: _gradient(weight) for name, weight in layer.named_parameters()}
        gradients.append(torch.cat([named[name] for name in ("weight", "y_weight") if name in named]))
        gradients += [named["bias"]] if "bias" in named else []
    return gradients


def _gradient(weight: Tensor) -> Tensor:
    assert weight.grad is not None
    return weight.grad


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("norm", [False, True])
def test_our_step_has_the_twins_loss_and_gradients(kind: str, norm: bool) -> None:
    model, teacher, images = make(kind)
    twin, options = literal.literal(model), LossOptions(xcov_norm=norm)
    x = to_float(images, model.value_range)
    of_teacher = TeacherOutputs(teacher, images).of(torch.arange(len(x)), x)
    loss = literal.student_loss(twin, literal.literal(teacher), x, K, WEIGHTS, options)
    loss.backward()
    terms = train_step(
        model, (student(WEIGHTS, K, options),), make_optimizer(model, Adam()), Batch(x, None, *of_teacher)
    )
    named = dict(zip(("rec", "y", "jacobian", "xcov"), terms.tolist(), strict=True))
    expected = sum(getattr(WEIGHTS, name) * value for name, value in named.items())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    for ours, theirs in zip(plain_gradients(model), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, _gradient(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_the_twin_has_weights_of_its_own_and_takes_steps(kind: str) -> None:
    model, teacher, images = make(kind)
    twin = literal.literal(model)
    before = [weight.detach().clone() for weight in model.parameters()]
    x = to_float(images, model.value_range)
    optimizer = literal.make_optimizer(twin, Adam())
    losses = []
    for _ in range(5):
        losses.append(literal.student_loss(twin, literal.literal(teacher), x, K, WEIGHTS).item())
        literal.student_step(twin, literal.literal(teacher), optimizer, x, K, WEIGHTS)
    assert losses[-1] < losses[0]
    assert all(weight.equal(old) for weight, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("batches", [literal.loaded, literal.in_memory])
def test_loaders_give_each_image_once_in_the_models_range(batches: Callable[..., Iterator[Tensor]]) -> None:
    images = torch.randperm(256, dtype=torch.uint8)[:60].view(10, 1, 2, 3)
    some = list(batches(images, (-1.0, 1.0), 4))
    assert [len(batch) for batch in some] == [4, 4]
    expected = to_float(images, (-1.0, 1.0))
    found = [int((expected - image).abs().sum(dim=(1, 2, 3)).argmin()) for batch in some for image in batch]
    assert len(set(found)) == 8
    torch.testing.assert_close(torch.cat(some), expected[found])
