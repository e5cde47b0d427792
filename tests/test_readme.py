"""What the README and the pages of the documentation show works as it stands."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY

from jacsup.cli import main as cli

README = REPOSITORY / "README.md"
# The log keeps its commands as they once were.
PAGES = [README, *(page for page in sorted((REPOSITORY / "docs").glob("*.md")) if page.name != "LOG.md")]
PROGRAMS = [
    pytest.param(program, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
# Of a torchrun command, what follows its own options.
COMMANDS = {
    page: [line.split("#")[0].strip() for line in re.findall(r"^    (?:.*-m )?(jacsup .*)$", page.read_text(), re.M)]
    for page in PAGES
}
SHOWN = sorted({command for commands in COMMANDS.values() for command in commands})
OWN_NETWORKS = next(text for param in PROGRAMS if "losses.jacobian" in (text := str(param.values[0])))


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_run(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    values: dict[str, object] = {}
    exec(compile(program, "documentation", "exec"), values)
    assert values.keys() & {"x_hat", "codes"}


def test_the_example_of_own_networks_learns_and_is_short() -> None:
    assert len([line for line in OWN_NETWORKS.splitlines() if line.strip()]) <= 20
    values: dict[str, object] = {}
    torch.manual_seed(0)
    exec(compile(OWN_NETWORKS.replace("range(100)", "range(1)"), "documentation", "exec"), values)
    first = values["loss"]
    torch.manual_seed(0)
    exec(compile(OWN_NETWORKS, "documentation", "exec"), values)
    last = values["loss"]
    assert isinstance(first, torch.Tensor)
    assert isinstance(last, torch.Tensor)
    assert last < 0.5 * first


@pytest.mark.parametrize(
    "command", [command for command in SHOWN if command.startswith("jacsup train") and "mine.py" not in command]
)
def test_training_commands_are_understood(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    dry = [] if "--dry-run" in command else ["--dry-run"]
    monkeypatch.setattr("sys.argv", [*shlex.split(command), *dry])
    cli.main()
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"


def without_effect(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the same options that does nothing."""

    @functools.wraps(command)
    def ignored(*_arguments: object, **_options: object) -> None:
        pass

    return ignored


@pytest.mark.parametrize("command", SHOWN)
def test_options_of_commands_exist(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (cli.COMMANDS, cli.DATA_COMMANDS):
        for name, function in table.items():
            monkeypatch.setitem(table, name, without_effect(function))
    monkeypatch.setattr("sys.argv", shlex.split(command))
    cli.main()


def test_every_command_is_shown() -> None:
    assert {command.split()[1] for command in COMMANDS[README]} >= {"train", "evaluate", "report", "edit", "serve"}
    assert {command.split()[1] for command in SHOWN} >= set(cli.COMMANDS)


def linked_paths(page: Path) -> set[Path]:
    links = re.findall(r"(?:\]\(|src=\")((?!https?:|#)[^)#\"]+)", page.read_text())
    return {page.parent / link for link in links}


def test_the_readme_is_short_and_links_to_every_page() -> None:
    assert len(README.read_text().splitlines()) <= 150
    assert {page for page in PAGES[1:] if page.name != "index.md"} <= linked_paths(README)


@pytest.mark.parametrize("page", sorted(REPOSITORY.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    assert [path for path in linked_paths(page) if not path.exists()] == []
