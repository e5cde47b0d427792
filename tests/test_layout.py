"""The shape of the source: imports run one way, in no circle, and what an import costs."""

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

# The modules and packages of jacsup from the lowest layer to the highest: each may import those before it.
LAYERS = (
    "jsonable",
    "atomic",
    "bounded",
    "progress",
    "renamed",
    "config",
    "hooks",
    "curricula",
    "recipes",
    "code",
    "losses",
    "distributed",
    "run",
    "detail",
    "photo",
    "align",
    "cascades",
    "detect",
    "models",
    "data",
    "objectives",
    "metrics",
    "training",
    "evaluate",
    "report",
    "baselines",
    "tuning",
    "edit",
    "serve",
    "export",
    "hub",
    "cli",
)

FILES = sorted(SOURCE.rglob("*.py"))
TREES = {file.relative_to(SOURCE).as_posix(): ast.parse(file.read_text()) for file in FILES}
MODULES = {f"jacsup.{file.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__"): file for file in TREES}


def unit_of(file: str) -> str:
    """The module or package directly under jacsup that a file belongs to."""
    return file.split("/")[0].removesuffix(".py")


def nodes(tree: ast.AST, *, in_functions: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if in_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from nodes(node, in_functions=in_functions)


def imported_files(file: str, *, in_functions: bool = True) -> set[str]:
    """The other files of jacsup that a file imports."""
    names: set[str] = set()
    for node in nodes(TREES[file], in_functions=in_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {
                name if (name := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
    return {MODULES[name] for name in names if name in MODULES} - {file, "__init__.py"}


def test_the_layers_are_all_there_is() -> None:
    assert set(LAYERS) == {unit_of(file) for file in TREES} - {"__init__", "__main__"}
    assert len(LAYERS) == len({*LAYERS})


@pytest.mark.parametrize("file", [file for file in TREES if file not in ("__init__.py", "__main__.py")])
def test_imports_run_towards_lower_layers(file: str) -> None:
    own = LAYERS.index(unit_of(file))
    assert {unit_of(other) for other in imported_files(file)} <= {*LAYERS[: own + 1]}


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {file: imported_files(file) for file in TREES}
    while ends := {file for file, imports in graph.items() if not imports & graph.keys()}:
        graph = {file: imports for file, imports in graph.items() if file not in ends}
    assert graph == {}


@pytest.mark.parametrize("file", TREES)
def test_imports_are_absolute(file: str) -> None:
    relative = [node.lineno for node in ast.walk(TREES[file]) if isinstance(node, ast.ImportFrom) and node.level]
    assert relative == []


def imported(program: str) -> set[str]:
    """The modules that a fresh interpreter holds after `program`."""
    code = f"import sys\n{program}\nprint(*[name for name, module in sys.modules.items() if module])"
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_importing_jacsup_is_light() -> None:
    assert imported("import jacsup").isdisjoint({"torch", "numpy", "tyro"})
    assert imported("import jacsup.cli.main").isdisjoint({"torch", "numpy", "matplotlib"})


def test_training_needs_no_command_line_no_figures_and_no_downloads() -> None:
    blocked = ("tyro", "pooch", "matplotlib", "torchmetrics", "sklearn", "scipy")
    block = f"sys.modules.update(dict.fromkeys({blocked}))\n"
    assert imported(f"{block}import jacsup.training.loop").isdisjoint(blocked)


def test_no_import_opens_a_socket() -> None:
    program = f"""
import contextlib, importlib, os, sys
def refuse(event, arguments):
    if event.startswith("socket."):
        os._exit(1)
sys.addaudithook(refuse)
for name in {sorted(MODULES)}:
    if name != "jacsup.__main__":
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
"""
    assert imported(program) >= {"jacsup.training.loop", "jacsup.cli.main", "jacsup.photo"}
