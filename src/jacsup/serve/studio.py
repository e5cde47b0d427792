"""The work behind the editor's page: describe a model, open a photo, edit it, sweep an attribute, render in full."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from jacsup.align import crop
from jacsup.code import Code, to_float, to_uint8
from jacsup.config import Faces
from jacsup.data import spec_of
from jacsup.data.dataset import Split
from jacsup.data.drawn import num_test, true_edit
from jacsup.detect import NoFaceError, find_faces
from jacsup.edit import DETAIL, Editor, OpenedPhoto, preview
from jacsup.models import LEARNED, Autoencoder, Factor, ModelInfo, device_of, load, load_info, name_of
from jacsup.models.fetch import PORTRAIT
from jacsup.models.residual import ResidualAutoencoder
from jacsup.photo import encoded, opaque, read_photo
from jacsup.run import Run
from jacsup.serve.sessions import Sessions

# Longest sides in pixels: of a preview, of an image in a sweep, of a decoded image.
PREVIEW_SIDE = 384
STRIP_SIDE = 128
ANIMATION_SIDE = 256
UNITS_SIDE = 280
MAP_TILES = 12
STRIP_TILES = 9
# Units without any effect have equal shares.
LEAST_EFFECT = 1e-9
FACE_SIDE = 64
NUM_STARTS = 8
# The most charming of the drawn ones.
FIRST_FACE = 3
START_SIDE = 256
THUMBNAIL_SIDE = 96
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
            # Faces that can be drawn, the first starts among them.
            "faces": num_test(self._drawn) if self._drawn else 0,
            # Of photos that were aligned as `find_faces` does it, and of drawn faces, which are framed alike; other
            # images are framed as they were given.
            "align": data_set.aligned or data_set.drawn,
            "drawn": self._drawn is not None,
            "code_size": self._editor.model.code_size,
            "teacher": self._teacher.model.code_size if self._teacher else None,
            "amount": _amount_of(self._editor.model),
            "morphs": self._editor.morphs,
            "factors": sorted(map(self._described, self._editor.factors.values()), key=_place_on_page),
        }

    def start(self, number: int) -> bytes:
        """Return the image to start from `number` as PNG."""
        return _png(self._start(number))

    def picture_of_start(self, number: int, *, large: bool) -> bytes:
        """Return the same image as JPEG, small unless asked for large."""
        image = self._start(number)
        return _jpeg(image if large else image.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS))

    def open(self, content: bytes, *, align: bool, face: int = 1) -> dict[str, Any]:
        """Open a photo and return its token, its strengths, whether its face was found, all faces, and warnings."""
        opened = self._opened(content, align=align, face=face)
        without_face = align and not opened.faces
        warnings = ["no face was found, so the middle of the photo is edited"] if without_face else []
        return {
            "session": self._sessions.add(preview(opened, PREVIEW_SIDE)),
            "strengths": {name: round(value, 4) for name, value in self._editor.read(opened).items()},
            "aligned": bool(opened.faces),
            "faces": [_in_page(crop(opened.photo, place, FACE_SIDE)) for place in opened.faces],
            "warnings": [*warnings, *opened.warnings],
        }

    def forget(self) -> None:
        """Drop the photos whose time is over."""
        self._sessions.forget()

    def edit(self, asked: dict[str, Any]) -> bytes:
        """Return the preview of the photo `session`, edited to `strengths` with `detail`, as JPEG."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return _jpeg(editor.render(opened, strengths, detail=detail))

    def decoded(self, asked: dict[str, Any]) -> bytes:
        """Return the crop that the model decodes, edited to `strengths`, as JPEG; of `teacher`, its teacher's."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        if asked.get("teacher"):
            if not self._teacher:
                raise ValueError("this model has no teacher; serve the run folder of a student")
            editor, opened = self._teacher, self._teacher.open_at(opened.photo, opened.place)
            unlearned = {name for name, factor in editor.factors.items() if not factor.learned}
            strengths = {name: value for name, value in strengths.items() if name not in unlearned}
        return _jpeg(editor.pictures(editor.changed(opened.code, strengths))[0])

    def morph(self, asked: dict[str, Any]) -> bytes:
        """Return the decoded face, `share` of the way from the photo `session` to the photo `other`, as JPEG."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        share = _number(asked.get("share"), "share")
        return _jpeg(editor.morph(opened, self._sessions.get(asked.get("other")), [share], strengths)[0])

    def morph_animation(self, asked: dict[str, Any]) -> bytes:
        """Return a GIF that morphs the photo `session` into the photo `other` and back."""
        strengths, _ = _settings(asked)
        editor, opened = self._asked(asked)
        return editor.morph_animation(opened, self._sessions.get(asked.get("other")), strengths)

    def sweep(self, asked: dict[str, Any]) -> bytes:
        """Return the same preview with attribute `name` at increasing strengths, side by side."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return _jpeg(editor.sweep(opened, str(asked.get("name")), strengths, side=STRIP_SIDE, detail=detail))

    def animation(self, asked: dict[str, Any]) -> bytes:
        """Return the same as a GIF, in which attribute `name` goes from little to much and back."""
        strengths, detail = _settings(asked)
        editor, opened = self._asked(asked)
        return editor.animation(opened, str(asked.get("name")), strengths, side=ANIMATION_SIDE, detail=detail)

    def full(self, content: bytes, asked: dict[str, Any], *, align: bool, face: int = 1) -> bytes:
        """Return a photo edited to `strengths` with `detail`, at full resolution, as PNG."""
        strengths, detail = _settings(asked)
        editor, opened = self._at_amount(self._opened(content, align=align, face=face), asked)
        return _png(editor.render(opened, strengths, detail=detail))

    def truth(self, asked: dict[str, Any]) -> bytes:
        """Return the drawn face `start` with `strengths`, as its drawing has it, as JPEG."""
        if not self._drawn:
            raise ValueError("the truth of an edit is known of drawn faces only; use a model of drawn faces")
        strengths, _ = _settings(asked)
        start = asked.get("start")
        if not isinstance(start, int) or isinstance(start, bool):
            raise ValueError(f"start is {start!r:.40}; must be the number of a drawn face")
        return _jpeg(_image(true_edit(self._drawn, start, strengths, START_SIDE)))

    def _asked(self, asked: dict[str, Any]) -> tuple[Editor, OpenedPhoto]:
        """The editor and the photo `session`, at the `amount` that is asked for."""
        return self._at_amount(self._sessions.get(asked.get("session")), asked)

    def _at_amount(self, opened: OpenedPhoto, asked: dict[str, Any]) -> tuple[Editor, OpenedPhoto]:
        model = _with_amount(self._editor.model, asked)
        if model is self._editor.model:
            return self._editor, opened
        editor = Editor(model, info=self._editor.info)
        return editor, replace(opened, x_hat=editor.decode(opened.code)[0])

    def _opened(self, content: bytes, *, align: bool, face: int) -> OpenedPhoto:
        """The opened photo; of one without a face, drawn models take the middle, as drawings are hard to find."""
        try:
            return self._editor.open(content, align=align, face=face)
        except NoFaceError:
            if not self._drawn:
                raise
            return self._editor.open(content, align=False)

    def _start(self, number: int) -> Image.Image:
        if self._drawn:
            return _image(true_edit(self._drawn, number, {}, START_SIDE))
        if not 0 <= number < len(self._starts):
            raise ValueError(f"start is {number}; must be between 0 and {len(self._starts) - 1}")
        return self._starts[number]

    def _described(self, factor: Factor) -> dict[str, Any]:
        group = next((group for group, names in GROUPS.items() if factor.name in names), OVERALL)
        described: dict[str, Any] = {"name": factor.name, "group": group, "learned": factor.learned}
        if not factor.learned:
            return described | {"reason": f"its mean values with and without it differ by less than {LEARNED}"}
        low, high = self._editor.reach(factor.name)
        return described | {
            "low": round(low, 2),
            "high": round(high, 2),
            "mutually_exclusive": list(factor.mutually_exclusive),
            "weak": factor.weak,
        }


class UnitStudio:
    """A model with an ordered code, whose units are its sliders."""

    def __init__(self, model: Autoencoder, info: ModelInfo, name: str):
        self._model, self._info, self._name = model, info, name

    def description(self) -> dict[str, Any]:
        """Return what the page shows."""
        effects = self._effects()
        factors = [
            {
                "name": factor.name,
                "low": factor.p01,
                "high": factor.p99,
                "mean": factor.mean,
                "std": factor.std,
                "effect": round(effect / sum(effects), 4),
            }
            for factor, effect in zip(self._info.factors, effects, strict=True)
        ]
        return {
            "name": self._name,
            "kind": "units",
            "factors": factors,
            "amount": _amount_of(self._model),
            "starts": self._starts(),
        }

    def decode(self, asked: dict[str, Any]) -> bytes:
        """Return the image decoded from `units`, a list with one number for each, as PNG.

        Of a residual student, `amount` is how much is added to its teacher's image.
        """
        units = asked.get("units")
        count = len(self._info.factors)
        if not isinstance(units, list) or len(units) != count:
            raise ValueError(f"units are {units!r:.60}; must be a list of {count} numbers")
        values = torch.tensor([[_number(value, "a unit") for value in units]])
        pixels = _decoded(_with_amount(self._model, asked), values)
        return _png(_image(pixels[0]).resize((UNITS_SIDE, UNITS_SIDE), Image.Resampling.NEAREST))

    def strip(self, number: int) -> bytes:
        """Return, as PNG, images side by side in which unit `number` goes from its lowest to its highest value."""
        if not 0 <= number < len(self._info.factors):
            raise ValueError(f"unit is {number}; must be between 0 and {len(self._info.factors) - 1}")
        factor = self._info.factors[number]
        units = self._means().repeat(STRIP_TILES, 1)
        units[:, number] = torch.linspace(factor.p01, factor.p99, STRIP_TILES)
        return _png(_image(_decoded(self._model, units).permute(1, 2, 0, 3).flatten(2)))

    @torch.no_grad()
    def _starts(self) -> list[dict[str, Any]]:
        """Test images, of each class the first, and their units; none where the data set is not on this machine."""
        test = _test_images(self._model)
        if test is None:
            return []
        pixels = test.first(NUM_STARTS).images
        if test.labels is not None:
            pixels = test.images[[int((test.labels == label).nonzero()[0]) for label in test.labels.unique()]]
        x = to_float(pixels.to(device_of(self._model)), self._model.value_range)
        units = self._model.encode(x).units.cpu()
        return [{"picture": _in_page(image), "units": row.tolist()} for image, row in zip(pixels, units, strict=True)]

    def _means(self) -> Float[Tensor, " u"]:
        return torch.tensor([factor.mean for factor in self._info.factors])

    def _effects(self) -> list[float]:
        """The mean squared change of pixels between a standard deviation below and above each unit's mean."""
        spread = torch.tensor([factor.std for factor in self._info.factors]).diag()
        low, high = (_decoded(self._model, self._means() + sign * spread).cpu().double() for sign in (-1, 1))
        return [max(float(each), LEAST_EFFECT) for each in (high - low).square().flatten(1).mean(dim=1)]

    def map(self) -> bytes:
        """Return, as PNG, a grid of images: the first unit varies from left to right, the second upwards."""
        across, up = (
            torch.linspace(factor.p01, factor.p99, 2 * MAP_TILES + 1)[1::2] for factor in self._info.factors[:2]
        )
        units = self._means().repeat(MAP_TILES**2, 1)
        units[:, 0], units[:, 1] = across.repeat(MAP_TILES), up.flip(0).repeat_interleave(MAP_TILES)
        tiles = _decoded(self._model, units).unflatten(0, (MAP_TILES, MAP_TILES))
        return _png(_image(tiles.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)))


