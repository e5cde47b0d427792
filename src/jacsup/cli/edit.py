"""The command line's part that edits photos."""

from __future__ import annotations

import json as jsonlib
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from PIL.Image import Image

    from jacsup.edit import Editor, OpenedPhoto

Positional = tyro.conf.Positional
Repeated = tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]]
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
# A sweep may also move: there and back in such steps, each frame shown for so long.
GIF, GIF_STEP, GIF_MILLISECONDS = ".gif", 0.25, 80


def edit(
    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")],
    photo: Annotated[Positional[Path], tyro.conf.arg(metavar="PHOTO")],
    /,
    *,
    set: Repeated = (),
    add: Repeated = (),
    like: Repeated = (),
    settings: Path | None = None,
    sweep: str | None = None,
    read: bool = False,
    json: bool = False,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    detail: float | None = None,
    align: Annotated[bool, tyro.conf.arg(help_behavior_hint="(default: the face is found)")] = True,
    device: str = "cpu",
) -> None:
    """Edit attributes of a photo: -1 is a typical image without, 1 a typical one with, 2 as far again.

    Args:
        model: A run folder or a model file.
        photo: The photo to edit.
        set: After model and photo: strengths, such as Eyeglasses=2 Smiling=1.5.
        add: The same, added to the photo's own strengths.
        like: Another photo and the attributes to take from it, such as b.jpg:Smiling,Eyeglasses.
        settings: A file of settings that the editor in the browser has saved; what is given beside it counts more.
        sweep: One attribute to show at strengths from -3 to 3, side by side, or moving where --out ends in .gif.
        read: Print the strengths that the model sees in the photo, and edit nothing.
        json: With --read, print them as JSON.
        out: Where to write the result; the photo's name with -edited without one.
        detail: Share of the photo's own detail that is kept where much changes, 0 to 1; large removals want less. 0.5
            without it.
        align: Take the photo's central square, as for models of images that are not aligned.
        device: auto, cpu, cuda or cuda:N.
    """
    sets, adds, likes = ([text for group in groups for text in group] for groups in (set, add, like))
    if read and (sets or adds or likes or settings or sweep or out):
        raise ValueError(
            "--read only prints; leave --set, --add, --like, --settings, --sweep and --out away, or --read"
        )
    if json and not read:
        raise ValueError("--json goes with --read")
    target = out or photo.with_name(f"{photo.stem}-{'sweep' if sweep else 'edited'}.png")
    _require_writable(target, photo, moving=sweep is not None)
    from jacsup.edit import DETAIL, Editor

    strengths, saved_detail = _saved(settings) if settings else ({}, DETAIL)
    editor = Editor(model, device)
    face = _opened(editor, photo, align=align)
    if read:
        _print_strengths(editor.read(face), json=json)
        return
    for text in likes:
        other, names = _other_photo(text)
        strengths |= editor.strengths(_opened(editor, other, align=align), names)
    added = _assignments(adds, "--add")
    own = editor.strengths(face, added)
    strengths |= {name: own[name] + value for name, value in added.items()} | _assignments(sets, "--set")
    _write(editor, face, strengths, sweep, saved_detail if detail is None else detail, target)
    print(f"the result is in {target}")


def _write(
    editor: Editor, face: OpenedPhoto, strengths: dict[str, float], sweep: str | None, detail: float, target: Path
) -> None:
    from jacsup.edit import preview

    if not sweep:
        _save(editor.render(face, strengths, detail=detail), target)
        return
    small = preview(face, SWEEP_SIDE)
    if target.suffix.lower() == GIF:
        _save_moving(editor.swept(small, sweep, strengths, _there_and_back(), side=SWEEP_SIDE, detail=detail), target)
    else:
        _save(editor.sweep(small, sweep, strengths, side=SWEEP_SIDE, detail=detail), target)


def _require_writable(target: Path, photo: Path, *, moving: bool) -> None:
    """ValueError for a result that could not be written, or that would take the photo's place."""
    endings = (*KINDS, *((GIF,) if moving else ()))
    if target.suffix.lower() not in endings:
        raise ValueError(
            f"the result is to be '{target}', which has no ending of an image; allowed are {', '.join(endings)}"
        )
    if target.is_dir() or not next(parent for parent in target.absolute().parents if parent.exists()).is_dir():
        raise ValueError(f"the result is to be '{target}', which is a folder or lies below a file; give another name")
    if target.resolve() == photo.resolve():
        raise ValueError(f"the result is to be '{target}', the photo itself; give another name")


def _opened(editor: Editor, photo: Path, *, align: bool) -> OpenedPhoto:
    face = editor.open(photo, align=align)
    for warning in face.warnings:
        print(f"note: {photo}: {warning}", file=sys.stderr)
    return face


def _saved(path: Path) -> tuple[dict[str, float], float]:
    """Strengths and detail from a file of settings."""
    try:
        settings = jsonlib.loads(path.read_text())
        return {name: float(value) for name, value in settings["strengths"].items()}, float(settings["detail"])
    except OSError as error:
        raise ValueError(f"--settings {path}: {error.strerror}; give a file that the editor has saved") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(
            f"--settings {path} holds no settings; give a file that the editor has saved as JSON"
        ) from None


def _other_photo(text: str) -> tuple[Path, list[str]]:
    photo, _, names = text.rpartition(":")
    if not photo or not names:
        raise ValueError(f"--like is '{text}'; allowed is PHOTO:NAME,NAME such as b.jpg:Smiling,Eyeglasses")
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
            raise ValueError(f"{option} is '{text}'; allowed is NAME=NUMBER, such as Smiling=1.5")
    return strengths


def _print_strengths(strengths: dict[str, float], *, json: bool) -> None:
    if json:
        print(jsonlib.dumps({name: round(value, 4) for name, value in strengths.items()}, indent=2))
        return
    for name, value in sorted(strengths.items(), key=lambda item: -item[1]):
        print(f"{name:24}{value:6.2f}")


def _save(image: Image, path: Path) -> None:
    from jacsup.atomic import write_atomically
    from jacsup.photo import encoded, opaque

    kind = KINDS[path.suffix.lower()]
    image = opaque(image) if kind == "JPEG" and image.mode == "RGBA" else image
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    write_atomically(path, encoded(image, kind, **options))


def _there_and_back() -> list[float]:
    from jacsup.edit import SWEPT

    steps = round((SWEPT[-1] - SWEPT[0]) / GIF_STEP)
    there = [SWEPT[0] + step * GIF_STEP for step in range(steps + 1)]
    return there + there[-2:0:-1]


def _save_moving(images: Sequence[Image], path: Path) -> None:
    from PIL.Image import Dither

    from jacsup.atomic import write_atomically
    from jacsup.edit import side_by_side
    from jacsup.photo import encoded, opaque

    # One palette and no dithering: what does not move costs nothing, where each frame's own palette made it flicker.
    frames = [opaque(image) for image in images]
    palette = side_by_side(frames[:: len(frames) // 6]).quantize(256)
    first, *others = (frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames)
    options = {"save_all": True, "append_images": others, "duration": GIF_MILLISECONDS, "loop": 0}
    write_atomically(path, encoded(first, "GIF", **options))
