"""Exported networks compute what the model computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from known_models import attribute_model, unit_model
from PIL import Image

from jacsup.code import Code, to_uint8
from jacsup.edit import Editor
from jacsup.export import export
from jacsup.models import load

EXAMPLE = Path(__file__).parent.parent / "examples" / "onnx_edit.py"


@pytest.fixture(scope="module", params=[attribute_model, unit_model])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("model") / "model.safetensors")


@torch.no_grad()
def expected(model: Path, x: torch.Tensor) -> tuple[Code, torch.Tensor]:
    loaded = load(model)
    code = loaded.encode(x)
    return code, loaded.decode(code)


def images(model: Path, count: int) -> torch.Tensor:
    return torch.rand(count, *load(model).image_shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_onnx_agrees_with_torch_at_any_batch_size(model: Path, tmp_path: Path) -> None:
    encoder, decoder, description = export(model, tmp_path / "out")
    names = ["y", "z"] if load(model).z_channels else ["y"]
    sessions: list[Any] = [onnxruntime.InferenceSession(file) for file in (encoder, decoder)]
    assert [value.name for value in sessions[0].get_outputs()] == names
    for count in (1, 2, 5):
        x = images(model, count)
        code, x_hat = expected(model, x)
        values = sessions[0].run(None, {"x": x.numpy()})
        for value, tensor in zip(values, (code.y, code.z), strict=False):
            np.testing.assert_allclose(value, tensor, atol=1e-4)
        (image,) = sessions[1].run(None, dict(zip(names, values, strict=True)))
        np.testing.assert_allclose(image, x_hat, atol=1e-4)
    told = json.loads(description.read_text())
    assert told["value_range"] == list(load(model).value_range)
    assert told["factors"][0]["name"] in ("Smiling", "unit 0")


def test_torch_export_agrees(model: Path, tmp_path: Path) -> None:
    encoder, decoder, _ = (str(file) for file in export(model, tmp_path, "torch"))
    x = images(model, 3)
    code, x_hat = expected(model, x)
    values = torch.export.load(encoder).module()(x)
    torch.testing.assert_close(values[0], code.y, atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.export.load(decoder).module()(*values), x_hat, atol=1e-4, rtol=0)


def test_the_example_edits_as_the_library_does(tmp_path: Path) -> None:
    model = attribute_model(tmp_path / "model.safetensors")
    export(model, tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "face.png")
    command = [sys.executable, EXAMPLE, tmp_path, tmp_path / "face.png", "Smiling=2", "Bald=-1.5"]
    subprocess.run([*command, "-o", tmp_path / "out.png"], check=True)
    editor = Editor(model)
    face = editor.open(tmp_path / "face.png", align=False)
    with torch.no_grad():
        x_hat = editor.model.decode(editor.changed(face.code, {"Smiling": 2, "Bald": -1.5}))
    drawn = to_uint8(x_hat, editor.model.value_range)[0].permute(1, 2, 0).numpy()
    assert np.abs(np.asarray(Image.open(tmp_path / "out.png")).astype(int) - drawn).max() <= 1


def test_wrong_input_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jacsup", "export", "nothing", "-o", tmp_path / "out"], capture_output=True, text=True
    )
    assert done.returncode == 2 and "no such run folder" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
