"""Everything that changes a result, as frozen dataclasses that travel to JSON and back."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jacsup.jsonable import from_dict

# Sides of the square images that the convolutional model takes.
IMAGE_SIZES = (32, 64, 128, 256, 512)

# What layers compute in while they learn; no part of a recipe.
Precision = Literal["float32", "bfloat16"]
Objective = Literal["reconstruction", "teacher", "student", "nested", "fader"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Base class of what a recipe says of its data set: one subclass per data set.

    A subclass is a frozen, keyword-only dataclass. Its name is the `type` in recipe.json, its fields are the settings
    that change the images, and the first line of its docstring is what `jacsup list` shows. A field `size`, the side of
    square images, means that the images come in any of IMAGE_SIZES. `jacsup.data.DATA_SETS` has how each is loaded.
    """


@dataclass(frozen=True, kw_only=True)
class MNIST(DataConfig):
    """60,000 + 10,000 handwritten digits, 1x28x28, from four IDX files; other sets in this format work too."""


@dataclass(frozen=True, kw_only=True)
class SVHN(DataConfig):
    """73,257 + 26,032 house-number digits, 3x32x32, from train_32x32.mat and test_32x32.mat; subsets work too."""


@dataclass(frozen=True, kw_only=True)
class Digits(DataConfig):
    """scikit-learn's 1,797 handwritten digits, 1x8x8, split into 1,500 + 297; part of that package."""


@dataclass(frozen=True, kw_only=True)
class Faces(DataConfig):
    """Drawn faces with 36 attributes and known counterfactuals; the package draws them, the last tenth is the test set.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        num_images: Number of images, training and test together.
    """

    size: int = 64
    num_images: int = 20_000


@dataclass(frozen=True, kw_only=True)
class Sprites(DataConfig):
    """dSprites, 1x64x64: 3 shapes in 6 scales, 40 orientations and 32 x 32 places; a fixed draw, 15,000 for testing.

    Attributes:
        num_train: Number of training images, drawn from those that are not test images.
        official: Read the images from the published .npz file instead of drawing them.
    """

    num_train: int = 32_000
    official: bool = False


@dataclass(frozen=True, kw_only=True)
class CelebA(DataConfig):
    """202,599 photographs of celebrities with 40 attributes, in the official layout and partition, cropped square.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        judged_on: The partition that metrics are computed on: choose settings on `validation`, report on `test`.
        sha256: Checksum of the images, filled in when they are read. It tells a resumed run whether they are the same.
    """

    size: int = 64
    judged_on: Literal["test", "validation"] = "test"
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Folder(DataConfig):
    """Your own images, with or without a table of attributes; the last tenth of a fixed shuffle is the test set.

    Attributes:
        size: Side of the square images, one of IMAGE_SIZES.
        sha256: Checksum of the images, filled in when they are read. It tells a resumed run whether they are the same.
    """

    size: int = 64
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Arrays(DataConfig):
    """Images passed from Python with `Dataset.from_arrays`.

    Attributes:
        sha256: Checksum of the images and labels. It tells a resumed run whether they are the same.
    """

    sha256: str


def require_image_size(size: int) -> None:
    """Check that the convolutional model takes images of this size.

    Args:
        size: Side of the square images, in pixels.

    Raises:
        ValueError: The size is not one of IMAGE_SIZES.
    """
    if size not in IMAGE_SIZES:
        raise ValueError(f"size is {size}; must be one of {', '.join(map(str, IMAGE_SIZES))}")


