"""Crop a square from a photo, such as an aligned face, and paste changes of the crop back into the photo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Complex, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from jacsup.detail import growth_of_detail
from jacsup.photo import opaque

# CelebA's mean eyes, x + iy in fractions of the full-width square of its aligned images: the means over the 1,086 of
# the first 1,200 images in which the cascades find both. Standard deviations: .012 in x, .007 in y.
EYES = (0.384 + 0.516j, 0.607 + 0.517j)
# The share of the crop's side over which an edit fades out towards the border.
FEATHER = 0.125
# Large photos are processed in strips of about this many pixels, which bounds the memory.
STRIP_PIXELS = 1 << 18

Points = TypeVar("Points", complex, Tensor)


@dataclass(frozen=True)
class Similarity:
    """Position, size and rotation of a square crop in a photo.

    A point x + iy of the crop, in fractions of its side, lies at `turn * point + origin` in the photo, in pixels from
    its top left corner.

    Attributes:
        turn: The crop's side in photo pixels times its rotation, a complex number of absolute value 1.
        origin: The crop's first corner in the photo.
    """

    turn: complex
    origin: complex

    @property
    def side(self) -> float:
        """Side of the crop in photo pixels."""
        return abs(self.turn)

    def to_photo(self, points: Points) -> Points:
        """Map `points` of the crop to the photo."""
        return points * self.turn + self.origin

    def to_crop(self, points: Points) -> Points:
        """Map `points` of the photo to the crop."""
        return (points - self.origin) / self.turn


def whole_square(photo: Image.Image) -> Similarity:
    """Return the largest centred square of `photo`, which is CelebA's own crop and the one that `--no-align` uses."""
    width, height = photo.size
    side = min(width, height)
    return Similarity(complex(side), complex((width - side) // 2, (height - side) // 2))


def crop(photo: Image.Image, similarity: Similarity, size: int) -> UInt8[Tensor, "3 size size"]:
    """Return the crop as RGB pixels, each the mean of its area if the photo is larger.

    Args:
        photo: RGB or RGBA; transparent parts become white, and the edge is repeated beyond the photo.
        similarity: Where the crop lies.
        size: The side of the result in pixels.
    """
    # Shrink by whole blocks of pixels first, which is fast; at most a factor of four remains.
    factor = max(1, int(similarity.side / (2 * size)))
    left, top, right, bottom = bounding_box(photo, similarity, margin=3 * factor)
    region = opaque(photo.reduce(factor, box=(left, top, right, bottom)))
    samples = max(1, math.ceil(similarity.side / (factor * size) - 0.01))
    points = similarity.to_photo(_pixel_centres(0, 0, size * samples, size * samples) / (size * samples))
    sampled = _sampled(_to_tensor(np.array(region)), (points - complex(left, top)) / factor)
    return F.avg_pool2d(sampled, samples).round().clamp(0, 255).to(torch.uint8)


def paste(
    photo: Image.Image,
    similarity: Similarity,
    before: Float[Tensor, "3 size size"],
    after: Float[Tensor, "3 size size"],
    detail: float = 1.0,
) -> Image.Image:
    """Return the photo plus the change of an edit: after - before, enlarged, fading out towards the crop's border.

    The photo's own detail, photo - before, changes as the decoded image does: if an edit halves the contrast of a
    mouth, it halves the contrast of the photo's mouth. The photo keeps its size, mode, alpha and profile. Where nothing
    changes, it stays the same to the last bit.

    Args:
        photo: RGB or RGBA, as `read_photo` returns it.
        similarity: Where the crop lies.
        before: D(y, z), the decoded crop, in [0, 1].
        after: D(y', z), the decoded crop with changed factors, in [0, 1].
        detail: Share of the photo's own detail to keep, in [0, 1], where the edit changes the image strongly. At 1,
            detail that the model cannot decode is kept and leaves outlines of removed content behind.

    Raises:
        ValueError: `detail` is not in [0, 1].
    """
    if not 0 <= detail <= 1:
        raise ValueError(f"detail is {detail}; must be between 0 (as decoded) and 1 (all of the photo's detail)")
    result = photo.copy()
    change = _shrunk(after - before, similarity)
    decoded = _shrunk(before, similarity)
    growth = growth_of_detail(change, decoded, detail)
    # One sampling of all three is faster than three.
    small = torch.cat([change, decoded, growth])
    for left, top, right, bottom in _strips(photo, similarity):
        region = np.array(result.crop((left, top, right, bottom)))
        pixels = _to_tensor(region[..., :3])
        at = similarity.to_crop(_pixel_centres(left, top, right - left, bottom - top))
        changed, seen, grown = _sampled(small, at * small.shape[1]).split(3)
        pixels += 255 * _feather(at) * (changed + grown * (pixels / 255 - seen))
        region[..., :3] = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
        result.paste(Image.fromarray(region), (left, top))
    return result


def _feather(points: Complex[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """1 inside the crop, falling smoothly to 0 at its border, 0 outside."""
    to_border = 0.5 - torch.stack([points.real, points.imag]).sub(0.5).abs()
    ramp = (to_border / FEATHER).clamp(0, 1)
    return (ramp * ramp * (3 - 2 * ramp)).prod(0).float()


def _sampled(image: Float[Tensor, "c h w"], points: Complex[Tensor, "a b"]) -> Float[Tensor, "c a b"]:
    """The image at points in its own pixels, bicubic, its edges repeated."""
    grid = torch.stack([points.real / image.shape[2], points.imag / image.shape[1]], dim=-1) * 2 - 1
    mode = {"mode": "bicubic", "padding_mode": "border", "align_corners": False}
    return F.grid_sample(image[None], grid[None].to(image.dtype), **mode)[0]


def _shrunk(image: Float[Tensor, "c size size"], similarity: Similarity) -> Float[Tensor, "c side side"]:
    """The decoded image, shrunk to the crop's size in the photo if that is smaller."""
    image = image.detach().cpu().float()
    side = math.ceil(similarity.side)
    if side >= image.shape[1]:
        return image
    return F.interpolate(image[None], size=(side, side), mode="bicubic", antialias=True)[0]


def _pixel_centres(left: int, top: int, width: int, height: int) -> Complex[Tensor, "height width"]:
    x = torch.arange(left, left + width, dtype=torch.float64) + 0.5
    y = torch.arange(top, top + height, dtype=torch.float64) + 0.5
    return x + 1j * y[:, None]


def _to_tensor(pixels: UInt8[np.ndarray, "h w c"]) -> Float[Tensor, "c h w"]:
    return torch.from_numpy(pixels).permute(2, 0, 1).float()


def bounding_box(photo: Image.Image, similarity: Similarity, margin: int = 0) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the box around a crop, `margin` pixels wider, within the photo."""
    corners = [similarity.to_photo(complex(x, y)) for x in (0, 1) for y in (0, 1)]
    xs, ys = [corner.real for corner in corners], [corner.imag for corner in corners]
    left, top = max(0, math.floor(min(xs)) - margin), max(0, math.floor(min(ys)) - margin)
    right, bottom = min(photo.width, math.ceil(max(xs)) + margin), min(photo.height, math.ceil(max(ys)) + margin)
    assert left < right and top < bottom, "the crop lies outside the photo"
    return left, top, right, bottom


def _strips(photo: Image.Image, similarity: Similarity) -> Iterator[tuple[int, int, int, int]]:
    """The crop's part of the photo in boxes of at most about STRIP_PIXELS."""
    left, top, right, bottom = bounding_box(photo, similarity)
    rows = max(1, STRIP_PIXELS // (right - left))
    for start in range(top, bottom, rows):
        yield left, start, right, min(start + rows, bottom)
