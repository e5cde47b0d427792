"""The command that edits a photo."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from jacsup.atomic import write_atomically
from jacsup.cli import lazy
from jacsup.cli.options import Flag, Model, Option, Photos, Repeated
from jacsup.cli.table import print_json
from jacsup.jsonable import meant
from jacsup.progress import track

if TYPE_CHECKING:
    from PIL.Image import Image

    from jacsup.edit import Editor, OpenedPhoto

SWEEP_SIDE = 256
MORPHED_TILES = 6
# The path that stands for standard input and standard output.
STREAM = Path("-")
KINDS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
GIF = ".gif"


def edit(
    model: Model,
    photos: Photos,
    /,
    *,
    set: Repeated = (),
    add: Repeated = (),
    like: Repeated = (),
    settings: Option[Path] = None,
    sweep: Option[str] = None,
    morph: Option[Path] = None,
    read: Flag = False,
    json: Flag = False,
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], help_behavior_hint="")] = None,
    detail: Option[float] = None,
    align: Flag = True,
    face: int = 1,
    device: str = "cpu",
) -> None:
    """Edit attributes of photos: strength -1 is typical of images without the attribute, 1 of images with it.

    Args:
        model: A run folder, a model file, hf:owner/name, or a shipped model (photos or faces).
        photos: The photos to edit, or folders of photos; - reads one from standard input.
        set: Strengths to set, such as Eyeglasses=2 Smiling=1.5. Put MODEL and PHOTO before this option.
        add: Strengths to add to the photo's own, such as Smiling=0.5.
        like: Another photo and the attributes to copy from it, such as b.jpg:Smiling,Eyeglasses.
        settings: Settings saved by the editor in the browser. Other options override them.
        sweep: The attribute to show at strengths from -3 to 3: side by side, or animated if --out ends in .gif.
        morph: Another photo; the faces between the two are shown side by side, or animated if --out ends in .gif.
        read: Print the strengths that the model sees in the photo, instead of editing it.
        json: With --read: print JSON.
        out: The file to write, or a folder; - writes a PNG to standard output. Defaults to PHOTO-edited.png, or
            PHOTO-sweep.png or PHOTO-morph.png.
        detail: The share of the photo's own detail to keep where the edit changes it strongly, from 0 to 1; defaults
            to 0.8.
        align: Use the central square of the photo instead of finding the face.
        face: Which face to edit if the photo shows several; 1 is the largest.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
    """
    sets, adds, likes = ([text for group in groups for text in group] for groups in (set, add, like))
    if read and (sets or adds or likes or settings or sweep or morph or out):
        others = "--set, --add, --like, --settings, --sweep, --morph and --out"
        raise ValueError(f"--read only prints strengths; omit {others}, or omit --read")
    if sweep and morph:
        raise ValueError("--sweep and --morph cannot be combined; pass only one of them")
    if json and not read:
        raise ValueError("--json needs --read; add --read, or omit --json")
    if not photos:
        raise ValueError("no photo was given; pass the photos after the model, such as jacsup edit photos me.jpg")
    fixed, saved_detail = _saved(settings) if settings else ({}, lazy.DETAIL)
    if not (read or sets or adds or likes or fixed or sweep or morph):
        raise ValueError("no edit was given; pass --set NAME=NUMBER, such as --set Smiling=1.5, or pass --read")
    alone = len(photos) == 1 and not photos[0].is_dir()
    sources = _sources(photos)
    if read:
        editor = lazy.Editor(model, device)
        own = {str(source): editor.read(_opened(editor, source, align=align, face=face)) for source in sources}
        _print_strengths(own, json=json)
        return
    targets = _targets(sources, out, "morph" if morph else "sweep" if sweep else "edited", alone=alone)
    for source, target in zip(sources, targets, strict=True):
        _require_writable(target, source, animated=bool(sweep or morph))
    editor = lazy.Editor(model, device)
    for text in likes:
        other, names = _other_photo(editor, text)
        fixed |= editor.strengths(_opened(editor, other, align=align), names)
    added, fixed = _assignments(editor, adds, "--add"), fixed | _assignments(editor, sets, "--set")
    swept = _attribute(editor, sweep) if sweep else None
    other = _opened(editor, morph, align=align) if morph else None
    for name in {**added, **fixed}:
        if name in editor.factors and (weak := editor.factors[name].weak):
            print(f"note: {name} is weak: {weak}", file=sys.stderr)
    left_out = 0
    for source, target in track(list(zip(sources, targets, strict=True)), "editing photos"):
        try:
            opened = _opened(editor, source, align=align, face=face)
        except ValueError as error:
            if alone:
                raise
            print(f"note: {error}; this photo is skipped", file=sys.stderr)
            left_out += 1
            continue
        own = editor.strengths(opened, added)
        strengths = {name: own[name] + value for name, value in added.items()} | fixed
        if other:
            _write_morph(editor, opened, other, strengths, target)
        else:
            _write(editor, opened, strengths, swept, saved_detail if detail is None else detail, target)
    if alone and targets[0] != STREAM:
        print(f"the result is in {targets[0]}")
    if not alone:
        print(f"edited {len(sources) - left_out} photos; the results are in {out or 'the folders of the photos'}")
    if left_out:
        raise ValueError(f"{left_out} of {len(sources)} photos could not be edited; see the notes above")


def _write(
    editor: Editor, face: OpenedPhoto, strengths: dict[str, float], sweep: str | None, detail: float, target: Path
) -> None:
    if not sweep:
        _save(editor.render(face, strengths, detail=detail), target)
        return
    small = lazy.preview(face, SWEEP_SIDE)
    if target.suffix.lower() == GIF:
        write_atomically(target, editor.animation(small, sweep, strengths, side=SWEEP_SIDE, detail=detail))
    else:
        _save(editor.sweep(small, sweep, strengths, side=SWEEP_SIDE, detail=detail), target)


def _write_morph(
    editor: Editor, face: OpenedPhoto, other: OpenedPhoto, strengths: dict[str, float], target: Path
) -> None:
    if target.suffix.lower() == GIF:
        write_atomically(target, editor.morph_animation(face, other, strengths))
        return
    shares = [step / MORPHED_TILES for step in range(MORPHED_TILES + 1)]
    _save(lazy.side_by_side(editor.morph(face, other, shares, strengths)), target)


def _sources(photos: Sequence[Path]) -> list[Path]:
    """The photos, including those in folders, without the results of earlier edits."""
    sources = list[Path]()
    for photo in photos:
        if not photo.is_dir():
            sources.append(photo)
            continue
        endings = lazy.photo_endings()
        inside = sorted(file for file in photo.iterdir() if file.suffix.lower() in endings and file.is_file())
        own = lazy.earlier_results(map(str, inside))
        if own:
            print(f"note: {photo}: skipped {len(own)} earlier results, such as {min(own)}", file=sys.stderr)
        if not inside:
            raise ValueError(f"{photo} has no photos; pass a folder with JPEG, PNG, WebP, GIF, TIFF or BMP files")
        sources += [file for file in inside if str(file) not in own]
    return sources


def _targets(sources: Sequence[Path], out: Path | None, kind: str, *, alone: bool) -> list[Path]:
    """Where the results go: a file, or one file for each photo, in a folder."""
    if alone and out and not out.is_dir():
        return [out]
    if alone and not out and sources[0] == STREAM:
        return [STREAM]
    if out and not out.is_dir() and (out == STREAM or out.suffix.lower() in (*KINDS, GIF)):
        raise ValueError(f"--out is '{out}'; with several photos it must be a folder")
    stems = ("photo" if source == STREAM else source.stem for source in sources)
    targets = [(out or source.parent) / f"{stem}-{kind}.png" for source, stem in zip(sources, stems, strict=True)]
    doubled = next((target for target in targets if targets.count(target) > 1), None)
    if doubled:
        raise ValueError(f"two photos would be saved as {doubled}; rename one of them")
    return targets


def _require_writable(target: Path, photo: Path, *, animated: bool) -> None:
    """Raise ValueError for a result that cannot be written or that would overwrite the photo."""
    if target == STREAM:
        return
    extensions = (*KINDS, *((GIF,) if animated else ()))
    if target.suffix.lower() not in extensions:
        raise ValueError(f"cannot write '{target}': its extension must be one of {', '.join(extensions)}")
    if target.is_dir() or not next(parent for parent in target.absolute().parents if parent.exists()).is_dir():
        raise ValueError(f"cannot write '{target}': it is a folder, or a part of its path is a file; use another name")
    if target.resolve() == photo.resolve():
        raise ValueError(f"cannot write '{target}': it is the photo itself; use another name")


def _opened(editor: Editor, photo: Path, *, align: bool, face: int = 1) -> OpenedPhoto:
    opened = editor.open(sys.stdin.buffer.read() if photo == STREAM else photo, align=align, face=face)
    if len(opened.faces) > 1:
        found = f"shows {len(opened.faces)} faces, and number {face} is edited (1 is the largest)"
        print(f"note: {photo} {found}; pass --face to choose another", file=sys.stderr)
    for warning in opened.warnings:
        print(f"note: {photo}: {warning}", file=sys.stderr)
    return opened


def _saved(path: Path) -> tuple[dict[str, float], float]:
    """The strengths and the detail in a file of settings."""
    try:
        settings = jsonlib.loads(path.read_text(encoding="utf-8"))
        return {name: float(value) for name, value in settings["strengths"].items()}, float(settings["detail"])
    except OSError as error:
        raise ValueError(f"--settings {path}: {error.strerror}; pass a file saved by the editor") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        raise ValueError(f"--settings {path} contains no settings; pass a JSON file saved by the editor") from None


def _other_photo(editor: Editor, text: str) -> tuple[Path, list[str]]:
    photo, _, names = text.rpartition(":")
    if not photo or not names:
        raise ValueError(f"--like is '{text}'; use PHOTO:NAME,NAME, such as b.jpg:Smiling,Eyeglasses")
    return Path(photo), [_attribute(editor, name) for name in names.split(",")]


def _assignments(editor: Editor, texts: Sequence[str], option: str) -> dict[str, float]:
    strengths = {}
    for text in texts:
        name, strength = lazy.read_assignment(text, option)
        strengths[_attribute(editor, name)] = strength
    return strengths


def _attribute(editor: Editor, text: str) -> str:
    """The attribute that a user calls `text`. Case is ignored, and spaces may replace underscores."""
    return meant(text, editor.factors) or text.strip()


def _print_strengths(opened: dict[str, dict[str, float]], *, json: bool) -> None:
    """Print the strengths of each photo, and the photo's name if there are several."""
    if json:
        rounded = {photo: {name: round(value, 4) for name, value in own.items()} for photo, own in opened.items()}
        print_json(rounded if len(rounded) > 1 else next(iter(rounded.values())))
        return
    for photo, own in opened.items():
        if len(opened) > 1:
            print(photo)
        for name, value in sorted(own.items(), key=lambda item: -item[1]):
            print(f"{name:24}{value:6.2f}")


def _save(image: Image, path: Path) -> None:
    kind = KINDS[path.suffix.lower()] if path != STREAM else "PNG"
    image = lazy.opaque(image) if kind == "JPEG" and image.mode == "RGBA" else image
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    content = lazy.encoded(image, kind, **options)
    if path == STREAM:
        sys.stdout.buffer.write(content)
    else:
        write_atomically(path, content)
