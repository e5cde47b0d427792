"""The built-in recipes, and the arms they are compared with."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jacsup.config import (
    MLP,
    MNIST,
    SVHN,
    Adam,
    CelebA,
    Conv,
    DataConfig,
    Diffusion,
    Digits,
    Faces,
    Folder,
    Growth,
    LossOptions,
    ModelConfig,
    Recipe,
    Residual,
    Sprites,
    Stage,
    Weights,
    read_recipe,
    require_image_size,
)
from jacsup.curricula import conv_for, curriculum, diffusion_for, face_curriculum
from jacsup.hooks import BASELINES
from jacsup.jsonable import suggestion

EXACT_ARM = {"exact": "one student with the teacher inside its decoder, which has exactly the teacher's Jacobian"}
ARMS = {
    "plain": "the same curriculum with the reconstruction loss (eq. 8) alone",
    "plain-jump": "from the first teacher directly to the longest code, with the reconstruction loss alone",
    "residual": "one student with the teacher inside its decoder, for as many images as the students",
    **EXACT_ARM,
}
SUPERVISED_ARMS = {
    "plain": "the long code, trained further with the teacher's losses, without Jacobian supervision",
    "reconstruction": "the long code, trained further with the reconstruction loss (eq. 8) alone",
    "longer": "the teacher's short code, trained further for as many images as the students",
    **{name: baseline.description for name, baseline in BASELINES.items()},
    **EXACT_ARM,
}


def with_size(recipe: Recipe, size: int) -> Recipe:
    """Return a recipe for images of another size; smaller ones have fewer layers and a smaller z.

    Args:
        recipe: A recipe with a convolutional model, whose data come in several sizes.
        size: Side of the images in pixels, one of IMAGE_SIZES.

    Returns:
        The recipe.

    Raises:
        ValueError: The recipe's images have a fixed size, or the size is not supported.
    """
    old_size = getattr(recipe.data, "size", None)
    if old_size is None or not isinstance(recipe.model, Conv | Diffusion):
        raise ValueError(f"recipe '{recipe.name}' has images of a fixed size; omit --size")
    require_image_size(size)
    if isinstance(recipe.model, Diffusion):
        return replace(recipe, data=replace(recipe.data, size=size), model=diffusion_for(size))
    channels = conv_for(size, recipe.model.channels[0]).channels
    stages = tuple(replace(stage, z_channels=stage.z_channels * size // old_size) for stage in recipe.stages)
    model = replace(recipe.model, channels=channels)
    return replace(recipe, data=replace(recipe.data, size=size), model=model, stages=stages)


def _recipe(name: str, data: DataConfig, stages: tuple[Stage, ...], model: ModelConfig = MLP(), **more: Any) -> Recipe:
    return Recipe(name=name, data=data, model=model, stages=stages, **more)


# Eq. 10 as a norm, as in the author's code.
_NORM = LossOptions(xcov_norm=True)
_FAST = curriculum(
    epochs=12, weights=Weights(y=0.25, jacobian=0.3), options=_NORM, adam=Adam(lr=2e-3, schedule="one-cycle")
)
_PAPER_FACES_ADAM = Adam(lr=2e-3, betas=(0.5, 0.999), weight_decay=0.0)
_PAPER_TEACHER = Weights(rec=100.0, y=0.0, jacobian=0.0, xcov=0.1, pred=0.1)
_STUDENT = Weights(rec=100.0, y=1.0, jacobian=50.0, xcov=0.0)
# Ours, for budgets of minutes to hours: a prediction weight large enough to matter, eq. 10 as a norm (its noise floor),
# equal total weight of rare and common labels, y near -1 and 1, swaps of half of the attributes, so that each one works
# on its own, no y in the decoder's last two layers, and cycles on blurred images. The weights of eq. 9 and 12 depend on
# the images.
_FACES_ADAM = Adam(lr=2e-3, weight_decay=0.0, schedule="one-cycle")
_FACES_TEACHER = Weights(rec=100.0, y=0.0, jacobian=0.0, xcov=0.1, pred=30.0)
_FACES_OPTIONS = LossOptions(xcov_norm=True, balanced=True, squared=True, cycle_blurred=True)
# For drawn faces, eq. 9 alone preserves the edits. Sharper photographs need larger changes than the teacher makes, so
# their student is trained with the teacher's losses as well as with eq. 9.
_DRAWN_STUDENT = replace(_STUDENT, jacobian=25.0)
_PHOTO_STUDENT = replace(_FACES_TEACHER, y=1.0, jacobian=100.0, cycle_y=0.4, cycle_z=0.01)


def _faces(
    name: str,
    data: Faces | CelebA | Folder,
    z_channels: tuple[int, ...],
    epochs: tuple[int, ...],
    *,
    cycle_y: float,
    student: Weights = _STUDENT,
    first: int = 24,
) -> Recipe:
    """Our own curriculum for faces; with three stages, D is left out. `cycle_y` is B's weight."""
    stages = face_curriculum(
        z_channels=z_channels,
        epochs=epochs,
        batch_size=64,
        teacher=_FACES_TEACHER,
        cycles={"cycle_y": cycle_y, "cycle_z": 0.01},
        student=student,
        options=_FACES_OPTIONS,
        adam=_FACES_ADAM,
        swap_probability=0.5,
    )
    model = replace(conv_for(data.size, first), layers_without_y=2)
    return _recipe(name, data, stages, model, flips=not isinstance(data, Faces))


