"""What the README shows works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY

from jacsup.cli import main as cli

README = (REPOSITORY / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^    (jacsup .*)$", README, re.MULTILINE)]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_its_programs_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    values: dict[str, object] = {}
    exec(compile(PROGRAMS[number], "README.md", "exec"), values)
    assert values.keys() & {"x_hat", "codes"}


def test_its_own_encoder_example_learns_and_is_short() -> None:
    program = next(text for text in PROGRAMS if "losses.jacobian" in text)
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    values: dict[str, object] = {}
    torch.manual_seed(0)
    exec(compile(program.replace("range(100)", "range(1)"), "README.md", "exec"), values)
    first = values["loss"]
    torch.manual_seed(0)
    exec(compile(program, "README.md", "exec"), values)
    last = values["loss"]
    assert isinstance(first, torch.Tensor)
    assert isinstance(last, torch.Tensor)
    assert last < 0.5 * first


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("jacsup train")])
def test_its_training_commands_are_understood(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*shlex.split(command), "--dry-run"])
    cli.main()
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"


def test_it_shows_every_command() -> None:
    shown = {command.split()[1] for command in COMMANDS}
    assert shown >= set(cli.COMMANDS) - {"data"}
