"""Everything that changes a result, as frozen dataclasses that travel to JSON and back."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

from jacsup import renamed
from jacsup.bounded import refusing
from jacsup.jsonable import from_dict

# Sides of the square images that the convolutional model takes.
IMAGE_SIZES = (32, 64, 128, 256, 512)

# What layers compute in while they learn; no part of a recipe.
Precision = Literal["float32", "bfloat16"]
# The objectives of the method and of nested dropout; those of other baselines are in hooks.BASELINES.
Objective = Literal["reconstruction", "teacher", "student", "residual", "nested", "diffusion"]


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
        keep: The attributes to use; empty for all 40.
        drop: Attributes to leave out.
    """

    size: int = 64
    judged_on: Literal["test", "validation"] = "test"
    sha256: str = ""
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


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
class ModelConfig:
    """What a recipe says of its autoencoder. Each backbone has a subclass; models.BACKBONES has its network.

    Attributes:
        value_range: Lowest and highest pixel value, within the tanh output's [-1, 1].
        supports_attributes: Whether the code can have a nuisance part z besides the attributes.
    """

    value_range: tuple[float, float] = (0.0, 1.0)
    supports_attributes: ClassVar[bool] = False

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        low, high = self.value_range
        if not -1 <= low < high <= 1:
            raise ValueError(f"model.value_range is {low}, {high}; it must be low < high within [-1, 1] (tanh output)")
        if supervised and not self.supports_attributes:
            raise ValueError("z_channels need a convolutional model; set model to Conv, or use num_units")


def _require_widths(name: str, widths: tuple[int, ...], unit: int = 1) -> None:
    if not widths or any(width < unit or width % unit for width in widths):
        allowed = "widths, each at least 1" if unit == 1 else f"multiples of {unit}"
        raise ValueError(f"model.{name} is {widths}; it must be one or more {allowed}")


