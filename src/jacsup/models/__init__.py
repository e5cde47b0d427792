"""Autoencoders: what each must offer, how one is built, and the one file that one travels in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import DataConfig, ModelConfig, from_dict, to_dict
from jacsup.models.mlp import MLPAutoencoder
from jacsup.run import Run, write_atomically

# Every kind of model there is; all of them are Autoencoders.
Model = MLPAutoencoder

FORMAT = "jacsup-model-1"


@runtime_checkable
class Autoencoder(Protocol):
    """What losses, metrics and figures need of a model."""

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x), the code of images in the model's value range."""
        ...

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z), the images of a code."""
        ...


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A factor's name and its spread in the training data, in the units of y."""

    name: str
    mean: float
    std: float
    p01: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model file says of its model besides the weights."""

    factors: tuple[Factor, ...]
    recipe: str
    data: DataConfig
    metrics: dict[str, Any]


def factor_statistics(y: Float[Tensor, "n k"]) -> tuple[Factor, ...]:
    """Mean, standard deviation, 1st and 99th percentile of each factor over a training set's codes."""
    # Sorting is exact at any size; torch.quantile refuses more than 16 million values.
    low, high = (y.sort(dim=0).values[round(share * (len(y) - 1))] for share in (0.01, 0.99))
    rows = torch.stack([y.mean(0), y.std(0), low, high], dim=1).tolist()
    return tuple(
        Factor(name=f"unit {i}", mean=mean, std=std, p01=p01, p99=p99) for i, (mean, std, p01, p99) in enumerate(rows)
    )


def save_model(path: Path, model: Model, info: ModelInfo) -> None:
    """Writes weights and metadata as one safetensors file, whole or not at all."""
    metadata = {
        "format": FORMAT,
        "model": to_dict(model.config),
        "image_shape": list(model.image_shape),
        "num_units": model.num_units,
        "normalized": model.normalized,
        "factors": [asdict(factor) for factor in info.factors],
        "recipe": info.recipe,
        "data": to_dict(info.data),
        "metrics": info.metrics,
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    # One entry: safetensors writes several in random order, and equal models should be equal files.
    write_atomically(path, save(tensors, {"jacsup": json.dumps(metadata)}))


def model_file(where: str | Path) -> Path:
    """The file behind MODEL: a run folder (its newest finished stage) or a model file itself."""
    path = Path(where)
    if path.is_dir():
        run = Run(path)
        newest = run.newest_model()
        if newest is None:
            raise ValueError(f"{path} has no finished stage yet; run `jacsup train {run.recipe.name}` again to go on")
        return newest
    if not path.is_file():
        raise ValueError(f"{path}: there is no such run folder or model file")
    return path


def load_metadata(path: Path) -> dict[str, Any]:
    """A model file's metadata; ValueError when the file is not a model."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {}).get("jacsup", "{}"))
    except (SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{path}: not a jacsup model: {error}") from None
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: not a jacsup model: its format is {metadata.get('format')!r}, not '{FORMAT}'")
    return metadata


def load(where: str | Path, device: str | torch.device = "cpu") -> Model:
    """The trained model of a run folder or a model file, in eval mode. Never unpickles anything."""
    path = model_file(where)
    metadata = load_metadata(path)
    config = from_dict(ModelConfig, metadata["model"], "model")
    shape = tuple(metadata["image_shape"])
    model = MLPAutoencoder(config, shape, metadata["num_units"], normalized=metadata["normalized"])
    with safe_open(path, "pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
    return model.to(device).eval()


def load_info(where: str | Path) -> ModelInfo:
    """Factor names, their statistics and the metrics stored with a model."""
    metadata = load_metadata(model_file(where))
    factors = tuple(Factor(**factor) for factor in metadata["factors"])
    data = from_dict(DataConfig, metadata["data"], "data")
    return ModelInfo(factors=factors, recipe=metadata["recipe"], data=data, metrics=metadata["metrics"])


def num_parameters(model: nn.Module) -> int:
    """How many trained numbers the model has."""
    return sum(weight.numel() for weight in model.parameters())
