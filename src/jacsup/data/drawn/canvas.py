"""The canvas of drawn faces: a batch of images, soft-edged shapes and random textures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

# A pose shifts, tilts (in radians), scales or turns a face by no more, as if photographs were aligned by their eyes.
# Boxes leave room for it.
MAX_SHIFT = 0.01
MAX_TILT = 0.03
MAX_SCALE = 0.03
MAX_TURN = 0.016
ZOOM = 1.1

Planes = Float[Tensor, "n h w"]
Colours = Float[Tensor, "... 3 _ _"]


@dataclass(frozen=True)
class Canvas:
    """Images, or one rectangle of each, that shapes are painted on.

    Attributes:
        pixels: Colours in [0, 1].
        x: Place of each pixel in the face, growing to the right; the face's middle is 0, the image is about 0.9 wide.
        y: The same, growing downwards.
        rows: Place of each row in the image, from -0.5 to 0.5.
        columns: Place of each column in the image, from -0.5 to 0.5.
        pixel: Width of one pixel.
    """

    pixels: Float[Tensor, "n 3 h w"]
    x: Planes
    y: Planes
    rows: Float[Tensor, " h"]
    columns: Float[Tensor, " w"]
    pixel: float

    def box(self, left: float, right: float, top: float, bottom: float) -> Canvas:
        """Return the rectangle that contains everything between these bounds of x and y, whatever the pose.

        Args:
            left: Lower bound of x.
            right: Upper bound of x.
            top: Lower bound of y.
            bottom: Upper bound of y.

        Returns:
            A canvas that shares its pixels with this one.
        """
        left, right, top, bottom = (bound * ZOOM for bound in (left, right, top, bottom))
        wide, high = max(-left, right), max(-top, bottom)
        room_x = MAX_SHIFT + MAX_TURN * ZOOM + MAX_SCALE * wide + MAX_TILT * high
        room_y = MAX_SHIFT + MAX_SCALE * high + MAX_TILT * wide
        rows = self._between(top - room_y, bottom + room_y)
        columns = self._between(left - room_x, right + room_x)
        pixels, x, y = self.pixels[:, :, rows, columns], self.x[:, rows, columns], self.y[:, rows, columns]
        return Canvas(pixels, x, y, self.rows[rows], self.columns[columns], self.pixel)

    def aside(self, distance: Tensor) -> Canvas:
        """Return the same images for shapes that lie `distance` further to the right."""
        return replace(self, x=self.x - distance)

    def _between(self, low: float, high: float) -> slice:
        size = len(self.rows)
        return slice(max(int((low + 0.5) * size), 0), min(int((high + 0.5) * size) + 1, size))

    def inside(self, distance: Planes) -> Planes:
        """Return how much of each pixel a shape covers, from its signed `distance` (negative inside)."""
        return distance.mul(-1 / self.pixel).add_(0.5).clamp_(0, 1)

    def line(self, distance: Planes, half_width: Tensor | float) -> Planes:
        """Return how much of each pixel a line around `distance` 0 covers; a line thinner than a pixel is fainter."""
        covered = self.inside(distance.abs().sub_(half_width))
        return covered.mul_(torch.as_tensor(half_width * (2 / self.pixel)).clamp(max=1))

    def texture(self, grid: Float[Tensor, "n c r k"], top: float = -0.5) -> Float[Tensor, "n c h w"]:
        """Return a smooth field, a cubic B-spline of numbers on a grid.

        Args:
            grid: One number per plane and place.
            top: Upper edge of the field in the image, from -0.5 to 0.5; its lower edge is that of the image.

        Returns:
            One number per plane and pixel.
        """
        down = _spline((self.rows - top) / (0.5 - top), grid.shape[2])
        across = _spline(self.columns + 0.5, grid.shape[3])
        return down @ grid @ across.T

    def paint(self, colour: Colours, cover: Planes) -> None:
        """Blend a `colour` into the images with the weight `cover`, from 0 to 1 (opaque)."""
        self.pixels.lerp_(colour, cover[:, None])


def blank(size: int, pose: Float[Tensor, "n 4"]) -> Canvas:
    """Return images that nothing is painted on yet.

    Args:
        size: Side of the square images, in pixels.
        pose: Shift in x, shift in y, tilt and scale of each face, each in [-1, 1].

    Returns:
        A canvas with uninitialised pixels.
    """
    places = (torch.arange(size) + 0.5) / size - 0.5
    most = torch.tensor([MAX_SHIFT, MAX_SHIFT, MAX_TILT, MAX_SCALE])
    shift_x, shift_y, tilt, scale = (pose * most).T[..., None, None]
    x, y = places - shift_x, places[:, None] - shift_y
    along, across = tilt.cos() / (1 + scale) / ZOOM, tilt.sin() / (1 + scale) / ZOOM
    pixels = torch.empty(len(pose), 3, size, size)
    return Canvas(pixels, x * along + y * across, y * along - x * across, places, places, 1 / (size * ZOOM))


def _spline(places: Float[Tensor, " size"], count: int) -> Float[Tensor, "size count"]:
    """The weight of each of `count` equally spaced knots at places from 0 to 1; the outer ones go on outside."""
    apart = (places[:, None] * count - 0.5 - torch.arange(-2, count + 2)).abs()
    near, far = 2 / 3 - apart.square() + apart.pow(3) / 2, (2 - apart).clamp(min=0).pow(3) / 6
    weights = torch.where(apart < 1, near, far)
    weights[:, 2] += weights[:, :2].sum(1)
    weights[:, -3] += weights[:, -2:].sum(1)
    return weights[:, 2:-2]


def soft(distance: Planes, width: float) -> Planes:
    """Return a cover that falls smoothly from 1 to 0 over `width` around `distance` 0."""
    fall = distance.mul(-1 / width).add_(0.5).clamp_(0, 1)
    return (3 - 2 * fall).mul_(fall).mul_(fall)


def ellipse(x: Planes, y: Planes, radius_x: Tensor | float, radius_y: Tensor | float) -> Planes:
    """Return the signed distance, to first order, of the points (`x`, `y`) from an ellipse around (0, 0)."""
    x, y = x / radius_x, y / radius_y
    level = (x * x).addcmul_(y, y).sqrt_()
    slope = (x / radius_x).square_().add_((y / radius_y).square_()).sqrt_()
    return (level - 1).mul_(level).div_(slope.add_(1e-6))


def rgb(red: float, green: float, blue: float) -> Float[Tensor, "1 3 1 1"]:
    """Return a colour as a tensor, from channels in [0, 1]."""
    return torch.tensor([red, green, blue])[None, :, None, None]
