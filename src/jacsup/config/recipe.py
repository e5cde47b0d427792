"""A recipe and its stages."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jacsup import renamed
from jacsup.bounded import refusing
from jacsup.config.data import DataConfig
from jacsup.config.models import MLP, Diffusion, ModelConfig, Residual
from jacsup.jsonable import from_dict

# The data type that layers compute in during training; not part of a recipe.
Precision = Literal["float32", "bfloat16"]
# The objectives of the method and of nested dropout; those of other baselines are in hooks.BASELINES.
Objective = Literal["reconstruction", "teacher", "student", "residual", "nested", "diffusion"]


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Settings of the Adam optimizer of a stage.

    Attributes:
        lr: Learning rate; the highest one if a schedule changes it.
        betas: Decay rates of the moments.
        weight_decay: Factor of the L2 penalty, whose gradient is added to that of the losses.
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
        cycle_blurred: Blur the images that the encoder reads in eq. 12 and 13, so that the decoder cannot lower these
            losses with fine patterns that only this encoder recognises.
        balanced: Give rare labels the same total weight as common ones in eq. 11 and 12.
        squared: Use (y - y_bar)^2 instead of the hinge in eq. 11 and 12. Beyond the hinge's margin, y could encode
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
    """How the weights of a student's new code entries are initialised.

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
            with the teacher inside the decoder (a residual student); `nested` on eq. 8 with truncated codes;
            `diffusion` trains the decoder of a Diffusion model to denoise images, given their labels.
            Baselines have their own objectives; see `hooks.BASELINES`.
        num_units: Units of an ordered code learned without labels, 0 for a code with attributes. It must grow from
            stage to stage; the units of the stage before are the student's factors y.
        z_channels: Channels of the nuisance map of a code whose factors are the data's attributes, 0 for an ordered
            code. It must not shrink from stage to stage.
        epochs: Passes over the training images, at least 1.
        batch_size: Images per step, at least 2.
        weights: Weights of the loss terms.
        options: Variants of the loss terms.
        adam: Settings of the optimizer.
        growth: How new weights are initialised.
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
        flips: Mirror each image with probability one half, anew in each epoch.
        seed: Seed of all random numbers, at least 0.
        arm: Name of the arm if this recipe is a baseline of another one; empty for the method itself.
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
            raise ValueError(
                f"recipe '{self.name}' starts with a student, which has no teacher to follow; start with a "
                "reconstruction or teacher stage"
            )
        self.model.require_valid(supervised=self.supervised)
        for stage in self.stages:
            _check_stage(stage)
        self._check_curriculum()
        names = [stage.name for stage in self.stages]
        for name in (self.name, self.arm or "plain", *names):
            if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
                raise ValueError(
                    f"'{name}' cannot be a folder name; it must consist of letters, digits, '.', '_' and '-'"
                )
        if len({*names}) < len(names):
            raise ValueError(f"recipe '{self.name}' has two stages of the same name; names must be unique")

    def _check_curriculum(self) -> None:
        for number, stage in enumerate(self.stages):
            earlier = self.stages[:number]
            _check_size(stage, earlier[-1] if earlier else None, self.supervised)
            if stage.objective == "diffusion" and not isinstance(self.model, Diffusion):
                model = type(self.model).__name__
                raise ValueError(
                    f"stage '{stage.name}': model is {model}; with the objective diffusion it must be Diffusion"
                )
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

        Returns:
            True for all stages but the first one and those with the objective `diffusion`.
        """
        return number > 0 and self.stages[number].objective != "diffusion"

    def teacher_of(self, number: int) -> int:
        """The number of the stage whose Jacobian stage `number` follows.

        Args:
            number: Number of the stage, from 0.

        Returns:
            The number, from 0.
        """
        name = self.stages[number].teacher
        return next((i for i, stage in enumerate(self.stages[:number]) if stage.name == name), number - 1)

    def prefix(self, num_stages: int) -> tuple[Any, ...]:
        """Everything that determines the weights after `num_stages` stages. Runs with equal prefixes may share them.

        Args:
            num_stages: Number of stages.

        Returns:
            Values to compare with those of another recipe.
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
        given = " and ".join(f"weights.{name} is 0" for name in needed)
        subject = "it" if len(needed) == 1 else "at least one of them"
        raise ValueError(f"stage '{stage.name}': {given}; {subject} must be above 0")


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
    """A residual student contains the model of the stage before it, which stays fixed from then on."""
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
