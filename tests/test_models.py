from __future__ import annotations

import math
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import reference
import torch
from safetensors import safe_open
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP, Conv, Digits, Growth
from jacsup.models import (
    Model,
    ModelInfo,
    factor_statistics,
    load,
    load_info,
    load_metadata,
    num_parameters,
    save_model,
)
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.grow import folded_state, grow
from jacsup.models.linear import Linear
from jacsup.models.mlp import MLPAutoencoder
from jacsup.training import state

SHAPE = (1, 4, 4)


def make_teacher(num_units: int = 2, *, normalized: bool = True) -> MLPAutoencoder:
    torch.manual_seed(0)
    teacher = MLPAutoencoder(MLP(hidden=(8, 6)), SHAPE, num_units, normalized=normalized)
    for _ in range(5):
        teacher.encode(torch.rand(32, *SHAPE))
    return teacher.eval()


def layers_of(network: nn.Sequential) -> list[tuple[list[list[float]], list[float]]]:
    return [(m.weight.tolist(), m.bias.tolist()) for m in network if isinstance(m, nn.Linear)]


def test_the_mlp_is_appendix_a1() -> None:
    model = MLPAutoencoder(MLP(), (1, 28, 28), 16)
    assert [m.weight.shape for m in model.encoder if isinstance(m, nn.Linear)] == [
        (256, 784),
        (128, 256),
        (64, 128),
        (16, 64),
    ]
    assert [m.weight.shape for m in model.decoder if isinstance(m, nn.Linear)] == [
        (64, 16),
        (128, 64),
        (256, 128),
        (784, 256),
    ]
    assert isinstance(model.decoder[-1], nn.Tanh)
    assert num_parameters(model) == sum(a * b + b for a, b in ((784, 256), (256, 128), (128, 64), (64, 16))) + sum(
        a * b + b for a, b in ((16, 64), (64, 128), (128, 256), (256, 784))
    )


def test_the_mlp_agrees_with_its_naive_twin() -> None:
    model = make_teacher(3, normalized=False).double()
    x = torch.rand(2, *SHAPE, dtype=torch.float64)
    code = model.encode(x)
    images = model.decode(code).flatten(1)
    for row in range(2):
        units = reference.mlp(x[row].flatten().tolist(), layers_of(model.encoder))
        assert code.units[row].tolist() == pytest.approx(units)
        pixels = torch.tensor(reference.mlp(units, layers_of(model.decoder)), dtype=torch.float64).tanh()
        assert images[row].tolist() == pytest.approx(pixels.tolist())


def normalized_model(kind: str) -> MLPAutoencoder | ConvAutoencoder:
    torch.manual_seed(0)
    if kind == "mlp":
        return MLPAutoencoder(MLP(hidden=(8, 6)), SHAPE, 3, normalized=True)
    return ConvAutoencoder(Conv(channels=(4,), value_range=(0.0, 1.0)), (1, 32, 32), 3, normalized=True)


