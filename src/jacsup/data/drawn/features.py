"""Eyes, brows, nose, mouth and cheeks of a drawn face."""

from __future__ import annotations

import torch
from torch import Tensor

from jacsup.data.drawn.canvas import Canvas, ellipse, rgb, soft
from jacsup.data.drawn.person import Face, between, eased

EYE_Y = -0.055
BROW_Y = -0.136
NOSE_Y = 0.065
MOUTH_Y = 0.158


def paint(canvas: Canvas, face: Face) -> None:
    """Paint cheeks, eyes, mouth and nose: what lies below the hair and is not hair."""
    _cheeks(canvas, face)
    turned = canvas.aside(face.turn)
    for draw in (_bags, _eyes, _mouth):
        draw(turned, face)
    _nose(canvas.aside(1.4 * face.turn), face)


def eye_distance(face: Face) -> Tensor:
    """Return the distance of the eyes from the middle of the face."""
    return 0.118 + 0.006 * face.choice["eyes"][:, 0]


def _cheeks(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.27, 0.27, -0.08, 0.24)
    across, on = part.x.abs(), face.on
    within = part.inside(face.head(part) + 0.004)
    # High cheekbones: light on the bone, and a hollow under it from the ear down to the corner of the mouth.
    high = eased(on["High_Cheekbones"])
    across = across * (0.222 / face.half_width)
    under = part.y - 0.048 - 0.75 * (0.21 - across)
    hollow = soft(-under, 0.014).mul_((1 - under / 0.085).clamp_(0, 1)).mul_(soft(0.118 - across, 0.045)).mul_(within)
    part.paint(face.shadow(0.68), hollow * (0.9 * high))
    bone = soft(ellipse(across - 0.15, under + 0.036, 0.050, 0.018), 0.036).mul_(within)
    part.paint((face.skin * 1.25 + 0.04).clamp(max=1), bone * (0.5 * high))
    rosy = soft(ellipse(part.x.abs() - 0.145, part.y - 0.065, 0.058, 0.046), 0.05).mul_(within)
    part.paint(rgb(0.93, 0.25, 0.32), rosy * (0.75 * eased(on["Rosy_Cheeks"])))
    # Round cheeks push a fold towards the mouth.
    across = part.x.abs()
    fold = ellipse(across - 0.205, part.y - 0.115, 0.082, 0.085)
    shown = soft(across - 0.135, 0.03) * eased(on["Chubby"])
    part.paint(face.shadow(0.45), part.line(fold, 0.006).mul_(shown * 0.9))


def _bags(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.20, 0.20, -0.07, 0.06)
    across, strength = part.x.abs() - eye_distance(face), eased(face.on["Bags_Under_Eyes"])
    y = part.y - EYE_Y - 0.026 + 5 * across.square()
    bag = soft((y - 0.018).abs() - 0.015 + 5.5 * across.square(), 0.014).mul_(soft(across.abs() - 0.054, 0.02))
    part.paint(face.shadow(0.55) * rgb(0.90, 0.78, 1.05), bag * (0.85 * strength))
    crease = part.line(y - 0.040, 0.0055).mul_(soft(across.abs() - 0.046, 0.02))
    part.paint(face.shadow(0.85), crease * (0.85 * strength))


