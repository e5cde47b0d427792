"""What the Gradio app computes; its surface is Gradio's."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from conftest import REPOSITORY
from known_models import attribute_model
from PIL import Image

from jacsup.edit import Editor


def test_the_app_reads_a_photo_and_edits_what_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, gradio = attribute_model(tmp_path / "model.safetensors"), MagicMock()
    monkeypatch.setenv("MODEL", str(model))
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    app = runpy.run_path(str(REPOSITORY / "examples" / "space" / "app.py"))
    labels = [call.kwargs["label"] for call in gradio.Slider.call_args_list]
    assert labels == ["Own detail kept", "Smiling", "Bald", "Blond Hair"]
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    photo, editor = Image.fromarray(pixels), Editor(model)
    shown, *own = app["read"](photo)
    assert shown is photo and len(own) == 3
    assert np.array_equal(np.asarray(app["edit"](photo, 0.5, *own)), pixels)
    smiling = app["edit"](photo, 0.5, 2.0, *own[1:])
    assert np.array_equal(np.asarray(smiling), np.asarray(editor(photo, align=False, detail=0.5, Smiling=2)))
