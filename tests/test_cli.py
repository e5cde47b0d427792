"""The command line: what it prints, what it writes, and the exit codes 0, 1, 2 and 130."""

from __future__ import annotations

import ast
import functools
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture, write_folder, write_table
from PIL import Image

import jacsup
from jacsup import progress
from jacsup.cli import lazy
from jacsup.cli import main as cli
from jacsup.cli.data import DATA_COMMANDS
from jacsup.cli.examples import EXAMPLES
from jacsup.evaluate import evaluate
from jacsup.jsonable import set_field, to_dict
from jacsup.models import load_info
from jacsup.models.fetch import shipped
from jacsup.progress import track
from jacsup.recipes import DURATIONS, RECIPES, with_arm
from jacsup.run import Run
from jacsup.training.state import load_checkpoint

DEBUG = RECIPES["debug"]
QUICK = set_field(DEBUG, "stages.epochs", 1)
IMPORTS = (ast.Import, ast.ImportFrom)
PROGRAM = Path(sys.executable).with_name("jacsup")


@dataclass
class Result:
    code: int
    out: str
    err: str


Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Calls the command line in this process, in a fresh working folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["jacsup", *map(str, arguments)])
        capsys.readouterr()
        code: Any = 0
        try:
            cli.main()
        except SystemExit as exit:
            code = exit.code or 0
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that tests read and copy."""
    return jacsup.train(QUICK, out=tmp_path_factory.mktemp("cli") / "quick")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def process(*arguments: str, cwd: Path) -> Result:
    done = subprocess.run([PROGRAM, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("edit",), "missing from jacsup edit: MODEL; run `jacsup edit --help`"),
        (("edit", "photos"), "no photo was given; pass the photos after the model"),
        (("trian",), "unrecognized options: trian; run `jacsup --help`"),
        (("train", "mnist", "--fast"), "unrecognized options: --fast; run `jacsup train --help`"),
        (
            ("train", "mnist", "--seed", "x"),
            "error parsing --seed: 'x' is not a whole number; run `jacsup train --help`",
        ),
        (
            ("train", "mnist", "--precision", "half"),
            "invalid choice 'half' for argument '--precision'. Expected one of",
        ),
        (("data",), "expected one of {check, download, prepare}; run `jacsup data --help`"),
        (("data", "prepare"), "missing from jacsup data prepare: NAME; run `jacsup data prepare --help`"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_arguments_that_do_not_fit_are_met_with_one_line(
    encoding: str, arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    result = process(*arguments, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"jacsup: {message}") and result.err.count("\n") == 1


def test_help_names_every_command(tmp_path: Path) -> None:
    result = process("--help", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    assert all(name in result.out for name in ("train", "evaluate", "report", "data", "list"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            ("train",),
            (
                "--data-root",
                "--out",
                "--seed",
                "--device",
                "--epochs",
                "--stages",
                "--arm",
                "--init",
                "--set",
                "--deterministic",
                "--tensorboard",
                "--dry-run",
                "the same command again resumes it",
            ),
        ),
        (("evaluate",), ("--data-root", "--json", "A run folder, a model file")),
        (("report",), ("--data-root", "A run folder")),
        (("data",), ("check", "download", "prepare")),
        (("data", "download"), ("--data-root", "mnist or svhn")),
        (("list",), ("the shipped models, recipes, arms and data sets",)),
    ],
)
def test_each_commands_help_names_its_flags(command: tuple[str, ...], words: tuple[str, ...], call: Call) -> None:
    result = call(*command, "--help")
    assert (result.code, result.err) == (0, "")
    text = " ".join(result.out.replace("│", " ").split())
    assert [word for word in words if word not in text] == []


NAMES = [*cli.COMMANDS, *(f"data {name}" for name in DATA_COMMANDS)]


@pytest.mark.parametrize("name", NAMES)
def test_each_commands_help_ends_with_examples_and_shows_no_python(name: str, call: Call) -> None:
    text = call(*name.split(), "--help").out
    assert re.search(r"None|\(default: \)|\(default: (True|False)\)", text) is None
    _, _, below = text.partition("\nexamples:\n")
    shown = [line.strip() for line in below.strip().splitlines()]
    assert shown == [*EXAMPLES[name]] and 2 <= len(shown) <= 4
    assert all(len(line) < 80 for line in below.splitlines())


def test_only_commands_have_examples() -> None:
    assert EXAMPLES.keys() == {*NAMES}


@pytest.mark.parametrize("example", sorted({line for lines in EXAMPLES.values() for line in lines}))
def test_examples_are_understood(example: str, call: Call) -> None:
    program, name, *others = shlex.split(example, comments=True)
    command = cli._parsed([name, *others])
    assert program == "jacsup" and isinstance(command, functools.partial)
    options = command.keywords
    if name == "train":
        ready = {"--images", "DIR", "--attributes", "FILE.csv", "--dry-run"}
        assert call(name, *(word for word in others if word not in ready), "--dry-run").code == 0
    elif name == "compare":
        assert {*options["methods"]} <= {*lazy.COMPARISONS[others[0]].methods}
    elif name == "tune":
        assert others[0] in RECIPES
    elif name == "edit":
        set_or_added = [text.partition("=")[0] for group in (*options["set"], *options["add"]) for text in group]
        known = {factor.name for factor in load_info(others[0]).factors}
        assert {*set_or_added, *filter(None, [options["sweep"]])} <= known


LAZY = ast.parse(Path(lazy.__file__).read_text())
LAZY_IMPORTS = {
    alias.name: node.module for node in ast.walk(LAZY) if isinstance(node, ast.ImportFrom) for alias in node.names
}


def test_every_lazy_name_is_known_to_type_checkers_and_exists() -> None:
    assert {name: module for name, module in LAZY_IMPORTS.items() if name in lazy.NAMES} == lazy.NAMES
    assert LAZY_IMPORTS.keys() - lazy.NAMES == {"annotations", "TYPE_CHECKING", "Any"}
    assert all(getattr(lazy, name) is not None for name in lazy.NAMES)
    with pytest.raises(AttributeError, match=r"module 'jacsup.cli.lazy' has no attribute 'nothing'"):
        _ = lazy.nothing  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("file", sorted(Path(lazy.__file__).parent.glob("*.py")), ids=lambda file: file.name)
def test_commands_import_nothing_on_their_own(file: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
    imports = [node.lineno for each in functions for node in ast.walk(each) if isinstance(node, IMPORTS)]
    assert imports == []


def test_no_help_imports_torch_or_numpy() -> None:
    commands = [[], *([name] for name in cli.COMMANDS), ["data"], *(["data", name] for name in DATA_COMMANDS)]
    program = f"""
