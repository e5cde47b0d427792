"""Other systems than Linux, as far as Linux can tell: without POSIX's modules, and text is UTF-8 everywhere."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_layout import TREES

from jacsup.models import pick_device

# Of Python's own modules, those that Windows lacks.
POSIX = ("fcntl", "resource", "termios", "pwd", "grp", "pty", "syslog")
WINDOWS = f"""
import builtins, os
own_import = builtins.__import__
def imported(name, into=None, *rest):
    if name in {POSIX} and (into or {{}}).get("__name__", "").startswith("jacsup"):
        raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
    return own_import(name, into, *rest)
builtins.__import__ = imported
import torch
del os.O_DIRECTORY
open_file = os.open
def opened(path, *rest, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open_file(path, *rest, **options)
os.open = opened
"""


def run_on_windows(program: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WINDOWS + program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_run_is_trained_locked_and_resumed(tmp_path: Path) -> None:
    program = """
import sys
from jacsup.cli.main import main
from jacsup.run import InUseError, Run
sys.argv = "jacsup train debug --epochs 1 --stages 1 --out run".split()
main()
sys.argv[-3:] = ["2", "--out", "run"]
main()
run = Run(__import__("pathlib").Path("run"))
assert run.stats()[0]["peak_memory_mib"] == 0
with run.lock():
    try:
        with run.lock():
            raise AssertionError("locked twice")
    except InUseError:
        pass
with run.lock():
    pass
"""
    run_on_windows(program, tmp_path)


def test_images_are_prepared(tmp_path: Path) -> None:
    program = """
from pathlib import Path
import numpy as np
from PIL import Image
from jacsup.data.prepare import ImageSource, prepare_once
Path("images").mkdir()
for number in range(4):
    Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(f"images/{number}.png")
first = prepare_once(ImageSource("images"), 16, Path("cache"))
assert prepare_once(ImageSource("images"), 16, Path("cache")) == first
"""
    run_on_windows(program, tmp_path)


def test_connections_are_bounded_by_a_constant(tmp_path: Path) -> None:
    program = """
from jacsup.serve.connections import MOST_FILES, OTHER_FILES, most_connections, raise_file_limit
import jacsup.serve.server
raise_file_limit()
assert most_connections() == MOST_FILES - OTHER_FILES
"""
    run_on_windows(program, tmp_path)


def opens_text_without_encoding(call: ast.Call) -> bool:
    """Whether a call reads or writes text in whatever encoding the system has."""
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    given = {keyword.arg for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return "encoding" not in given
    modes = [arg.value for arg in call.args[1:2] if isinstance(arg, ast.Constant)]
    return isinstance(call.func, ast.Name) and name == "open" and "encoding" not in given and "b" not in f"{modes}"


@pytest.mark.parametrize("file", TREES)
def test_files_are_in_utf_8(file: str) -> None:
    calls = [node for node in ast.walk(TREES[file]) if isinstance(node, ast.Call)]
    assert [call.lineno for call in calls if opens_text_without_encoding(call)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("open(p)", True), ("open(p, 'a')", True), ("p.read_text()", True), ("open(p, 'ab')", False)],
)
def test_the_search_for_encodings_finds_them(text: str, expected: bool) -> None:
    (call,) = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call))
    assert opens_text_without_encoding(call) == expected


def test_the_program_prints_utf_8(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "jacsup", "evaluate", "läufe/→"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 2 and "läufe/→: no such run" in done.stderr.decode("utf-8")


def test_apples_gpu_is_taken_where_torch_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("mps") == torch.device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"^device is 'mps', but torch finds no such GPU; use cpu or auto"):
        pick_device("mps")
