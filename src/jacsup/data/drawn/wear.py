"""What people wear in drawn faces: necklace, necktie, earrings, glasses and hat."""

from __future__ import annotations

import torch
from torch import Tensor

from jacsup.data.drawn.canvas import Canvas, ellipse, rgb
from jacsup.data.drawn.features import EYE_Y, eye_distance
from jacsup.data.drawn.person import Face, between, eased


def necklace(canvas: Canvas, face: Face) -> None:
    """Paint beads on a chain, and a stone."""
    part = canvas.box(-0.17, 0.17, 0.30, 0.5)
    worn = eased(face.on["Wearing_Necklace"])
    chain = ellipse(part.x, part.y - 0.295, 0.128, 0.105)
    beads = (part.x * 150).cos().mul_(0.0035).add_(0.0125)
    cover = part.inside(chain.abs().sub_(beads)).mul_(part.inside(0.305 - part.y))
    gold = _metal(face)
    part.paint(gold * 0.55, part.inside(chain.abs().sub_(beads + 0.006)).mul_(part.inside(0.30 - part.y)) * worn * 0.7)
    part.paint(gold, cover * worn)
    stone = ellipse(part.x, part.y - 0.415, 0.021, 0.026)
    part.paint(rgb(0.80, 0.12, 0.25) * (1 + 0.3 * face.choice["extras"][:, 1:2]), part.inside(stone) * worn)
    part.paint(gold, part.line(stone, 0.005) * worn)


def necktie(canvas: Canvas, face: Face) -> None:
    """Paint a tie in the collar of a white shirt."""
    part = canvas.box(-0.22, 0.22, 0.27, 0.5)
    worn, across, y = eased(face.on["Wearing_Necktie"]), part.x.abs(), part.y + 0.014
    shirt = torch.maximum(across - 0.5 * (0.60 - y), 0.30 + 0.35 * across - y)
    part.paint(rgb(0.93, 0.94, 0.97), part.inside(shirt) * worn)
    collar = torch.maximum(across - 0.145, (y - 0.365 - 0.30 * (0.13 - across)).abs() - 0.035)
    part.paint(rgb(0.99, 0.99, 1.0), part.inside(collar) * worn)
    part.paint(rgb(0.55, 0.57, 0.66), part.line(collar, 0.004) * worn)
    colour = between(rgb(0.72, 0.08, 0.12), rgb(0.10, 0.18, 0.55), face.choice["extras"][:, 2:3])
    stripes = ((part.x * 0.7 + y) * 95).sin().clamp_(-0.5, 0.5)[:, None]
    blade = torch.maximum(across - 0.022 - 0.33 * (y - 0.385), 0.385 - y)
    part.paint(colour * (1 + 0.5 * stripes), part.inside(blade) * worn)
    knot = torch.maximum(across - 0.042 + 0.28 * (y - 0.345), (y - 0.365).abs() - 0.032)
    part.paint(colour * 0.8, part.inside(knot) * worn)


def earrings(canvas: Canvas, face: Face) -> None:
    """Paint a hoop below each ear."""
    part = canvas.box(-0.32, 0.32, 0.02, 0.18)
    worn = eased(face.on["Wearing_Earrings"])
    across = part.x.abs() - face.half_width - 0.022
    gold = _metal(face)
    hoop = ellipse(across, part.y - 0.105, 0.026, 0.034)
    part.paint(gold * 0.45, part.line(hoop, 0.0125) * worn)
    part.paint(gold, part.line(hoop, 0.008) * worn)
    stone = ellipse(across, part.y - 0.062, 0.013, 0.013)
    part.paint(gold * 1.05, part.inside(stone) * worn)


def glasses(canvas: Canvas, face: Face) -> None:
    """Paint two framed lenses with a reflection, a bridge and temples."""
    part = canvas.aside(face.turn).box(-0.28, 0.28, -0.15, 0.05)
    worn = eased(face.on["Eyeglasses"])
    across, y = part.x.abs(), part.y - EYE_Y - 0.003
    squarish = 0.5 + 0.5 * face.choice["extras"][:, 5]
    x = across - eye_distance(face)
    wide, high = (x / 0.088).square().clamp_(max=2.2), (y / 0.066).square().clamp_(max=2.2)
    lens = (wide + high - wide * high * (0.2 + 0.35 * squarish)).clamp_(min=1e-4).sqrt_().sub_(1).mul_(0.072)
    part.paint(rgb(0.80, 0.90, 0.97), part.inside(lens) * (0.16 * worn))
    glint = (part.x + y * 0.8 + 0.035 - 0.118 * part.x.sign()).abs() - 0.011
    part.paint(rgb(1.0, 1.0, 1.0), part.inside(torch.maximum(glint, lens + 0.018)) * (0.45 * worn))
    frame = rgb(0.09, 0.07, 0.09) + 0.10 * face.choice["extras"][:, 5:6].clamp(min=0) * rgb(2.4, 0.6, 0.3)
    half_width = 0.004 + 0.007 * face.on["Eyeglasses"]
    part.paint(frame, part.line(lens, half_width) * worn)
    bridge = torch.maximum((y + 0.018 - across * 0.2).abs() - half_width, across - eye_distance(face) + 0.084)
    temple = torch.maximum((y + 0.020).abs() - half_width, eye_distance(face) + 0.086 - across)
    arms = torch.minimum(bridge, torch.maximum(temple, across - face.half_width - 0.015))
    part.paint(frame, part.inside(arms) * worn)


def hat(canvas: Canvas, face: Face) -> None:
    """Paint a hat with a band and a curved brim, pulled down further with more strength."""
    part = canvas.box(-0.42, 0.42, -0.5, -0.12)
    worn = face.on["Wearing_Hat"]
    colour = rgb(0.42, 0.36, 0.34) + 0.26 * face.choice["extras"][:, [1, 3, 4]]
    y = part.y + 0.10 * (1 - eased(worn)) + 0.25 * part.x.square()
    crown = torch.maximum(part.x.abs() - 0.262 + 0.15 * (-0.25 - y).clamp(min=0), y + 0.225)
    shown = (3 * worn).clamp(max=1)
    shade = 1 + 0.9 * part.x * face.choice["light"][:, 0] - 3 * part.x.square()
    part.paint(colour * shade[:, None], part.inside(crown) * shown)
    band = torch.maximum(crown, -0.285 - y)
    part.paint(colour * 0.45, part.inside(band) * shown)
    brim = ellipse(part.x, y + 0.222, 0.37, 0.036)
    part.paint(colour * 0.5, part.inside(brim - 0.004) * shown)
    part.paint(colour * 1.12, part.inside(brim + 0.004) * shown)


def _metal(face: Face) -> Tensor:
    return between(rgb(1.0, 0.80, 0.22), rgb(0.94, 0.95, 0.96), face.choice["extras"][:, :1])
