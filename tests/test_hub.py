"""Models to the Hub and back, against a server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from known_models import attribute_model, unit_model
from local_hub import LocalHub, local_hub
from PIL import Image

import jacsup
from jacsup.config import CelebA, Faces, Folder
from jacsup.data.dataset import Dataset
from jacsup.data.drawn import dataset as drawn
from jacsup.edit import Editor
from jacsup.evaluate import evaluate
from jacsup.export import export
from jacsup.hub import card, push
from jacsup.models import fetch, load, load_info, model_file, save_model
from jacsup.models.fetch import PORTRAIT
from jacsup.photo import read_photo


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        yield hub


def run(*arguments: object, hub: LocalHub, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_none", "HF_HOME": str(cache)}
    command = [sys.executable, "-m", "jacsup", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_a_model_is_pushed_and_found_again(hub: LocalHub, tmp_path: Path) -> None:
    model = attribute_model(tmp_path / "model.safetensors", Faces(size=32, num_images=100))
    done = run("push", model, "someone/faces", hub=hub, cache=tmp_path / "hf")
    assert done.returncode == 0, done.stderr
    assert f"{hub.address}/someone/faces" in done.stdout
    assert hub.files["someone/faces/model.safetensors"] == model.read_bytes()
    assert hub.files["someone/faces/README.md"].decode() == card(model, "someone/faces")
    assert not hub.created[0].get("private")
    done = run("serve", "hf:someone/nothing", "--no-browser", hub=hub, cache=tmp_path / "hf")
    assert done.returncode == 2 and "cannot be fetched from the Hub" in done.stderr and done.stderr.count("\n") == 1
    done = run("export", "hf:someone/faces", "--format", "half", "-o", tmp_path / "out", hub=hub, cache=tmp_path / "hf")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.safetensors").stat().st_size < model.stat().st_size


def test_a_model_of_the_hub_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jacsup.models.file.download", lambda _: tmp_path / "cached")
    (tmp_path / "cached").write_bytes(b"no model")
    with pytest.raises(ValueError, match=r"^hf:someone/faces: not a jacsup model"):
        load("hf:someone/faces")


def test_what_should_be_private_is_not_made_public(hub: LocalHub, tmp_path: Path) -> None:
    model = unit_model(tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError,
        match=r"cannot write to someone/units: it exists and is public \(omit --private, or choose another name\)",
    ):
        push(model, "someone/units", private=True)
    assert not hub.files
    hub.private = True
    push(model, "someone/units", private=True)
    assert hub.created[-1]["visibility"] == "private" and hub.files


@pytest.mark.parametrize("repository", ["", "a/b/c", "bad name/x"])
def test_names_that_cannot_be(repository: str, hub: LocalHub, tmp_path: Path) -> None:
    model = unit_model(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"cannot write to .*OWNER/NAME"):
        push(model, repository)
    with pytest.raises(ValueError, match=r"cannot be fetched.*owner/name"):
        model_file(f"hf:{repository}")
    assert not hub.files


def test_without_a_connection(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    # The library waits for longer and longer between its attempts.
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _seconds: None)
    with pytest.raises(ValueError, match="cannot write to someone/x"):
        push(unit_model(tmp_path / "model.safetensors"), "someone/x")
    with pytest.raises(ValueError, match="hf:someone/x cannot be fetched"):
        model_file("hf:someone/x")


def test_the_card_says_what_a_user_must_know(tmp_path: Path) -> None:
    drawn = card(attribute_model(tmp_path / "a.safetensors", Faces(size=32, num_images=100)), "me/drawn")
    assert "does not know photographs" in drawn and "license: apache-2.0" in drawn
    assert "jacsup serve hf:me/drawn" in drawn
    # A model that ships with the package needs no Hub.
    assert "jacsup serve drawn\n" in card(attribute_model(tmp_path / "a.safetensors"), "drawn")
    assert "Smiling, Bald, Blond_Hair. Not learned: Blurry." in drawn
    photos = card(attribute_model(tmp_path / "b.safetensors", CelebA(size=32)), "me/photos")
    assert "binary, subjective and unbalanced" in photos and "license: other" in photos
    own = card(attribute_model(tmp_path / "d.safetensors", Folder(size=32)), "me/cats")
    assert "edits attributes of images" in own and "celebrities" not in own and "rare attributes" in own
    assert "3 units, the most important first" in card(unit_model(tmp_path / "c.safetensors"), "me/units")


def test_half_a_file_is_nearly_the_same_model(tmp_path: Path) -> None:
    model = attribute_model(tmp_path / "model.safetensors")
    (half,) = export(model, tmp_path / "out", "half")
    assert half.stat().st_size < 0.75 * model.stat().st_size
    x = torch.rand(4, 3, 32, 32)
    whole, small = load(model), load(half)
    assert all(weight.dtype == torch.float32 for weight in small.parameters())
    with torch.no_grad():
        assert (whole.decode(whole.encode(x)) - small.decode(small.encode(x))).abs().max() < 0.01
    assert load_info(half).factors == load_info(model).factors
    # What was measured was measured of other weights.
    assert load_info(model).metrics and not load_info(half).metrics
    typical = load_info(half).typical
    assert typical is not None and typical.mean.dtype == torch.float32


def test_half_a_file_never_takes_the_models_place(tmp_path: Path) -> None:
    model = attribute_model(tmp_path / "model.safetensors")
    before = model.read_bytes()
    with pytest.raises(ValueError, match="is the model itself; choose another folder"):
        export(model, tmp_path, "half")
    assert model.read_bytes() == before


def test_weights_beyond_16_bits_are_refused(tmp_path: Path) -> None:
    model = load(unit_model(tmp_path / "model.safetensors"))
    with torch.no_grad():
        next(model.parameters()).fill_(1e5)
    save_model(tmp_path / "large.safetensors", model, load_info(model))
    with pytest.raises(ValueError, match="a weight of 1e\\+05, too large for 16 bits"):
        export(tmp_path / "large.safetensors", tmp_path / "out", "half")
    assert not (tmp_path / "out").exists()


def test_shipped_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = attribute_model(tmp_path / "faces.safetensors")
    monkeypatch.setattr("jacsup.models.file.shipped", lambda: {"faces": shipped})
    monkeypatch.chdir(tmp_path)
    assert model_file("faces") == shipped and Editor("faces").factors
    with pytest.raises(ValueError, match=r"nothing: no such run folder or model file, shipped model \(faces\)"):
        jacsup.load("nothing")
    # A run or a file comes first, any other folder does not.
    (tmp_path / "faces").mkdir()
    assert model_file("faces") == shipped
    with pytest.raises(ValueError, match="is a model of images"):
        evaluate("faces", Dataset.from_arrays(np.zeros((20, 8, 8), np.uint8)))
    (tmp_path / "faces").rmdir()
    attribute_model(tmp_path / "faces")
    assert model_file("faces") == Path("faces")


def test_what_ships_is_small_described_and_edits() -> None:
    files = fetch.shipped()
    assert set(files) == {"faces", "mnist", "photos"}
    assert sum(path.stat().st_size for path in files.values()) < 20e6 and files["photos"].stat().st_size < 12e6
    for name, path in files.items():
        text, info = path.with_suffix(".md").read_text(), load_info(path)
        assert text.startswith(card(path, name))
        assert name == "photos" or f"| psnr | {info.metrics['psnr']:.4g} |" in text
    assert jacsup.load("mnist").num_units == 16 and load_info(files["mnist"]).metrics["swap_classifier"] > 0.6
    editor = Editor(jacsup.load("faces"))
    assert sum(factor.learned for factor in editor.factors.values()) == 36
    (face,) = drawn.test_faces(Faces(), 1, 64)
    photo = Image.fromarray(face.permute(1, 2, 0).numpy())
    smiling = editor(photo, align=False, Smiling=2)
    strengths = [editor.read(editor.open(image, align=False))["Smiling"] for image in (photo, smiling)]
    assert strengths[0] < 0 < 1 < strengths[1]


def test_the_shipped_model_of_photographs_edits_a_portrait() -> None:
    editor, portrait = Editor("photos"), read_photo(PORTRAIT)
    assert len(editor.factors) == 40 and sum(not factor.weak for factor in editor.factors.values()) >= 25
    opened = editor.open(portrait)
    own = editor.read(opened)
    assert own["Smiling"] > 0.5 and own["Eyeglasses"] < -0.5 and own["Male"] < 0
    calm = editor(portrait, Mouth_Slightly_Open=-1)
    seen = editor.read(editor.open(calm))
    assert own["Mouth_Slightly_Open"] > 0.5 and seen["Mouth_Slightly_Open"] < 0 and seen["Smiling"] > 0.3
    # What is far from the face stays as it is.
    before, after = (np.asarray(image)[400:].astype(int) for image in (portrait, calm))
    assert (before == after).mean() > 0.9
    text = PORTRAIT.with_name("photos.md").read_text()
    assert "non-commercial research only" in text and "license: other" in text
