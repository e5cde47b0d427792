"""The command line. Heavy imports wait inside the commands, so that --help answers at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import tyro

import jacsup
from jacsup import recipes
from jacsup.cli.data import DATA_COMMANDS, prepare_folder
from jacsup.cli.edit import edit
from jacsup.cli.judge import compare, evaluate, report
from jacsup.cli.share import export, push, serve
from jacsup.cli.table import print_table
from jacsup.cli.tune import tune
from jacsup.config import Precision, Recipe, Stage
from jacsup.jsonable import set_field

Positional = tyro.conf.Positional
WRONG_PATH = (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


def train(
    recipe: Positional[str],
    /,
    *,
    data_root: Path | None = None,
    out: Path | None = None,
    seed: int | None = None,
    device: str = "auto",
    epochs: int | None = None,
    stages: int | None = None,
    arm: str | None = None,
    init: str | None = None,
    size: int | None = None,
    images: str | None = None,
    attributes: Path | None = None,
    drop: tuple[str, ...] = (),
    unsupervised: bool = False,
    skip_bad: bool = False,
    set: tyro.conf.UseAppendAction[tuple[tuple[str, ...], ...]] = (),
    deterministic: bool = False,
    precision: Precision = "float32",
    compile: bool = False,
    tensorboard: bool = False,
    dry_run: bool = False,
) -> None:
    """Train a recipe; the same command again resumes it.

    Args:
        recipe: A built-in name (see `jacsup list`), file.py:name, or the path of a recipe.json.
        data_root: Folder with the data set's files; without one MNIST and SVHN are downloaded once.
        out: The run folder; runs/RECIPE[-ARM][-sSEED] without one.
        seed: Another seed than the recipe's.
        device: auto, cpu, cuda or cuda:N.
        epochs: Epochs per stage.
        stages: Stop after that many stages; the same command without it goes on.
        arm: A baseline to compare with; `jacsup list` shows them.
        init: RUN or RUN/STAGE whose finished stages the new run starts from.
        size: Side of the images of a face or folder recipe: 32, 64, 128, 256 or 512.
        images: For the recipe folder: a folder, a .zip, a .parquet file or hf:owner/name.
        attributes: For the recipe folder: a CSV, file names in the first column, one attribute in each other one.
        drop: With --images, attributes to leave out.
        unsupervised: For the recipe folder: learn an ordered code without attributes.
        skip_bad: With --images, leave damaged ones out.
        set: Recipe fields to change, such as seed=1, stages.weights.y=0.2 or stages.3.epochs=20.
        deterministic: Bit-exact on a GPU too, slower.
        precision: What layers compute in while they learn; bfloat16 is faster, and its results differ a little.
        compile: By torch.compile: minutes of preparation, then faster steps on a GPU, an MLP's as one CUDA graph.
        tensorboard: Also write TensorBoard event files into the run folder.
        dry_run: Show the recipe and its curriculum; look at no data, train nothing.
    """
    if unsupervised and recipe != "folder":
        raise ValueError(f"--unsupervised is for the recipe folder; '{recipe}' decides for itself")
    chosen = recipes.find("folder-ordered" if unsupervised else recipe)
    chosen = recipes.with_size(chosen, size) if size is not None else chosen
    chosen = _changed(chosen, seed, epochs, [assignment for group in set for assignment in group])
    chosen = recipes.with_arm(chosen, arm) if arm else chosen
    if not images and (attributes or drop or skip_bad):
        raise ValueError(
            "--attributes, --drop and --skip-bad go with --images; CelebA's damaged images are left out by "
            "`jacsup data prepare celeba --skip-bad`"
        )
    if dry_run:
        _print_curriculum(chosen)
        return
    if images:
        data_root = prepare_folder(chosen, images, attributes, drop, skip_bad=skip_bad)
    from jacsup.training.loop import train as run_training

    run = run_training(
        chosen,
        out=out,
        data_root=data_root,
        device=device,
        num_stages=stages,
        init=init,
        deterministic=deterministic,
        precision=precision,
        compile=compile,
        tensorboard=tensorboard,
    )
    # torchrun's other processes have nothing to add.
    if os.environ.get("RANK", "0") == "0":
        print(f"{run} is trained; next: jacsup report {run}")


def _changed(recipe: Recipe, seed: int | None, epochs: int | None, assignments: Sequence[str]) -> Recipe:
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if epochs is not None:
        recipe = set_field(recipe, "stages.epochs", epochs)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"--set is '{assignment}'; allowed is FIELD=VALUE, such as stages.adam.lr=0.001")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        recipe = set_field(recipe, path, value)
    return recipe


def _print_curriculum(recipe: Recipe) -> None:
    from jacsup.jsonable import to_dict

    summary = {name: value for name, value in to_dict(recipe).items() if name != "stages"}
    print(json.dumps(summary))
    rows = [
        (
            stage.name, stage.objective, _code(stage), stage.epochs, stage.batch_size,
            f"{stage.adam.lr:g} {stage.adam.schedule}", stage.growth.new,
            " ".join(f"{name} {value:g}" for name, value in vars(stage.weights).items() if value)
            if stage.objective != "reconstruction" else f"rec {stage.weights.rec:g}",
        )
        for stage in recipe.stages
    ]  # fmt: skip
    print_table(("stage", "objective", "code", "epochs", "batch", "rate", "new units", "weights"), rows)


def _code(stage: Stage) -> str:
    return f"attributes + {stage.z_channels} channels" if stage.z_channels else f"{stage.num_units} units"


def data(arguments: Positional[tuple[str, ...]] = (), /) -> None:
    """Get data sets ready: jacsup data download mnist, jacsup data prepare celeba."""
    _run(DATA_COMMANDS, "jacsup data", arguments)


def show_list() -> None:
    """Show recipes, arms and data sets."""
    from jacsup.data import DATA_SETS

    rows = [
        (recipe.name, type(recipe.data).__name__, type(recipe.model).__name__, len(recipe.stages),
         sum(stage.epochs for stage in recipe.stages), _code(recipe.stages[-1]))
        for recipe in recipes.RECIPES.values()
    ]  # fmt: skip
    print_table(("recipe", "data", "model", "stages", "epochs", "code"), rows)
    print()
    print_table(("arm", "what it trains"), list(recipes.ARMS.items()))
    print()
    print_table(("arm, with attributes", "what it trains"), list(recipes.SUPERVISED_ARMS.items()))
    print()
    print_table(
        ("data", "what it is"), [(kind.__name__, (kind.__doc__ or "").strip().partition("\n")[0]) for kind in DATA_SETS]
    )


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
    "data": data,
    "list": show_list,
}


def main() -> None:
    """The `jacsup` program. Exit codes: 0 done, 1 failed while running, 2 wrong input, 130 interrupted."""
    try:
        if sys.argv[1:] == ["--version"]:
            print(f"jacsup {jacsup.__version__}")
        elif sys.argv[1:2] == ["data"]:
            data(tuple(sys.argv[2:]))
        else:
            _run(COMMANDS, "jacsup", sys.argv[1:])
        sys.stdout.flush()
    except ValueError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; what is done is saved: run the same command again to go on", 130)
    except BrokenPipeError:
        # Who reads has seen enough; the interpreter would still complain while it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except WRONG_PATH as error:
        _fail(f"{error.filename}: {error.strerror}; give another path", 2)
    except (OSError, RuntimeError) as error:
        _fail(f"{type(error).__name__}: {error}", 1)


def _run(commands: dict[str, Callable[..., None]], program: str, arguments: Sequence[str]) -> None:
    tyro.extras.subcommand_cli_from_dict(
        commands, prog=program, args=arguments or ["--help"], config=(tyro.conf.FlagCreatePairsOff,)
    )


def _fail(message: str, code: int) -> None:
    print(f"jacsup: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
