"""The `jacsup` program, and its commands `train` and `list`."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import json
import operator
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tyro

import jacsup
from jacsup import recipes
from jacsup.cli import lazy
from jacsup.cli.data import DATA_COMMANDS, prepare_folder
from jacsup.cli.edit import edit
from jacsup.cli.examples import below_help
from jacsup.cli.judge import compare, evaluate, report
from jacsup.cli.options import Flag, Option, RecipeName, Repeated
from jacsup.cli.own_images import Own, OwnImages
from jacsup.cli.share import export, push, serve
from jacsup.cli.table import print_table
from jacsup.cli.tune import tune
from jacsup.config import CelebA, Precision, Recipe, Stage
from jacsup.jsonable import set_field, to_dict
from jacsup.renamed import current_field

# Characters at the end of the lines in tyro's message boxes, and those that its horizontal rules consist of.
FRAME, RULES = "│╮╯ ", {"─", "-"}
# Python's messages about text that is not a number, and their replacements in plain words.
REWORDED = {
    r"no type matching INT could be instantiated from \[(.*?)\].*": r"\1 is not a whole number",
    r"no type matching FLOAT could be instantiated from \[(.*?)\].*": r"\1 is not a number",
    r"invalid literal for int\(\) with base 10: (.*)": r"\1 is not a whole number",
    r"could not convert string to float: (.*)": r"\1 is not a number",
}
SHIPPED = {
    "photos": "edits 40 attributes of photographs; for non-commercial research",
    "faces": "edits 36 attributes of drawn faces",
    "mnist": "decodes digits from an ordered code of 16 units",
}
# The most characters of an error message.
MOST_LETTERS = 600
# How often an idle thread looks for work before it sleeps. OpenMP's default of 300,000 wastes most of a core that other
# processes need, which makes training on all cores several times slower.
SPINS = 1000
WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def train(
    recipe: RecipeName,
    /,
    *,
    data_root: Option[Path] = None,
    out: Option[Path] = None,
    seed: Option[int] = None,
    device: str = "auto",
    epochs: Option[int] = None,
    stages: Option[int] = None,
    arm: Option[str] = None,
    init: Option[str] = None,
    extend: Option[int] = None,
    size: Option[int] = None,
    own: Own = OwnImages(),
    unsupervised: Flag = False,
    set: Repeated = (),
    deterministic: Flag = False,
    precision: Precision = "float32",
    compile: Flag = False,
    tensorboard: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Train a recipe. Running the same command again resumes it.

    Args:
        recipe: The name of a built-in recipe (see `jacsup list`), FILE.py:NAME, or the path of a recipe.json.
        data_root: The folder with the data set's files; by default, MNIST and SVHN are downloaded once.
        out: The run folder; defaults to runs/RECIPE[-ARM][-sSEED].
        seed: The random seed; defaults to the recipe's.
        device: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
        epochs: Epochs of each stage; defaults to the recipe's.
        stages: Stop after this many stages. Running the command again without this option trains the others.
        arm: Train this baseline of the recipe instead; `jacsup list` shows the arms.
        init: A run, or RUN/STAGE, whose finished stages the new run starts from.
        extend: Train the last stage of a finished run for this many more epochs, in a new run. The finished run is
            runs/RECIPE or the one given by --init; --out defaults to its folder name followed by -plus-N.
        size: Side of the images in pixels, for recipes of faces and folders: 32, 64, 128, 256 or 512.
        own: The user's own images.
        unsupervised: For the recipe folder: learn an ordered code, without attributes.
        set: Recipe fields to change, such as seed=1, stages.weights.y=0.2 (all stages) or stages.3.epochs=20.
        deterministic: Give bit-identical results on a GPU too, which is slower.
        precision: The data type that layers compute in. bfloat16 is faster and gives slightly different results.
        compile: Use torch.compile: minutes of preparation, then faster steps on a GPU.
        tensorboard: Also write TensorBoard event files into the run folder.
        dry_run: Print the recipe and its curriculum, without loading data or training.
    """
    if unsupervised and recipe != "folder":
        raise ValueError(f"--unsupervised is only for the recipe 'folder'; omit it for '{recipe}'")
    chosen = recipes.find("folder-ordered" if unsupervised else recipe)
    chosen = recipes.with_size(chosen, size) if size is not None else chosen
    chosen = _changed(chosen, seed, epochs, [assignment for group in set for assignment in group])
    chosen = recipes.with_arm(chosen, arm) if arm else chosen
    if not own.images:
        chosen = _with_some_attributes(chosen, own)
    if dry_run:
        _print_curriculum(chosen)
        return
    if own.images:
        data_root = prepare_folder(chosen, own)
    run = lazy.train(
        chosen,
        out=out,
        data_root=data_root,
        device=device,
        num_stages=stages,
        init=init,
        extend=extend,
        deterministic=deterministic,
        precision=precision,
        compile=compile,
        tensorboard=tensorboard,
    )
    if lazy.is_first_started():
        print(f"{run} is trained; next: jacsup report {run}")


