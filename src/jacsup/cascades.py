"""Find one face in a photo by OpenCV's cascades, for `find_faces` where the networks are not installed."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from jacsup.align import EYES, Similarity, crop
from jacsup.photo import opaque

if TYPE_CHECKING:
    from cv2 import CascadeClassifier

# Centre and width of the box that the face cascade finds in the same squares (in 1,151 of 1,200), likewise.
BOX_CENTRE, BOX_WIDTH = 0.5 + 0.584j, 0.597

# The photo's longer side is scaled to lie between these to find faces, upright ones first: the cascades miss others.
DETECTION_SIDES = (400, 1024)
SMALLEST_FACE = 0.06  # of the photo's longer side
TILTS = (0, 20, -20)
# The number of overlapping boxes of the cascade that count as a face, with both eyes found and without.
FACE_VOTES, EYELESS_VOTES = 3, 8
# Eyes are searched for in an aligned crop of this side, in windows around EYES; other sizes are fractions of it.
EYE_SEARCH_SIDE = 267
EYE_WINDOW = 0.24
EYE_SIZES = (0.08, 0.2)
EYE_VOTES = 5


def find_face_by_cascades(photo: Image.Image) -> Similarity | None:
    """Return the aligned crop of the largest face with both eyes found, else of the largest clear face without.

    Position and angle put the eyes on CelebA's mean eyes. The size is the geometric mean of the sizes estimated from
    the eyes and from the face box: the eyes of a turned head are closer together, and each estimate alone is further
    from CelebA's own crops.

    Args:
        photo: RGB or RGBA, as `read_photo` returns it.

    Returns:
        The crop, or None if no face is found.

    Raises:
        ValueError: OpenCV 4 is missing.
    """
    faces, *eyes = _cascades("frontalface_alt2", "eye", "eye_tree_eyeglasses")
    grey, scale = _small_and_grey(photo)
    eyeless: Similarity | None = None
    for tilt in TILTS:
        for face, votes in _faces(grey, faces, tilt):
            face = Similarity(face.turn / scale, face.origin / scale)
            aligned = _aligned(photo, face, eyes)
            if aligned:
                return aligned
            if votes >= EYELESS_VOTES:
                eyeless = eyeless or face
    return eyeless


def _cascades(*names: str) -> list[CascadeClassifier]:
    """OpenCV's cascades by name; new ones for each photo, as they must not be shared between threads."""
    try:
        from cv2 import CascadeClassifier
        from cv2.data import haarcascades
    except ImportError:  # OpenCV 5 has no cascades
        raise ValueError(
            "finding faces needs OpenCV 4: run `pip install 'jacsup[align]'`, "
            "or pass --no-align for a photo that is already cropped like CelebA"
        ) from None
    return [CascadeClassifier(f"{haarcascades}haarcascade_{name}.xml") for name in names]


def _small_and_grey(photo: Image.Image) -> tuple[Image.Image, float]:
    """The photo in grey, scaled for the face cascades, and its scale."""
    longest = max(photo.size)
    scale = min(max(longest, DETECTION_SIDES[0]), DETECTION_SIDES[1]) / longest
    size = (math.ceil(photo.width * scale), math.ceil(photo.height * scale))
    return opaque(photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)).convert("L"), scale


def _faces(grey: Image.Image, cascade: CascadeClassifier, tilt: int) -> Iterator[tuple[Similarity, int]]:
    """The faces that a cascade finds in the image rotated by `tilt` degrees, largest first: crop and votes."""
    turned = np.asarray(grey.rotate(tilt, Image.Resampling.BILINEAR, fillcolor=128))
    turn_back, centre = cmath.rect(1, math.radians(tilt)), complex(*grey.size) / 2
    least = round(SMALLEST_FACE * max(grey.size))
    boxes, votes = cascade.detectMultiScale2(turned, 1.1, FACE_VOTES, minSize=(least, least))
    for (left, top, width, height), count in sorted(zip(boxes, votes, strict=True), key=lambda face: -face[0][2]):
        turn = turn_back * int(width) / BOX_WIDTH
        middle = (complex(left + width / 2, top + height / 2) - centre) * turn_back + centre
        yield Similarity(turn, middle - turn * BOX_CENTRE), int(count)


def _aligned(photo: Image.Image, face: Similarity, cascades: list[CascadeClassifier]) -> Similarity | None:
    """The crop aligned by its eyes, or None if they are not found."""
    aligned = face
    for _ in range(2):  # the second time in the upright crop
        upright = crop(photo, aligned, EYE_SEARCH_SIDE)
        eyes = [_eye(upright, near, cascades) for near in EYES]
        if None in eyes:
            return None
        left, right = (aligned.to_photo(eye) for eye in eyes if eye is not None)
        turn = (right - left) / (EYES[1] - EYES[0])
        turn *= math.sqrt(face.side / abs(turn))
        aligned = Similarity(turn, (left + right) / 2 - turn * sum(EYES) / 2)
    return aligned


def _eye(face: UInt8[Tensor, "3 side side"], near: complex, cascades: list[CascadeClassifier]) -> complex | None:
    """The eye `near` a point of an upright crop: the median of all the cascades' candidates, or None if few."""
    side = face.shape[1]
    window = round(EYE_WINDOW * side)
    left, top = round(near.real * side - window / 2), round(near.imag * side - window / 2)
    pixels = face[:, top : top + window, left : left + window].permute(1, 2, 0).contiguous().numpy()
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    least, most = (round(size * side) for size in EYE_SIZES)
    votes: list[Any] = []
    for cascade in cascades:
        votes.extend(cascade.detectMultiScale(grey, 1.05, 0, minSize=(least, least), maxSize=(most, most)))
    if len(votes) < EYE_VOTES:
        return None
    x, y, width, height = np.array(votes, dtype=float).T
    return complex(left + np.median(x + width / 2), top + np.median(y + height / 2)) / side