# Approximate training times on 2 CPU cores, where measured; see docs/LOG.md.
DURATIONS = {
    "mnist": "1.5 hours",
    "mnist-author": "1.5 hours",
    "mnist-fast": "10 min",
    "mnist-residual": "2 min",
    "faces": "35 min",
    "faces-mini": "3 min",
    "celeba64": "50 min",
    "photos": "4 hours",
    "debug": "1 s",
}
RECIPES = {
    recipe.name: recipe
    for recipe in (
        # Section 3 and A.1 to the letter: 15 stages of 100 epochs, eq. 9's and 10's weights as printed.
        _recipe("mnist", MNIST(), curriculum()),
        # As the author's public code ran it.
        _recipe(
            "mnist-author",
            MNIST(),
            curriculum(weights=Weights(y=0.25, jacobian=0.1), options=_NORM, growth=Growth(new="random")),
        ),
        # Ours: a good student in minutes.
        _recipe("mnist-fast", MNIST(), _FAST),
        # Ours: a residual student, which adds 14 units at once to a teacher with 2 units, in 30 epochs.
        _recipe(
            "mnist-residual",
            MNIST(),
            (
                Stage(
                    name="units-2",
                    objective="reconstruction",
                    num_units=2,
                    epochs=10,
                    adam=Adam(lr=3e-3, schedule="one-cycle"),
                ),
                Stage(
                    name="residual-16",
                    objective="residual",
                    num_units=16,
                    epochs=20,
                    adam=Adam(lr=3e-3, schedule="one-cycle"),
                ),
            ),
        ),
        # The poster's second data set. The poster gives no settings, so these are MNIST's.
        _recipe("svhn", SVHN(), curriculum()),
        _recipe("svhn-fast", SVHN(), _FAST),
        _recipe(
            "digits",
            Digits(),
            curriculum(max_units=10, epochs=60, batch_size=64, adam=Adam(lr=2e-3, schedule="one-cycle")),
        ),
        # For scores of known factors: 320,000 images seen, 1/60 of those behind the published scores.
        _recipe(
            "sprites",
            Sprites(),
            curriculum(
                max_units=10,
                first_epochs=2,
                epochs=1,
                batch_size=64,
                weights=Weights(y=0.25, jacobian=0.3),
                options=_NORM,
                adam=Adam(lr=2e-3, schedule="one-cycle"),
            ),
            conv_for(64),
        ),
        _faces("faces", Faces(), (16, 16, 64, 256), (8, 20, 10, 10), cycle_y=0.02, student=_DRAWN_STUDENT),
        _faces("faces-mini", Faces(size=32, num_images=6000), (16, 16, 128), (12, 12, 16), cycle_y=0.02, first=32),
        _faces("celeba64", CelebA(), (8, 8, 64, 128), (10, 20, 12, 12), cycle_y=0.5, student=_PHOTO_STUDENT),
        # Ours, for photographs: a classifier of the attributes, then a diffusion model that draws them.
        _recipe(
            "photos",
            CelebA(size=128),
            (
                Stage(
                    name="classifier",
                    objective="teacher",
                    z_channels=3,
                    epochs=6,
                    batch_size=64,
                    weights=Weights(rec=0.0, y=0.0, jacobian=0.0, xcov=0.0, pred=1.0),
                    options=LossOptions(squared=True),
                    adam=Adam(lr=1.5e-3, weight_decay=0.0, schedule="one-cycle"),
                ),
                Stage(
                    name="diffusion",
                    objective="diffusion",
                    z_channels=3,
                    epochs=68,
                    batch_size=64,
                    adam=Adam(lr=1.5e-3, betas=(0.9, 0.99), weight_decay=0.0, schedule="one-cycle", clip=1.0),
                ),
            ),
            Diffusion(),
            flips=True,
        ),
        _faces("folder", Folder(), (8, 8, 64, 128), (30, 30, 30, 30), cycle_y=0.5, student=_PHOTO_STUDENT),
        _recipe(
            "folder-ordered",
            Folder(),
            curriculum(epochs=10, batch_size=64, adam=Adam(lr=2e-3, schedule="one-cycle")),
            conv_for(64),
        ),
        # Section 4 and A.2 to the letter. The paper does not give the weights of C and D; these are the author's.
        _recipe(
            "celeba",
            CelebA(size=256),
            face_curriculum(
                z_channels=(512, 512, 1024, 2048),
                epochs=(100, 100, 200, 200),
                batch_size=128,
                teacher=_PAPER_TEACHER,
                cycles={"cycle_y": 1e-3, "cycle_z": 1e-4},
                student=_STUDENT,
                adam=_PAPER_FACES_ADAM,
            ),
            replace(conv_for(256), code_block=True),
        ),
        # As the author's public code ran it; its hinge is summed over the 40 attributes.
        _recipe(
            "celeba-author",
            CelebA(size=256),
            face_curriculum(
                z_channels=(512, 512, 1024, 2048),
                epochs=(100, 100, 200, 200),
                batch_size=64,
                teacher=replace(_PAPER_TEACHER, pred=4.0),
                cycles={"cycle_y": 1e-4, "cycle_z": 1e-5},
                student=replace(_STUDENT, xcov=1e-2, cycle_y=1e-3, cycle_z=1e-4),
                options=LossOptions(xcov_norm=True, cycle_z_norm=True, cycle_predicted=True),
                adam=replace(_PAPER_FACES_ADAM, clip=10.0),
            ),
            replace(conv_for(256, first=32), code_block=True),
            flips=True,
        ),
        # Trains in seconds, for tests and for trying out the program.
        _recipe("debug", Digits(), curriculum(max_units=4, epochs=3), MLP(hidden=(32, 16))),
    )
}


