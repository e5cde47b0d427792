"""A photo's face as an aligned crop, and what changed in the crop back into the photo."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex, Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

EYES = (0.386 + 0.516j, 0.611 + 0.517j)
BOX_CENTRE, BOX_WIDTH = 0.5 + 0.58j, 0.573
DETECTION_SIDES = (400, 1024)
EYE_SEARCH_SIDE = 267
EYE_WINDOW = 0.24
EYE_SIZES = (0.08, 0.2)
MIN_EYE_VOTES = 3
FEATHER = 0.125
STRIP_PIXELS = 1 << 20

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Similarity:
    turn: complex
    origin: complex

    @property
    def side(self) -> float:
        return abs(self.turn)

    def to_photo(self, points):
        return points * self.turn + self.origin

    def to_crop(self, points):
        return (points - self.origin) / self.turn

    @classmethod
    def between(cls, crop_points, photo_points) -> Similarity:
        (left, right), (to_left, to_right) = crop_points, photo_points
        turn = (to_right - to_left) / (right - left)
        return cls(turn, to_left - turn * left)


def whole_square(photo):
    width, height = photo.size
    side = min(width, height)
    return Similarity(complex(side), complex((width - side) // 2, (height - side) // 2))


# ---- crop
def crop(photo, similarity, size):
    factor = max(1, int(similarity.side / (2 * size)))
    left, top, right, bottom = _bounding_box(photo, similarity, margin=3 * factor)
    region = _opaque(photo.crop((left, top, right, bottom))).reduce(factor)
    pixels = torch.from_numpy(np.array(region)).permute(2, 0, 1)[None].float()
    samples = max(1, round(similarity.side / (factor * size)))
    steps = (torch.arange(size * samples) + 0.5) / (size * samples)
    points = similarity.to_photo(torch.complex(*torch.meshgrid(steps, steps, indexing="xy")).to(torch.complex128))
    points = (points - complex(left, top)) / factor
    grid = torch.stack([points.real / region.width, points.imag / region.height], -1).float() * 2 - 1
    sampled = F.grid_sample(pixels, grid[None], mode="bicubic", padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled, samples)[0].round().clamp(0, 255).to(torch.uint8)


def _opaque(image):
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _bounding_box(photo, similarity, margin=0):
    corners = [similarity.to_photo(complex(x, y)) for x in (0, 1) for y in (0, 1)]
    xs, ys = [c.real for c in corners], [c.imag for c in corners]
    w, h = photo.size
    l, r = (int(np.clip(v, 0, w)) for v in (np.floor(min(xs)) - margin, np.ceil(max(xs)) + margin))
    t, b = (int(np.clip(v, 0, h)) for v in (np.floor(min(ys)) - margin, np.ceil(max(ys)) + margin))
    return l, t, r, b


# ---- find
ANGLES = (0, 20, -20)

@functools.cache
def _cascades():
    import cv2
    return {n: cv2.CascadeClassifier(cv2.data.haarcascades + f"haarcascade_{n}.xml") for n in
            ("frontalface_alt2", "frontalface_default", "eye", "eye_tree_eyeglasses")}

MIX = 1.0
ITER = 3
def find_face(photo, debug=None):
    import cv2
    ratio = float(np.clip(max(photo.size), *DETECTION_SIDES)) / max(photo.size)
    small = photo.resize([max(1, round(s * ratio)) for s in photo.size], Image.Resampling.BICUBIC, reducing_gap=2)
    grey = np.asarray(_opaque(small).convert("L"))
    fallback = None
    for name in ("frontalface_alt2", "frontalface_default"):
        for angle in ANGLES:
            for guess in _guesses(grey, name, angle):
                guess = Similarity(guess.turn / ratio, guess.origin / ratio)
                found = _settled(photo, guess)
                if debug is not None: debug.append((name, angle, guess, found))
                if found: return found
                fallback = fallback or guess
    if fallback is None: raise ValueError("no face")
    return fallback

def _guesses(grey, name, angle):
    import cv2
    h, w = grey.shape
    turn = np.exp(1j * np.deg2rad(angle))
    if angle:
        centre = complex(w, h) / 2
        m = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1)
        grey = cv2.warpAffine(grey, m, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    boxes = _cascades()[name].detectMultiScale(grey, 1.1, 3, minSize=(30, 30))
    for x, y, n, _ in sorted(boxes, key=lambda b: -b[2]):
        side = n / BOX_WIDTH
        s = Similarity(complex(side), complex(x + n / 2, y + n / 2) - side * BOX_CENTRE)
        if angle:
            s = Similarity(s.turn * turn, (s.origin - centre) * turn + centre)
        yield s

def _settled(photo, guess):
    found = guess
    for k in range(ITER):
        eyes = _eyes(crop(photo, found, EYE_SEARCH_SIDE))
        if eyes is None: return None
        found = Similarity.between(EYES, [found.to_photo(e) for e in eyes])
        if MIX < 1:
            mid = found.to_photo(sum(EYES) / 2)
            turn = found.turn / abs(found.turn) * abs(found.turn) ** MIX * abs(guess.turn) ** (1 - MIX)
            found = Similarity(turn, mid - turn * sum(EYES) / 2)
        if not .6 < found.side / guess.side < 1.6: return None
    return found

def _eyes(image):
    import cv2
    S = EYE_SEARCH_SIDE
    grey = cv2.cvtColor(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), cv2.COLOR_RGB2GRAY)
    eyes = []
    least, most = (int(s * S) for s in EYE_SIZES)
    n = int(EYE_WINDOW * S)
    for eye in EYES:
        x0, y0 = int(eye.real * S - n / 2), int(eye.imag * S - n / 2)
        win = np.ascontiguousarray(grey[y0:y0 + n, x0:x0 + n])
        votes = []
        for name in ("eye", "eye_tree_eyeglasses"):
            for x, y, w, h in _cascades()[name].detectMultiScale(win, 1.05, 0, minSize=(least,) * 2, maxSize=(most,) * 2):
                votes.append((x0 + x + w / 2, y0 + y + h / 2))
        if len(votes) < MIN_EYE_VOTES: return None
        eyes.append(complex(*np.median(votes, 0)) / S)
    return eyes
