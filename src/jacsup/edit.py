"""Edit photos: encode the face, set attributes to strengths, and paste only what changes."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from jacsup.align import Similarity, bounding_box, crop, paste, whole_square
from jacsup.code import UNIT, Code, at_strength, to_float, to_uint8, to_unit
from jacsup.detail import DETAIL
from jacsup.detect import find_faces
from jacsup.jsonable import suggestion
from jacsup.models import LEARNED, Autoencoder, Factor, ModelInfo, decoding, device_of, load, load_info, name_of
from jacsup.photo import encoded, is_grey, opaque, read_photo
from jacsup.photo import name_of as name_of_photo

Photo = str | Path | bytes | Image.Image
Number = int | float
MOST_STRENGTH = 100
# The strengths of a sweep.
SWEPT = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
# An animated sweep: the difference in strength between two frames, and the duration of a frame.
GIF_STEP = 0.25
GIF_MILLISECONDS = 80
# Side of decoded images, including those of a morph, in pixels.
DECODED_SIDE = 256
# Steps of an animated morph in one direction.
MORPH_STEPS = 24
# A slider spans at least -LEAST_REACH to LEAST_REACH, even if few training images have such strengths.
LEAST_REACH = 2.0
# The margin that a preview shows around the crop, as a share of the crop's side.
SURROUNDINGS = 0.25
MOST_PREVIEW_PROFILE = 2**16
# float() would also take 1_0 for 10.
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?"


@dataclass(frozen=True)
class OpenedPhoto:
    """A photo with its encoded face.

    Attributes:
        photo: The photo itself, RGB or RGBA.
        place: Position, size and rotation of the crop with the face.
        code: The crop's code, a batch of one.
        x_hat: D(y, z), the crop as the model reconstructs it, shape (c, h, w), in [0, 1]; edits are pasted as
            differences from it.
        warnings: What is unusual about the photo, compared with the training images.
        faces: The crops of all faces found in it, the largest first; none if it was not aligned.
        grey: Whether the photo has no colours; edits then give it none.
    """

    photo: Image.Image
    place: Similarity
    code: Code
    x_hat: Float[Tensor, "c h w"]
    warnings: tuple[str, ...]
    faces: tuple[Similarity, ...] = ()
    grey: bool = False


class Editor:
    """Edits attributes of photos with a trained model: `Editor("runs/faces")("me.jpg", Smiling=2)`.

    A strength of -1 is typical of images without the attribute, 1 of images with it; larger ones exaggerate it.

    Attributes:
        model: The model.
        info: Its recipe, data and factors.
        factors: Its attributes by name.
    """

    def __init__(self, model: str | Path | Autoencoder, device: str = "cpu", *, info: ModelInfo | None = None):
        """Load a model, or use one in memory.

        Args:
            model: What `jacsup.load` takes, or a model in memory in eval mode.
            device: Where to run a model that is loaded here: auto, cpu, cuda, cuda:N or mps.
            info: The model's factors; needed for a model that was not loaded from a file.

        Raises:
            ValueError: The model has no attributes or its images are not square RGB images, or `info` is missing or
                describes another model.
        """
        self.model: Autoencoder = load(model, device) if isinstance(model, str | Path) else model
        self.info = info or load_info(self.model)
        channels, height, width = self.model.image_shape
        if not self.info.has_attributes:
            raise ValueError(
                f"{name_of(self.model)} has an ordered code without attributes; use a model trained with attributes"
            )
        if len(self.info.factors) != self.model.num_units:
            raise ValueError(
                f"{name_of(self.model)} has {self.model.num_units} factors, but info describes "
                f"{len(self.info.factors)}; pass the info of this model"
            )
        if channels != 3 or height != width:
            raise ValueError(
                f"{name_of(self.model)} takes images of {channels}x{height}x{width}; to edit photos, use a model of "
                "square RGB images"
            )
        self.factors: dict[str, Factor] = {factor.name: factor for factor in self.info.factors}
        self._decode = decoding(self.model)

    def __call__(
        self, photo: Photo, *, detail: Number = DETAIL, align: bool = True, face: int = 1, **strengths: Number
    ) -> Image.Image:
        """Return the photo, in its own size, with attributes set to strengths.

        Args:
            photo: A file, its bytes or a PIL image.
            detail: The share of the photo's own detail to keep where the edit changes it strongly, in [0, 1].
            align: Find and align the face; False edits the central square.
            face: Which face to edit if there are several; 1 is the largest.
            **strengths: Strengths by attribute, between -100 and 100; other attributes keep their values, except those
                that an attribute with a positive strength excludes.

        Raises:
            ValueError: The photo cannot be read or shows no face, an attribute is unknown or was not learned, or
                `detail` or a strength is out of range.
        """
        return self.render(self.open(photo, align=align, face=face), strengths, detail=detail)

    def open(self, photo: Photo, *, align: bool = True, face: int = 1) -> OpenedPhoto:
        """Find and encode the photo's face.

        Args:
            photo: A file, its bytes or a PIL image.
            align: Find and align the face; False takes the central square.
            face: Which face to take if there are several; 1 is the largest.

        Returns:
            The opened photo, to pass to `render`, `read` and the others.

        Raises:
            ValueError: The photo cannot be read, or shows no face or fewer than `face`.
        """
        image = read_photo(photo)
        prefix = f"{name_of_photo(photo)}: " if isinstance(photo, str | os.PathLike) else ""
        try:
            faces = find_faces(image) if align else []
        except ValueError as error:
            raise type(error)(f"{prefix}{error}") from None
        places = faces or [whole_square(image)]
        if not 1 <= face <= len(places):
            allowed = f"between 1 (the largest) and {len(places)}, the number of faces found"
            raise ValueError(f"{prefix}face is {face}; must be {allowed}")
        return self.open_at(image, places[face - 1], tuple(faces))

    def open_at(self, image: Image.Image, place: Similarity, faces: tuple[Similarity, ...] = ()) -> OpenedPhoto:
        """Encode the crop of a photo.

        Args:
            image: The photo, RGB or RGBA.
            place: Where the crop lies.
            faces: The crops of all faces found in the photo.

        Returns:
            The opened photo.
        """
        pixels = crop(image, place, self.model.image_shape[1])[None].to(device_of(self.model))
        with torch.no_grad():
            code = self.model.encode(to_float(pixels, self.model.value_range))
            x_hat = self.decode(code)
        error = float((x_hat - to_float(pixels, UNIT)).square().mean())
        return OpenedPhoto(image, place, code, x_hat[0], self._warnings(code, error), faces, is_grey(image))

    def read(self, opened: OpenedPhoto) -> dict[str, float]:
        """Return the strengths of all learned attributes of an opened photo.

        Args:
            opened: The opened photo.
        """
        return self.strengths(opened, [name for name, factor in self.factors.items() if factor.learned])

    def strengths(self, opened: OpenedPhoto, names: Iterable[str]) -> dict[str, float]:
        """Return the strengths of the attributes `names` of an opened photo. Setting them on another photo is a swap.

        Args:
            opened: The opened photo.
            names: Names of attributes.
        """
        return {name: self.strength(name, float(opened.code.y[0, self._column(name)])) for name in names}

    def strength(self, name: str, y: float) -> float:
        """Return the strength that corresponds to a value `y` of attribute `name`.

        Args:
            name: Name of the attribute.
            y: A value of this factor.

        Raises:
            ValueError: The attribute is unknown or was not learned.
        """
        factor = self._learned(name)
        assert factor.m_minus is not None and factor.m_plus is not None
        return (2 * y - factor.m_plus - factor.m_minus) / (factor.m_plus - factor.m_minus)

    def reach(self, name: str) -> tuple[float, float]:
        """Return the lowest and highest strength for a slider: at least those of 98 % of the training images.

        Args:
            name: Name of the attribute.
        """
        factor = self._learned(name)
        low, high = self.strength(name, factor.p01), self.strength(name, factor.p99)
        return min(low, -LEAST_REACH), max(high, LEAST_REACH)

    def render(self, opened: OpenedPhoto, strengths: Mapping[str, Number], *, detail: Number = DETAIL) -> Image.Image:
        """Return an opened photo with attributes set to strengths, or unchanged if `strengths` is empty.

        Args:
            opened: What `open` returned.
            strengths: Strengths by attribute, between -100 and 100.
            detail: The share of the photo's own detail to keep where the edit changes it strongly, in [0, 1].

        Raises:
            ValueError: An attribute is unknown or was not learned, or `detail` or a strength is out of range.
        """
        if not 0 <= detail <= 1:
            raise ValueError(f"detail is {detail}; must be between 0 and 1")
        if not strengths:
            return opened.photo
        edited = self.decode(self.changed(opened.code, strengths))[0]
        result = paste(opened.photo, opened.place, opened.x_hat, edited, detail=float(detail))
        return result.convert("L").convert(result.mode) if opened.grey and result.mode == "RGB" else result

    def sweep(
        self, opened: OpenedPhoto, name: str, strengths: Mapping[str, Number], *, side: int, detail: Number = DETAIL
    ) -> Image.Image:
        """Return the photo with attribute `name` at the strengths SWEPT, side by side; see `swept`.

        Args:
            opened: The opened photo.
            name: The attribute to sweep.
            strengths: Strengths of other attributes, by name.
            side: The longest side of each image, in pixels.
            detail: The share of the photo's own detail to keep, in [0, 1].

        Raises:
            ValueError: See `render`.
        """
        return side_by_side(self.swept(opened, name, strengths, SWEPT, side=side, detail=detail))

    def swept(
        self,
        opened: OpenedPhoto,
        name: str,
        strengths: Mapping[str, Number],
        values: Iterable[Number],
        *,
        side: int,
        detail: Number = DETAIL,
    ) -> list[Image.Image]:
        """Return small photos with attribute `name` at each of some strengths.

        Args:
            opened: What `open` returned.
            name: The attribute to sweep.
            strengths: Strengths of other attributes.
            values: The strengths of `name`.
            side: The longest side of each image, in pixels.
            detail: The share of the photo's own detail to keep, in [0, 1].

        Raises:
            ValueError: See `render`.
        """
        # The photo is shrunk before it is edited: many edits of a large one would fill the memory.
        small = _within(opened, (0, 0, *opened.photo.size), side)
        return [self.render(small, {**strengths, name: value}, detail=detail) for value in values]

    def animation(
        self, opened: OpenedPhoto, name: str, strengths: Mapping[str, Number], *, side: int, detail: Number = DETAIL
    ) -> bytes:
        """Return a GIF in which attribute `name` goes from the lowest strength of SWEPT to the highest and back.

        Args:
            opened: The opened photo.
            name: The attribute to sweep.
            strengths: Strengths of other attributes.
            side: The longest side, in pixels.
            detail: The share of the photo's own detail to keep, in [0, 1].

        Raises:
            ValueError: See `render`.
        """
        there = [SWEPT[0] + step * GIF_STEP for step in range(round((SWEPT[-1] - SWEPT[0]) / GIF_STEP) + 1)]
        return there_and_back(self.swept(opened, name, strengths, there, side=side, detail=detail))

    def pictures(self, code: Code) -> list[Image.Image]:
        """Return the images of codes, enlarged to DECODED_SIDE pixels.

        Args:
            code: Codes of any number of images.
        """
        pixels = to_uint8(self.decode(code), UNIT).permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(each).resize((DECODED_SIDE, DECODED_SIDE), Image.Resampling.BICUBIC) for each in pixels]

    @property
    def morphs(self) -> bool:
        """Whether two photos can be morphed: whether the code is shorter than the image."""
        return self.model.code_size < math.prod(self.model.image_shape)

    def morph(
        self, opened: OpenedPhoto, other: OpenedPhoto, shares: Sequence[Number], strengths: Mapping[str, Number]
    ) -> list[Image.Image]:
        """Return decoded images between one photo and another, with y and z interpolated linearly.

        Args:
            opened: The first photo.
            other: The other photo.
            shares: Position of each image between the two, from 0 (the first photo) to 1 (the other).
            strengths: Strengths of attributes to set in all images.

        Raises:
            ValueError: The model's code contains the image itself, a share is out of range, or see `render`.
        """
        if not self.morphs:
            raise ValueError(
                f"{name_of(self.model)} cannot morph photos, as its code contains the image itself; use a model with a "
                "shorter code, such as faces"
            )
        share = torch.tensor(shares, dtype=opened.code.y.dtype, device=opened.code.y.device)[:, None]
        if not ((share >= 0) & (share <= 1)).all():
            raise ValueError(f"the shares are {', '.join(map(str, shares))}; must be between 0 and 1")
        first, last = opened.code, other.code
        between = Code(first.y.lerp(last.y, share), first.z.lerp(last.z, share))
        return self.pictures(self.changed(between, strengths))

    def morph_animation(self, opened: OpenedPhoto, other: OpenedPhoto, strengths: Mapping[str, Number]) -> bytes:
        """Return a GIF that morphs one photo into another and back; see `morph`.

        Args:
            opened: The first photo.
            other: The other photo.
            strengths: Strengths of attributes to set in all images.

        Raises:
            ValueError: See `morph`.
        """
        shares = [step / MORPH_STEPS for step in range(MORPH_STEPS + 1)]
        return there_and_back(self.morph(opened, other, shares, strengths))

    def changed(self, code: Code, strengths: Mapping[str, Number]) -> Code:
        """Return the code with attributes set to strengths.

        If a strength is positive, the attributes that it excludes are set to -1, unless `strengths` has them too.

        Args:
            code: Codes of any number of images.
            strengths: Strengths by attribute, between -100 and 100.

        Raises:
            ValueError: An attribute is unknown or was not learned, or a strength is out of range.
        """
        y = code.y.clone()
        for name, strength in strengths.items():
            if not abs(strength) <= MOST_STRENGTH:
                raise ValueError(f"{name} is {strength:g}; must be between {-MOST_STRENGTH} and {MOST_STRENGTH}")
            for other in self._learned(name).mutually_exclusive if strength > 0 else ():
                if other in self.factors and self.factors[other].learned:
                    y[:, self._column(other)] = _value(self.factors[other], -1.0)
        for name, strength in strengths.items():
            y[:, self._column(name)] = _value(self._learned(name), strength)
        return Code(y, code.z)

    def _column(self, name: str) -> int:
        return list(self.factors).index(self._learned(name).name)

    def _learned(self, name: str) -> Factor:
        if name not in self.factors:
            raise ValueError(f"the model has no attribute '{name}'; {suggestion(name, self.factors)}")
        factor = self.factors[name]
        if not factor.learned:
            raise ValueError(
                f"the model has not learned '{name}': the means of y with and without it differ by less than "
                f"{LEARNED}; train longer, or with more images that have it"
            )
        return factor

    @torch.no_grad()
    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """Return the images of codes, in [0, 1].

        Args:
            code: Codes of any number of images.
        """
        return to_unit(self._decode(code), self.model.value_range)

    def _warnings(self, code: Code, error: float) -> tuple[str, ...]:
        """What is unusual about a photo, compared with 99 % of the training images."""
        typical = self.info.typical
        if typical is None:
            return ()
        distance = float(typical.distance_from(code.units.cpu())[0])
        unusual = [
            (error > typical.mse, "its reconstruction error is larger"),
            (distance > typical.distance, "its code lies further from the mean"),
        ]
        reasons = " and ".join(reason for holds, reason in unusual if holds)
        warning = f"this photo is unlike the training images: {reasons} than for 99 % of them; expect poor edits"
        return (warning,) if reasons else ()


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Return images of equal size and mode as one row.

    Args:
        images: Images of equal size and mode.
    """
    width, height = images[0].size
    strip = Image.new(images[0].mode, (width * len(images), height))
    for place, image in enumerate(images):
        strip.paste(image, (place * width, 0))
    return strip