import contextlib, io, sys
from jacsup.cli.main import main
for command in {commands}:
    sys.argv = ["jacsup", *command, "--help"]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as out:
        main()
    assert out.getvalue().startswith(" ".join(["usage: jacsup", *command])), out.getvalue()
print(*{{"torch", "numpy", "matplotlib"}} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_without_arguments_it_shows_its_help(call: Call) -> None:
    assert call() == call("--help")


def test_list_shows_recipes_arms_and_data(tmp_path: Path) -> None:
    result = process("list", cwd=tmp_path)
    assert (result.code, result.err) == (0, "")
    words = result.out.split()
    assert all(name in words for name in (*RECIPES, "plain", "plain-jump", "MNIST", "SVHN", "Digits"))
    assert words[:2] == ["to", "edit"] and set(cli.SHIPPED) == set(shipped())
    needs = {line.split()[0]: line for line in result.out.splitlines() if line}
    assert "a download, once" in needs["mnist"] and "--images" in needs["folder"] and "--data-root" in needs["photos"]
    assert "nothing" in needs["faces-mini"] and "3 min" in needs["faces-mini"]
    assert set(DURATIONS) <= set(RECIPES)


def test_train_says_what_comes_next_and_the_same_again_changes_nothing(call: Call, tmp_path: Path) -> None:
    result = call("train", "debug", "--epochs", 1, "--out", "here")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[-1] == "here is trained; next: jacsup report here"
    assert Run(tmp_path / "here").finished_stages() == [0, 1, 2]
    before = files(tmp_path / "here" / "stages"), Run(tmp_path / "here").stats()
    again = call("train", "debug", "--epochs", 1, "--out", "here")
    assert (again.code, again.out) == (0, "here is trained; next: jacsup report here\n")
    assert (files(tmp_path / "here" / "stages"), Run(tmp_path / "here").stats()) == before


def test_settings_are_recorded_in_the_recipe(call: Call, tmp_path: Path) -> None:
    assert (
        call(
            "train",
            "debug",
            "--epochs",
            2,
            "--stages",
            1,
            "--seed",
            3,
            "--arm",
            "plain",
            "--set",
            "stages.weights.y=0.2",
            "stages.1.epochs=5",
            "--set",
            "model.hidden=[24]",
        ).code
        == 0
    )
    run = Run(tmp_path / "runs" / "debug-plain-s3")
    expected = set_field(set_field(DEBUG, "seed", 3), "stages.epochs", 2)
    expected = set_field(set_field(expected, "stages.weights.y", 0.2), "stages.1.epochs", 5)
    assert run.recipe == with_arm(set_field(expected, "model.hidden", [24]), "plain")
    assert len(run.recipe.stages) == 3, "--stages stops early; the curriculum keeps its length"
    assert run.finished_stages() == [0]
    assert [line["epoch"] for line in run.stats()] == [0, 1]


def test_init_takes_stages_and_records_their_digest(call: Call, quick: Path, tmp_path: Path) -> None:
    result = call("train", "debug", "--epochs", 1, "--set", "stages.weights.y=0.5", "--init", quick / "units-3")
    assert result.code == 0
    assert result.out.startswith(f"copied from {quick}: units-2, units-3\n")
    run = Run(tmp_path / "runs" / "debug")
    assert len(run.recipe.init) == 64
    assert run.stage_file(1).read_bytes() == Run(quick).stage_file(1).read_bytes()


def test_a_dry_run_shows_the_curriculum_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    result = call("train", "debug", "--dry-run", "--seed", 7, "--set", "stages.2.weights.y=0.25", "--arm", "plain-jump")
    assert (result.code, result.err) == (0, "")
    summary, header, *rows = result.out.splitlines()
    shown = with_arm(set_field(set_field(DEBUG, "seed", 7), "stages.2.weights.y", 0.25), "plain-jump")
    assert json.loads(summary) == {name: value for name, value in to_dict(shown).items() if name != "stages"}
    assert header.split()[:2] == ["stage", "objective"]
    assert [row.split()[:5] for row in rows] == [
        ["units-2", "reconstruction", "2", "units", "3"],
        ["units-4", "reconstruction", "4", "units", "3"],
    ]
    assert "y 0.25" in call("train", "debug", "--dry-run", "--set", "stages.2.weights.y=0.25").out.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_evaluate_prints_a_table_or_metrics_json(call: Call, quick: Path) -> None:
    table = call("evaluate", quick)
    assert table.code == 0
    metrics = json.loads((quick / "metrics.json").read_text())
    lines = table.out.splitlines()
    assert re.split("  +", lines[0])[:3] == ["stage", "code size", "MSE"]
    for line, stage in zip(lines[1:4], metrics["stages"], strict=True):
        assert line.split()[:3] == [stage["name"], str(stage["code_size"]), f"{stage['mse']:.4f}"]
    assert lines[-1].endswith(f"an accuracy of {metrics['classifier_accuracy']:.4f}")
    assert json.loads(call("evaluate", quick, "--json").out) == metrics
    file = Run(quick).stage_file(1)
    alone = call("evaluate", file)
    assert alone.out.splitlines()[1].split()[:2] == ["model", "3"]
    assert json.loads(call("evaluate", file, "--json").out) == evaluate(file)


def test_report_judges_and_draws_a_run_and_its_arms(call: Call, quick: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(quick, tmp_path / "copy", ignore=shutil.ignore_patterns("metrics.json"))
    arm = jacsup.train(with_arm(QUICK, "plain"), out=tmp_path / "arm")
    result = call("report", copy)
    assert (result.code, result.out) == (0, f"the report is in {copy / 'report' / 'index.html'}\n")
    assert (copy / "report" / "index.html").is_file()
    assert (copy / "metrics.json").is_file()
    assert (arm / "metrics.json").is_file()


MNIST = "data/train-images-idx3-ubyte"
IDX = bytes.fromhex("00000803 00000002 0000001c 0000001c") + bytes(2 * 28 * 28)
BROKEN = {"truncated": IDX[:100], "half a gzip": gzip.compress(IDX)[:20], "wrong magic": b"\x89PNG"}
BROKEN["corrupted"] = gzip.compress(IDX)[:-8] + bytes(8)
TRAIN, TRAIN_MNIST = ("train", "debug"), ("train", "mnist", "--data-root", "data")
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "no data root": (("train", "mnist", "--data-root", "no"), "with `jacsup data download mnist --data-root no`"),
    "truncated": (TRAIN_MNIST, "train-images-idx3-ubyte has 100 bytes, but its header states 1,584; download it again"),
    "half a gzip": (TRAIN_MNIST, "train-images-idx3-ubyte is damaged (Compressed file ended"),
    "wrong magic": (TRAIN_MNIST, "is not an IDX file of bytes: it starts with 89504e47, not 00000801 to"),
    "corrupted": (TRAIN_MNIST, "train-images-idx3-ubyte is damaged (CRC check failed"),
    "recipe": (("train", "mnist-fsat"), "unknown recipe 'mnist-fsat'; did you mean 'mnist-fast'?"),
    "recipe file": (("train", "mine.py:fast"), "mine.py: RuntimeError: two lines; pass a Python file"),
    "field": ((*TRAIN, "--set", "stages.adam.rl=1"), "has no field 'stages.adam.rl'; did you mean 'lr'?"),
    "no value": ((*TRAIN, "--set", "seed"), "--set is 'seed'; use FIELD=VALUE"),
    "wrong value": ((*TRAIN, "--set", "stages.adam.lr=fast"), "stages.0.adam.lr is 'fast'; must be of type float"),
    "epochs": ((*TRAIN, "--epochs", "0"), "epochs is 0; it must be at least 1"),
    "no stages": ((*TRAIN, "--stages", "0"), "stages is 0; it must be between 1 and 3"),
    "many stages": ((*TRAIN, "--stages", "99"), "stages is 99; it must be between 1 and 3"),
    "seed": ((*TRAIN, "--seed", "-1"), "seed is -1; it must be at least 0"),
    "no GPU": ((*TRAIN, "--device", "cuda"), "device is 'cuda', but torch finds 0 GPUs; use cpu or auto"),
    "device": ((*TRAIN, "--device", "banana"), "device is 'banana'; must be auto, cpu, cuda, cuda:N or mps"),
    "batch": ((*TRAIN, "--set", "stages.batch_size=1501"), "batch_size is 1501, but there are only 1500 training"),
    "arm": ((*TRAIN, "--arm", "plian"), "recipe 'debug' has no arm 'plian'; did you mean 'plain'?"),
    "init": ((*TRAIN, "--init", "photos"), "--init photos is neither a run nor a stage of one"),
    "init stage": ((*TRAIN, "--init", "run/units-9"), "run has no finished stage 'units-9'; it must be one of units-2"),
    "other recipe": (
        (*TRAIN, "--out", "run", "--seed", "4", "--set", "stages.1.adam.lr=1"),
        "run contains a run of another recipe (stages.0.epochs: 1 -> 3; stages.1.epochs: 1 -> 3; "
        "stages.1.adam.lr: 0.0003 -> 1.0; stages.2.epochs: 1 -> 3; seed: 0 -> 4); pass the same settings to resume it",
    ),
    "other folder": ((*TRAIN, "--out", "photos"), "photos exists and is not a run; pass a new folder with --out"),
    "evaluate photos": (("evaluate", "photos/../photos"), "photos is not a run: it has no recipe.json; pass"),
    "evaluate nothing": (("evaluate", "no"), "no: no such run folder or model file"),
    "report photos": (("report", "photos"), "photos is not a run: it has no recipe.json; pass a folder that"),
    "no images": (("train", "folder"), "this recipe needs your images; pass --images DIR"),
    "no such images": (("train", "folder", "--images", "no"), "no cannot be read"),
    "images of a cat": (("train", "folder", "--images", "photos"), "is a training image; add more images"),
    "images elsewhere": ((*TRAIN, "--images", "photos"), "--images is only for the recipe 'folder'; 'debug' has its"),
    "table alone": ((*TRAIN, "--attributes", "table.csv"), "such as --attributes and --skip-bad, need --images"),
    "drop alone": ((*TRAIN, "--drop", "Male"), "--keep and --drop need a table of attributes; pass --images"),
    "skip alone": ((*TRAIN, "--skip-bad"), "`jacsup data prepare celeba --skip-bad`"),
    "size": (("train", "celeba64", "--size", "48"), "size is 48; must be one of 32, 64, 128, 256, 512"),
    "no size": (("train", "celeba64", "--size", "0"), "size is 0; must be one of 32, 64, 128, 256, 512"),
    "size of digits": ((*TRAIN, "--size", "64"), "recipe 'debug' has images of a fixed size; omit --size"),
    "unsupervised": (("train", "celeba64", "--unsupervised"), "--unsupervised is only for the recipe 'folder'"),
    "odd images": (("train", "folder", "--images", "photos", "--set", "data.size=63"), "size is 63; must be one of 32"),
    "too many layers": (
        ("train", "faces-mini", "--set", "data.num_images=100", "model.channels=[4,4,4,4,4]"),
        "images are 32x32 and model.channels has 5 layers; images must be square",
    ),
    "out in a file": ((*TRAIN, "--out", "photos/cat.jpg/run"), "photos/cat.jpg/run: Not a directory"),
    "no CelebA": (("train", "celeba64"), "--data-root"),
    "prepare": (("data", "prepare", "faces"), "cannot prepare 'faces'; must be one of celeba, folder"),
    "prepare nothing": (("data", "prepare", "folder"), "the images are missing; pass them as --images DIR"),
    "prepare a part": (("data", "prepare", "celeba", "--drop", "Bald"), "choose attributes when you train, such as"),
    "prepared size": (("data", "prepare", "folder", "--images", "photos", "--size", "48"), "size is 48; must"),
    "edit": (("edit", "run", "photos/cat.jpg", "--set", "Smiling=1"), "has an ordered code without attributes"),
    "download": (("data", "download", "mnit"), "there is no download called 'mnit'; did you mean 'mnist'?"),
}


def test_the_version_is_told(call: Call) -> None:
    assert call("--version") == Result(0, f"jacsup {jacsup.__version__}\n", "")


def test_a_pipe_may_be_closed_early() -> None:
    command = f"{sys.executable} -c 'from jacsup.cli.main import main; main()' list | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("to edit a photo") and done.stdout.count("\n") == 1
    assert "Error" not in done.stderr


def test_preparing_again_checks_what_is_there(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", 20)
    command = ("data", "prepare", "folder", "--images", "photos", "--size", 32)
    for _ in range(2):
        assert call(*command).out.startswith("20 images with 0 attributes are in")
    (pixels,) = tmp_path.rglob("images.u8")
    pixels.write_bytes(b"\0" + pixels.read_bytes()[1:])
    result = call(*command)
    assert (result.code, result.out) == (2, "")
    assert "is damaged: the checksum of images.u8 is wrong; delete it and prepare it again" in result.err


def write_labelled_photos(folder: Path, count: int) -> None:
    """Photos and a table of the kinds of columns that people have."""
    write_folder(folder / "photos", count, width=40, height=48)
    rows = [
        f"{n:06d}.jpg,{n % 2},{['blond', 'brown', 'red'][n % 3]},p{n},{'yes' if n == 3 else 'no'}"
        for n in range(count + 3)
    ]
    (folder / "table.csv").write_text("\n".join(["file,Smiling,hair,who,Bald", *rows]))


def test_a_set_is_checked_before_training(call: Call, tmp_path: Path) -> None:
    write_labelled_photos(tmp_path, 24)
    (tmp_path / "photos" / "000007.jpg").write_bytes((tmp_path / "photos" / "000001.jpg").read_bytes())
    (tmp_path / "photos" / "notes.tga").write_text("no image")
    command = ("data", "check", "--images", "photos", "--attributes", "table.csv", "--size", 32)
    result = call(*command)
    assert (result.code, result.err) == (0, "")
    lines = [line.split("  ", 1) for line in result.out.splitlines() if "  " in line]
    told = {first: rest.strip() for first, rest in lines}
    assert told["images"] == "24 JPEG; 40x48 pixels"
    assert told["splits"] == "22 training, 0 validation and 2 test images"
    assert told["repeated"] == "images that occur more than once: 1, such as 000001.jpg, 000007.jpg"
    assert told["rare"].startswith("too few images to learn these attributes well: Bald (1)")
    assert "--set stages.batch_size=" in told["training"]
    assert told["hair"].split(maxsplit=1)[0] == "words" and "blond, brown, red" in told["hair"]
    assert "it has 27 different words" in told["who"] and "binary" in told["Smiling"]
    assert "1 .tga" in result.out and "rows without an image: 3" in result.out
    with Image.open(tmp_path / "data-check.png") as sheet:
        assert sheet.width > 1000
    (tmp_path / "photos" / "000002.jpg").write_text("damaged")
    result = call(*command, "--sheet", "other.png")
    assert result.code == 2 and (tmp_path / "other.png").exists()
    assert result.err == ("jacsup: 1 of 24 images cannot be used; repair them, or skip them with --skip-bad\n")
    assert "000002.jpg: it is not an image in a known format" in result.out
    assert call(*command, "--skip-bad").code == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data-check.png", "other.png", "photos", "table.csv"]


def test_preparing_tells_what_was_understood(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "cache"))
    write_labelled_photos(tmp_path, 24)
    command = ("data", "prepare", "folder", "--images", "photos", "--attributes", "table.csv", "--size", 32)
    with pytest.warns(UserWarning, match="rows without an image: 3"):
        result = call(*command, "--drop", "WHO", "hair=red")
    assert "24 images with 4 attributes" in result.out and "words   blond, brown, red" in result.out
    with pytest.warns(UserWarning, match="rows without an image: 3"):
        assert "24 images with 1 attributes" in call(*command, "--keep", "smiling").out


@pytest.mark.parametrize("name", BAD)
def test_bad_input_exits_with_2_and_one_line_and_writes_nothing(
    name: str, call: Call, quick: Path, tmp_path: Path
) -> None:
    if name == "no GPU" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    arguments, message = BAD[name]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "data").mkdir()
    (tmp_path / "mine.py").write_text("raise RuntimeError('two\\nlines')")
    shutil.copytree(quick, tmp_path / "run")
    (tmp_path / MNIST).write_bytes(BROKEN.get(name, b""))
    before = files(tmp_path)
    result = call(*arguments)
    assert (result.code, result.out) == (2, "")
    assert re.fullmatch(r"jacsup: .+\n", result.err), "one line"
    assert message in result.err
    assert files(tmp_path) == before