def with_bias(model: MLPAutoencoder | ConvAutoencoder) -> Model:
    """The same model as version 0.1 had it: with a bias before the BatchNorm, which its running mean contains."""
    old = deepcopy(model)
    mean = old.get_submodule(model.norm_layer).get_buffer("running_mean")
    bias = mean.new_tensor([0.5, -2.0, 3.0])
    old.get_submodule(model.code_layer).register_parameter("bias", nn.Parameter(bias))
    mean.add_(bias)
    return old


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_normalized_code_has_no_bias_to_wander(kind: str) -> None:
    model = normalized_model(kind)
    x = torch.rand(64, *model.image_shape) * torch.rand(64, 1, 1, 1)
    # With the encoder's weights as they are, the running mean is the mean unless a bias moves.
    for name, weight in model.encoder.named_parameters():
        weight.requires_grad_(name.endswith("bias") and f"encoder.{name}".startswith(model.code_layer))
    norm = model.get_submodule(model.norm_layer)
    assert isinstance(norm, nn.BatchNorm1d)
    norm.eps = 1e-12
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], 0.01)
    for _ in range(200):
        optimizer.zero_grad()
        (model.decode(model.encode(x)) - x).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        # The running variance is the unbiased one.
        trained = model.train().encode(x).y * math.sqrt(1 - 1 / len(x))
        torch.testing.assert_close(model.eval().encode(x).y, trained, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_without_that_bias_all_other_weights_start_as_before(kind: str) -> None:
    model = normalized_model(kind)
    torch.manual_seed(0)
    plain = type(model)(model.config, model.image_shape, 3)  # pyright: ignore[reportArgumentType]
    missing = {name for name in plain.state_dict() if name not in model.state_dict()}
    assert missing == {f"{model.code_layer}.bias"}
    assert all(value.equal(model.state_dict()[name]) for name, value in plain.named_parameters() if name not in missing)


def test_channels_of_z_keep_their_bias() -> None:
    model = ConvAutoencoder(Conv(channels=(4, 6)), (3, 32, 32), 3, 2, normalized=True)
    assert model.encoder.to_code.bias is not None


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_file_with_the_old_bias_loads_to_the_same_outputs(kind: str, tmp_path: Path) -> None:
    model = normalized_model(kind)
    x = torch.rand(16, *model.image_shape)
    for _ in range(5):
        model.encode(x)
    old = with_bias(model).eval()
    info = ModelInfo(factors=(), recipe="r", data=Digits(), metrics={})
    save_model(tmp_path / "old.safetensors", old, info)
    with safe_open(tmp_path / "old.safetensors", "pt") as file:
        assert f"{model.code_layer}.bias" in file.keys()
    loaded = load(tmp_path / "old.safetensors")
    torch.testing.assert_close(loaded.encode(x).y, old.encode(x).y, rtol=1e-5, atol=1e-5)
    save_model(tmp_path / "half.safetensors", old, info, torch.float16)
    torch.testing.assert_close(load(tmp_path / "half.safetensors").encode(x).y, old.encode(x).y, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_checkpoint_with_the_old_bias_is_restored(kind: str) -> None:
    model = normalized_model(kind).double()
    x = torch.rand(16, *model.image_shape).double()
    old = with_bias(model)
    optimizer = torch.optim.Adam(old.parameters())
    (old.decode(old.encode(x)) - x).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        # What the step does to the old model's bias is all that it did there.
        old.get_submodule(old.code_layer).get_parameter("bias").add_(1)
    new = normalized_model(kind).double()
    resumed = torch.optim.Adam(new.parameters())
    state.restore(state.capture(old, optimizer), new, resumed)
    torch.testing.assert_close(new.eval().encode(x).y, old.eval().encode(x).y, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(new.train().encode(x).y, old.train().encode(x).y, rtol=1e-5, atol=1e-5)
    assert {*resumed.state} == {*new.parameters()}


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_a_model_with_the_old_bias_grows_as_one_without(kind: str) -> None:
    model = normalized_model(kind)
    model.encode(torch.rand(16, *model.image_shape))
    new, old = folded_state(model), folded_state(with_bias(model))
    assert new.keys() == old.keys()
    for name, value in new.items():
        torch.testing.assert_close(value, old[name], rtol=1e-5, atol=1e-5)


def test_the_first_teachers_code_is_normalized() -> None:
    teacher = make_teacher().train()
    units = teacher.encode(torch.rand(64, *SHAPE)).units
    assert units.mean(0).abs().max() < 1e-5
    assert units.std(0, correction=0).allclose(torch.ones(2), atol=0.05)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("num_units", [3, 7])
def test_a_grown_student_starts_with_its_teachers_output(num_units: int, normalized: bool) -> None:
    teacher = make_teacher(normalized=normalized)
    student = grow(teacher, num_units, 0, Growth()).eval()
    x = torch.rand(16, *SHAPE)
    code, teacher_code = student.encode(x), teacher.encode(x)
    assert code.units[:, :2].allclose(teacher_code.units, atol=1e-5)
    assert student.decode(code).allclose(teacher.decode(teacher_code), atol=1e-6)
    assert code.units[:, 2:].std(0).min() > 0, "new units must vary, or they never learn"
    assert not student.normalized


def test_a_new_units_decoder_column_learns_from_the_first_step() -> None:
    student = grow(make_teacher(), 3, 0, Growth())
    x = torch.rand(16, *SHAPE)
    loss = (student.decode(student.encode(x)) - x).square().mean()
    first_layer = student.decoder.get_submodule("0")
    assert isinstance(first_layer, nn.Linear)
    (gradient,) = torch.autograd.grad(loss, first_layer.weight)
    assert gradient[:, 2].abs().max() > 0


def test_random_growth_keeps_the_old_weights_and_changes_the_output() -> None:
    teacher = make_teacher()
    student = grow(teacher, 3, 0, Growth(new="random")).eval()
    for name, old in folded_state(teacher).items():
        assert student.get_parameter(name)[tuple(slice(size) for size in old.shape)].equal(old)
    x = torch.rand(16, *SHAPE)
    assert not student.decode(student.encode(x)).allclose(teacher.decode(teacher.encode(x)), atol=1e-3)


@pytest.mark.parametrize("trained", ["both", "weight", "input"])
def test_the_fast_linear_layer_agrees_with_torchs(trained: str) -> None:
    fast, naive = Linear(20, 12).train(), nn.Linear(20, 12)
    naive.load_state_dict(fast.state_dict())
    x = torch.randn(9, 20, requires_grad=trained != "weight")
    for layer in (fast, naive):
        layer.requires_grad_(trained != "input")
    grad = torch.randn(9, 12)

    def results(layer: nn.Linear) -> list[Tensor]:
        output = layer(x)
        wanted = [value for value in (x, layer.weight, layer.bias) if value.requires_grad]
        return [output, *torch.autograd.grad(output, wanted, grad)]

    for ours, theirs in zip(results(fast), results(naive), strict=True):
        assert ours.allclose(theirs, atol=1e-5)


def make_info(model: MLPAutoencoder) -> ModelInfo:
    factors = factor_statistics(model.encode(torch.rand(50, *SHAPE)).units.detach())
    return ModelInfo(factors=factors, recipe="digits", data=Digits(), metrics={"mse": 0.5})


def test_a_model_travels_in_one_file(tmp_path: Path) -> None:
    model = make_teacher()
    info = make_info(model)
    save_model(tmp_path / "model.safetensors", model, info)
    loaded = load(tmp_path / "model.safetensors")
    assert load_info(tmp_path / "model.safetensors") == info
    assert not loaded.training
    x = torch.rand(4, *SHAPE)
    assert loaded.decode(loaded.encode(x)).equal(model.decode(model.encode(x)))
    assert load_metadata(tmp_path / "model.safetensors")["model"]["value_range"] == [0.0, 1.0]


def test_factor_statistics_are_those_of_the_codes() -> None:
    y = torch.stack([torch.arange(101.0), torch.full((101,), 2.0)], dim=1)
    ramp, constant = factor_statistics(y)
    assert (ramp.mean, ramp.p01, ramp.p99) == (50, 1, 99)
    assert (constant.mean, constant.std) == (2, 0)


@pytest.mark.parametrize("content", [b"", b"not safetensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model.safetensors: not a jacsup model"):
        load(path)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such run folder or model file"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is not a run"):
        load(tmp_path)


def test_codes_with_a_nuisance_part_decode_as_one_row() -> None:
    model = make_teacher(4, normalized=False)
    units = torch.randn(3, 4)
    assert model.decode(Code(units[:, :1], units[:, 1:])).equal(model.decode(Code.of_units(units)))


BACKBONE = """
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from jacsup.code import Code
from jacsup.config import Arrays, Growth, ModelConfig
from jacsup.models import BACKBONES, ModelInfo, build, load, load_metadata, save_model
from jacsup.models.backbone import Model
from jacsup.models.grow import grow


@dataclass(frozen=True, kw_only=True)
class Flat(ModelConfig):
    bias: bool = True


class FlatAutoencoder(Model):
    code_layer, norm_layer = "encoder.0", "encoder.1"

    def __init__(self, config, image_shape, num_units, z_channels=0, *, normalized=False):
        super().__init__(config, image_shape, num_units, z_channels, normalized=normalized)
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        norm = [nn.BatchNorm1d(num_units, affine=False)] if normalized else []
        self.encoder = nn.Sequential(nn.Linear(pixels, num_units, bias=config.bias), *norm)
        self.decoder = nn.Linear(num_units, pixels)

    @property
    def code_size(self):
        return self.num_units

    def encode(self, x):
        return Code.of_units(self.encoder(x.flatten(1)))

    def decode(self, code):
        return self.decoder(code.units).unflatten(1, self.image_shape)


BACKBONES[Flat] = FlatAutoencoder
model, x = build(Flat(), (1, 4, 4), 2, normalized=True), torch.rand(8, 1, 4, 4)
model.encode(x)
path = Path(sys.argv[1])
save_model(path, model.eval(), ModelInfo(factors=(), recipe="r", data=Arrays(sha256=""), metrics={}))
assert load_metadata(path)["model"] == {"type": "Flat", "bias": True, "value_range": [0.0, 1.0]}
loaded = load(path)
assert type(loaded) is FlatAutoencoder and loaded.config == Flat()
assert loaded.decode(loaded.encode(x)).equal(model.decode(model.encode(x)))
student = grow(model, 3, 0, Growth()).eval()
assert student.decode(student.encode(x)).allclose(model.decode(model.encode(x)), atol=1e-6)
"""


def test_a_new_backbone_is_a_class_and_an_entry(tmp_path: Path) -> None:
    # In a process of its own: the configs that there are appear in other tests' messages.
    done = subprocess.run([sys.executable, "-c", BACKBONE, tmp_path / "m.safetensors"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_training_asks_the_backbone_and_not_its_class() -> None:
    assert (MLPAutoencoder.launch_bound, MLPAutoencoder.channels_last) == (True, False)
    assert (ConvAutoencoder.launch_bound, ConvAutoencoder.channels_last) == (False, True)


def test_an_mlp_has_no_nuisance_part() -> None:
    with pytest.raises(ValueError, match="z_channels is 4; must be 0 for an MLP"):
        MLPAutoencoder(MLP(), SHAPE, 2, 4)