def residual_student(name: str, students: Sequence[Stage], residual: Residual) -> Stage:
    """Return the stage of one residual student that does the work of several students.

    Args:
        name: Name of the stage.
        students: The students, of which the last has the longest code.
        residual: The new networks.
    """
    last = students[-1]
    return Stage(
        name=name,
        objective="residual",
        num_units=last.num_units,
        z_channels=last.z_channels,
        epochs=sum(stage.epochs for stage in students),
        batch_size=last.batch_size,
        adam=last.adam,
        residual=residual,
    )


def find(name: str) -> Recipe:
    """Find a recipe.

    Args:
        name: A built-in name, `file.py:name` or the path of a recipe.json.

    Returns:
        The recipe.

    Raises:
        ValueError: There is no such recipe, or its file cannot be read.
    """
    if name in RECIPES:
        return RECIPES[name]
    path, _, attribute = name.rpartition(":")
    if path.endswith(".py"):
        return _from_python(Path(path), attribute)
    if name.endswith(".py"):
        raise ValueError(f"'{name}' is a file; pass the name of a recipe in it: {name}:NAME")
    if name.endswith(".json"):
        return read_recipe(Path(name))
    raise ValueError(
        f"unknown recipe '{name}'; {suggestion(name, RECIPES)} "
        "(pass a built-in name, file.py:name or a recipe.json; `jacsup list` shows the built-in ones)"
    )