def test_a_folder_in_use_is_bad_input(call: Call, quick: Path) -> None:
    with Run(quick).lock():
        result = call("train", "debug", "--epochs", 1, "--out", quick)
    assert (result.code, result.out) == (2, "")
    assert (
        result.err
        == f"jacsup: {quick} is in use by another process; wait for it, stop it, or pass another folder with --out\n"
    )


def test_a_diverging_training_exits_with_1_and_names_the_term(call: Call) -> None:
    result = call("train", "debug", "--set", "stages.adam.lr=1e30")
    assert result.code == 1
    assert re.fullmatch(
        r"jacsup: \w+: (the gradient of '\S+' is not finite|the loss 'rec' is (nan|inf)) in stage 1 .+ step [23]; .+\n",
        result.err,
    )


def test_ctrl_c_exits_with_130_and_the_same_command_goes_on(call: Call, tmp_path: Path) -> None:
    command = ("train", "debug", "--epochs", "40", "--stages", "1", "--out", "run")
    run = Run(tmp_path / "run")
    with subprocess.Popen(
        [PROGRAM, *command], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as started:
        while started.poll() is None and len(run.stats()) < 3:
            time.sleep(0.02)
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=60)
    assert started.returncode == 130
    assert err == b"jacsup: interrupted; progress is saved: run the same command again to continue\n"
    stopped, checkpoint = run.stats(), load_checkpoint(run.checkpoint_file)
    assert checkpoint
    assert 3 <= checkpoint.position.epoch == len(stopped) < 40
    assert call(*command).code == 0
    assert run.stats()[: len(stopped)] == stopped, "finished epochs keep their scores and their seconds"
    assert [line["epoch"] for line in run.stats()] == list(range(40))