def _with_some_attributes(recipe: Recipe, own: OwnImages) -> Recipe:
    """The recipe with the attributes of CelebA that the user chose."""
    if replace(own, keep=(), drop=()) != OwnImages():
        raise ValueError(
            "options for your own images, such as --attributes and --skip-bad, need --images; to skip CelebA's damaged "
            "images, run `jacsup data prepare celeba --skip-bad`"
        )
    if not (own.keep or own.drop):
        return recipe
    if not isinstance(recipe.data, CelebA):
        raise ValueError("--keep and --drop need a table of attributes; pass --images and --attributes")
    return replace(recipe, data=replace(recipe.data, keep=own.keep, drop=own.drop))


def _changed(recipe: Recipe, seed: int | None, epochs: int | None, assignments: Sequence[str]) -> Recipe:
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if epochs is not None:
        recipe = set_field(recipe, "stages.epochs", epochs)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set is '{assignment}'; use FIELD=VALUE, such as stages.adam.lr=0.001")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        recipe = set_field(recipe, current_field(path), value)
    return recipe


def _print_curriculum(recipe: Recipe) -> None:
    summary = {name: value for name, value in to_dict(recipe).items() if name != "stages"}
    print(json.dumps(summary))
    header = ("stage", "objective", "code", "epochs", "batch size", "learning rate", "new units", "weights")
    rows = [
        (
            stage.name,
            stage.objective,
            _code(stage),
            stage.epochs,
            stage.batch_size,
            f"{stage.adam.lr:g} {stage.adam.schedule}",
            stage.growth.new,
            _weights(stage),
        )
        for stage in recipe.stages
    ]
    print_table(header, rows)


def _code(stage: Stage) -> str:
    return f"attributes + {stage.z_channels} channels" if stage.z_channels else f"{stage.num_units} units"


def _weights(stage: Stage) -> str:
    if stage.objective in ("reconstruction", "nested", "residual"):
        return f"rec {stage.weights.rec:g}"
    weights = [f"{name} {value:g}" for name, value in vars(stage.weights).items() if value]
    return " ".join([*weights, *(name for name, on in vars(stage.options).items() if on)])


def show_list() -> None:
    """List the shipped models, recipes, arms and data sets, and where to start."""
    print("to edit a photo, without training: jacsup serve photos; to train a first model: jacsup train faces-mini")
    print()
    print_table(("shipped model", "what it does"), list(SHIPPED.items()))
    print()
    rows = [
        (
            recipe.name,
            type(recipe.data).__name__,
            _needs(recipe),
            recipes.DURATIONS.get(recipe.name),
            type(recipe.model).__name__,
            len(recipe.stages),
            sum(stage.epochs for stage in recipe.stages),
            _code(recipe.stages[-1]),
        )
        for recipe in recipes.RECIPES.values()
    ]
    print_table(("recipe", "data", "needs", "on 2 cores", "model", "stages", "epochs", "code"), rows)
    print()
    print_table(("arm of an ordered code", "description"), list(recipes.ARMS.items()))
    print()
    print_table(("arm with attributes", "description"), list(recipes.SUPERVISED_ARMS.items()))
    print()
    kinds = [(kind.__name__, (kind.__doc__ or "").strip().partition("\n")[0]) for kind in lazy.DATA_SETS]
    print_table(("data", "description"), kinds)


