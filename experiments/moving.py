"""The README's moving picture: a portrait that the model of photographs edits, one attribute after the other.

Usage: python experiments/moving.py docs/images/photo-edits.gif [MODEL]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from jacsup.edit import Editor, preview, side_by_side
from jacsup.models.fetch import PORTRAIT

EDITS = {"Mouth_Slightly_Open": -1.0, "Bangs": -1.0, "Blond_Hair": 0.7, "Black_Hair": 0.8, "Goatee": 1.0}
SIDE, STEPS, MILLISECONDS, HOLD = 224, 7, 70, 900


def main(target: str, model: str = "photos") -> None:
    """Draw the animation."""
    editor = Editor(model)
    opened = preview(editor.open(PORTRAIT), SIDE)
    own = editor.read(opened)
    frames, durations = [captioned(opened.photo, "the photo")], [HOLD]
    for name, wanted in EDITS.items():
        words = f"{'+' if wanted > 0 else '-'} {name.replace('_', ' ')}"
        there = []
        for step in range(1, STEPS + 1):
            share = (1 - math.cos(math.pi * step / STEPS)) / 2
            strength = own[name] + share * (wanted - own[name])
            there.append(captioned(editor.render(opened, {name: strength}), words))
        frames += [*there, *there[-2::-2]]
        durations += [MILLISECONDS] * (STEPS - 1) + [HOLD] + [MILLISECONDS] * len(there[-2::-2])
    palette = side_by_side(frames[:: len(frames) // 10]).quantize(256)
    first, *others = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    first.save(Path(target), save_all=True, append_images=others, duration=durations, loop=0)


def captioned(image: Image.Image, words: str) -> Image.Image:
    """The image above its caption."""
    frame = Image.new("RGB", (image.width, image.height + 26), "white")
    frame.paste(image.convert("RGB"))
    ImageDraw.Draw(frame).text((6, image.height + 4), words, fill="black", font=ImageFont.load_default(15))
    return frame


if __name__ == "__main__":
    main(*sys.argv[1:])
