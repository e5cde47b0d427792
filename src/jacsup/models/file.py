"""The file of a model: its weights, its factors and how it was trained."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from jacsup.atomic import write_atomically
from jacsup.bounded import refusing
from jacsup.config import DataConfig, ModelConfig
from jacsup.jsonable import from_dict, to_dict
from jacsup.models.autoencoder import Autoencoder, Model, build, name_of, pick_device
from jacsup.models.fetch import HUB, download, shipped
from jacsup.run import Run

FORMAT = "jacsup-model-1"
# An attribute is learned if m+ - m- is at least this.
LEARNED = 0.2
# Edits of an attribute are weak if a judge sees fewer than this share of them.
WEAK = 0.5
# The fields of a factor that are numbers.
NUMBERS = ("mean", "std", "p01", "p99", "m_minus", "m_plus", "seen")
# The message about a file that is not a model.
WHAT = "not a jacsup model"
# Prefix of the names of tensors that are not weights.
TYPICAL = "typical."


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A factor's name and its distribution over the training images.

    Attributes:
        name: The attribute's name, or `unit N`.
        mean: Mean of y.
        std: Standard deviation of y.
        p01: 1st percentile of y.
        p99: 99th percentile of y.
        m_minus: For an attribute, the mean of y over images without it.
        m_plus: For an attribute, the mean of y over images with it.
        mutually_exclusive: Attributes that this one excludes.
        seen: For a calibrated attribute, the share of photos in which a judge sees an edit to strength 1 or -1.
    """

    name: str
    mean: float
    std: float
    p01: float
    p99: float
    m_minus: float | None = None
    m_plus: float | None = None
    mutually_exclusive: tuple[str, ...] = ()
    seen: float | None = None

    @property
    def learned(self) -> bool:
        """Whether this is an attribute whose mean values with and without it differ by LEARNED or more."""
        return self.m_minus is not None and self.m_plus is not None and self.m_plus - self.m_minus >= LEARNED

    @property
    def weak(self) -> str:
        """A warning about an attribute whose edits are often not seen; empty for others."""
        if self.seen is None or self.seen >= WEAK:
            return ""
        return f"a classifier sees this edit in {self.seen:.0%} of photos; stronger ones change other attributes too"


