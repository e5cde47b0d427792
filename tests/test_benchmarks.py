"""Every benchmark runs, on a tiny budget, and says what went wrong where one does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import alone
import growth
import pytest
from steps import faces

FOLDER = Path(growth.__file__).parent
ALONE = [sys.executable]
ON_TWO_RANKS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# What starts each benchmark, its arguments, and what it prints.
BENCHMARKS = {
    "bench.py": (ALONE, ["--threads", "1", "--device", "cpu"], "memory64_vs_twin"),
    "growth.py": (ALONE, ["--threads", "1"], "channels of z"),
    "linear_layers.py": (ALONE, ["--threads", "1"], "ratio"),
    "page.py": (ALONE, ["faces"], "slider to picture"),
    "messages.py": (ON_TWO_RANKS, ["--device", "cpu"], "MiB of gradients"),
    "streaming.py": (ALONE, ["--threads", "1"], "waiting for images"),
    "users.py": (ALONE, ["faces"], "none failed"),
}
HELPERS = {"alone.py", "literal.py", "steps.py"}


def test_every_benchmark_is_known() -> None:
    assert {file.name for file in FOLDER.glob("*.py")} == {*BENCHMARKS, *HELPERS}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmarks_run(name: str, tmp_path: Path) -> None:
    start, arguments, words = BENCHMARKS[name]
    command = [*start, str(FOLDER / name), "--quick", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout
    if name == "bench.py":
        measured = json.loads((tmp_path / "build" / "bench.json").read_text())
        assert measured["mnist_vs_twin"] > 0 and len(measured["seconds_per_step"]) == 4
    if name == "growth.py":
        assert {"growth.json", "growth.png"} == {file.name for file in (tmp_path / "build").iterdir()}


@pytest.mark.parametrize(("axis", "value"), [(axis, value) for axis, values in growth.AXES.items() for value in values])
def test_every_point_of_growth_is_a_recipe(axis: str, value: int) -> None:
    case = faces(**(growth.MIDDLE | {axis: value}))
    if axis == "z_channels":
        assert [stage.z_channels for stage in case.recipe.stages] == [value, value, 2 * value, 4 * value]


def test_errors_of_subprocesses_reach_the_user(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise ValueError('z_channels is 128')")
    with pytest.raises(SystemExit, match=r"broken.py --one failed with exit code 1; its error is above"):
        alone.alone(str(script), "--one")
    assert "ValueError: z_channels is 128" in capfd.readouterr().err


def test_an_editor_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = [sys.executable, str(FOLDER / "users.py"), "nothing.safetensors", "--quick"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "nothing.safetensors" in done.stderr and "the editor did not start; its error is above" in done.stderr
