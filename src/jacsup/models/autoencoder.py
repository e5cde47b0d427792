"""The interface of autoencoders, the table of backbones, and the devices that they run on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import MLP, Conv, Diffusion, ModelConfig, ResidualStudent
from jacsup.models.backbone import Model
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.diffusion import DiffusionEditor
from jacsup.models.mlp import MLPAutoencoder
from jacsup.models.residual import ResidualAutoencoder, addition_sizes

# The backbones that can be trained, stored and loaded, by their configs. A new one is its file and a line here.
BACKBONES: dict[type[Any], type[Model]] = {MLP: MLPAutoencoder, Conv: ConvAutoencoder, Diffusion: DiffusionEditor}


@runtime_checkable
class Autoencoder(Protocol):
    """The interface that metrics, figures, `evaluate`, `Editor` and `serve` need; a model of any package may have it.

    A model whose factors are attributes also has a nuisance part z, so its `code_size` is larger than `num_units`. A
    model with an ordered code returns all its units as y, and an empty z.
    """

    @property
    def num_units(self) -> int:
        """Number of factors y: the attributes, or all units of an ordered code."""
        ...

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        ...

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        ...

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest pixel value of an image."""
        ...

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): the code of images in the value range, with y of shape (b, num_units).

        Args:
            x: Images in the model's value range.

        Returns:
            The code; z is empty if the code is ordered.
        """
        ...

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z): the images of a code.

        Args:
            code: The code.

        Returns:
            Images (b, c, h, w) in the model's value range.
        """
        ...


@runtime_checkable
class TrainableAutoencoder(Autoencoder, Protocol):
    """The interface that losses need in addition: the network behind `encode`, with its batch statistics."""

    @property
    def encoder(self) -> nn.Module:
        """The encoder's network."""
        ...


def device_of(model: Autoencoder) -> torch.device:
    """Return the device of the first parameter of `model`; the CPU if it has none."""
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def decoding(model: Autoencoder) -> Callable[[Code], Float[Tensor, "b c h w"]]:
    """Return `decode` for a model whose weights no longer change; it may reuse results of earlier calls."""
    return model.decoding() if isinstance(model, DiffusionEditor) else model.decode


def name_of(model: Autoencoder) -> str:
    """Return the name of `model` in messages: the file that it was loaded from, or else its class."""
    return str(getattr(model, "source", None) or type(model).__name__)


def build(
    config: ModelConfig, image_shape: tuple[int, int, int], num_units: int, z_channels: int = 0, *, normalized: bool
) -> Model:
    """Return a new model with weights from torch's global random state.

    Args:
        config: The backbone's config; its class chooses the backbone.
        image_shape: Channels, height and width.
        num_units: Number of factors y.
        z_channels: Channels of the nuisance part z; 0 for an ordered code.
        normalized: End y in a BatchNorm without affine part.

    Raises:
        ValueError: The backbone cannot be built in these sizes.
    """
    if isinstance(config, ResidualStudent):
        units, channels = config.teacher_units, config.teacher_z_channels
        teacher = build(config.teacher, image_shape, units, channels, normalized=config.teacher_normalized)
        sizes = addition_sizes(config, (num_units, z_channels), (units, channels))
        addition = build(config.addition, image_shape, *sizes, normalized=False)
        return ResidualAutoencoder(config, teacher, addition)
    return BACKBONES[type(config)](config, image_shape, num_units, z_channels, normalized=normalized)


def pick_device(name: str) -> torch.device:
    """Return a torch device by name.

    Args:
        name: cpu, cuda, cuda:N, mps, or auto for the first GPU if there is one, else the CPU.

    Raises:
        ValueError: There is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"(cpu|cuda)(:[0-9]+)?|mps", name):
        raise ValueError(f"device is '{name}'; must be auto, cpu, cuda, cuda:N or mps")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', but torch finds no such GPU; use cpu or auto")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is '{name}', but torch finds {torch.cuda.device_count()} GPUs; use cpu or auto")
    return device


def num_parameters(model: Autoencoder | nn.Module) -> int:
    """Return the number of trained values of a model; 0 for a model without parameters."""
    return sum(weight.numel() for weight in model.parameters()) if isinstance(model, nn.Module) else 0
