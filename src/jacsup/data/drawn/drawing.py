"""Faces are drawn here: what is painted in which order, the background, the body and the head."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jacsup.data.drawn import features as face_features
from jacsup.data.drawn import hair as face_hair
from jacsup.data.drawn import wear as face_wear
from jacsup.data.drawn.canvas import Canvas, blank, ellipse, soft
from jacsup.data.drawn.person import Face, eased, person

# Number of random numbers of each part. Grids (planes, rows, columns) are textures; choices are single numbers.
GRIDS = {"field": (3, 4, 4), "fine": (2, 12, 12), "strands": (1, 5, 24), "relief": (1, 14, 14), "cloth": (1, 3, 14)}
CHOICES = {
    "pose": 5,
    "light": 5,
    "skin": 2,
    "head": 6,
    "eyes": 6,
    "brows": 3,
    "nose": 2,
    "mouth": 4,
    "hair": 8,
    "clothes": 4,
    "extras": 6,
}
NUISANCE = {**CHOICES, **{name: planes * rows * columns for name, (planes, rows, columns) in GRIDS.items()}}


@torch.inference_mode()
def draw(on: dict[str, Float[Tensor, " n"]], nuisance: Float[Tensor, "n m"], size: int) -> UInt8[Tensor, "n 3 s s"]:
    """Draw faces.

    Args:
        on: Strengths in [0, 1] by attribute.
        nuisance: Normal numbers, in the order of NUISANCE.
        size: Side of the square images, in pixels.

    Returns:
        RGB images.
    """
    parts = dict(zip(NUISANCE, nuisance.split(list(NUISANCE.values()), 1), strict=True))
    choices = {name: parts[name].tanh()[:, :, None, None] for name in CHOICES}
    grids = {name: parts[name].clamp(-2.5, 2.5).unflatten(1, shape) for name, shape in GRIDS.items()}
    face = person({name: strength[:, None, None] for name, strength in on.items()}, choices, grids)
    canvas = blank(size, parts["pose"][:, :4].tanh())
    _background(canvas, face)
    _clothes(canvas, face)
    face_hair.behind(canvas, face)
    _neck(canvas, face)
    face_wear.necklace(canvas, face)
    face_wear.necktie(canvas, face)
    _ears(canvas, face)
    _head(canvas, face)
    face_hair.stubble(canvas, face)
    face_features.paint(canvas, face)
    face_hair.beard(canvas, face)
    face_hair.front(canvas, face)
    face_features.brows(canvas, face)
    face_wear.earrings(canvas, face)
    face_wear.glasses(canvas, face)
    face_wear.hat(canvas, face)
    _blur(canvas, face)
    return _developed(canvas, face)


def _background(canvas: Canvas, face: Face) -> None:
    wide = canvas.texture(face.grid["field"]) * torch.tensor([0.24, 0.08, 0.08])[:, None, None]
    fine = canvas.texture(face.grid["fine"]) * torch.tensor([0.17, 0.06])[:, None, None]
    luma, warmth = (wide[:, :2] + fine).unbind(1)
    hue, (red, green, blue) = wide[:, 2], canvas.pixels.unbind(1)
    torch.add(luma, warmth, out=red).add_(hue, alpha=0.6)
    torch.sub(luma, hue, out=green)
    torch.sub(luma, warmth, out=blue).add_(hue, alpha=0.6)
    canvas.pixels.add_(0.62).clamp_(0.1, 0.97)


def _clothes(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.5, 0.5, 0.33, 0.5)
    pattern = part.texture(face.grid["cloth"], top=0.32).mul_(0.09)
    colour = 0.45 + 0.33 * face.choice["clothes"][:, :3] + pattern
    shoulders = part.x.square().mul_(0.42).sub_(part.y).add_(0.362)
    part.paint(colour, part.inside(shoulders))


def _neck(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.26, 0.26, 0.15, 0.5)
    double, chubby, depth = face.on["Double_Chin"], face.on["Chubby"], 0.5 + 0.5 * face.choice["clothes"][:, 3]
    half_width = 0.098 + 0.008 * face.choice["head"][:, 4] + 0.026 * chubby + 0.012 * double
    flare = (part.y - 0.33).clamp_(min=0).square_().mul_(9)
    neck = torch.maximum(part.x.abs().sub_(half_width).sub_(flare), (part.y - 0.28).abs() - 0.10)
    opening = ellipse(part.x, part.y - 0.34, 0.15, 0.075 + 0.07 * depth)
    cover = part.inside(neck).maximum(part.inside(opening))
    part.paint(face.shadow(0.12), cover)
    cast = soft(ellipse(part.x, part.y - face.chin + 0.02, face.half_width * 0.72, 0.10), 0.05)
    part.paint(face.shadow(0.34), cast.mul_(cover))
    edge = part.line(opening, 0.006).mul_(part.inside(0.36 - part.y))
    part.paint(0.3 + 0.25 * face.choice["clothes"][:, :3], edge * 0.6)
    # The second chin lies below the first, with a crease in between.
    second = ellipse(part.x, part.y - face.chin + 0.050 - 0.045 * double, face.half_width * 0.70, 0.085)
    part.paint(face.skin * 1.02, part.inside(second) * (4 * double).clamp(max=1))
    part.paint(face.shadow(0.5), part.line(second, 0.008).mul_(part.inside(face.chin - 0.03 - part.y)) * double)


def _ears(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.33, 0.33, -0.12, 0.12)
    across = part.x.abs() - face.half_width - 0.012
    ear = ellipse(across, part.y + 0.015 + across * 0.4, 0.036, 0.068 + 0.006 * face.choice["head"][:, 5])
    part.paint(face.skin * 0.95, part.inside(ear))
    part.paint(face.shadow(0.3), part.inside(ear + 0.017) * 0.7)


def _head(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.30, 0.30, -0.42, 0.33)
    head = face.head(part)
    light = face.choice["light"]
    tone = part.x * (0.55 * light[:, 0]) + part.y * (0.25 * light[:, 1] - 0.15)
    rim = head.clamp(-0.12, 0).add_(0.12).square_()
    tone.sub_(rim, alpha=9).add_(part.texture(face.grid["relief"])[:, 0], alpha=0.05).add_(1)
    part.paint(face.skin * tone[:, None], part.inside(head))


def _blur(canvas: Canvas, face: Face) -> None:
    strength = face.on["Blurry"][:, 0, 0]
    rows = strength.nonzero()[:, 0]
    if not len(rows):
        return
    apart = canvas.rows[:, None] - canvas.rows
    weights = (-0.5 * (apart / (0.024 * eased(strength[rows, None, None]))).square()).exp()
    weights = (weights / weights.sum(2, keepdim=True))[:, None]
    canvas.pixels[rows] = weights @ canvas.pixels[rows] @ weights.mT


def _developed(canvas: Canvas, face: Face) -> Tensor:
    """The images as bytes, in the colour of the light."""
    gain = 1 + 0.05 * face.choice["light"][:, 2:5]
    return canvas.pixels.mul_(255 * gain).add_(0.5).clamp_(0, 255).to(torch.uint8)