@dataclass(frozen=True, kw_only=True)
class MLP:
    """The paper's appendix A.1: encoder D-256-128-64-units, ReLU, mirrored decoder, tanh at its end."""

    hidden: tuple[int, ...] = (256, 128, 64)
    value_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Conv:
    """The paper's appendix A.2: convolutions of stride 2 with the given widths, then one to the code; mirrored decoder.

    code_block: end the encoder in batch normalisation and LeakyReLU, as A.2 can be read, not in a bare convolution.
    layers_without_y: how many of the decoder's last layers do not see y; in the paper all see it.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128)
    code_block: bool = False
    layers_without_y: int = 0
    value_range: tuple[float, float] = (-1.0, 1.0)


ModelConfig = MLP | Conv


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with its L2 term; `one-cycle` warms up over 30 % of the stage, then falls to zero on a cosine.

    clip: the largest norm of an update's gradient; 0 does not clip.
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-6
    schedule: Literal["constant", "one-cycle"] = "constant"
    clip: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the loss terms: eq. 8 (rec), 9 (y, diff), 10 (xcov), 11 (pred), 12 (cycle_y) and 13 (cycle_z).

    All are 0 and more. adv: of what Fader Networks' encoder gains where the discriminator of z errs.
    A term of weight 0 is not computed. As the author's code has them: `xcov_norm` and `cycle_z_norm` take the square
    roots of eq. 10 and 13; `cycle_predicted` holds eq. 12 to the sign of the partner's prediction, not to its label.
    Ours, in eq. 11 and 12: `balanced` makes rare labels count as much as common ones; `squared` takes (y - y_bar)^2 in
    place of the hinge, beyond whose margin y is free to hold what is no attribute, which edits then change too;
    `cycle_blurred` has the encoder read blurred images in eq. 12 and 13, against fine patterns that it alone sees.
    """

    rec: float = 1.0
    y: float = 0.1
    diff: float = 1.0
    xcov: float = 1e-3
    pred: float = 0.0
    cycle_y: float = 0.0
    cycle_z: float = 0.0
    adv: float = 0.0
    xcov_norm: bool = False
    cycle_z_norm: bool = False
    cycle_predicted: bool = False
    cycle_blurred: bool = False
    balanced: bool = False
    squared: bool = False


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a student's new decoder columns start: `zero` keeps the teacher's output, `random` is the author's way."""

    new: Literal["zero", "random"] = "zero"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of a curriculum; it starts from the weights of the stage before it.

    objective: `reconstruction` trains on eq. 8; `teacher` on eq. 8, 10 and 11, and its decoder on 12 and 13 too;
    `student` on eq. 8 and 9, and on the others where they have weights; `nested` on eq. 8 with codes cut short;
    `fader` on eq. 8 with the labels as y, eq. 11, and an encoder that hides the labels from a discriminator of z.
    num_units: units of an ordered code learned without labels; those of the stage before are the student's factors y.
    z_channels: channels of the nuisance map of a code whose factors are the data's attributes. One of the two is 0.
    Codes may not shrink from stage to stage; num_units must grow. epochs: 1 and more. batch_size: 2 and more.
    teacher: name of the stage that a student's Jacobian is held to; the stage before it without one.
    swap_probability: of each attribute to come from the partner where eq. 9, 12 and 13 swap, above 0; 1 in the paper.
    """

    name: str
    objective: Objective = "student"
    num_units: int = 0
    z_channels: int = 0
    epochs: int = 100
    batch_size: int = 128
    weights: Weights = Weights()
    adam: Adam = Adam()
    growth: Growth = Growth()
    teacher: str = ""
    swap_probability: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named run: data, model, curriculum and seed. Two runs with equal recipes give equal weights.

    Raises ValueError for what cannot be trained, naming the field, its value and what is allowed.
    seed: 0 and more. flips: mirror each image with probability one half whenever it is seen.
    init: the SHA-256 of the model that the first stages were taken from, if any.
    """

    name: str
    data: DataConfig
    model: ModelConfig = MLP()
    stages: tuple[Stage, ...]
    flips: bool = False
    seed: int = 0
    arm: str = ""
    init: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed are 0 and more")
        if not self.stages:
            raise ValueError(f"recipe '{self.name}' has no stages; give it at least one")
        if self.stages[0].objective == "student":
            raise ValueError(f"recipe '{self.name}' starts with a student; its first stage has no teacher to follow")
        _check_model(self.model)
        for stage in self.stages:
            _check_stage(stage)
        self._check_curriculum()
        names = [stage.name for stage in self.stages]
        for name in (self.name, self.arm or "plain", *names):
            if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
                raise ValueError(f"'{name}' becomes a folder's name; allowed are letters, digits, '.', '_' and '-'")
        if len({*names}) < len(names):
            raise ValueError(f"recipe '{self.name}' has two stages of one name; give each its own")

    def _check_curriculum(self) -> None:
        if self.supervised and isinstance(self.model, MLP):
            raise ValueError(f"recipe '{self.name}' has z_channels; its model must be Conv")
        if not self.supervised and isinstance(self.model, Conv) and self.model.code_block:
            raise ValueError(
                f"recipe '{self.name}' has num_units; model.code_block must be false, as its units have no activation"
            )
        for number, stage in enumerate(self.stages):
            earlier = self.stages[:number]
            _check_size(stage, earlier[-1] if earlier else None, self.supervised)
            if stage.teacher and stage.teacher not in [each.name for each in earlier]:
                raise ValueError(
                    f"stage '{stage.name}': teacher is '{stage.teacher}'; allowed are earlier stages' names"
                )

    @property
    def supervised(self) -> bool:
        """Whether the factors are the data's attributes."""
        return bool(self.stages[0].z_channels)

    def teacher_of(self, number: int) -> int:
        """The number of the stage that stage `number` has as its Jacobian teacher."""
        name = self.stages[number].teacher
        return next((i for i, stage in enumerate(self.stages[:number]) if stage.name == name), number - 1)

    def prefix(self, num_stages: int) -> tuple[Any, ...]:
        """What decides the weights after `num_stages` stages: runs that agree in it may share them."""
        return (self.data, self.model, self.flips, self.seed, self.init, self.stages[:num_stages])

    @property
    def run_name(self) -> str:
        """Folder name under runs/: `RECIPE[-ARM][-sSEED]`."""
        return self.name + (f"-{self.arm}" if self.arm else "") + (f"-s{self.seed}" if self.seed else "")