def test_a_folder_of_ones_own_is_trained_resumed_and_judged(call: Call, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    rows = ["file,Bright,Age"]
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 128, (40, 50, 3), dtype=np.uint8) + 120 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "photos" / f"{number}.png")
        rows.append(f"{number}.png,{number % 2},{20 + number}")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    command = (
        "train",
        "folder",
        "--images",
        "photos",
        "--attributes",
        "table.csv",
        "--size",
        32,
        "--epochs",
        1,
        "--out",
        "run",
        "--set",
        "stages.batch_size=12",
        "model.channels=[4,4,4]",
        "stages.z_channels=4",
    )
    assert call(*command, "--stages", 1).code == 0
    result = call(*command)
    assert (result.code, result.err) == (0, "")
    run = Run(tmp_path / "run")
    assert [factor.name for factor in load_info(run.path).factors] == ["Bright", "Age"]
    assert len(run.sessions()) == 2 and len(run.finished_stages()) == 4
    table = call("evaluate", "run").out
    assert "Bright" in table and "edit@2" in table and "teacher-cycles" in table
    assert set(json.loads(call("evaluate", "run", "--json").out)["attributes"]) == {"Bright", "Age"}
    ordered = call(
        "train",
        "folder",
        "--images",
        "photos",
        "--unsupervised",
        "--size",
        32,
        "--epochs",
        1,
        "--stages",
        2,
        "--out",
        "ordered",
        "--set",
        "stages.batch_size=12",
        "model.channels=[4,4,4]",
    )
    assert (ordered.code, ordered.err) == (0, "")
    without = call("train", "folder", "--images", "photos", "--size", 32, "--out", "none")
    assert without.code == 2 and "learns attributes, but the images have none" in without.err