@torch.no_grad()
def _decoded(model: Autoencoder, units: Float[Tensor, "n u"]) -> UInt8[Tensor, "n c h w"]:
    units = units.to(device_of(model))
    return to_uint8(model.decode(Code.of_units(units)), model.value_range).cpu()


def _amount_of(model: Autoencoder) -> float | None:
    """How much a residual student adds to its teacher's image; None for other models."""
    return model.config.amount if isinstance(model, ResidualAutoencoder) else None


def _with_amount(model: Autoencoder, asked: dict[str, Any]) -> Autoencoder:
    """The model with the `amount` that is asked for, if it has one."""
    if not isinstance(model, ResidualAutoencoder) or "amount" not in asked:
        return model
    return model.with_amount(_number(asked["amount"], "amount"))


def _teacher_of(editor: Editor) -> Editor | None:
    """The teacher of a student: the one inside a residual student, or that of an earlier stage of its run."""
    model, source = editor.model, getattr(editor.model, "source", None)
    if isinstance(model, ResidualAutoencoder):
        return Editor(model.teacher, info=replace(editor.info, typical=None))
    # The folder may hold a recipe of something else.
    with contextlib.suppress(ValueError, OSError):
        run = Run.around(source) if source else None
        file = run.teacher_file(source) if run and source else None
        return Editor(file, str(device_of(model))) if file else None
    return None


