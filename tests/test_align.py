from __future__ import annotations

import cmath
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from jacsup import align
from jacsup.align import Similarity, crop, paste, whole_square
from jacsup.detail import FLAT, WINDOW

CELEBA = Path(__file__).resolve().parents[2] / "shared" / "data" / "celeba" / "img_align_celeba.zip"


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def slope(points: np.ndarray) -> np.ndarray:
    """Brightness at photo points, linear: bicubic sampling and means over areas leave it as it is."""
    x, y = np.real(points), np.imag(points)
    return np.stack([20 + x / 3, 200 - y / 2, 90 + x / 8 + y / 8], axis=-1)


def centres(width: int, height: int) -> np.ndarray:
    return np.arange(width)[None] + 0.5 + 1j * (np.arange(height)[:, None] + 0.5)


def sloping_photo(width: int = 400, height: int = 300) -> Image.Image:
    return Image.fromarray(slope(centres(width, height)).round().clip(0, 255).astype(np.uint8))


def as_image(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).numpy()


def tilted(side: float, degrees: float, middle: complex) -> Similarity:
    turn = cmath.rect(side, np.deg2rad(degrees))
    return Similarity(turn, middle - turn * (0.5 + 0.5j))


def test_a_similarity_goes_there_and_back() -> None:
    similarity = tilted(50, 90, 100 + 80j)
    assert similarity.side == pytest.approx(50)
    assert similarity.to_photo(0j) == pytest.approx(125 + 55j)  # turned clockwise on the screen, the corner is right
    assert similarity.to_crop(similarity.to_photo(0.2 + 0.9j)) == pytest.approx(0.2 + 0.9j)


@pytest.mark.parametrize(("size", "origin"), [((89, 109), 10j), ((178, 218), 20j), ((60, 31), 14 + 0j)])
def test_the_whole_square_is_centred(size: tuple[int, int], origin: complex) -> None:
    assert whole_square(Image.new("RGB", size)) == Similarity(complex(min(size)), origin)


def test_a_crop_at_its_own_size_is_the_photos_pixels() -> None:
    pixels = noise(50, 40, 3)
    found = crop(Image.fromarray(pixels), whole_square(Image.new("RGB", (40, 50))), 40)
    np.testing.assert_array_equal(as_image(found), pixels[5:45])


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_exact(turns: int) -> None:
    pixels = noise(40, 40, 3)
    found = crop(Image.fromarray(pixels), tilted(40, 90 * turns, 20 + 20j), 40)
    np.testing.assert_array_equal(as_image(found), np.rot90(pixels, turns))


@pytest.mark.parametrize("shrink", [2, 3, 4, 12])
def test_shrinking_takes_the_mean_of_each_area(shrink: int) -> None:
    pixels = noise(16 * shrink, 16 * shrink, 3)
    found = crop(Image.fromarray(pixels), Similarity(16 * shrink + 0j, 0j), 16)
    for row in range(16):
        for column in range(16):
            block = pixels[row * shrink : (row + 1) * shrink, column * shrink : (column + 1) * shrink]
            np.testing.assert_allclose(found[:, row, column], block.mean((0, 1)), atol=1.01)


@pytest.mark.parametrize("side", [20, 40, 90, 200, 500])
@pytest.mark.parametrize("degrees", [0, 13, -140])
def test_a_crop_lies_where_its_similarity_says(side: int, degrees: float) -> None:
    similarity = tilted(side, degrees, side * (0.9 + 0.85j) + 3.3)
    shade = 80 / side  # every photo as bright, whatever its size
    photo = Image.fromarray(slope(shade * centres(2 * side, 2 * side)).round().astype(np.uint8))
    points = similarity.to_photo(torch.from_numpy(centres(32, 32) / 32)).numpy()
    np.testing.assert_allclose(as_image(crop(photo, similarity, 32)), slope(shade * points), atol=1.6)


@pytest.mark.parametrize("degrees", [0, 30])
@pytest.mark.parametrize("side", [400, 640])
def test_shrinking_leaves_no_moire(side: int, degrees: float) -> None:
    board = (np.indices((800, 800)).sum(0) % 2 * 255).astype(np.uint8)
    found = crop(Image.fromarray(board).convert("RGB"), tilted(side, degrees, 400 + 400j), 50)
    assert (found.float() - 127.5).abs().max() < 12


def test_beyond_the_photo_its_edge_is_repeated() -> None:
    pixels = noise(30, 30, 3)
    found = as_image(crop(Image.fromarray(pixels), Similarity(50 + 0j, -10 - 10j), 50))
    np.testing.assert_array_equal(found, np.pad(pixels, [(10, 10), (10, 10), (0, 0)], mode="edge"))


