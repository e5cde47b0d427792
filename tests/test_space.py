"""What the Gradio app computes; its surface is Gradio's."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from conftest import REPOSITORY
from known_models import attribute_model
from PIL import Image

from jacsup.edit import Editor


class ShownError(Exception):
    pass


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("MODEL", str(attribute_model(tmp_path / "model.safetensors")))
    monkeypatch.setitem(sys.modules, "gradio", MagicMock(Error=ShownError))
    return runpy.run_path(str(REPOSITORY / "examples" / "space" / "app.py"))


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8))


def test_each_learned_attribute_has_a_slider_that_reaches_its_values(app: dict[str, Any]) -> None:
    sliders = [(call.kwargs["label"], *call.args[:2]) for call in app["gr"].Slider.call_args_list]
    # m- is -1 and m+ .5: the 1st and 99th percentiles, -2 and 2 in y, are these strengths.
    assert sliders[:2] == [("Preserve detail", 0, 1), ("Smiling", pytest.approx(-2.4), pytest.approx(3, abs=0.11))]
    assert [label for label, *_ in sliders[1:]] == ["Smiling", "Bald", "Blond Hair"]


def test_what_was_moved_is_edited(app: dict[str, Any]) -> None:
    photo, editor = noise(), Editor(app["editor"].model)
    own = list(app["opened"](photo)[1].values())
    assert np.array_equal(np.asarray(app["edit"](photo, 0.5, *own)), np.asarray(photo))
    smiling = app["edit"](photo, 0.5, 2.0, *own[1:])
    assert np.array_equal(np.asarray(smiling), np.asarray(editor(photo, align=False, detail=0.5, Smiling=2)))


def test_own_strengths_beyond_a_slider_stand_at_its_end(app: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app["editor"], "read", lambda _face: {"Smiling": 40.0, "Bald": -40.0, "Blond_Hair": 0.0})
    own = app["opened"](noise())[1]
    assert own == {"Smiling": pytest.approx(3, abs=0.11), "Bald": pytest.approx(-2.4), "Blond_Hair": 0.0}
    assert np.array_equal(np.asarray(app["edit"](noise(), 0.5, *own.values())), np.asarray(noise()))


def test_what_is_wrong_is_said(app: dict[str, Any]) -> None:
    assert app["edit"](None, 0.5, 0, 0, 0) is None
    with pytest.raises(ShownError, match="at least 16 pixels per side"):
        app["opened"](Image.new("RGB", (4, 4)))
