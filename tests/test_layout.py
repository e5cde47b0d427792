"""The shape of the source: which module may import which, what an import costs, and how long things get."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import jacsup

SOURCE = Path(jacsup.__file__).parent

# What each module or package of jacsup may import from the others. Each line names only what stands above it.
ALLOWED: dict[str, set[str]] = {
    "jsonable": set(),
    "data_config": set(),
    "config": {"data_config", "jsonable"},
    "code": set(),
    "losses": set(),
    "distributed": {"code"},
    "progress": set(),
    "curricula": {"config"},
    "recipes": {"config", "curricula", "data_config", "jsonable"},
    "run": {"config", "jsonable"},
    "photo": set(),
    "align": {"photo"},
    "data": {"config", "data_config", "jsonable", "progress", "run"},
    "models": {"config", "data_config", "jsonable", "code", "distributed", "run"},
    "objectives": {"config", "code", "distributed", "losses", "models"},
    "metrics": {"code", "losses", "progress", "run", "align", "data", "models"},
    "training": {"config", "jsonable", "code", "distributed", "run", "data", "models", "objectives", "metrics"},
    "evaluate": {"config", "jsonable", "progress", "run", "data", "models", "metrics"},
    "arms": {"config", "jsonable", "recipes", "run"},
    "drawing": {"recipes", "run"},
    "page": {"run", "arms", "drawing"},
    "figures": {"code", "run", "models", "metrics", "arms", "drawing"},
    "face_figures": {"code", "data", "models", "metrics", "arms", "drawing"},
    "face_numbers": {"models"},
    "face_report": {
        "config",
        "data",
        "models",
        "metrics",
        "evaluate",
        "arms",
        "drawing",
        "page",
        "figures",
        "face_figures",
        "face_numbers",
    },
    "report": {"data", "models", "arms", "page", "figures", "face_report"},
    "baselines": {
        "code",
        "config",
        "curricula",
        "losses",
        "progress",
        "recipes",
        "run",
        "data",
        "models",
        "metrics",
        "training",
        "evaluate",
        "face_numbers",
        "drawing",
        "page",
    },
    "tuning": {"config", "jsonable", "data", "run", "objectives", "training", "drawing"},
    "edit": {"code", "jsonable", "models", "photo", "align"},
    "sessions": {"edit"},
    "studio": {"code", "config", "data", "models", "evaluate", "photo", "edit", "sessions"},
    "serve": {"sessions", "studio"},
    "export": {"code", "run", "models"},
    "hub": {"config", "models"},
    "cli_data": {"config", "data_config"},
    "cli_edit": {"edit"},
    "cli_table": set(),
    "cli_judge": {"jsonable", "recipes", "cli_table"},
    "cli_serve": set(),
    "cli_tune": {"jsonable", "recipes", "cli_table"},
    "cli": {"config", "jsonable", "recipes", "cli_data", "cli_edit", "cli_judge", "cli_serve", "cli_table", "cli_tune"},
}
# What a command of the command line imports when it runs, so that --help need not wait for it.
LAZY_IN_CLI = {
    "arms",
    "baselines",
    "run",
    "data",
    "training",
    "evaluate",
    "face_numbers",
    "models",
    "report",
    "edit",
    "distributed",
    "export",
    "hub",
    "photo",
    "serve",
    "tuning",
}
COMMAND_LINE = ("cli.py", "cli_data.py", "cli_edit.py", "cli_judge.py", "cli_serve.py", "cli_tune.py")
# From the first to the last, none imports a later one.
CHAIN = ("config", "code", "losses", "models", "objectives", "training")
LEAVES = {"cli", "serve", "figures", "face_figures", "face_report", "report", "export"}

LONGEST_FILE = 300
LONGEST_FUNCTION = 60
# The help of a command is its docstring.
LONGER_FUNCTIONS = {"training/loop.py:_train_stage": 90, "cli.py:train": 90, "cli_tune.py:tune": 65}

FILES = sorted(SOURCE.rglob("*.py"))
TREES = {file.relative_to(SOURCE).as_posix(): ast.parse(file.read_text()) for file in FILES}


def unit_of(file: str) -> str:
    """The module or package directly under jacsup that a file belongs to."""
    return file.split("/")[0].removesuffix(".py")


def nodes(tree: ast.AST, *, in_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from nodes(node, in_functions=in_functions)


def imported_units(file: str, *, in_functions: bool = True) -> set[str]:
    """The other modules and packages under jacsup that a file imports."""
    names: set[str] = set()
    for node in nodes(TREES[file], in_functions=in_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("jacsup.")} - {unit_of(file)}


def test_the_table_is_the_designs_order() -> None:
    assert set(ALLOWED) == {unit_of(file) for file in TREES} - {"__init__", "__main__"}
    above: set[str] = set()
    for unit, allowed in ALLOWED.items():
        assert allowed <= above, f"{unit} may import what stands below it"
        above.add(unit)
    for place, unit in enumerate(CHAIN):
        assert ALLOWED[unit].isdisjoint(CHAIN[place + 1 :])
    assert all("training" not in ALLOWED[unit] for unit in ("data", "metrics"))
    assert {unit for unit, allowed in ALLOWED.items() if allowed & LEAVES} == {"face_report", "report"}


@pytest.mark.parametrize("file", [file for file in TREES if file not in ("__init__.py", "__main__.py", *COMMAND_LINE)])
def test_modules_import_what_the_table_allows(file: str) -> None:
    assert imported_units(file) <= ALLOWED[unit_of(file)]


def test_every_permission_is_used() -> None:
    used: dict[str, set[str]] = {unit: set() for unit in ALLOWED}
    for file in TREES:
        if file not in ("__init__.py", "__main__.py"):
            used[unit_of(file)] |= imported_units(file, in_functions=file not in COMMAND_LINE)
    assert used == ALLOWED, "take what nobody needs any more out of the table"


def test_the_command_line_waits_with_what_is_heavy() -> None:
    for file in COMMAND_LINE:
        assert imported_units(file, in_functions=False) <= ALLOWED[unit_of(file)]
        assert imported_units(file) - ALLOWED[unit_of(file)] <= LAZY_IN_CLI


@pytest.mark.parametrize("file", TREES)
def test_imports_are_absolute(file: str) -> None:
    relative = [node.lineno for node in ast.walk(TREES[file]) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []


@pytest.mark.parametrize("file", TREES)
def test_files_and_functions_stay_short(file: str) -> None:
    assert len((SOURCE / file).read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            longest = LONGER_FUNCTIONS.get(f"{file}:{node.name}", LONGEST_FUNCTION)
            assert node.end_lineno - node.lineno + 1 <= longest, node.name


def imported(program: str) -> set[str]:
    """The modules that a fresh interpreter holds after `program`."""
    code = f"import sys\n{program}\nprint(*[name for name, module in sys.modules.items() if module])"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_importing_jacsup_is_light() -> None:
    assert imported("import jacsup").isdisjoint({"torch", "numpy", "tyro"})
    assert imported("import jacsup.cli").isdisjoint({"torch", "numpy", "matplotlib"})


def test_training_needs_no_command_line_no_figures_and_no_downloads() -> None:
    blocked = ("tyro", "pooch", "matplotlib", "torchmetrics", "sklearn", "scipy")
    block = f"sys.modules.update(dict.fromkeys({blocked}))\n"
    assert imported(f"{block}import jacsup.training.loop").isdisjoint(blocked)
