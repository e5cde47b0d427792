"""The site builds without a broken link or a foreign host, its design is up to date, and the tutorials run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from conftest import REPOSITORY
from test_layout import LAYERS, SOURCE

TUTORIALS = sorted((REPOSITORY / "docs" / "tutorials").glob("*.ipynb"))


def run(*arguments: object, cwd: Path) -> None:
    binaries = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": binaries, "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    run("mkdocs", "build", "--strict", "--site-dir", tmp_path / "site", cwd=REPOSITORY)
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "api.html", "gallery.html", "editor.html"} <= {page.name for page in pages}
    for page in pages:
        loaded = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=[\"']?(https?:[^\"' >]+)", page.read_text())
        assert not loaded, page.name
        named = re.findall(r"(?:href|src)=[\"']?((?!https?:|data:|mailto:|#)[^\"' >#]+)", page.read_text())
        missing = [name for name in named if not (page.parent / unquote(name)).exists()]
        # The page for lost visitors is served at any depth, so its links start at the root.
        assert not missing or page.name == "404.html", (page.name, missing)


def listed_files(tree: str) -> list[str]:
    """The files of a tree whose lines are names and their meaning, folders ending in a slash."""
    folders, files = [""], []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[: depth + 1], folders[depth] + name]
        if not name.endswith("/"):
            assert len(line.split()) > 1, f"{name} has no description"
            files.append(folders[-1])
    return files


def test_the_design_lists_the_modules() -> None:
    tree = re.findall(r"```text\n(.*?)```", (REPOSITORY / "docs" / "DESIGN.md").read_text(), re.DOTALL)[0]
    files = [file for file in SOURCE.rglob("*") if file.suffix in (".py", ".html", ".css", ".js")]
    there = [file.relative_to(SOURCE).as_posix() for file in files if file.parent == SOURCE or file.stem != "__init__"]
    assert sorted(listed_files(tree)) == sorted(there)


def test_the_architecture_picture_shows_the_layers() -> None:
    picture = (REPOSITORY / "docs" / "images" / "architecture.svg").read_text()
    assert tuple(re.findall(r'class="name"[^>]*>(\w+)<', picture)) == LAYERS


def test_contributing_names_files_and_tables_that_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`((?:src|tests|docs|experiments)/[\w./-]+)`", text)
    assert [path for path in paths if "NAME" not in path and not (REPOSITORY / path).exists()] == []
    for path, table in re.findall(r"`(src/[\w/]+\.py)`: its line in `(\w+)`", text):
        assert re.search(rf"^{table}\b.* = ", (REPOSITORY / path).read_text(), re.MULTILINE), (path, table)


def test_github_runs_the_same_checks_and_its_forms_are_whole() -> None:
    folder = REPOSITORY / ".github"
    steps = yaml.safe_load((folder / "workflows" / "ci.yml").read_text())["jobs"]["check"]["steps"]
    assert steps[-1]["run"] == ".ci/run"
    for form in (folder / "ISSUE_TEMPLATE").glob("[!c]*.yml"):
        content = yaml.safe_load(form.read_text())
        assert content["name"] and content["description"]
        assert len({field["id"] for field in content["body"]}) == len(content["body"])


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(tutorial: Path, tmp_path: Path) -> None:
    shutil.copy(tutorial, tmp_path)
    run("nbconvert", "--to", "notebook", "--execute", "--inplace", tutorial.name, cwd=tmp_path)


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_shows_its_results(tutorial: Path) -> None:
    cells = [cell for cell in json.loads(tutorial.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in cells)
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell["outputs"])