def _from_python(path: Path, name: str) -> Recipe:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; pass file.py:name")
    try:
        values = runpy.run_path(str(path))
    # The user's file may raise any error; the message names the file.
    except Exception as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}; pass a Python file that defines recipes") from error
    found = {key: value for key, value in values.items() if isinstance(value, Recipe)}
    if name not in found:
        raise ValueError(f"{path} defines no recipe '{name}'; it defines {', '.join(found) or 'none'}")
    return found[name]


def arms_of(recipe: Recipe) -> dict[str, str]:
    """Return the baselines of a recipe by name, with a description of each; none if the recipe has no student."""
    if not recipe.arm and not any(stage.is_student for stage in recipe.stages):
        return {}
    return SUPERVISED_ARMS if recipe.supervised else ARMS


def with_arm(recipe: Recipe, arm: str) -> Recipe:
    """Return a baseline of a recipe. Both share the stages before the first student, that is, the teacher.

    The baselines in `hooks.BASELINES` share no stages, but name the teacher, whose Jacobian is compared with theirs.

    Args:
        recipe: A recipe with a student.
        arm: Name of the baseline, one of `arms_of(recipe)`.

    Returns:
        The recipe of the baseline.

    Raises:
        ValueError: The recipe has no such baseline, no student, or is a baseline itself.
    """
    students = [stage for stage in recipe.stages if stage.is_student]
    if not students:
        raise ValueError(f"recipe '{recipe.name}' has no student, so it has no arms; use a recipe with a student")
    arms = arms_of(recipe)
    if arm not in arms:
        raise ValueError(f"recipe '{recipe.name}' has no arm '{arm}'; {suggestion(arm, arms)}")
    if recipe.arm:
        raise ValueError(f"recipe '{recipe.name}' is already the arm '{recipe.arm}'; use the recipe without an arm")
    if arm in BASELINES:
        return replace(recipe, arm=arm, stages=BASELINES[arm].hook.arm(recipe))
    teachers = recipe.stages[: recipe.stages.index(students[0])]
    short = teachers[-1]
    on_images = [replace(stage, objective="reconstruction") for stage in students]
    as_teacher = [
        replace(stage, objective="teacher", weights=short.weights, options=short.options) for stage in students
    ]
    if arm in ("residual", "exact"):
        # Convolutions do not learn to compute the rest from the image. Where the rest is small, they must start from
        # the teacher's weights; in photographs it is so large that new weights do better.
        residual = Residual(model=recipe.model, reads="rest" if isinstance(recipe.model, Conv) else "image")
        if arm == "exact":
            grown = recipe.supervised and not isinstance(recipe.data, CelebA)
            residual = replace(residual, sees_y=False, moments=(), grown=grown)
        replaced = [residual_student(arm, students, residual)]
    elif not recipe.supervised:
        replaced = on_images if arm == "plain" else on_images[-1:]
    elif arm == "longer":
        epochs = sum(stage.epochs for stage in students)
        replaced = [replace(as_teacher[-1], name="longer", z_channels=short.z_channels, epochs=epochs)]
    else:
        replaced = as_teacher if arm == "plain" else on_images
    return replace(recipe, arm=arm, stages=(*teachers, *replaced))
