"""The command that edits a photo."""

from __future__ import annotations

import json as jsonlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jacsup.atomic import write_atomically
from jacsup.cli import lazy
from jacsup.cli.options import Flag, Model, Option, Photo, Repeated

if TYPE_CHECKING:
    from PIL.Image import Image

    from jacsup.edit import Editor, OpenedPhoto

SWEEP_SIDE = 256
KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
# An animated sweep goes from the lowest strength to the highest and back.
GIF = ".gif"
GIF_STEP = 0.25
GIF_MILLISECONDS = 80


def edit(
    model: Model,
    photo: Photo,
    /,
    *,
    set: Repeated = (),
    add: Repeated = (),
    like: Repeated = (),
    settings: Option[Path] = None,
    sweep: Option[str] = None,
    read: Flag = False,
    json: Flag = False,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], help_behavior_hint="")] = None,
    detail: Option[float] = None,
    align: Flag = True,
    face: int = 1,
    device: str = "cpu",
) -> None:
    """Edit attributes of a photo: strength -1 is typical of images without the attribute, 1 of images with it.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos or faces).
        photo: The photo to edit.
        set: Strengths to set, such as Eyeglasses=2 Smiling=1.5. Put MODEL and PHOTO before this option.
        add: Strengths to add to the photo's own, such as Smiling=0.5.
        like: Another photo and the attributes to copy from it, such as b.jpg:Smiling,Eyeglasses.
        settings: Settings saved by the editor in the browser. Other options override them.
        sweep: The attribute to show at strengths from -3 to 3: side by side, or animated if --out ends in .gif.
        read: Print the strengths that the model sees in the photo instead of editing it.
        json: With --read: print JSON.
        out: The file to write; defaults to PHOTO-edited.png, or PHOTO-sweep.png for a sweep.
        detail: How much of the photo's detail to preserve where it changes much, from 0 to 1; defaults to 0.5.
        align: Use the central square of the photo instead of finding the face.
        face: Which of several faces to edit, counted from 1, the largest.
        device: auto (a GPU if there is one), cpu, cuda or cuda:N.
    """
    sets, adds, likes = ([text for group in groups for text in group] for groups in (set, add, like))
    if read and (sets or adds or likes or settings or sweep or out):
        raise ValueError("--read only prints; omit --set, --add, --like, --settings, --sweep and --out, or omit --read")
    if json and not read:
        raise ValueError("--json needs --read")
    target = out or photo.with_name(f"{photo.stem}-{'sweep' if sweep else 'edited'}.png")
    _require_writable(target, photo, animated=sweep is not None)
    strengths, saved_detail = _saved(settings) if settings else ({}, lazy.DETAIL)
    editor = lazy.Editor(model, device)
    opened = _opened(editor, photo, align=align, face=face)
    if read:
        _print_strengths(editor.read(opened), json=json)
        return
    for text in likes:
        other, names = _other_photo(text)
        strengths |= editor.strengths(_opened(editor, other, align=align), names)
    added = _assignments(adds, "--add")
    own = editor.strengths(opened, added)
    strengths |= {name: own[name] + value for name, value in added.items()} | _assignments(sets, "--set")
    for name in strengths:
        if name in editor.factors and (weak := editor.factors[name].weak):
            print(f"note: {name} is weak: {weak}", file=sys.stderr)
    _write(editor, opened, strengths, sweep, saved_detail if detail is None else detail, target)
    print(f"the result is in {target}")


def _write(
    editor: Editor, face: OpenedPhoto, strengths: dict[str, float], sweep: str | None, detail: float, target: Path
) -> None:
    if not sweep:
        _save(editor.render(face, strengths, detail=detail), target)
        return
    small = lazy.preview(face, SWEEP_SIDE)
    if target.suffix.lower() == GIF:
        frames = editor.swept(small, sweep, strengths, _there_and_back(), side=SWEEP_SIDE, detail=detail)
        _save_animation(frames, target)
    else:
        _save(editor.sweep(small, sweep, strengths, side=SWEEP_SIDE, detail=detail), target)


def _require_writable(target: Path, photo: Path, *, animated: bool) -> None:
    """Raise ValueError for a result that cannot be written or that would overwrite the photo."""
    extensions = (*KINDS, *((GIF,) if animated else ()))
    if target.suffix.lower() not in extensions:
        raise ValueError(f"cannot write '{target}': its extension must be one of {', '.join(extensions)}")
    if target.is_dir() or not next(parent for parent in target.absolute().parents if parent.exists()).is_dir():
        raise ValueError(f"cannot write '{target}': it is a folder or lies below a file; use another name")
    if target.resolve() == photo.resolve():
        raise ValueError(f"cannot write '{target}': it is the photo itself; use another name")


def _opened(editor: Editor, photo: Path, *, align: bool, face: int = 1) -> OpenedPhoto:
    opened = editor.open(photo, align=align, face=face)
    for warning in opened.warnings:
        print(f"note: {photo}: {warning}", file=sys.stderr)
    return opened


def _saved(path: Path) -> tuple[dict[str, float], float]:
    """The strengths and the detail in a file of settings."""
    try:
        settings = jsonlib.loads(path.read_text())
        return {name: float(value) for name, value in settings["strengths"].items()}, float(settings["detail"])
    except OSError as error:
        raise ValueError(f"--settings {path}: {error.strerror}; pass a file saved by the editor") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(f"--settings {path} holds no settings; pass a JSON file saved by the editor") from None


def _other_photo(text: str) -> tuple[Path, list[str]]:
    photo, _, names = text.rpartition(":")
    if not photo or not names:
        raise ValueError(f"--like is '{text}'; use PHOTO:NAME,NAME, such as b.jpg:Smiling,Eyeglasses")
    return Path(photo), names.split(",")


def _assignments(texts: Sequence[str], option: str) -> dict[str, float]:
    strengths = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            strengths[name] = float(value)
        except ValueError:
            strengths[name] = math.nan
        if not name or not math.isfinite(strengths[name]):
            raise ValueError(f"{option} is '{text}'; use NAME=NUMBER, such as Smiling=1.5")
    return strengths


def _print_strengths(strengths: dict[str, float], *, json: bool) -> None:
    if json:
        print(jsonlib.dumps({name: round(value, 4) for name, value in strengths.items()}, indent=2))
        return
    for name, value in sorted(strengths.items(), key=lambda item: -item[1]):
        print(f"{name:24}{value:6.2f}")


def _save(image: Image, path: Path) -> None:
    kind = KINDS[path.suffix.lower()]
    image = lazy.opaque(image) if kind == "JPEG" and image.mode == "RGBA" else image
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    write_atomically(path, lazy.encoded(image, kind, **options))


def _there_and_back() -> list[float]:
    lowest, highest = lazy.SWEPT[0], lazy.SWEPT[-1]
    steps = round((highest - lowest) / GIF_STEP)
    there = [lowest + step * GIF_STEP for step in range(steps + 1)]
    return there + there[-2:0:-1]


def _save_animation(images: Sequence[Image], path: Path) -> None:
    # One palette and no dithering: a palette for each frame would make the still parts flicker, and the file larger.
    frames = [lazy.opaque(image) for image in images]
    palette = lazy.side_by_side(frames[:: len(frames) // 6]).quantize(256)
    first, *others = (frame.quantize(palette=palette, dither=lazy.Dither.NONE) for frame in frames)
    options = {"save_all": True, "append_images": others, "duration": GIF_MILLISECONDS, "loop": 0}
    write_atomically(path, lazy.encoded(first, "GIF", **options))