@dataclass(frozen=True, kw_only=True)
class MLP(ModelConfig):
    """The paper's appendix A.1: encoder D-256-128-64-units with ReLU, mirrored decoder with tanh at its end.

    Attributes:
        hidden: Widths of the encoder's hidden layers.
        value_range: Lowest and highest pixel value.
    """

    hidden: tuple[int, ...] = (256, 128, 64)

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.
        """
        super().require_valid(supervised=supervised)
        _require_widths("hidden", self.hidden)


@dataclass(frozen=True, kw_only=True)
class Conv(ModelConfig):
    """The paper's appendix A.2: convolutions of stride 2, then one to the code, and a mirrored decoder.

    Attributes:
        channels: Widths of the encoder's convolutions.
        code_block: End the encoder in batch normalisation and LeakyReLU, as A.2 can be read, instead of a bare
            convolution.
        layers_without_y: How many of the decoder's last layers do not see y; in the paper all layers see it.
        value_range: Lowest and highest pixel value.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128)
    code_block: bool = False
    layers_without_y: int = 0
    value_range: tuple[float, float] = (-1.0, 1.0)
    supports_attributes: ClassVar[bool] = True

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.
        """
        super().require_valid(supervised=supervised)
        _require_widths("channels", self.channels)
        if not 0 <= self.layers_without_y <= len(self.channels):
            raise ValueError(
                f"model.layers_without_y is {self.layers_without_y}; it must be between 0 and {len(self.channels)}, as "
                "the first layer must see y"
            )
        if self.code_block and not supervised:
            raise ValueError("model.code_block must be false with num_units, as units have no activation")


@dataclass(frozen=True, kw_only=True)
class Diffusion(ModelConfig):
    """Ours, for photographs: a classifier reads the attributes, and a diffusion model draws what they change.

    Attributes:
        patch: Side of the squares of pixels that the denoiser's finest maps have one place for.
        channels: Widths of its maps, from these on, each at half the side of the one before.
        embedding: Width of the embedding of noise level and attributes.
        encoder_channels: Widths of the classifier's maps, the first at half the image's side.
        log_sigma: Mean and standard deviation of the logarithm of the noise levels in training.
        shown: Probability that the denoiser is told an attribute in training. It is told none of one image in ten.
        noise_levels: Noise levels at which an edit is drawn, from the highest on. Pixels are in [-1, 1].
        guidance: How many times what the denoiser changes is added to the photo, before attributes are calibrated.
        value_range: Lowest and highest pixel value.
    """

    patch: int = 4
    channels: tuple[int, ...] = (96, 160, 184)
    embedding: int = 256
    encoder_channels: tuple[int, ...] = (32, 64, 96, 128)
    log_sigma: tuple[float, float] = (1.2, 0.8)
    shown: float = 1.0
    noise_levels: tuple[float, ...] = (8.0, 2.5, 0.8)
    guidance: float = 4.0
    value_range: tuple[float, float] = (-1.0, 1.0)
    supports_attributes: ClassVar[bool] = True

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.
        """
        super().require_valid(supervised=supervised)
        if not supervised:
            raise ValueError("model is Diffusion, which edits attributes; set z_channels, not num_units")
        _require_widths("channels", self.channels, 8)
        _require_widths("encoder_channels", self.encoder_channels, 8)
        for name in ("patch", "embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.shown <= 1:
            raise ValueError(f"model.shown is {self.shown}; it must be above 0 and at most 1")
        if not math.isfinite(self.log_sigma[0]) or not 0 <= self.log_sigma[1] < math.inf:
            raise ValueError(f"model.log_sigma is {self.log_sigma}; it must be a mean and a deviation of at least 0")
        levels = self.noise_levels
        if not levels or levels[-1] <= 0 or any(low >= high for high, low in pairwise(levels)):
            raise ValueError(f"model.noise_levels is {levels}; they must be positive and fall")
        if not 0 < self.guidance < math.inf:
            raise ValueError(f"model.guidance is {self.guidance}; it must be a positive number")


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The new networks of a residual student, D_S(y, z) = D_T(y) + R(y, u).

    Attributes:
        model: The autoencoder of what the teacher's reconstruction lacks; u is its code.
        reads: What its encoder reads: the image x, or the rest x - D_T(y), which is hard for convolutions to find.
        sees_y: Whether its decoder sees y. Without, and without moments, the Jacobian is exactly the teacher's.
        moments: Widths of the hidden layers that predict the mean and the standard deviation of u given y. The code
            holds z = (u - mean) / deviation. Empty: it holds u.
        grown: Whether R also sees the teacher's z and starts from its decoder, for attributes:
            R(z_T, u) = D_N(0, z_T, u) - D_T(0, z_T), where D_N is the teacher's decoder, grown.
    """

    model: ModelConfig = MLP(hidden=(512, 256, 128))
    reads: Literal["image", "rest"] = "image"
    sees_y: bool = True
    moments: tuple[int, ...] = (128, 128, 128)
    grown: bool = False


@dataclass(frozen=True, kw_only=True)
class ResidualStudent(ModelConfig):
    """A trained residual student. Recipes ask for one by a stage with the objective `residual`.

    Attributes:
        teacher: The teacher's config.
        teacher_units: Number of the teacher's factors.
        teacher_z_channels: Channels of the teacher's z.
        teacher_normalized: Whether the teacher's encoder ends in a BatchNorm.
        addition: The config of the autoencoder of the rest.
        reads: What its encoder reads, the image or the rest.
        sees_y: Whether its decoder sees y.
        moments: Widths of the hidden layers that predict the moments of u given y; empty for none.
        grown: Whether R is the difference of the grown decoder and the teacher's.
        amount: How much of the rest is added, from 0 to 1. Less of it gives more control and less sharpness.
    """

    supports_attributes: ClassVar[bool] = True
    teacher: ModelConfig = MLP()
    teacher_units: int = 2
    teacher_z_channels: int = 0
    teacher_normalized: bool = False
    addition: ModelConfig = MLP()
    reads: Literal["image", "rest"] = "image"
    sees_y: bool = False
    moments: tuple[int, ...] = ()
    grown: bool = False
    amount: float = 1.0

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.
        """
        super().require_valid(supervised=supervised)
        if not 0 <= self.amount <= 1:
            raise ValueError(f"amount is {self.amount}; it must be between 0 and 1")
        if self.teacher_units < 1:
            raise ValueError(f"teacher_units is {self.teacher_units}; it must be at least 1")
        if self.moments:
            _require_widths("moments", self.moments)
        for part in (self.teacher, self.addition):
            part.require_valid(supervised=supervised)


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Settings of the Adam optimizer of a stage.

    Attributes:
        lr: Learning rate, the highest one of a schedule.
        betas: Decay rates of the moments.
        weight_decay: Factor of the L2 penalty, which is added to the gradient.
        schedule: `one-cycle` warms up over the first 30 % of the stage, then follows a cosine down to zero.
        clip: Largest norm of an update's gradient; 0 disables clipping.
    """

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-6
    schedule: Literal["constant", "one-cycle"] = "constant"
    clip: float = 0.0


@renamed.accepts(diff="jacobian")
@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the loss terms, each at least 0. A term of weight 0 is not computed.

    Attributes:
        rec: Reconstruction, eq. 8.
        y: First term of eq. 9: the student's factors follow the teacher's.
        jacobian: Second term of eq. 9: the student's decoder keeps the teacher's Jacobian in the factors.
        xcov: Cross-covariance of y and z, eq. 10.
        pred: Prediction of labelled attributes, eq. 11.
        cycle_y: Cycle on attributes, eq. 12.
        cycle_z: Cycle on the nuisance part, eq. 13.
        adv: Adversarial term of a baseline, which the method itself does not have.
    """

    rec: float = 1.0
    y: float = 0.1
    jacobian: float = 1.0
    xcov: float = 1e-3
    pred: float = 0.0
    cycle_y: float = 0.0
    cycle_z: float = 0.0
    adv: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """Variants of the loss terms; all are off in the paper.

    Attributes:
        xcov_norm: Take the square root of eq. 10, as the author's code does.
        cycle_z_norm: Take the square root of eq. 13, as the author's code does.
        cycle_predicted: Compare eq. 12 with the sign of the partner's prediction instead of its label, as the author's
            code does.
        cycle_blurred: Let the encoder read blurred images in eq. 12 and 13, so that the decoder cannot satisfy it with
            fine patterns that only this encoder recognises.
        balanced: Give rare labels the same total weight as common ones in eq. 11 and 12.
        squared: Take (y - y_bar)^2 instead of the hinge in eq. 11 and 12. Beyond the hinge's margin y is free to encode
            other content, which edits would then change too.
    """

    xcov_norm: bool = False
    cycle_z_norm: bool = False
    cycle_predicted: bool = False
    cycle_blurred: bool = False
    balanced: bool = False
    squared: bool = False


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How the weights of a student's new code entries start.

    Attributes:
        new: `zero` lets the decoder ignore them at first, so that the student starts with the teacher's output;
            `random` initialises them like a new layer, as the author's code does.
    """

    new: Literal["zero", "random"] = "zero"


@renamed.accepts(taken="swap_probability")
@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a curriculum. It starts from the weights of the stage before it.

    Attributes:
        name: Name of the stage, unique within its recipe.
        objective: `reconstruction` trains on eq. 8; `teacher` on eq. 8, 10 and 11, and its decoder on eq. 12 and 13;
            `student` on eq. 8 and 9, and on the others where they have weights; `residual` on eq. 8
            with the teacher inside the decoder, the residual student; `nested` on eq. 8 with truncated codes;
            `diffusion` trains the decoder of a Diffusion model to denoise images, given their labels.
            Baselines have objectives of their own, see `hooks.BASELINES`.
        num_units: Units of an ordered code learned without labels, 0 for a code with attributes. It must grow from
            stage to stage; the units of the stage before are the student's factors y.
        z_channels: Channels of the nuisance map of a code whose factors are the data's attributes, 0 for an ordered
            code. It must not shrink from stage to stage.
        epochs: Passes over the training images, at least 1.
        batch_size: Images per step, at least 2.
        weights: Weights of the loss terms.
        options: Variants of the loss terms.
        adam: Settings of the optimizer.
        growth: How new weights start.
        residual: The networks of a residual student.
        teacher: Name of the stage whose Jacobian a student keeps; defaults to the stage before it.
        swap_probability: Probability, above 0, that an attribute comes from the partner where eq. 9, 12 and 13 swap;
            1 in the paper.
    """

    name: str
    objective: str = "student"
    num_units: int = 0
    z_channels: int = 0
    epochs: int = 100
    batch_size: int = 128
    weights: Weights = Weights()
    options: LossOptions = LossOptions()
    adam: Adam = Adam()
    growth: Growth = Growth()
    residual: Residual = Residual()
    teacher: str = ""
    swap_probability: float = 1.0

    @property
    def is_student(self) -> bool:
        """Whether the stage keeps the Jacobian of a teacher, by eq. 9 or by construction."""
        return self.objective in ("student", "residual")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named run: data, model, curriculum and seed. Two runs with equal recipes give equal weights.

    Attributes:
        name: Name of the recipe, part of its run's folder name.
        data: The data set.
        model: The autoencoder's architecture.
        stages: The curriculum, at least one stage.
        flips: Mirror each image with probability one half whenever it is seen.
        seed: Seed of everything that is drawn, at least 0.
        arm: Name of the baseline that this recipe is of another, empty for the method itself.
        init: SHA-256 of the model file that the first stages were copied from, if any.

    Raises:
        ValueError: The recipe cannot be trained; the message names the field, its value and what it must be.
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
            raise ValueError(f"seed is {self.seed}; it must be at least 0")
        if not self.stages:
            raise ValueError(f"recipe '{self.name}' has no stages; it needs at least one")
        if self.stages[0].is_student:
            raise ValueError(f"recipe '{self.name}' starts with a student; its first stage has no teacher to follow")
        self.model.require_valid(supervised=self.supervised)
        for stage in self.stages:
            _check_stage(stage)
        self._check_curriculum()
        names = [stage.name for stage in self.stages]
        for name in (self.name, self.arm or "plain", *names):
            if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
                raise ValueError(
                    f"'{name}' cannot be a folder's name; it must consist of letters, digits, '.', '_' and '-'"
                )
        if len({*names}) < len(names):
            raise ValueError(f"recipe '{self.name}' has two stages of the same name; names must be unique")

    def _check_curriculum(self) -> None:
        for number, stage in enumerate(self.stages):
            earlier = self.stages[:number]
            _check_size(stage, earlier[-1] if earlier else None, self.supervised)
            if stage.objective == "diffusion" and not isinstance(self.model, Diffusion):
                model = type(self.model).__name__
                raise ValueError(f"stage '{stage.name}': diffusion needs model to be Diffusion, not {model}")
            if earlier:
                _check_residual(stage, earlier, self)
            if stage.teacher and stage.teacher not in [each.name for each in earlier]:
                raise ValueError(
                    f"stage '{stage.name}': teacher is '{stage.teacher}'; it must be the name of an earlier stage"
                )

    @property
    def supervised(self) -> bool:
        """Whether the factors are the data's attributes."""
        return bool(self.stages[0].z_channels)

    def has_teacher(self, number: int) -> bool:
        """Whether the Jacobian of stage `number` can be compared with that of an earlier one.

        Args:
            number: Number of the stage, from 0.
        """
        return number > 0 and self.stages[number].objective != "diffusion"

    def teacher_of(self, number: int) -> int:
        """The number of the stage that stage `number` has as its Jacobian teacher.

        Args:
            number: Number of the stage, from 0.
        """
        name = self.stages[number].teacher
        return next((i for i, stage in enumerate(self.stages[:number]) if stage.name == name), number - 1)

    def prefix(self, num_stages: int) -> tuple[Any, ...]:
        """What decides the weights after `num_stages` stages: runs that agree in it may share them.

        Args:
            num_stages: Number of stages.
        """
        return (self.data, self.model, self.flips, self.seed, self.init, self.stages[:num_stages])

    @property
    def run_name(self) -> str:
        """Folder name under runs/: `RECIPE[-ARM][-sSEED]`."""
        return self.name + (f"-{self.arm}" if self.arm else "") + (f"-s{self.seed}" if self.seed else "")


def _check_stage(stage: Stage) -> None:
    def require(holds: bool, name: str, value: Any, condition: str) -> None:
        if not holds:
            raise ValueError(f"stage '{stage.name}': {name} is {value}; it must be {condition}")

    adam, weights = stage.adam, stage.weights
    require(stage.epochs >= 1, "epochs", stage.epochs, "at least 1")
    require(0 < stage.swap_probability <= 1, "swap_probability", stage.swap_probability, "above 0 and at most 1")
    require(stage.batch_size >= 2, "batch_size", stage.batch_size, "at least 2, as images are swapped in pairs")
    require(0 < adam.lr < math.inf, "adam.lr", adam.lr, "a positive number")
    require(all(0 <= beta < 1 for beta in adam.betas), "adam.betas", adam.betas, "at least 0 and below 1")
    for name, value in {"adam.weight_decay": adam.weight_decay, "adam.clip": adam.clip, **vars(weights)}.items():
        require(0 <= value < math.inf, name, value, "at least 0")
    needed = {"teacher": ("rec", "pred"), "student": ("rec", "jacobian")}.get(stage.objective, ("rec",))
    if not any(getattr(weights, name) for name in needed):
        raise ValueError(
            f"stage '{stage.name}': weights.{' and weights.'.join(needed)} is 0; at least one must be above 0"
        )


def _check_size(stage: Stage, before: Stage | None, supervised: bool) -> None:
    name, other = ("z_channels", "num_units") if supervised else ("num_units", "z_channels")
    size = getattr(stage, name)
    smallest = 1 if before is None else getattr(before, name) + (0 if supervised else 1)
    if size < smallest:
        raise ValueError(f"stage '{stage.name}': {name} is {size}; it must be at least {smallest}")
    if getattr(stage, other):
        raise ValueError(f"stage '{stage.name}': {other} is {getattr(stage, other)}; with {name} it must be 0")
    if stage.objective == "teacher" and not supervised:
        raise ValueError(
            f"stage '{stage.name}': a teacher learns attributes; set z_channels, not num_units ({stage.num_units})"
        )
    terms = {f"weights.{term}": (getattr(stage.weights, term), 0.0) for term in ("pred", "cycle_y", "cycle_z", "adv")}
    for field, (value, needed) in {**terms, "swap_probability": (stage.swap_probability, 1.0)}.items():
        if not supervised and value != needed:
            raise ValueError(f"stage '{stage.name}': {field} is {value}; without attributes it must be {needed}")
    if stage.objective == "nested" and supervised:
        raise ValueError(f"stage '{stage.name}': nested dropout needs an ordered code; set num_units, not z_channels")


def _check_residual(stage: Stage, earlier: tuple[Stage, ...], recipe: Recipe) -> None:
    """A residual student holds the model before it, of which nothing changes any more."""
    is_residual = stage.objective == "residual"
    if any(each.objective == "residual" for each in earlier) and not is_residual:
        raise ValueError(
            f"stage '{stage.name}': objective is {stage.objective}; after a residual stage it must be residual"
        )
    if not is_residual:
        return
    if stage.teacher not in ("", earlier[-1].name):
        raise ValueError(f"stage '{stage.name}': teacher is '{stage.teacher}'; it must be the stage before it")
    if recipe.supervised and stage.z_channels <= earlier[-1].z_channels:
        raise ValueError(
            f"stage '{stage.name}': z_channels is {stage.z_channels}; it must be above {earlier[-1].z_channels}"
        )
    stage.residual.model.require_valid(supervised=recipe.supervised)
    if stage.residual.moments and min(stage.residual.moments) < 1:
        raise ValueError(
            f"stage '{stage.name}': residual.moments is {stage.residual.moments}; widths must be at least 1"
        )
    grows = recipe.supervised and earlier[-1].objective != "residual" and stage.residual.model == recipe.model
    if stage.residual.grown and (stage.residual.sees_y or not grows):
        raise ValueError(
            f"stage '{stage.name}': residual.grown needs attributes, a teacher that is not a residual student, the "
            "recipe's own model as residual.model, and sees_y=False"
        )


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a recipe.json, of this version or of 0.1.

    Args:
        path: Path of the file.

    Returns:
        The recipe.

    Raises:
        ValueError: The file is missing or does not hold a recipe.
    """
    try:
        with refusing(path, "not a recipe"):
            return from_dict(Recipe, renamed.current_recipe(json.loads(path.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; pass the path of a recipe.json") from None