def _eyes(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.23, 0.23, -0.14, 0.0)
    on, choice = face.on, face.choice["eyes"]
    makeup, open_ = eased(on["Heavy_Makeup"]), 1 - 0.66 * on["Narrow_Eyes"]
    width, side = 0.063 + 0.004 * choice[:, 1], part.x.sign()
    out = part.x.abs() - eye_distance(face)
    place = out / width
    down = part.y - EYE_Y + out * (0.03 + 0.06 * choice[:, 2])
    lid = 1 - place.square()
    upper = down + lid * ((0.041 + 0.003 * choice[:, 3]) * open_)
    lower = down - lid * (0.027 - 0.009 * on["Smiling"]) * open_

    shade = between(rgb(0.36, 0.12, 0.52), rgb(0.05, 0.30, 0.52), face.choice["extras"][:, 3:4])
    shadow = soft(ellipse(out - 0.008, down + 0.028, 0.068, 0.040), 0.03)
    part.paint(face.shadow(0.5), shadow * 0.25)
    part.paint(shade, shadow * (0.85 * makeup))
    white = part.inside(torch.maximum(-upper, lower))
    part.paint(rgb(0.97, 0.97, 0.96), white)
    eye_x, eye_y = out * side - 0.005 * choice[:, 4], down + 0.004
    iris = ellipse(eye_x, eye_y, 0.031, 0.031)
    colour = _iris_colour(choice[:, 5:6])
    part.paint(colour * 0.6, part.inside(iris).mul_(white))
    part.paint(colour, part.inside(iris + 0.007).mul_(white))
    part.paint(rgb(0.04, 0.03, 0.04), part.inside(iris + 0.017).mul_(white))
    part.paint(rgb(1.0, 1.0, 1.0), part.inside(ellipse(eye_x + 0.009, eye_y + 0.009, 0.0085, 0.0085)).mul_(white))

    dark = rgb(0.10, 0.06, 0.06)
    reach = soft(place.abs() - 1.08 - 0.25 * makeup * (out > 0), 0.16)
    part.paint(dark, part.line(upper, 0.0052 + 0.004 * makeup).mul_(reach))
    part.paint(dark, part.line(lower, 0.0022 + 0.003 * makeup).mul_(soft(place.abs() - 1, 0.2)) * 0.75)
    part.paint(face.shadow(0.6), part.line(upper + 0.017, 0.003).mul_(reach) * (0.7 - 0.5 * makeup))
    spikes = (0.5 + 0.5 * (place * 17).cos()).square_()
    lashes = torch.maximum(-upper - 0.008 * place.clamp(0, 1) - 0.022 * spikes, upper)
    part.paint(dark, part.inside(lashes).mul_(soft(place.abs() - 1.15, 0.2)) * makeup)


def _iris_colour(hue: Tensor) -> Tensor:
    brown_to_blue = torch.lerp(rgb(0.36, 0.20, 0.10), rgb(0.30, 0.52, 0.74), hue.clamp(min=0))
    return torch.lerp(brown_to_blue, rgb(0.32, 0.46, 0.24), (-hue).clamp(min=0))


def brows(canvas: Canvas, face: Face) -> None:
    """Paint eyebrows, which show through bangs."""
    part = canvas.aside(face.turn).box(-0.22, 0.22, -0.24, -0.07)
    on, choice = face.on, face.choice["brows"]
    arched, bushy = on["Arched_Eyebrows"], on["Bushy_Eyebrows"]
    place = (part.x.abs() - eye_distance(face) - 0.006) / 0.072
    peak = 1 - 0.75 * (place - 0.2).square()
    rise = 0.016 * (1 - place.square()).clamp_(-0.5, 1) + arched * (0.050 * peak - 0.001)
    height = BROW_Y + 0.006 * choice[:, 0] + 0.005 * choice[:, 1] * place
    half_width = (0.0105 + 0.0015 * choice[:, 2]) * (1 + 1.35 * bushy - 0.25 * arched) * (1 - 0.30 * place)
    half_width = half_width + bushy * 0.0022 * (part.x.abs() * 420 + part.y * 200).sin()
    brow = torch.maximum((part.y - height + rise).abs() - half_width, (place.abs() - 1.02 - 0.1 * bushy) * 0.068)
    colour = torch.lerp(face.hair * 0.75, rgb(0.20, 0.12, 0.09), 0.35 + 0.25 * bushy[:, None])
    part.paint(colour, part.inside(brow) * 0.95)


def _nose(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.12, 0.12, -0.10, 0.14)
    big, pointy = face.on["Big_Nose"], face.on["Pointy_Nose"]
    size = 1.12 * (1 + 0.06 * face.choice["nose"][:, 0]) * (1 + 0.95 * big)
    x, across = part.x, part.x.abs()
    y = part.y - NOSE_Y - 0.006 * face.choice["nose"][:, 1] - 0.012 * big
    wide = size * (1 - 0.5 * pointy)
    ball = ellipse(x, y + 0.008 * size, 0.030 * wide, 0.027 * size)
    wings = ellipse(across - 0.034 * wide, y, 0.017 * wide, 0.0155 * size)
    nose = torch.minimum(ball, wings)
    # A ridge whose side away from the light is in the shade; sharp where the nose is pointy.
    ridge = torch.maximum(x.abs() - (y + 0.16) * (0.11 * wide), (y + 0.06).abs() - 0.07)
    part.paint(face.shadow(0.35), soft(nose, 0.03) * (0.35 - 0.15 * big))
    shaded = soft(torch.maximum(ridge, x * (8 * face.choice["light"][:, 0]).clamp(-1, 1)), 0.02)
    part.paint(face.shadow(0.4), shaded * 0.45)
    part.paint(face.skin * rgb(1.0, 0.93, 0.90), part.inside(nose))
    part.paint(
        (face.skin * 1.18).clamp(max=1), soft(ellipse(x, y + 0.014 * size, 0.012 * wide, 0.010 * size), 0.014) * 0.7
    )
    rim = part.line(nose, 0.0035).mul_(soft(-y - 0.002, 0.012))
    part.paint(face.shadow(0.5), rim * (0.9 - 0.35 * big))
    nostrils = ellipse(across - 0.019 * wide, y - 0.0115 * size, 0.0075 * wide, 0.0045 * size)
    part.paint(face.shadow(0.85), part.inside(nostrils))
    _pointy_nose(part, face, y)