@dataclass(frozen=True, kw_only=True)
class Typical:
    """Statistics of the training images, with which images unlike them are recognised.

    Attributes:
        mean: Mean of each value of the code.
        std: Standard deviation of each value of the code.
        distance: 99th percentile of `distance_from`.
        mse: 99th percentile of the reconstruction's mean squared error, with pixels in [0, 1].
    """

    mean: Float[Tensor, " u"]
    std: Float[Tensor, " u"]
    distance: float
    mse: float

    def distance_from(self, units: Float[Tensor, "n u"]) -> Float[Tensor, " n"]:
        """Return the distance of codes `units` from the mean: root mean square of their values in standard deviations.

        Args:
            units: Codes, y and z in one row, shape (n, u).

        Returns:
            The distances, shape (n,); about 1 for a typical image.
        """
        return ((units - self.mean) / self.std.clamp(min=1e-6)).square().mean(dim=1).sqrt()


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model file stores besides the weights.

    Attributes:
        factors: The factors, in the order of y.
        recipe: Name of the recipe that trained the model.
        data: The data set that it was trained on.
        metrics: Scores on test images, by name.
        typical: Statistics of its training images, if known.
    """

    factors: tuple[Factor, ...]
    recipe: str
    data: DataConfig
    metrics: dict[str, Any]
    typical: Typical | None = None

    @property
    def has_attributes(self) -> bool:
        """Whether the factors are attributes, learned from labels, and not the units of an ordered code."""
        return any(factor.m_plus is not None for factor in self.factors)


def factor_statistics(y: Float[Tensor, "n k"]) -> tuple[Factor, ...]:
    """Return factors named `unit N` with mean, standard deviation, 1st and 99th percentile.

    Args:
        y: The factors of a training set's images, shape (n, k).
    """
    # Sorting is exact at any size; torch.quantile does not accept more than 16 million values.
    low, high = (y.sort(dim=0).values[round(share * (len(y) - 1))] for share in (0.01, 0.99))
    rows = torch.stack([y.mean(0), y.std(0), low, high], dim=1).tolist()
    return tuple(
        Factor(name=f"unit {i}", mean=mean, std=std, p01=p01, p99=p99) for i, (mean, std, p01, p99) in enumerate(rows)
    )


def save_model(path: Path, model: Model, info: ModelInfo, dtype: torch.dtype = torch.float32) -> None:
    """Write weights and metadata as one safetensors file, completely or not at all.

    Args:
        path: The file to write.
        model: The model.
        info: Its metadata.
        dtype: Type of the floating-point numbers in the file; float16 halves its size.
    """
    metadata = {
        "format": FORMAT,
        "model": to_dict(model.config, ModelConfig),
        "image_shape": list(model.image_shape),
        "num_units": model.num_units,
        "z_channels": model.z_channels,
        "normalized": model.normalized,
        "factors": [asdict(factor) for factor in info.factors],
        "recipe": info.recipe,
        "data": to_dict(info.data, DataConfig),
        "metrics": info.metrics,
    }
    tensors = dict(model.state_dict())
    if info.typical:
        tensors |= {f"{TYPICAL}mean": info.typical.mean, f"{TYPICAL}std": info.typical.std}
        metadata["typical"] = {"distance": info.typical.distance, "mse": info.typical.mse}
    tensors = {
        name: value.detach().cpu().to(dtype if value.is_floating_point() else value.dtype).contiguous()
        for name, value in tensors.items()
    }
    # A single entry, because safetensors writes several in random order, but equal models should give equal files.
    write_atomically(path, save(tensors, {"jacsup": json.dumps(metadata)}))


def model_file(where: str | Path) -> Path:
    """Return the file of a model.

    Args:
        where: A run folder (its newest finished stage), a model file, a shipped model's name, or hf:owner/name.

    Raises:
        ValueError: There is no such model.
    """
    path = Path(where)
    # A folder that is not a run but has the name of a shipped model, such as a folder of photos, is ignored.
    if path.is_dir() and ((path / "recipe.json").is_file() or str(where) not in shipped()):
        run = Run(path)
        newest = run.newest_model()
        if newest is None:
            raise ValueError(f"{path} has no finished stage yet; run `jacsup train {run.recipe.name}` to continue")
        return newest
    if path.is_file():
        return path
    if str(where).startswith(HUB):
        return download(str(where))
    known = shipped()
    if str(where) not in known:
        others = f", shipped model ({', '.join(known)})" if known else ""
        raise ValueError(f"{path}: no such run folder or model file{others}; pass models on the Hub as hf:owner/name")
    return known[str(where)]


def load_metadata(path: Path, name: str | Path | None = None) -> dict[str, Any]:
    """Return the metadata of the model file `path`.

    Args:
        path: The file.
        name: The user's name for it, for the error message.

    Raises:
        ValueError: The file is not a model.
    """
    with refusing(name or path, WHAT), safe_open(path, "pt") as file:
        metadata = json.loads((file.metadata() or {}).get("jacsup", "{}"))
        stated = metadata.get("format")
        if stated != FORMAT:
            raise ValueError(f"its format is {stated!r:.40}; must be '{FORMAT}'")
    return metadata


def load(where: str | Path, device: str | torch.device = "cpu") -> Model:
    """Load a trained model, in eval mode. Files are never unpickled.

    Args:
        where: A run folder (its newest finished stage), a model file, a shipped model's name, or hf:owner/name.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.

    Returns:
        The model: `encode` maps images (b, c, h, w) in its `value_range` to a `Code`, and `decode` maps codes back.

    Raises:
        ValueError: There is no such model or device, or the file is not a model.
    """
    path = model_file(where)
    # For a model on the Hub, the user does not know the file in the cache.
    name = where if str(where).startswith(HUB) else path
    metadata, place = load_metadata(path, name), pick_device(str(device))
    with refusing(name, WHAT):
        config = from_dict(ModelConfig, metadata["model"], "model")
        shape, sizes = tuple(metadata["image_shape"]), (metadata["num_units"], metadata.get("z_channels", 0))
        if len(shape) != 3 or not all(type(size) is int for size in (*shape, *sizes)) or min(*shape, sizes[0]) < 1:
            raise ValueError(f"image_shape is {shape!r:.60}, and num_units and z_channels are {sizes!r:.60}")
        config.require_valid(supervised=sizes[1] > 0)
        build_it = partial(build, config, shape, *sizes, normalized=metadata["normalized"])
        # Building on this device costs nothing, whatever sizes an untrusted file states.
        with torch.device("meta"):
            expected = build_it().state_dict()
        weights = _weights(path, expected)
        model = build_it()
        model.load_state_dict(weights)
    model.source = path
    return model.to(place).eval()


def _weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights in a file. Raises ValueError unless they are finite and have the expected shapes."""
    with safe_open(path, "pt") as file:
        shapes = {name: (*file.get_slice(name).get_shape(),) for name in file.keys() if not name.startswith(TYPICAL)}
        wanted = {name: (*weight.shape,) for name, weight in expected.items()}
        for name, size in wanted.items():
            # Additional weights in older files are handled by the layers.
            if shapes.get(name) != size:
                stored = shapes.get(name, "missing")
                raise ValueError(f"the shape of its weights '{name}' is {stored}; must be {size}")
        weights = {name: file.get_tensor(name) for name in shapes}
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"its weights '{name}' contain inf or nan")
    return weights