Studio = AttributeStudio | UnitStudio


def open_studio(model: str | Path | Autoencoder, device: str = "cpu", *, info: ModelInfo | None = None) -> Studio:
    """Return the studio that fits a model: sliders for its attributes, or for its units.

    Args:
        model: what `jacsup.load` takes, or any model in eval mode.
        device: where to run a model that is loaded here: auto, cpu, cuda, cuda:N or mps.
        info: the model's factors; needed for a model that was not loaded from a file.

    Raises:
        ValueError: there is no such model, or `info` is missing or does not fit.
    """
    loaded = load(model, device) if isinstance(model, str | Path) else model
    info = info or load_info(loaded)
    shown = Path(model) if isinstance(model, str | Path) else Path(name_of(model))
    name = shown.resolve().name.removesuffix(".safetensors")
    return AttributeStudio(Editor(loaded, info=info), name) if info.has_attributes else UnitStudio(loaded, info, name)


def _test_images(model: Autoencoder) -> Split | None:
    """The test images of the model's data set if it is on this machine."""
    from jacsup.data.of_run import find_data

    source: Path | None = getattr(model, "source", None)
    # The data may have moved, or never have come with the model.
    with contextlib.suppress(ValueError, OSError):
        return find_data(source, None, fetch=False).test if source else None
    return None