def _pointy_nose(part: Canvas, face: Face, y: Tensor) -> None:
    strength, x = eased(face.on["Pointy_Nose"]), part.x
    tip = 0.040
    wedge = torch.maximum(x.abs() - 0.004 - 0.22 * (y + 0.13), (y - tip) * 0.7 + x.abs() * 0.8)
    part.paint(face.skin * 1.02, part.inside(wedge) * strength)
    part.paint(face.shadow(0.42), part.inside(torch.maximum(wedge, -x)) * strength)
    edge = part.line(wedge, 0.003).mul_(soft(-y - 0.01, 0.03))
    part.paint(face.shadow(0.8), edge * strength)


def _mouth(canvas: Canvas, face: Face) -> None:
    part = canvas.box(-0.15, 0.15, 0.08, 0.24)
    on, choice = face.on, face.choice["mouth"]
    smile, gape, big, stick = on["Smiling"], on["Mouth_Slightly_Open"], on["Big_Lips"], eased(on["Wearing_Lipstick"])
    x, y = part.x, part.y - MOUTH_Y - 0.005 * choice[:, 0]
    width = 0.080 + 0.005 * choice[:, 1] + 0.030 * smile + 0.012 * big
    place = x / width
    bow = 1 - place.square()
    middle = y - (0.009 + 0.005 * choice[:, 2] + 0.060 * smile) * (bow - 0.62)
    full = 1 + 1.7 * big
    half_open = 0.027 * gape * bow
    notch = 1 - 0.35 * soft(x.abs() - 0.012, 0.03)
    upper = middle + half_open + bow * notch * (0.0155 * full)
    lower = middle - half_open - bow * ((0.0195 + 0.002 * choice[:, 3]) * full)
    natural = face.skin * rgb(0.90, 0.70, 0.70)
    tint = between(rgb(0.80, 0.03, 0.10), rgb(0.82, 0.08, 0.42), face.choice["extras"][:, 4:5])
    colour = torch.lerp(natural, tint, 0.95 * stick[:, None])

    part.paint(
        face.shadow(0.5), soft(ellipse(x, middle - 0.036 - 0.014 * big - 0.02 * gape, 0.045, 0.010), 0.02) * 0.45
    )
    lips = part.inside(torch.maximum(-upper, lower))
    part.paint(colour, lips)
    part.paint(colour * 0.82, part.inside(torch.maximum(-upper, middle)))
    shine = ellipse(x, middle - half_open - 0.009 * full, 0.026, 0.0045 * full)
    part.paint((colour * 1.25 + 0.08).clamp(max=1), soft(shine, 0.010) * (0.35 + 0.3 * stick))
    inner = part.inside(middle.abs() - half_open) * (5 * gape).clamp(max=1)
    part.paint(rgb(0.22, 0.05, 0.06), inner)
    part.paint(rgb(0.97, 0.96, 0.93), part.inside(middle + 0.10 * half_open - 0.001).mul_(inner))
    part.paint(rgb(0.75, 0.32, 0.33), part.inside(ellipse(x, middle - half_open, 0.035, 0.012)).mul_(inner))
    part.paint(colour * 0.42, part.line(middle, 0.0032).mul_(soft(-bow, 0.1)) * (1 - 3 * gape).clamp(min=0))
    _smile_lines(part, face, width)


def _smile_lines(part: Canvas, face: Face, width: Tensor) -> None:
    across, y, smile = part.x.abs(), part.y - MOUTH_Y, face.on["Smiling"]
    corner = ellipse(across - width + 0.004, y + 0.022, 0.020, 0.026)
    part.paint(face.shadow(0.6), part.line(corner, 0.004).mul_(soft(width + 0.002 - across, 0.012)) * (0.8 * smile))