def load_info(where: str | Path | Autoencoder) -> ModelInfo:
    """Return the metadata stored with a model: its factors, their statistics, and its scores.

    Args:
        where: What `load` takes, or a model that `load` has returned.

    Raises:
        ValueError: `where` is a model that was not loaded from a file, or there is no such model.
    """
    if isinstance(where, str | Path):
        path = model_file(where)
    elif not (path := getattr(where, "source", None)):
        raise ValueError(
            f"{name_of(where)} was not loaded from a file, so its factors have no names; pass "
            "info=jacsup.metrics.description.describe(model, data)"
        )
    metadata = load_metadata(path)
    with refusing(path, WHAT):
        factors = tuple(map(_factor, metadata["factors"]))
        if len(factors) != metadata["num_units"]:
            raise ValueError(f"it describes {len(factors)} factors; must be {metadata['num_units']!r:.20}")
        data = from_dict(DataConfig, metadata["data"], "data")
        typical = _typical(path, metadata["typical"]) if "typical" in metadata else None
        recipe, metrics = metadata["recipe"], metadata["metrics"]
        if not isinstance(recipe, str) or not isinstance(metrics, dict):
            raise ValueError("its recipe must be text, and its metrics an object")
    return ModelInfo(factors=factors, recipe=recipe, data=data, metrics=metrics, typical=typical)


def _factor(stored: dict[str, Any]) -> Factor:
    """A factor from a model file; files of version 0.1 call mutually exclusive attributes rivals."""
    others = {name: value for name, value in stored.items() if name not in ("mutually_exclusive", "rivals")}
    excluded = stored.get("mutually_exclusive", stored.get("rivals", ()))
    factor = Factor(**others, mutually_exclusive=tuple(excluded))
    if not all(isinstance(name, str) for name in (factor.name, *factor.mutually_exclusive)):
        raise ValueError(f"the name of a factor is {factor.name!r:.40}; it must be text")
    known = {name: value for name, value in asdict(factor).items() if name in NUMBERS and value is not None}
    for name, value in known.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{name} of factor '{factor.name:.40}' is {value!r:.40}; it must be a finite number")
    return factor


def _typical(path: Path, stored: dict[str, Any]) -> Typical:
    with safe_open(path, "pt") as file:
        mean, std = (file.get_tensor(TYPICAL + name).float() for name in ("mean", "std"))
    if mean.shape != std.shape or mean.dim() != 1 or not (mean.isfinite() & std.isfinite()).all():
        raise ValueError("the typical mean and standard deviation of its codes must be two rows of finite numbers")
    return Typical(mean=mean, std=std, distance=float(stored["distance"]), mse=float(stored["mse"]))
