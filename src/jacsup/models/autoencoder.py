"""What an autoencoder must offer, how one is built, and where it runs."""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP, Conv, ModelConfig
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.mlp import MLPAutoencoder

# Every kind of model there is; all of them are Autoencoders.
Model = MLPAutoencoder | ConvAutoencoder


@runtime_checkable
class Autoencoder(Protocol):
    """What losses, metrics and figures need of a model."""

    @property
    def encoder(self) -> nn.Module:
        """What encode runs on, batch statistics and all."""
        ...

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x), the code of images in the model's value range."""
        ...

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z), the images of a code."""
        ...


def build(
    config: ModelConfig, image_shape: tuple[int, int, int], num_units: int, z_channels: int = 0, *, normalized: bool
) -> Model:
    """A new model with weights from torch's global random state; see the model's class for its sizes."""
    match config:
        case MLP():
            assert not z_channels
            return MLPAutoencoder(config, image_shape, num_units, normalized=normalized)
        case Conv():
            return ConvAutoencoder(config, image_shape, num_units, z_channels, normalized=normalized)


def pick_device(name: str) -> torch.device:
    """The torch device called `name`; auto is the first GPU, if any. ValueError for one that torch does not see."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"(cpu|cuda)(:[0-9]+)?", name):
        raise ValueError(f"device is '{name}'; allowed are auto, cpu, cuda and cuda:N")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is '{name}', but torch sees {torch.cuda.device_count()} GPUs here; use cpu or auto")
    return device


def num_parameters(model: nn.Module) -> int:
    """How many trained numbers the model has."""
    return sum(weight.numel() for weight in model.parameters())