def read_assignment(text: str, option: str) -> tuple[str, float]:
    """Parse NAME=NUMBER into an attribute and a strength.

    Args:
        text: What the user gave.
        option: The option it was given for, named in the error message.

    Raises:
        ValueError: The text is not of the form NAME=NUMBER.
    """
    name, _, number = text.rpartition("=")
    if not name or not re.fullmatch(NUMBER, number.strip()):
        raise ValueError(f"{option} is '{text:.60}'; use NAME=NUMBER, such as Smiling=1.5")
    return name, float(number)


def there_and_back(images: Sequence[Image.Image]) -> bytes:
    """Return images of equal size as a GIF that plays them forwards and backwards in a loop.

    Args:
        images: The images, at least six.
    """
    # One palette and no dithering: a palette per frame would make unchanged parts flicker, and the file larger.
    frames = [opaque(image) for image in images]
    palette = side_by_side(frames[:: len(frames) // 6]).quantize(256)
    there = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    others = there[1:] + there[-2:0:-1]
    return encoded(there[0], "GIF", save_all=True, append_images=others, duration=GIF_MILLISECONDS, loop=0)


def preview(opened: OpenedPhoto, side: int) -> OpenedPhoto:
    """Return the opened photo cropped to its face and a margin, with sides of at most `side` pixels."""
    margin = SURROUNDINGS * opened.place.side
    return _within(opened, bounding_box(opened.photo, opened.place, margin=round(margin)), side)


def _within(opened: OpenedPhoto, box: tuple[int, int, int, int], side: int) -> OpenedPhoto:
    """The opened photo, cropped to a box and shrunk to sides of at most `side` pixels."""
    left, top, right, bottom = box
    scale = min(1.0, side / max(right - left, bottom - top))
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    picture = opened.photo.resize(size, Image.Resampling.LANCZOS, box=(left, top, right, bottom), reducing_gap=3)
    # Previews are sent often, and a large profile would be larger than the preview itself.
    if len(picture.info.get("icc_profile", b"")) > MOST_PREVIEW_PROFILE:
        picture.info = {}
    place = Similarity(opened.place.turn * scale, (opened.place.origin - complex(left, top)) * scale)
    return replace(opened, photo=picture, place=place)


def __getattr__(name: str) -> Any:
    if name == "Face":
        message = "jacsup.edit.Face is now called OpenedPhoto; the old name will be removed in the next release"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return OpenedPhoto
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def _value(factor: Factor, strength: Number) -> float:
    """The value of y that corresponds to a strength."""
    assert factor.m_minus is not None and factor.m_plus is not None
    return at_strength(factor.m_minus, factor.m_plus, strength)