def _start_images(editor: Editor) -> list[Image.Image]:
    """Test images of the model's data set if it is available; else, of faces, a portrait."""
    test = _test_images(editor.model)
    if test is not None:
        return [_image(pixels) for pixels in test.first(NUM_STARTS).images]
    if spec_of(editor.info.data).aligned:
        portrait = read_photo(PORTRAIT)
        return [_image(crop(portrait, find_faces(portrait)[0], START_SIDE))]
    return []


def _settings(asked: dict[str, Any]) -> tuple[dict[str, float], float]:
    strengths = asked.get("strengths", {})
    if not isinstance(strengths, dict):
        raise ValueError(f"strengths are {strengths!r:.60}; must be an object that maps attributes to numbers")
    numbers = {name: _number(value, name) for name, value in strengths.items()}
    return numbers, _number(asked.get("detail", DETAIL), "detail")


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e6 or value != value:
        raise ValueError(f"{name:.40} is {value!r:.40}; must be a number")
    return float(value)


def _image(pixels: UInt8[Tensor, "c h w"]) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).contiguous().numpy())


def _place_on_page(described: dict[str, Any]) -> tuple[int, int]:
    """The place of an attribute's group, and the attribute's in it."""
    names = GROUPS.get(described["group"], ())
    return [*GROUPS, OVERALL].index(described["group"]), names.index(described["name"]) if names else 0


def _in_page(pixels: UInt8[Tensor, "c h w"]) -> str:
    """The pixels as an address that a page can show."""
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(_image(pixels))).decode()}"


def _png(image: Image.Image) -> bytes:
    return encoded(image, "PNG", compress_level=1)


def _jpeg(image: Image.Image) -> bytes:
    return encoded(opaque(image), "JPEG", quality=90)
