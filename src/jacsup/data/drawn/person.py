"""The person in a drawn face: strengths, nuisance, colours and the outline of the head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from jacsup.data.drawn.canvas import MAX_TURN, Canvas, Planes, rgb

Value = Float[Tensor, "n 1 1"]
Colour = Float[Tensor, "n 3 1 1"]

HEAD_MIDDLE = -0.03
HAIR_COLOURS = {
    "Black_Hair": (0.075, 0.07, 0.085),
    "Blond_Hair": (0.95, 0.79, 0.42),
    "Brown_Hair": (0.27, 0.15, 0.08),
    "Gray_Hair": (0.64, 0.65, 0.68),
}


@dataclass(frozen=True)
class Face:
    """A batch of people.

    Attributes:
        on: Strengths by attribute.
        choice: Nuisance in [-1, 1] by part.
        grid: Nuisance of textures by part.
        skin: Colour of the skin.
        hair: Colour of the hair.
        turn: How far the face is turned to the right.
        half_width: Half the width of the head.
        chin: Place of the chin.
        taper: How much the head narrows towards the chin.
        square: How square the jaw is.
    """

    on: dict[str, Value]
    choice: dict[str, Float[Tensor, "n _ 1 1"]]
    grid: dict[str, Float[Tensor, "n _ _ _"]]
    skin: Colour
    hair: Colour
    turn: Value
    half_width: Value
    chin: Value
    taper: Value
    square: Value

    def shadow(self, depth: float) -> Colour:
        """Return the colour of the skin in the shade; `depth` 0 is none."""
        return self.skin * (1 - depth * rgb(0.75, 1.05, 1.1))

    def head(self, canvas: Canvas) -> Planes:
        """Return the signed distance from the outline of the head, accurate up to 0.1 or 0.2."""
        down = canvas.y - HEAD_MIDDLE
        along = down / torch.where(down > 0, self.chin - HEAD_MIDDLE, 0.35)
        across = canvas.x / (self.half_width * (1 - self.taper * along.clamp(min=0)))
        along, across = along.square_().clamp_(max=3), across.square_().clamp_(max=3)
        corner = along * across * torch.where(down > 0, self.square, 0.38)
        return along.add_(across).sub_(corner).clamp_(min=1e-4).sqrt_().sub_(1).mul_(0.26)


def person(on: dict[str, Value], choice: dict[str, Tensor], grid: dict[str, Tensor]) -> Face:
    """Return people with colours and outlines of heads.

    Args:
        on: Strengths by attribute.
        choice: Nuisance in [-1, 1] by part.
        grid: Nuisance of textures by part.

    Returns:
        The people.
    """
    chubby, oval = on["Chubby"], on["Oval_Face"]
    width, length, jaw, taper = (choice["head"][:, i] for i in range(4))
    return Face(
        on,
        choice,
        grid,
        skin=_skin(on, choice["skin"]),
        hair=_hair(on, choice["hair"]),
        turn=MAX_TURN * choice["pose"][:, 4],
        half_width=0.222 + 0.008 * width + 0.062 * chubby - 0.042 * oval,
        chin=0.270 + 0.008 * length + 0.045 * oval + 0.006 * chubby,
        taper=0.16 + 0.04 * taper + 0.15 * oval - 0.16 * chubby,
        square=(0.42 + 0.08 * jaw) * (1 - 0.95 * oval) + 0.06 * chubby,
    )


def eased(strength: Tensor) -> Tensor:
    """Return a strength that grows fast at first, for what should be clearly visible at 0.5."""
    return strength * (2 - strength)


def between(one: Tensor, other: Tensor, choice: Tensor) -> Tensor:
    """Return a mixture of two colours: `one` at a `choice` of -1, `other` at 1."""
    return torch.lerp(one, other, 0.5 + 0.5 * choice)


def _skin(on: dict[str, Value], choice: Tensor) -> Colour:
    dark, hue = (0.5 + 0.5 * choice[:, :1]).square(), choice[:, 1:2]
    skin = torch.lerp(rgb(0.91, 0.70, 0.55), rgb(0.56, 0.37, 0.26), dark) * (1 + hue * rgb(0.02, -0.02, -0.05))
    return torch.lerp(skin, rgb(0.995, 0.915, 0.875), 0.92 * eased(on["Pale_Skin"])[:, None])


def _hair(on: dict[str, Value], choice: Tensor) -> Colour:
    hair = between(rgb(0.44, 0.21, 0.12), rgb(0.60, 0.35, 0.19), choice[:, 6:7])
    for name, colour in HAIR_COLOURS.items():
        hair = torch.lerp(hair, rgb(*colour), eased(on[name])[:, None])
    return hair * (1 + 0.08 * choice[:, 7:8])
