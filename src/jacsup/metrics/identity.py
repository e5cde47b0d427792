"""Whether an edited face is still the same person, according to a face-recognition network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from jacsup.align import EYES
from jacsup.code import UNIT, Code, to_float, to_uint8
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.metrics.attributes import Means, encoded_and_decoded, flipped, mean_of_known
from jacsup.models import Autoencoder
from jacsup.progress import track

# From RGB faces (n, 3, SIDE, SIDE) with their eyes on NETWORK_EYES to one vector each.
Embedding = Callable[[UInt8[Tensor, "n 3 112 112"]], Float[Tensor, "n e"]]
SIDE = 112
# Where ArcFace and its successors expect the eyes, x + iy in fractions of the side.
NETWORK_EYES = ((38.2946 + 51.6963j) / SIDE, (73.5318 + 51.5014j) / SIDE)
NUM_IDENTITIES = 100
DRIFT_STRENGTH = 2


def load_embedding(file: Path) -> Embedding:
    """Load a face-recognition network with OpenCV, such as its SFace (face_recognition_sface_2021dec.onnx).

    Args:
        file: The network as .onnx, of faces of 112 x 112 pixels.

    Returns:
        A function from aligned faces (n, 3, 112, 112), uint8 RGB, to their embeddings (n, e).

    Raises:
        ValueError: If there is no such file, if it is not a face-recognition network, or if OpenCV is not installed.
    """
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
            f"{file} is not a face-recognition network of {SIDE}x{SIDE} pixels ({words}); pass one as .onnx"
        ) from None

    def embed(faces: UInt8[Tensor, "n 3 112 112"]) -> Float[Tensor, "n e"]:
        # OpenCV expects colours in the order blue, green, red.
        reversed_colours = faces.flip(1).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(np.concatenate([network.feature(face).copy() for face in reversed_colours]))

    return embed


@torch.no_grad()
def identity_drift(
    model: Autoencoder, split: Split, attributes: Sequence[Attribute], means: Means, embed: Embedding
) -> dict[str, Any]:
    """Measure how far reconstruction and edits move a face from itself: 1 - cosine of its embeddings; 0 is no change.

    An attribute is flipped away from its label, at strength 2.

    Args:
        model: A model of attributes.
        split: Test images, aligned as CelebA's are, with their attributes. The first 100 are used.
        attributes: The attributes, in the order of the model's factors.
        means: m- and m+ of each attribute.
        embed: A face-recognition network, from `load_embedding`.

    Returns:
        `reconstruction`: the drift from an image to its reconstruction. `edited`: the drift from the reconstruction to
        its edit, mean over the attributes whose m- and m+ are known. `per_attribute`: the latter of each attribute.
    """
    assert split.attributes is not None
    images, with_it = split.images[:NUM_IDENTITIES], split.attributes[:NUM_IDENTITIES] > 0
    code, decode = encoded_and_decoded(model, images)

    def vectors(code: Code) -> Float[Tensor, "n e"]:
        return embed(on_network_eyes(torch.cat(list(decode(code)))))

    m_minus, m_plus = (values.to(code.y) for values in means)
    before = vectors(code)
    real = embed(on_network_eyes(to_float(images, UNIT)))
    per_attribute = {}
    for factor, attribute in enumerate(track(attributes, "recognising edited faces")):
        if not (m_minus + m_plus).isfinite()[factor]:
            continue
        y = flipped(
            code.y, factor, ~with_it[:, factor].to(code.y.device), DRIFT_STRENGTH, attributes, (m_minus, m_plus)
        )
        per_attribute[attribute.name] = _distance(before, vectors(Code(y, code.z)))
    return {
        "reconstruction": _distance(real, before),
        "edited": mean_of_known([*per_attribute.values()]),
        "per_attribute": per_attribute,
    }


def on_network_eyes(pixels: Float[Tensor, "n 3 s s"]) -> UInt8[Tensor, "n 3 112 112"]:
    """Return aligned crops rotated, scaled and cropped so that the eyes are where the network expects them.

    Args:
        pixels: Crops aligned as CelebA's are, in [0, 1].
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