def test_transparent_parts_show_white() -> None:
    pixels = noise(40, 40, 4)
    pixels[:20, :, 3], pixels[20:, :, 3] = 0, 255
    found = as_image(crop(Image.fromarray(pixels), Similarity(40 + 0j, 0j), 40))
    assert (found[:20] == 255).all()
    np.testing.assert_array_equal(found[20:], pixels[20:, :, :3])


PLACES = [
    whole_square(Image.new("RGB", (90, 70))),
    tilted(55, 17, 40 + 33j),
    tilted(20, -80, 60 + 30j),
    tilted(120, 33, 10 + 60j),
]


@pytest.mark.parametrize("similarity", PLACES)
@pytest.mark.parametrize("detail", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("channels", [3, 4])
def test_no_change_gives_back_the_photo(similarity: Similarity, detail: float, channels: int) -> None:
    pixels = noise(70, 90, channels)
    photo = Image.fromarray(pixels)
    photo.info["icc_profile"] = b"a profile"
    decoded = torch.rand(3, 32, 32)
    result = paste(photo, similarity, decoded, decoded.clone(), detail)
    np.testing.assert_array_equal(np.asarray(result), pixels)
    assert result.info == photo.info


@pytest.mark.parametrize("similarity", PLACES)
def test_only_the_crops_inside_changes(similarity: Similarity) -> None:
    pixels = np.full((70, 90, 4), 100, np.uint8)
    photo = Image.fromarray(pixels)
    result = np.asarray(paste(photo, similarity, torch.zeros(3, 32, 32), torch.full((3, 32, 32), 0.4)))
    inside = similarity.to_crop(torch.from_numpy(centres(90, 70))).numpy()
    to_border = 0.5 - np.maximum(abs(np.real(inside) - 0.5), abs(np.imag(inside) - 0.5))
    assert (result[to_border < 0] == 100).all()
    assert (result[to_border > align.FEATHER, :3] == 202).all()
    assert (result[..., 3] == 100).all()
    np.testing.assert_array_equal(np.asarray(photo), pixels)


def test_the_change_fades_out_to_nothing_at_the_border() -> None:
    photo = Image.new("RGB", (400, 400))
    result = paste(photo, Similarity(400 + 0j, 0j), torch.zeros(3, 8, 8), torch.ones(3, 8, 8))
    row = np.asarray(result)[200, :, 0].astype(int)
    assert row[0] == row[-1] == 0
    assert row[50] == row[200] == 255
    assert row[24] < 127.5 < row[25], "an eighth of the side, 50 pixels here, has its middle at half the change"
    steps = np.diff(row[:51])
    assert steps.min() >= 0
    assert steps.max() < 255 / 25
    np.testing.assert_array_equal(row, row[::-1])


def bicubic_twin(image: np.ndarray, enlarge: int) -> np.ndarray:
    """Bicubic enlargement (a = -0.75) of one channel, pixel by pixel, its edges repeated."""

    def weight(distance: float) -> float:
        d, a = abs(distance), -0.75
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0

    size = image.shape[0]
    weights = np.zeros((size * enlarge, size))
    for out in range(size * enlarge):
        at = (out + 0.5) / enlarge - 0.5
        for near in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
            weights[out, min(max(near, 0), size - 1)] += weight(at - near)
    return weights @ image @ weights.T


@pytest.mark.parametrize("enlarge", [1, 2, 5])
def test_the_middle_gets_exactly_the_enlarged_difference(enlarge: int) -> None:
    pixels = noise(16 * enlarge + 9, 16 * enlarge + 20, 3) // 2 + 64
    # An even image, so that the photo's own detail does not change.
    before = torch.full((3, 16, 16), 0.1)
    after = 0.2 * torch.rand(before.shape, generator=torch.Generator().manual_seed(0))
    result = paste(Image.fromarray(pixels), Similarity(16 * enlarge + 0j, 12 + 7j), before, after)
    middle = slice(2 * enlarge, 14 * enlarge)
    for channel in range(3):
        change = bicubic_twin((after - before)[channel].numpy(), enlarge)[middle, middle]
        old = pixels[7:, 12:, channel][middle, middle]
        new = np.asarray(result)[7:, 12:, channel][middle, middle]
        np.testing.assert_allclose(new, old + 255 * change, atol=0.51)


def test_changes_beyond_black_and_white_are_clipped() -> None:
    photo = Image.fromarray(np.where(noise(40, 40, 3) > 127, np.uint8(250), np.uint8(5)))
    square, zero = Similarity(40 + 0j, 0j), torch.zeros(3, 8, 8)
    for change, expected in [(0.5, {132, 255}), (-0.5, {0, 122})]:
        result = np.asarray(paste(photo, square, zero, zero + change))[5:35, 5:35]
        assert set(np.unique(result)) <= expected | {133, 123}


def test_where_much_changes_detail_gives_way() -> None:
    pixels = noise(160, 160, 3)
    before, after = torch.full((3, 16, 16), 0.5), torch.full((3, 16, 16), 0.5)
    after[:, :, 8:] = 0.8
    for detail in (0.0, 0.25):
        result = np.asarray(paste(Image.fromarray(pixels), Similarity(160 + 0j, 0j), before, after, detail))
        own = pixels[20:140, 100:140] - 127.5
        expected = np.clip(255 * 0.8 + detail * own, 0, 255)
        np.testing.assert_allclose(result[20:140, 100:140], expected, atol=0.51)
        np.testing.assert_array_equal(result[:, :60], pixels[:, :60])


def slope_twin(change: np.ndarray, image: np.ndarray) -> np.ndarray:
    """The slope of a ridge regression of the change on the image, window by window, averaged over the windows."""
    size, around = image.shape[0], range(-WINDOW, WINDOW + 1)

    def window(values: np.ndarray, row: int, column: int) -> np.ndarray:
        rows, columns = ([min(max(at + step, 0), size - 1) for step in around] for at in (row, column))
        return values[np.ix_(rows, columns)]

    slopes = np.zeros_like(image)
    for row, column in np.ndindex(size, size):
        x, y = (window(values, row, column).ravel() for values in (image, change))
        slopes[row, column] = np.clip(((x - x.mean()) * (y - y.mean())).mean() / (x.var() + FLAT), -1, 1)
    return np.array([[window(slopes, row, column).mean() for column in range(size)] for row in range(size)])


def test_the_photos_own_detail_changes_as_the_decoded_image_does() -> None:
    pixels = noise(160, 160, 3)
    before, after = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.4
    result = np.asarray(paste(Image.fromarray(pixels), Similarity(160 + 0j, 0j), before, after))
    middle = slice(20, 140)
    for channel in range(3):
        change, seen = (each[channel].numpy().astype(float) for each in (after - before, before))
        changed, decoded, slope = (bicubic_twin(each, 10) for each in (change, seen, slope_twin(change, seen)))
        expected = pixels[..., channel] + 255 * changed + slope * (pixels[..., channel] - 255 * decoded)
        found = result[middle, middle, channel]
        np.testing.assert_allclose(found, expected.clip(0, 255)[middle, middle], atol=0.52)


def test_contrast_that_an_edit_removes_leaves_the_photo_too() -> None:
    stripes = np.tile((np.arange(160) // 20 % 2 * 100 + 78).astype(np.uint8)[None, :, None], (160, 1, 3))
    photo = Image.fromarray((stripes + noise(160, 160, 3) % 20 - 10).astype(np.uint8))
    before = torch.from_numpy(stripes[5::10, 5::10] / 255).permute(2, 0, 1).float()
    after = before - 0.75 * (before - before.mean())
    result = np.asarray(paste(photo, Similarity(160 + 0j, 0j), before, after))[20:140, 20:140].astype(float)
    own, left = (np.std(each - each.mean()) for each in (np.asarray(photo)[20:140, 20:140].astype(float), result))
    assert left / own == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("detail", [-0.1, 1.5, float("nan")])
def test_detail_is_a_share(detail: float) -> None:
    decoded = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match=r"\Adetail is [^\n]*must be between 0 [^\n]*\Z"):
        paste(Image.new("RGB", (20, 20)), Similarity(20 + 0j, 0j), decoded, decoded, detail)


def test_a_pasted_change_is_found_again_by_cropping() -> None:
    photo, similarity = sloping_photo(), tilted(180, 20, 180 + 140j)
    seen = crop(photo, similarity, 64)
    after = (seen / 255 + 0.1 * torch.linspace(-1, 1, 64)).clamp(0, 1)
    again = crop(paste(photo, similarity, seen / 255, after), similarity, 64)
    middle = (slice(None), slice(10, 54), slice(10, 54))
    torch.testing.assert_close(again[middle] / 255, after[middle], atol=0.012, rtol=0)


MEMORY = """
import resource, torch
from PIL import Image
from jacsup.align import Similarity, crop, paste
photo = Image.new("RGB", (10_000, 5_000), "grey")
face = Similarity({turn}, {origin})
zero = torch.zeros(3, 64, 64)
paste(photo.crop((0, 0, 99, 99)), Similarity(99 + 0j, 0j), zero, zero)
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
crop(photo, face, 64)
result = paste(photo, face, zero, zero + 0.1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) // 1024)
"""


def test_fifty_megapixels_take_little_more_memory_than_their_copy() -> None:
    program = MEMORY.format(turn=4000 + 300j, origin=3000 + 300j)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000 * 5_000 * 4 / 2**20 + 150, "MiB beyond the photo itself"
