"""What drawn faces are painted on: a batch of pictures, soft-edged shapes and random textures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

# No pose shifts, tilts (radians), scales or turns a face aside by more: faces lie as photographs do that are aligned by
# their eyes. Boxes leave room for it.
MAX_SHIFT, MAX_TILT, MAX_SCALE, MAX_TURN = 0.01, 0.03, 0.03, 0.016
ZOOM = 1.1

Planes = Float[Tensor, "n h w"]
Colours = Float[Tensor, "... 3 _ _"]


@dataclass(frozen=True)
class Canvas:
    """Pictures, or one rectangle of each, that shapes are painted on.

    pixels: colours in [0, 1]. x, y: where each pixel lies in the face: the face's middle is (0, 0), x grows to the
    right, y downwards, the picture is about 0.9 wide. rows, columns: where it lies in the picture, from -0.5 to 0.5.
    pixel: the width of one pixel.
    """

    pixels: Float[Tensor, "n 3 h w"]
    x: Planes
    y: Planes
    rows: Float[Tensor, " h"]
    columns: Float[Tensor, " w"]
    pixel: float

    def box(self, left: float, right: float, top: float, bottom: float) -> Canvas:
        """The rectangle that holds everything between these bounds of x and y, whatever the pose."""
        left, right, top, bottom = (bound * ZOOM for bound in (left, right, top, bottom))
        wide, high = max(-left, right), max(-top, bottom)
        room_x = MAX_SHIFT + MAX_TURN * ZOOM + MAX_SCALE * wide + MAX_TILT * high
        room_y = MAX_SHIFT + MAX_SCALE * high + MAX_TILT * wide
        rows = self._between(top - room_y, bottom + room_y)
        columns = self._between(left - room_x, right + room_x)
        pixels, x, y = self.pixels[:, :, rows, columns], self.x[:, rows, columns], self.y[:, rows, columns]
        return Canvas(pixels, x, y, self.rows[rows], self.columns[columns], self.pixel)

    def aside(self, distance: Tensor) -> Canvas:
        """The same pictures for shapes that lie `distance` further to the right."""
        return replace(self, x=self.x - distance)

    def _between(self, low: float, high: float) -> slice:
        size = len(self.rows)
        return slice(max(int((low + 0.5) * size), 0), min(int((high + 0.5) * size) + 1, size))

    def inside(self, distance: Planes) -> Planes:
        """How much of each pixel a shape covers, from its signed distance (negative inside)."""
        return distance.mul(-1 / self.pixel).add_(0.5).clamp_(0, 1)

    def line(self, distance: Planes, half_width: Tensor | float) -> Planes:
        """The same for a line around distance 0; one thinner than a pixel gets fainter."""
        covered = self.inside(distance.abs().sub_(half_width))
        return covered.mul_(torch.as_tensor(half_width * (2 / self.pixel)).clamp(max=1))

    def texture(self, grid: Float[Tensor, "n c r k"], edge: float, top: float = -0.5) -> Float[Tensor, "n c h w"]:
        """A field from `top` to the picture's lower edge: each number fills one cell, neighbours fade over `edge`."""
        down = _cells((self.rows - top) / (0.5 - top), grid.shape[2], edge)
        across = _cells(self.columns + 0.5, grid.shape[3], edge)
        return down @ grid @ across.T

    def paint(self, colour: Colours, cover: Planes) -> None:
        """Lays a colour over the pictures where `cover` is above 0; at 1 it hides what was there."""
        self.pixels.lerp_(colour, cover[:, None])


def blank(size: int, pose: Float[Tensor, "n 4"]) -> Canvas:
    """Pictures that nothing is painted on, seen in a pose: shift in x and y, tilt, scale, each in [-1, 1]."""
    places = (torch.arange(size) + 0.5) / size - 0.5
    most = torch.tensor([MAX_SHIFT, MAX_SHIFT, MAX_TILT, MAX_SCALE])
    shift_x, shift_y, tilt, scale = (pose * most).T[..., None, None]
    x, y = places - shift_x, places[:, None] - shift_y
    along, across = tilt.cos() / (1 + scale) / ZOOM, tilt.sin() / (1 + scale) / ZOOM
    pixels = torch.empty(len(pose), 3, size, size)
    return Canvas(pixels, x * along + y * across, y * along - x * across, places, places, 1 / (size * ZOOM))


def _cells(places: Float[Tensor, " size"], count: int, edge: float) -> Float[Tensor, "size count"]:
    ramp = ((places[:, None] * count - torch.arange(1, count)) / edge + 0.5).clamp_(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    ends = torch.ones(len(places), 1)
    return torch.cat([ends, ramp], 1) - torch.cat([ramp, 0 * ends], 1)


def soft(distance: Planes, width: float) -> Planes:
    """A cover that falls from 1 to 0 over `width` around distance 0, smoothly."""
    fall = distance.mul(-1 / width).add_(0.5).clamp_(0, 1)
    return (3 - 2 * fall).mul_(fall).mul_(fall)


def ellipse(x: Planes, y: Planes, radius_x: Tensor | float, radius_y: Tensor | float) -> Planes:
    """Signed distance, to first order, of an ellipse around (0, 0)."""
    x, y = x / radius_x, y / radius_y
    level = (x * x).addcmul_(y, y).sqrt_()
    slope = (x / radius_x).square_().add_((y / radius_y).square_()).sqrt_()
    return (level - 1).mul_(level).div_(slope.add_(1e-6))


def rgb(red: float, green: float, blue: float) -> Float[Tensor, "1 3 1 1"]:
    """A colour as a tensor."""
    return torch.tensor([red, green, blue])[None, :, None, None]
