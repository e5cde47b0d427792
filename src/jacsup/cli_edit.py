"""The command line's part that edits photos."""

from __future__ import annotations

import io
import json as jsonlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from PIL.Image import Image

    from jacsup.edit import Editor, Face

Positional = tyro.conf.Positional
SWEPT = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
SWEEP_SIDE = 256


def edit(
    model: Positional[str],
    photo: Positional[Path],
    /,
    *,
    set: tuple[str, ...] = (),
    add: tuple[str, ...] = (),
    like: str | None = None,
    sweep: str | None = None,
    read: bool = False,
    json: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    detail: float = 1.0,
    align: bool = True,
    device: str = "cpu",
) -> None:
    """Edit attributes of a photo: -1 is a typical image without, 1 a typical one with, 2 as far again.

    Args:
        model: A run folder or a model file.
        photo: The photo to edit.
        set: Strengths, such as Eyeglasses=2 Smiling=1.5.
        add: The same, added to the photo's own strengths.
        like: Another photo and the attributes to take from it, such as b.jpg:Smiling,Eyeglasses.
        sweep: One attribute to show at strengths from -3 to 3, side by side.
        read: Print the strengths that the model sees in the photo.
        json: Print them as JSON.
        out: Where to write the result; the photo's name with -edited without one.
        detail: Share of the photo's own detail that is kept, 0 to 1; large removals want less.
        align: Find the face; --no-align takes the photo's central square.
        device: cpu, cuda or cuda:N.
    """
    from jacsup.edit import Editor

    editor = Editor(model, device)
    face = editor.open(photo, align=align)
    for warning in face.warnings:
        print(f"note: {warning}", file=sys.stderr)
    if read:
        _print_strengths(editor.read(face), json=json)
        return
    if sweep:
        strip = [editor.render(face, {sweep: strength}, detail=detail) for strength in SWEPT]
        result = _side_by_side(strip)
    else:
        result = editor.render(face, _strengths(editor, face, set, add, like, align=align), detail=detail)
    target = out or photo.with_name(f"{photo.stem}-{'sweep' if sweep else 'edited'}.png")
    _save(result, target)
    print(f"the result is in {target}")


def _strengths(
    editor: Editor, face: Face, set: Sequence[str], add: Sequence[str], like: str | None, *, align: bool
) -> dict[str, float]:
    """What the options ask for, as strengths to set; later options win."""
    strengths: dict[str, float] = {}
    if like:
        other, colon, names = like.rpartition(":")
        if not colon:
            raise ValueError(f"--like is '{like}'; allowed is PHOTO:NAME,NAME such as b.jpg:Smiling,Eyeglasses")
        strengths |= editor.strengths(editor.open(Path(other), align=align), names.split(","))
    added = _assignments(add, "--add")
    own = editor.strengths(face, added)
    strengths |= {name: own[name] + value for name, value in added.items()}
    return strengths | _assignments(set, "--set")


def _assignments(texts: Sequence[str], option: str) -> dict[str, float]:
    strengths = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            strengths[name] = float(value)
        except ValueError:
            strengths[name] = math.nan
        if not math.isfinite(strengths[name]):
            raise ValueError(f"{option} is '{text}'; allowed is NAME=NUMBER, such as Smiling=1.5")
    return strengths


def _print_strengths(strengths: dict[str, float], *, json: bool) -> None:
    if json:
        print(jsonlib.dumps({name: round(value, 4) for name, value in strengths.items()}, indent=2))
        return
    for name, value in sorted(strengths.items(), key=lambda item: -item[1]):
        print(f"{name:24}{value:6.2f}")


def _side_by_side(images: Sequence[Image]) -> Image:
    from PIL import Image

    for image in images:
        image.thumbnail((SWEEP_SIDE, SWEEP_SIDE))
    width, height = images[0].size
    strip = Image.new(images[0].mode, (width * len(images), height))
    for place, image in enumerate(images):
        strip.paste(image, (place * width, 0))
    return strip


def _save(image: Image, path: Path) -> None:
    from PIL import Image as Pillow

    from jacsup.run import write_atomically

    kind = Pillow.registered_extensions().get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"'{path}' has no ending of an image; allowed are .png, .jpg, .webp and others of Pillow's")
    content = io.BytesIO()
    image = image.convert("RGB") if kind == "JPEG" else image
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    image.save(content, kind, icc_profile=image.info.get("icc_profile"), **options)
    write_atomically(path, content.getvalue())
