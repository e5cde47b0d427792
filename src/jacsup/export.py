"""Export to ONNX and torch.export, for programs without this package, and to model files of half the size."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.atomic import write_atomically
from jacsup.code import Code
from jacsup.models import Autoencoder, Model, load, load_info, save_model
from jacsup.models.fetch import FILE

Format = Literal["onnx", "torch", "half"]


class Encoder(nn.Module):
    """E as a module of tensors: maps images in the value range to y, and to z if the code has a nuisance part."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        """Return (y, z), or (y,) for an ordered code."""
        code = self.model.encode(x)
        return (code.y, code.z) if code.z.shape[1] else (code.y,)


class Decoder(nn.Module):
    """D as a module of tensors: maps y, and z if there is one, to images."""

    def __init__(self, model: Autoencoder):
        super().__init__()
        self.model = model

    def forward(self, y: Float[Tensor, "b k"], z: Float[Tensor, "b d"] | None = None) -> Float[Tensor, "b c h w"]:
        """Return images in the value range; an ordered code has no z."""
        return self.model.decode(Code.of_units(y) if z is None else Code(y, z))


def export(model: str | Path, out: str | Path, format: Format = "onnx") -> list[Path]:
    """Write a model's encoder and decoder, for any batch size, and model.json, which describes their values.

    The encoder maps x (b, c, h, w) in `value_range` to y (b, k) and z (b, d); the decoder maps y and z to x_hat, with
    the shape and range of x. An ordered code has no z.

    Args:
        model: What `jacsup.load` takes.
        out: The folder to write to.
        format: "onnx" for ONNX files; "torch" for torch.export files; "half" for one model file of this package with
            16-bit numbers and without scores.

    Returns:
        The files written.

    Raises:
        ValueError: There is no such model, ONNX is not installed, or, for "half", the model does not fit into 16 bits
            or would be overwritten.
    """
    if format == "onnx" and not all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript")):
        raise ValueError("ONNX files need the library onnx; run `pip install 'jacsup[onnx]'`, or pass --format torch")
    loaded, folder = load(model), Path(out)
    if format == "half":
        return [_write_half(loaded, folder / FILE)]
    # Two images, because torch.export would treat a batch size of one as a constant.
    x = torch.zeros(2, *loaded.image_shape)
    with torch.no_grad():
        code = Encoder(loaded)(x)
    names = ["y", "z"][: len(code)]
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        _write(Encoder(loaded).eval(), (x,), ["x"], names, folder / "encoder", format),
        _write(Decoder(loaded).eval(), code, names, ["x_hat"], folder / "decoder", format),
        folder / "model.json",
    ]
    write_atomically(files[-1], json.dumps(describe(loaded), indent=2).encode())
    return files


def _write_half(model: Model, path: Path) -> Path:
    if model.source and path.exists() and path.samefile(model.source):
        raise ValueError(f"{path} is the model itself; choose another folder")
    largest = max(float(weight.abs().max()) for weight in model.state_dict().values() if weight.is_floating_point())
    if largest > torch.finfo(torch.float16).max:
        raise ValueError(f"the model has a weight of {largest:.3g}, too large for 16 bits; use the model as it is")
    # The scores belong to the original weights, not to the rounded ones.
    save_model(path, model, replace(load_info(model), metrics={}), torch.float16)
    return path


def describe(model: Model) -> dict[str, Any]:
    """Return what a program needs in addition to the networks: shapes, the value range and the factors' statistics."""
    info = load_info(model)
    return {
        "recipe": info.recipe,
        "image_shape": list(model.image_shape),
        "value_range": list(model.value_range),
        "strength": "y = (m_plus + m_minus) / 2 + strength * (m_plus - m_minus) / 2",
        "factors": [asdict(factor) | {"learned": factor.learned} for factor in info.factors],
    }


def _write(
    network: nn.Module,
    given: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    format: Format,
) -> Path:
    shapes = {name: {0: torch.export.Dim("batch", min=1, max=2**16)} for name in inputs}
    with torch.no_grad(), _quietly():
        program = torch.export.export(network, given, dynamic_shapes=shapes)
        if format == "torch":
            content, ending = io.BytesIO(), ".pt2"
            torch.export.save(program, content)
            written = content.getvalue()
        else:
            onnx = torch.onnx.export(
                program, input_names=list(inputs), output_names=list(outputs), dynamo=True, verbose=False
            )
            assert onnx is not None
            written, ending = onnx.model_proto.SerializeToString(), ".onnx"
    write_atomically(path.with_suffix(ending), written)
    return path.with_suffix(ending)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silence the exporter's own messages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