def _needs(recipe: Recipe) -> str:
    """What the user must provide before the recipe can be trained."""
    if lazy.spec_of(recipe.data).download:
        return "a download, once"
    return {"CelebA": "--data-root", "Folder": "--images"}.get(type(recipe.data).__name__, "nothing")


COMMANDS = {
    "train": train,
    "evaluate": evaluate,
    "report": report,
    "compare": compare,
    "tune": tune,
    "edit": edit,
    "serve": serve,
    "export": export,
    "push": push,
    "list": show_list,
}


def main() -> None:
    """Run the `jacsup` program. Exit codes: 0 done, 1 failed while running, 2 wrong input, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
    warnings.formatwarning = lambda message, *_where, **_more: f"jacsup: {message}\n"
    if "OMP_WAIT_POLICY" not in os.environ:
        # GNU's OpenMP reads it when torch is loaded.
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    try:
        if sys.argv[1:] == ["--version"]:
            print(f"jacsup {jacsup.__version__}")
        else:
            _parsed(sys.argv[1:] or ["--help"])()
        sys.stdout.flush()
    except ValueError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; progress is saved: run the same command again to continue", 130)
    except BrokenPipeError:
        # The reader closed the pipe, as `head` does. Without this, the interpreter would fail when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except WRONG_PATH as error:
        _fail(f"{error.filename}: {error.strerror}; use another path", 2)
    except (OSError, RuntimeError) as error:
        _fail(f"{type(error).__name__}: {error}", 1)


def _parsed(arguments: Sequence[str]) -> Callable[[], None]:
    """Return the call of a command that the arguments describe.

    Raises:
        ValueError: The arguments are not valid; the message is one line.
    """
    data = tyro.conf.subcommand("data", description="Download or prepare a data set.")
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(
                _one_of(COMMANDS) | Annotated[_one_of(DATA_COMMANDS), data],
                prog="jacsup",
                description=jacsup.__doc__,
                args=arguments,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
            )
    except SystemExit as stopped:
        command = " ".join(itertools.takewhile(_is_command, arguments))
        if not stopped.code:
            print(below_help(command), end="")
            raise
        help_of = " ".join(["jacsup", *command.split(), "--help"])
        raise ValueError(f"{_in_one_line(told.getvalue())}; run `{help_of}`") from None


def _in_one_line(box: str) -> str:
    """The first message in a box of tyro's, up to its first rule."""
    lines = (line[1:].rstrip(FRAME) for line in box.splitlines()[1:])
    message = itertools.takewhile(lambda line: not _is_rule(line), itertools.dropwhile(_is_rule, lines))
    # Descriptions of missing arguments are indented further than their names.
    words = " ".join(line.strip() for line in message if not line.startswith(9 * " ")).rstrip(".")
    for pythonic, plain in REWORDED.items():
        words = re.sub(pythonic, plain, words)
    return words[:1].lower() + words[1:]


def _is_rule(line: str) -> bool:
    return {*line.strip()} <= RULES


def _is_command(word: str) -> bool:
    return word == "data" or word in COMMANDS or word in DATA_COMMANDS


def _one_of(commands: dict[str, Callable[..., None]]) -> Any:
    """Return the type that tyro parses into a later call of one of the commands."""
    calls = [Annotated[Any, tyro.conf.subcommand(name, constructor=_later(call))] for name, call in commands.items()]
    return functools.reduce(operator.or_, calls)


def _later(command: Callable[..., None]) -> Callable[..., Callable[[], None]]:
    @functools.wraps(command)
    def called_with(*values: Any, **named: Any) -> Callable[[], None]:
        return functools.partial(command, *values, **named)

    return called_with


def _fail(message: str, code: int) -> NoReturn:
    print(f"jacsup: {_in_short(message)}", file=sys.stderr)
    sys.exit(code)


def _in_short(message: str) -> str:
    """One line of printable characters. Messages may quote many names of files and columns, with any characters."""
    words = "".join(letter if letter.isprintable() else "?" for letter in " ".join(message.split()))
    # The end is kept, because it says what to do.
    return (
        words if len(words) <= MOST_LETTERS else f"{words[: 2 * MOST_LETTERS // 3]} ... {words[-MOST_LETTERS // 3 :]}"
    )
