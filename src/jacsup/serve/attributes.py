"""The work behind the page of a model of attributes: open a photo, edit it, sweep an attribute, render in full."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from PIL import Image

from jacsup.align import crop
from jacsup.config import Faces
from jacsup.data import spec_of
from jacsup.data.drawn import num_test, true_edit
from jacsup.detail import DETAIL
from jacsup.detect import NoFaceError, find_faces
from jacsup.edit import Editor, OpenedPhoto, preview
from jacsup.models import LEARNED, Factor, device_of
from jacsup.models.fetch import PORTRAIT
from jacsup.models.residual import ResidualAutoencoder
from jacsup.photo import read_photo
from jacsup.run import Run
from jacsup.serve.answers import (
    NUM_STARTS,
    amount_of,
    as_number,
    image_of,
    in_page,
    jpeg,
    png,
    test_images,
    with_amount,
)
from jacsup.serve.sessions import Sessions

# Longest sides in pixels: of a preview, of an image in a sweep, of an animation.
PREVIEW_SIDE = 384
STRIP_SIDE = 128
ANIMATION_SIDE = 256
FACE_SIDE = 64
START_SIDE = 256
THUMBNAIL_SIDE = 96
# The drawn face that the page shows first.
FIRST_FACE = 3
GROUPS: dict[str, tuple[str, ...]] = {
    "Mouth and nose": ("Smiling", "Mouth_Slightly_Open", "Big_Lips", "Wearing_Lipstick", "Big_Nose", "Pointy_Nose"),
    "Eyes": ("Arched_Eyebrows", "Bags_Under_Eyes", "Bushy_Eyebrows", "Eyeglasses", "Narrow_Eyes"),
    "Hair": (
        "Bald",
        "Bangs",
        "Black_Hair",
        "Blond_Hair",
        "Brown_Hair",
        "Gray_Hair",
        "Receding_Hairline",
        "Straight_Hair",
        "Wavy_Hair",
    ),
    "Beard": ("5_o_Clock_Shadow", "Goatee", "Mustache", "No_Beard", "Sideburns"),
    "Skin": ("Heavy_Makeup", "Pale_Skin", "Rosy_Cheeks"),
    "Accessories": ("Wearing_Earrings", "Wearing_Hat", "Wearing_Necklace", "Wearing_Necktie"),
}
OVERALL = "Overall"


class AttributeStudio:
    """An editor of attributes and the photos opened in it.

    Methods raise ValueError for invalid input and ForgottenError for a photo that is no longer kept.
    """

    def __init__(self, editor: Editor, name: str):
        self._editor, self._sessions, self._name = editor, Sessions(), name
        self._drawn = editor.info.data if isinstance(editor.info.data, Faces) else None
        self._starts = [] if self._drawn else _start_images(self._editor)
        self._teacher = _teacher_of(editor)

    def description(self) -> dict[str, Any]:
        """Return what the page shows before a photo is opened."""
        data_set = spec_of(self._editor.info.data)
        return {
            "name": self._name,
            "kind": "attributes",
            "starts": NUM_STARTS if self._drawn else len(self._starts),
            "first": FIRST_FACE if self._drawn else 0,
            # Number of faces that can be drawn, including the start images.
            "faces": num_test(self._drawn) if self._drawn else 0,
            # For photos that were aligned like the crops of `find_faces`, and for drawn faces, which are framed in the
            # same way. Other images are used as they are.
            "align": data_set.aligned or data_set.drawn,
            "drawn": self._drawn is not None,
            "code_size": self._editor.model.code_size,
            "teacher": self._teacher.model.code_size if self._teacher else None,
            "amount": amount_of(self._editor.model),
            "morphs": self._editor.morphs,
            "factors": sorted(map(self._described, self._editor.factors.values()), key=_place_on_page),
        }

    def start(self, number: int) -> bytes:
        """Return the image to start from `number` as PNG."""
        return png(self._start(number))

    def picture_of_start(self, number: int, *, large: bool) -> bytes:
        """Return the same image as JPEG, small unless asked for large."""
        image = self._start(number)
        return jpeg(image if large else image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS))

    def open(self, content: bytes, *, align: bool, face: int = 1) -> dict[str, Any]:
        """Open a photo and return its token, its strengths, whether its face was found, all faces, and warnings."""
        opened = self._opened(content, align=align, face=face)
        without_face = align and not opened.faces
        warnings = ["no face was found, so the middle of the photo is edited"] if without_face else []
        return {
            "session": self._sessions.add(preview(opened, PREVIEW_SIDE)),
            "strengths": {name: round(value, 4) for name, value in self._editor.read(opened).items()},
            "aligned": bool(opened.faces),
            "faces": [in_page(crop(opened.photo, place, FACE_SIDE)) for place in opened.faces],
            "warnings": [*warnings, *opened.warnings],
        }

    def forget(self) -> None:
        """Drop the photos whose time has expired."""
        self._sessions.forget()

    def edit(self, asked: dict[str, Any]) -> bytes:
        """Return the preview of the photo `session`, edited to `strengths` with `detail`, as JPEG."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return jpeg(editor.render(opened, strengths, detail=detail))

    def decoded(self, asked: dict[str, Any]) -> bytes:
        """Return the crop that the model, or its `teacher`, decodes, edited to `strengths`, as JPEG."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        if asked.get("teacher"):
            if not self._teacher:
                raise ValueError("this model has no teacher; serve the run folder of a student instead")
            editor, opened = self._teacher, self._teacher.open_at(opened.photo, opened.place)
            unlearned = {name for name, factor in editor.factors.items() if not factor.learned}
            strengths = {name: value for name, value in strengths.items() if name not in unlearned}
        return jpeg(editor.pictures(editor.changed(opened.code, strengths))[0])

    def morph(self, asked: dict[str, Any]) -> bytes:
        """Return the decoded face, `share` of the way from the photo `session` to the photo `other`, as JPEG."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        share = as_number(asked.get("share"), "share")
        return jpeg(editor.morph(opened, self._sessions.get(asked.get("other")), [share], strengths)[0])

    def morph_animation(self, asked: dict[str, Any]) -> bytes:
        """Return a GIF that morphs the photo `session` into the photo `other` and back."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        return editor.morph_animation(opened, self._sessions.get(asked.get("other")), strengths)

    def sweep(self, asked: dict[str, Any]) -> bytes:
        """Return the same preview with attribute `name` at increasing strengths, side by side."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return jpeg(editor.sweep(opened, str(asked.get("name")), strengths, side=STRIP_SIDE, detail=detail))

    def animation(self, asked: dict[str, Any]) -> bytes:
        """Return the same as a GIF, in which attribute `name` goes from low to high strengths and back."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return editor.animation(opened, str(asked.get("name")), strengths, side=ANIMATION_SIDE, detail=detail)

    def full(self, content: bytes, asked: dict[str, Any], *, align: bool, face: int = 1) -> bytes:
        """Return a photo edited to `strengths` with `detail`, at full resolution, as PNG."""
        strengths, detail = _settings(asked)
        editor, opened = self._at_amount(self._opened(content, align=align, face=face), asked)
        return png(editor.render(opened, strengths, detail=detail))

    def truth(self, asked: dict[str, Any]) -> bytes:
        """Return the drawn face `start`, drawn again with `strengths`, as JPEG."""
        if not self._drawn:
            raise ValueError("the true edit is known only for drawn faces; use a model of drawn faces")
        strengths, _ = _settings(asked)
        start = asked.get("start")
        if not isinstance(start, int) or isinstance(start, bool):
            raise ValueError(f"start is {start!r:.40}; must be the number of a drawn face")
        return jpeg(image_of(true_edit(self._drawn, start, strengths, START_SIDE)))

    def _asked(self, asked: dict[str, Any]) -> tuple[Editor, OpenedPhoto]:
        """The editor and the photo `session`, at the requested `amount`."""
        return self._at_amount(self._sessions.get(asked.get("session")), asked)

    def _at_amount(self, opened: OpenedPhoto, asked: dict[str, Any]) -> tuple[Editor, OpenedPhoto]:
        model = with_amount(self._editor.model, asked)
        if model is self._editor.model:
            return self._editor, opened
        editor = Editor(model, info=self._editor.info)
        return editor, replace(opened, x_hat=editor.decode(opened.code)[0])

    def _opened(self, content: bytes, *, align: bool, face: int) -> OpenedPhoto:
        """The opened photo. If no face is found, models of drawn faces take the middle: drawings are hard to find."""
        try:
            return self._editor.open(content, align=align, face=face)
        except NoFaceError:
            if not self._drawn:
                raise
            return self._editor.open(content, align=False)

    def _start(self, number: int) -> Image.Image:
        if self._drawn:
            return image_of(true_edit(self._drawn, number, {}, START_SIDE))
        if not 0 <= number < len(self._starts):
            raise ValueError(f"start is {number}; must be between 0 and {len(self._starts) - 1}")
        return self._starts[number]

    def _described(self, factor: Factor) -> dict[str, Any]:
        group = next((group for group, names in GROUPS.items() if factor.name in names), OVERALL)
        described: dict[str, Any] = {"name": factor.name, "group": group, "learned": factor.learned}
        if not factor.learned:
            return described | {"reason": f"the means of y with and without it differ by less than {LEARNED}"}
        low, high = self._editor.reach(factor.name)
        return described | {
            "low": round(low, 2),
            "high": round(high, 2),
            "mutually_exclusive": list(factor.mutually_exclusive),
            "weak": factor.weak,
        }


def _teacher_of(editor: Editor) -> Editor | None:
    """The teacher of a student: the one inside a residual student, or that of an earlier stage of its run."""
    model, source = editor.model, getattr(editor.model, "source", None)
    if isinstance(model, ResidualAutoencoder):
        return Editor(model.teacher, info=replace(editor.info, typical=None))
    # The folder may contain the recipe of another run.
    with contextlib.suppress(ValueError, OSError):
        run = Run.around(source) if source else None
        file = run.teacher_file(source) if run and source else None
        return Editor(file, str(device_of(model))) if file else None
    return None


def _start_images(editor: Editor) -> list[Image.Image]:
    """Test images of the model's data set if it is available; otherwise, for models of faces, a portrait."""
    test = test_images(editor.model)
    if test is not None:
        return [image_of(pixels) for pixels in test.first(NUM_STARTS).images]
    if spec_of(editor.info.data).aligned:
        portrait = read_photo(PORTRAIT)
        return [image_of(crop(portrait, find_faces(portrait)[0], START_SIDE))]
    return []


def _settings(asked: dict[str, Any]) -> tuple[dict[str, float], float]:
    strengths = asked.get("strengths", {})
    if not isinstance(strengths, dict):
        raise ValueError(f"strengths are {strengths!r:.60}; must be an object that maps attributes to numbers")
    numbers = {name: as_number(value, name) for name, value in strengths.items()}
    return numbers, as_number(asked.get("detail", DETAIL), "detail")


def _place_on_page(described: dict[str, Any]) -> tuple[int, int]:
    """The position of an attribute's group, and that of the attribute in it."""
    names = GROUPS.get(described["group"], ())
    return [*GROUPS, OVERALL].index(described["group"]), names.index(described["name"]) if names else 0
