"""Hair and beards of a drawn face."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jacsup.data.drawn.canvas import Canvas, Planes, ellipse, rgb, soft
from jacsup.data.drawn.features import MOUTH_Y
from jacsup.data.drawn.person import Face, eased

MIDDLE = -0.10


def behind(canvas: Canvas, face: Face) -> None:
    """Paint the hair behind head and neck."""
    level = _level(canvas, face)
    fall = torch.maximum(_cap(level), canvas.y - _length(face) + _tips(canvas, face))
    colour = face.hair * rgb(0.78, 0.68, 0.62) * _tone(canvas, face, level)[:, None]
    canvas.paint(colour, canvas.inside(fall) * _hairy(face))


def front(canvas: Canvas, face: Face) -> None:
    """Paint the hair over forehead and temples, and bangs."""
    level = _level(canvas, face)
    tone = _tone(canvas, face, level)
    side = torch.maximum(canvas.y - _length(face) + _tips(canvas, face), _bare(face) - canvas.y)
    cover = torch.maximum(torch.maximum(_cap(level), side), _opening(canvas, face))
    canvas.paint(face.hair * tone[:, None], canvas.inside(cover))
    _bangs(canvas, face)


def _hairy(face: Face) -> Tensor:
    return 1 - eased(face.on["Bald"])


def _bare(face: Face) -> Tensor:
    return 0.42 * eased(face.on["Bald"]) - 0.6


def _length(face: Face) -> Tensor:
    """How far down the hair reaches: from the ears to the shoulders and below."""
    on, choice = face.on, face.choice["hair"]
    length = 0.12 + 0.13 * choice[:, 0]
    length = length + on["Straight_Hair"] * (0.45 - length) + on["Wavy_Hair"] * (0.38 - length).clamp(min=0)
    return length + eased(on["Bald"]) * (0.04 - length)


def _tips(canvas: Canvas, face: Face) -> Planes:
    ragged = 0.014 * (1 - eased(face.on["Straight_Hair"]))
    return (canvas.x * 60 + 9 * face.choice["hair"][:, 1]).sin() * ragged


def _level(canvas: Canvas, face: Face) -> Planes:
    """A field that is 1 on the outline of the hair and less inside; strands follow its contours."""
    on, choice = face.on, face.choice["hair"]
    straight, wavy, bald = on["Straight_Hair"], on["Wavy_Hair"], eased(on["Bald"])
    down = canvas.y - MIDDLE
    width = 0.278 + 0.012 * choice[:, 2] + 0.030 * wavy + 0.008 * straight
    width = width + 0.052 * on["Chubby"] - 0.022 * on["Oval_Face"]
    width = width + bald * (face.half_width + 0.016 - width)
    below = down.clamp(min=0)
    wave = ((canvas.y * 42 + 5 * choice[:, 3]).sin() * wavy * 0.075) * soft(-0.05 - down, 0.25)
    # Loose hair curls inwards at its ends, straight hair falls straight.
    inwards = below.square() * (1.1 * (1 - eased(straight)) * (1 - 0.7 * wavy))
    across = canvas.x.abs() / width + inwards + wave
    height = 0.330 + 0.012 * choice[:, 4] + 0.015 * wavy - 0.06 * bald
    return across.square_().add_((down.clamp(max=0) / height).square_()).sqrt_()


def _cap(level: Planes) -> Planes:
    return (level - 1).mul_(0.28)


def _opening(canvas: Canvas, face: Face) -> Planes:
    """A field that is negative where hair may grow: outside forehead and face."""
    on, choice = face.on, face.choice["hair"]
    bald, receding = eased(on["Bald"]), eased(on["Receding_Hairline"])
    across = canvas.x.abs()
    temples = (-((across - 0.115) / 0.055).square()).exp()
    lift = receding * (0.035 + 0.105 * temples) + 0.30 * bald
    up = ((0.08 - canvas.y).clamp_(min=0) / (0.320 + lift)).square_().clamp_(max=2)
    part = 0.05 * choice[:, 5] * up
    along = ((canvas.x - part) / (face.half_width - 0.012 + 0.012 * bald)).square_().clamp_(max=2)
    return (along + up - along * up * 0.5).sqrt_().sub_(1).mul_(-0.2)


def _tone(canvas: Canvas, face: Face, level: Planes) -> Planes:
    """Brightness of the hair: strands, light from above and a gloss."""
    side = ((canvas.x - 0.08 * face.choice["hair"][:, 5]) * 90).clamp_(-1, 1)
    strands = _strands(face, (level - 0.42).mul_(1.55).mul_(side), canvas.y)
    straight = eased(face.on["Straight_Hair"])
    strands.add_(side.abs_().sub_(1), alpha=1.3)
    gloss = soft((level - 0.84).abs() - 0.03, 0.12) * soft((canvas.y + 0.27).abs() - 0.02, 0.2)
    strands.add_((canvas.x * 230).sin().mul_(soft(-0.1 - canvas.y, 0.3)) * straight)
    return strands.mul_(0.13).add_(0.97).add_(gloss * (0.22 + 0.4 * straight)).sub_(canvas.y, alpha=0.15)


def _strands(face: Face, across: Planes, y: Planes) -> Planes:
    place = torch.stack([across, 2 * y], -1)
    return F.grid_sample(face.grid["strands"], place, padding_mode="border", align_corners=False)[:, 0]


def _bangs(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.23, 0.23, -0.43, -0.08)
    strength = eased(face.on["Bangs"]) * _hairy(face)
    shift = 4 * face.choice["hair"][:, 1]
    strand = (part.x * 95 + shift).sin() + (part.x * 57 - shift).sin()
    lower = -0.27 + 0.130 * strength - 1.2 * part.x.square() + 0.007 * strand
    fringe = torch.maximum(part.y - lower, ellipse(part.x, part.y + 0.13, 0.222, 0.27))
    strands = _strands(face, part.x * 4.2 + part.x * part.y * 3, part.y)
    tone = strands.mul_(0.13).add_(0.03 * strand + 1.0).add_(soft((part.y + 0.24).abs() - 0.01, 0.1), alpha=0.22)
    part.paint(face.hair * tone[:, None], part.inside(fringe) * (4 * strength).clamp(max=1))


def beard(canvas: Canvas, face: Face) -> None:
    """Paint sideburns, mustache and goatee."""
    part = canvas.box(-0.27, 0.27, -0.12, 0.36)
    _sideburns(part, face)
    colour = _beard_colour(face)
    grain = 1 + 0.08 * (part.x * 190).sin() * (part.y * 40).cos()
    x, y = (part.x - face.turn).abs(), part.y - MOUTH_Y
    mustache = (y + 0.040 - 3.2 * x.square()).abs() - 0.024 * (1 - (x / 0.098).square())
    cover = part.inside(torch.maximum(mustache, x - 0.098)) * eased(face.on["Mustache"])
    part.paint(colour * grain[:, None], cover)
    # From a narrow strip below the lip to the width of the chin, and a little below it, where it ends in tips.
    down = ((y - 0.036) / (face.chin - MOUTH_Y - 0.036)).clamp(0, 1.3)
    sides = x - 0.018 - 0.048 * down * (1.7 - 0.7 * down)
    tips = part.y - face.chin - 0.022 + 6 * x.square() + 0.007 * (part.x * 330).sin()
    goatee = torch.maximum(torch.maximum(sides, 0.036 - y), tips)
    hairs = 1 + 0.16 * (part.x * 410 + 14 * part.x * down).sin() - 0.10 * (part.x * 170).cos()
    part.paint(colour * hairs[:, None], soft(goatee, 0.014) * eased(face.on["Goatee"]))


def _beard_colour(face: Face) -> Tensor:
    return torch.lerp(face.hair * 0.75, rgb(0.15, 0.09, 0.06), 0.42)


def stubble(canvas: Canvas, face: Face) -> None:
    """Paint the shade of a beard on the jaw."""
    part = canvas.box(-0.30, 0.30, 0.0, 0.33)
    cheeks = ellipse(part.x, part.y, 0.225, 0.118)
    mouth = ellipse(part.x - face.turn, part.y - MOUTH_Y - 0.004, 0.078, 0.026)
    jaw = (
        soft(-cheeks, 0.04).mul_(soft(-mouth, 0.02)).mul_(part.inside(face.head(part))).mul_(soft(0.05 - part.y, 0.06))
    )
    dots = (part.x * 260).sin() * (part.y * 260).sin() * 0.12
    strength = eased(face.on["5_o_Clock_Shadow"]) * 0.62
    part.paint(torch.lerp(face.skin * 0.35, rgb(0.27, 0.31, 0.37), 0.75), jaw * (strength * (1 + dots)))


def _sideburns(part: Canvas, face: Face) -> None:
    head, strength = face.head(part), face.on["Sideburns"]
    inner = 0.062 + 0.15 * part.y
    end = part.y - 0.01 - 0.11 * strength + 0.3 * (part.x.abs() - 0.18)
    strip = torch.maximum(torch.maximum(head, -head - inner), torch.maximum(end, -0.14 - part.y))
    grain = 1 + 0.08 * (part.y * 310 + part.x.abs() * 190).sin()
    part.paint(_beard_colour(face) * grain[:, None], part.inside(strip) * eased(strength))