def _check_model(model: ModelConfig) -> None:
    low, high = model.value_range
    if not -1 <= low < high <= 1:
        raise ValueError(f"model.value_range is {low}, {high}; allowed is low < high inside [-1, 1] (tanh output)")
    name, widths = ("hidden", model.hidden) if isinstance(model, MLP) else ("channels", model.channels)
    if not widths or min(widths) < 1:
        raise ValueError(f"model.{name} is {widths}; allowed are one or more layers of 1 and more units")
    if isinstance(model, Conv) and not 0 <= model.layers_without_y <= len(widths):
        raise ValueError(
            f"model.layers_without_y is {model.layers_without_y}; allowed are 0 to {len(widths)}, as the first layer "
            "sees y"
        )


def _check_stage(stage: Stage) -> None:
    def require(holds: bool, name: str, value: Any, allowed: str) -> None:
        if not holds:
            raise ValueError(f"stage '{stage.name}': {name} is {value}; allowed are {allowed}")

    adam, weights = stage.adam, stage.weights
    require(stage.epochs >= 1, "epochs", stage.epochs, "1 and more")
    require(0 < stage.swap_probability <= 1, "swap_probability", stage.swap_probability, "numbers above 0, up to 1")
    require(stage.batch_size >= 2, "batch_size", stage.batch_size, "2 and more (partners)")
    require(0 < adam.lr < math.inf, "adam.lr", adam.lr, "positive numbers")
    require(all(0 <= beta < 1 for beta in adam.betas), "adam.betas", adam.betas, "numbers from 0 to below 1")
    for name, value in {"adam.weight_decay": adam.weight_decay, "adam.clip": adam.clip, **vars(weights)}.items():
        require(0 <= value < math.inf, name, value, "0 and more")
    needed = {"teacher": ("rec", "pred"), "student": ("rec", "diff")}.get(stage.objective, ("rec",))
    if stage.objective == "fader" and not weights.adv:
        raise ValueError(f"stage '{stage.name}': weights.adv is 0; set it above 0, or train a teacher")
    if not any(getattr(weights, name) for name in needed):
        raise ValueError(f"stage '{stage.name}': weights.{' and weights.'.join(needed)} is 0; set one above 0")


def _check_size(stage: Stage, before: Stage | None, supervised: bool) -> None:
    name, other = ("z_channels", "num_units") if supervised else ("num_units", "z_channels")
    size = getattr(stage, name)
    smallest = 1 if before is None else getattr(before, name) + (0 if supervised else 1)
    if size < smallest:
        raise ValueError(f"stage '{stage.name}': {name} is {size}; allowed are {smallest} and more")
    if getattr(stage, other):
        raise ValueError(f"stage '{stage.name}': {other} is {getattr(stage, other)}; allowed is 0 beside {name}")
    if stage.objective in ("teacher", "fader") and not supervised:
        raise ValueError(
            f"stage '{stage.name}': a {stage.objective} learns attributes; give it z_channels, not num_units"
        )
    terms = {f"weights.{term}": (getattr(stage.weights, term), 0.0) for term in ("pred", "cycle_y", "cycle_z", "adv")}
    for field, (value, needed) in {**terms, "swap_probability": (stage.swap_probability, 1.0)}.items():
        if not supervised and value != needed:
            raise ValueError(f"stage '{stage.name}': {field} is {value}; allowed is {needed} without attributes")
    if stage.objective == "nested" and supervised:
        raise ValueError(f"stage '{stage.name}': nested dropout orders units; give it num_units, not z_channels")


def read_recipe(path: Path) -> Recipe:
    """A recipe from a recipe.json; ValueError when the file is missing or does not hold one."""
    try:
        return from_dict(Recipe, json.loads(path.read_text()))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; give the path of a recipe.json") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a recipe: {error}") from None
