"""Images and models for the tests of metrics: random ones, and ones whose scores are known beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP, Arrays, Conv, DataConfig, ResidualStudent
from jacsup.models import Factor, Model, ModelInfo, Typical, save_model
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.mlp import MLPAutoencoder
from jacsup.models.residual import ResidualAutoencoder
from jacsup.recipes import RECIPES
from jacsup.run import Run

SHAPE = (1, 4, 4)
PIXELS = math.prod(SHAPE)


def random_images(count: int = 20, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """No pixel is 0, where a ReLU has no derivative."""
    return torch.randint(1, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def random_model(num_units: int = 3, *, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> MLPAutoencoder:
    """A model whose weights are large enough that its images differ."""
    torch.manual_seed(seed)
    model = MLPAutoencoder(MLP(hidden=(8, 6)), shape, num_units).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    return model


@torch.no_grad()
def identity_model(shape: tuple[int, int, int] = SHAPE, *, copies: int = 1) -> MLPAutoencoder:
    """One unit per pixel, `copies` times over; the decoder returns the mean of the copies, without a tanh."""
    pixels = math.prod(shape)
    model = MLPAutoencoder(MLP(hidden=(pixels,)), shape, copies * pixels)
    for layer, weight in zip(linear_layers(model), (1, copies, copies, 1), strict=True):
        repeats = (layer.out_features // pixels, layer.in_features // pixels)
        layer.weight.copy_(torch.eye(pixels).repeat(repeats) / (weight if repeats[1] > 1 else 1))
        layer.bias.zero_()
    model.decoder[-1] = nn.Identity()
    return model.eval()


@torch.no_grad()
def constant_model(value: float, value_range: tuple[float, float] = (0.0, 1.0), num_units: int = 2) -> MLPAutoencoder:
    """Whatever the image: code 0, and pixels of `value`."""
    model = MLPAutoencoder(MLP(hidden=(3,), value_range=value_range), SHAPE, num_units)
    for layer in linear_layers(model):
        layer.weight.zero_()
        layer.bias.zero_()
    linear_layers(model)[-1].bias.fill_(value)
    model.decoder[-1] = nn.Identity()
    return model.eval()


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


def factor(name: str, m_minus: float = -1.0, m_plus: float = 0.5, mutually_exclusive: tuple[str, ...] = ()) -> Factor:
    return Factor(
        name=name,
        mean=0.0,
        std=1.0,
        p01=-2.0,
        p99=2.0,
        m_minus=m_minus,
        m_plus=m_plus,
        mutually_exclusive=mutually_exclusive,
    )


FACTORS = (
    factor("Smiling"),
    factor("Bald", mutually_exclusive=("Blond_Hair", "Blurry")),
    factor("Blond_Hair", m_minus=-2.0, m_plus=1.0, mutually_exclusive=("Bald",)),
    factor("Blurry", m_plus=-0.9),
)


def random_conv(z_channels: int = 4, seed: int = 0) -> ConvAutoencoder:
    torch.manual_seed(seed)
    return ConvAutoencoder(Conv(channels=(8, 8, 8)), (3, 32, 32), len(FACTORS), z_channels).eval()


def save_attributes(path: Path, model: Model, data: DataConfig, mse: float = 1.0) -> Path:
    """The file of a model that says it has learned three of four attributes, and finds errors up to `mse` typical."""
    size = model.code_size
    typical = Typical(mean=torch.zeros(size), std=torch.ones(size), distance=1e6, mse=mse)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(
        path, model, ModelInfo(factors=FACTORS, recipe="r", data=data, metrics={"test_mse": 0.5}, typical=typical)
    )
    return path


def attribute_model(path: Path, data: DataConfig = Arrays(sha256=""), mse: float = 1.0) -> Path:
    return save_attributes(path, random_conv(), data, mse)


def attribute_run(folder: Path, data: DataConfig) -> Path:
    """A run of random models: a teacher without cycles, one with them, and a student with a longer code."""
    recipe, run = RECIPES["faces-mini"], Run(folder)
    for number, channels in enumerate((2, 2, 4)):
        save_attributes(run.stage_file(number, recipe), random_conv(channels, number), data)
    run.write_recipe(recipe)
    return folder


def exact_attribute_model(path: Path, data: DataConfig, amount: float = 1.0) -> Path:
    """A random exact student: a teacher and an autoencoder of the rest, which has only a z."""
    teacher = random_conv(2)
    torch.manual_seed(1)
    addition = ConvAutoencoder(Conv(channels=(8, 8, 8)), (3, 32, 32), 0, 2).eval()
    config = ResidualStudent(
        teacher=teacher.config,
        teacher_units=len(FACTORS),
        teacher_z_channels=2,
        addition=addition.config,
        value_range=teacher.value_range,
        sees_y=False,
        moments=(),
        amount=amount,
    )
    return save_attributes(path, ResidualAutoencoder(config, teacher, addition), data)


def attribute_info(data: DataConfig = Arrays(sha256="")) -> ModelInfo:
    """What is known of a model of FACTORS that was trained elsewhere."""
    return ModelInfo(factors=FACTORS, recipe="", data=data, metrics={})


def unit_info() -> ModelInfo:
    """What is known of a model with three units that was trained elsewhere."""
    factors = tuple(Factor(name=f"unit {number}", mean=0.5, std=1.0, p01=-2.0, p99=2.0) for number in range(3))
    return ModelInfo(factors=factors, recipe="", data=Arrays(sha256=""), metrics={})


class ForeignFaces(nn.Module):
    """Somebody else's model of four attributes."""

    num_units, code_size, image_shape, value_range = 4, 12, (3, 16, 16), (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = nn.Linear(768, 12), nn.Linear(12, 768)

    def encode(self, x: Tensor) -> Code:
        return Code(*self.enc(x.flatten(1)).split([4, 8], dim=1))

    def decode(self, code: Code) -> Tensor:
        return self.dec(torch.cat([code.y, code.z], dim=1)).sigmoid().unflatten(1, self.image_shape)


class ForeignUnits(nn.Module):
    """Somebody else's model with an ordered code of three units."""

    num_units, code_size, image_shape, value_range = 3, 3, (1, 8, 8), (0.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.enc, self.dec = nn.Linear(64, 3), nn.Linear(3, 64)

    def encode(self, x: Tensor) -> Code:
        return Code.of_units(self.enc(x.flatten(1)))

    def decode(self, code: Code) -> Tensor:
        return self.dec(code.y).sigmoid().unflatten(1, self.image_shape)


def unit_model(path: Path, data: DataConfig = Arrays(sha256=""), count: int = 3) -> Path:
    """A random model with an ordered code of `count` units."""
    factors = tuple(Factor(name=f"unit {number}", mean=0.5, std=1.0, p01=-2.0, p99=2.0) for number in range(count))
    info = ModelInfo(factors=factors, recipe="r", data=data, metrics={})
    save_model(path, random_model(count, shape=(1, 8, 8)), info)
    return path


def residual_unit_model(path: Path) -> Path:
    """A random residual student: a teacher of two units and one more."""
    teacher, addition = random_model(2, shape=(1, 8, 8)), random_model(1, seed=1, shape=(1, 8, 8))
    config = ResidualStudent(teacher=teacher.config, addition=addition.config)
    save_model(path, ResidualAutoencoder(config, teacher, addition), unit_info())
    return path