def test_images_whose_preparation_was_deleted_are_prepared_again_by_the_command_that_is_told(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "my photos", 40, width=40, height=40)
    (tmp_path / "my photos" / "000003.jpg").write_bytes(b"damaged")
    write_table(tmp_path / "table.csv", 40)
    images = ("--images", "my photos", "--attributes", "table.csv", "--drop", "age", "male", "--size", 32)
    train = ("train", "folder", "--unsupervised", *images, "--epochs", 1, "--stages", 1, "--out", "run")
    small = ("--set", "stages.batch_size=12", "model.channels=[4,4,4]")
    refused = call(*train, *small)
    (command,) = re.findall("`(.*)`", refused.err)
    assert call(*shlex.split(command)[1:]).code == 0
    assert call(*train, "--skip-bad", *small).code == 0
    before = call("evaluate", "run", "--json").out
    shutil.rmtree(tmp_path / "cache")
    for name in ("evaluate", "report"):
        refused = call(name, "run")
        assert refused.code == 2 and "the prepared images of this run are no longer in" in refused.err
        assert re.findall("`(.*)`", refused.err) == [command]
    assert call(*shlex.split(command)[1:]).code == 0
    assert call("evaluate", "run", "--json").out == before and call("report", "run").code == 0


def test_an_old_run_without_the_command_is_told_of_it_in_general(call: Call, tmp_path: Path) -> None:
    refused = call("train", "folder", "--data-root", tmp_path / "gone", "--size", 32)
    assert refused.code == 2 and "`jacsup data prepare folder --images DIR --size 32`" in refused.err


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("export", "mnist", "--format", "half", "-o", "taken"), "taken/model.safetensors: "),
        (("export", "mnist", "--format", "half", "-o", "file"), "file: "),
        (("edit", "faces", "photo.png", "--set", "Smiling=1", "--no-align", "-o", "/proc/out.png"), "/proc/out.png: "),
    ],
)
def test_a_message_names_the_users_file_and_no_temporary_one(
    command: tuple[str, ...], named: str, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "taken" / "model.safetensors").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "photo.png").write_bytes(picture(1, width=64, height=64))
    result = call(*command)
    assert result.code == 2 and ".tmp" not in result.err
    assert result.err.splitlines()[-1].startswith(f"jacsup: {named}")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_bar_is_for_terminals_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # As notebooks have it.
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(track([1, 2], "counting")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_a_log_gets_lines_of_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for _ in track(range(200), "counting"):
        now += 1.0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "counting: 30 of 200, 3 min left",
        "counting: 90 of 200, 2 min left",
        "counting: 150 of 200, 50 s left",
        "counting: done in 3 min",
    ]


def test_a_run_that_learns_nothing_says_so(call: Call) -> None:
    trained = call("train", "debug", "--set", "stages.adam.lr=1000", "--stages", 1, "--out", "run")
    assert trained.code == 0
    noted = [line for line in trained.out.splitlines() if line.startswith("warning: stage")]
    at_end = [line for line in noted if "the model reconstructs no better than the mean image (MSE" in line]
    assert at_end == noted[-1:]
    judged = call("evaluate", "run")
    assert "warning: the model reconstructs no better than the mean image" in judged.out
    warning = json.loads(Path("run/metrics.json").read_text())["warning"]
    assert warning.endswith("train longer, or lower the learning rate")
    call("report", "run")
    assert "Warning: the model reconstructs no better" in Path("run/report/index.html").read_text()


def test_an_error_is_short_and_cannot_write_to_the_terminal(call: Call) -> None:
    result = call("edit", "faces", "a\x1b[31mb\x07.png", "--set", "Smiling=1")
    assert result.code == 2 and "a?[31mb?.png" in result.err and "\x1b" not in result.err
    result = call("train", "x" * 100_000)
    assert result.code == 2 and len(result.err) < 700 and result.err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP")
@pytest.mark.parametrize(
    ("chosen", "spins"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")]
)
def test_idle_threads_sleep_soon(chosen: dict[str, str], spins: str, tmp_path: Path) -> None:
    """OpenMP says what it has read when torch is loaded."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    told = subprocess.run(
        [PROGRAM, "train", "debug", "--stages", "1", "--out", str(tmp_path / "run")],
        env={**kept, **chosen, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in told.stderr
