"""Many processes do what one does: the same steps, the same run folder, and one end for all.

JACSUP_KILLS=20 kills a process at 20 random moments instead of 2.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks
import torch
from safetensors.torch import load_file

from jacsup import distributed
from jacsup.cli import lazy
from jacsup.cli import main as cli
from jacsup.run import Run

UNEQUAL = ("name", "seconds", "core_seconds", "peak_memory_mib")
NUM_KILLS = int(os.environ.get("JACSUP_KILLS", "2"))
# `jacsup` with a checkpoint every few steps, as a command for torchrun.
SAVING_OFTEN = """
from jacsup.cli.main import main
from jacsup.training import loop
loop.SECONDS_BETWEEN_CHECKPOINTS = 0.02
main()
"""
EPOCHS = ("--set", "stages.epochs=4", "--set", "stages.batch_size=64")


def torchrun(count: int, *arguments: object, restarts: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += ["--local-addr=127.0.0.1", f"--max-restarts={restarts}", *map(str, arguments)]
    environment = {**os.environ, "PYTHONWARNINGS": "error::UserWarning"}
    if restarts:
        # Else restarted processes read the addresses of the dead ones; but the port is free only when it is looked for.
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, ranks.__file__, folder, "float32", "float64"], check=True)
    return folder


@pytest.mark.parametrize(("count", "dtype", "tolerance"), [(2, "float32", 1e-5), (4, "float64", 1e-9)])
def test_ranks_agree_with_one_process(count: int, dtype: str, tolerance: float, alone: Path, tmp_path: Path) -> None:
    finish(torchrun(count, ranks.__file__, tmp_path, dtype))
    for case in ranks.CASES:
        ours, theirs = (load_file(folder / f"{case} {dtype}.safetensors") for folder in (tmp_path, alone))
        for name in {name for name, value in theirs.items() if value.numel()}:
            difference = (ours[name] - theirs[name]).double() / theirs[name].abs().max().clamp(min=1)
            error = difference.abs().max() if dtype == "float64" else difference.square().mean().sqrt()
            assert error < tolerance, (case, name)


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "two"
    output = finish(torchrun(2, "-m", "jacsup", "train", "debug", *EPOCHS, "--out", folder))
    assert output.count("is trained") == 1
    return folder


def figures(folder: Path) -> list[dict[str, float]]:
    return [{name: value for name, value in line.items() if name not in UNEQUAL} for line in Run(folder).stats()]


def assert_close(folder: Path, expected: Path) -> None:
    """The same run up to rounding."""
    for line, other in zip(figures(folder), figures(expected), strict=True):
        assert line == pytest.approx(other, rel=0.05, abs=1e-5)
    ours, theirs = (load_file(run / "model.safetensors") for run in (folder, expected))
    for name in ours.keys() | theirs.keys():
        torch.testing.assert_close(ours[name], theirs[name], rtol=0.05, atol=0.02)


def test_bfloat16_on_many_ranks(run_of_two: Path, tmp_path: Path) -> None:
    options = ("--precision", "bfloat16", "--stages", "1", "--out", tmp_path / "run")
    finish(torchrun(2, "-m", "jacsup", "train", "debug", *EPOCHS, *options))
    for line, other in zip(figures(tmp_path / "run"), figures(run_of_two), strict=False):
        assert line["rec"] == pytest.approx(other["rec"], rel=0.02)


def test_the_command_under_torchrun(run_of_two: Path, tmp_path: Path) -> None:
    assert Run(run_of_two).sessions()[0]["processes"] == 2
    subprocess.run([sys.executable, "-m", "jacsup", "train", "debug", *EPOCHS, "--out", tmp_path / "run"], check=True)
    assert_close(run_of_two, tmp_path / "run")


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_a_killed_rank_ends_all_and_a_restart_goes_on(seed: int, run_of_two: Path, tmp_path: Path) -> None:
    rng = random.Random(seed)
    command = ("--no-python", sys.executable, "-c", SAVING_OFTEN, "train", "debug", *EPOCHS, "--out", tmp_path / "run")
    process = torchrun(2, *command, restarts=1)
    num_epochs = rng.randrange(11)
    wait_for_epochs(tmp_path / "run", num_epochs)
    time.sleep(rng.uniform(0, 0.1))
    os.kill(workers(process.pid)[seed % 2], signal.SIGKILL)
    finish(process)
    # A process that is killed at once has no session yet.
    sessions = [session["processes"] for session in Run(tmp_path / "run").sessions()]
    assert sessions == [2, 2] or (sessions == [2] and not num_epochs)
    assert figures(tmp_path / "run") == figures(run_of_two)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (run_of_two / "model.safetensors").read_bytes()


def test_an_interrupted_run_goes_on_with_another_number_of_ranks(run_of_two: Path, tmp_path: Path) -> None:
    process = torchrun(2, "-m", "jacsup", "train", "debug", *EPOCHS, "--out", tmp_path / "run")
    wait_for_epochs(tmp_path / "run", 2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0 and (tmp_path / "run" / "checkpoint.safetensors").exists()
    assert len(Run(tmp_path / "run").stats()) < 12
    finish(torchrun(1, "-m", "jacsup", "train", "debug", *EPOCHS, "--out", tmp_path / "run"))
    assert_close(tmp_path / "run", run_of_two)


def test_a_batch_that_cannot_be_shared_out(tmp_path: Path) -> None:
    size = ("--set", "stages.batch_size=63")
    process = torchrun(2, "-m", "jacsup", "train", "debug", *size, "--out", tmp_path / "run")
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and not (tmp_path / "run").exists()
    assert "batch_size is 63 for 2 processes" in output


def wait_for_epochs(run: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while not (run / "recipe.json").exists() or len(Run(run).stats()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers(launcher: int) -> list[int]:
    """The processes that torchrun started, in the order of their ranks."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        found |= {int(v.partition("=")[2]): child for v in variables if v.startswith("LOCAL_RANK=")}
    return [found[rank] for rank in sorted(found)]


def test_gradients_travel_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = [torch.rand(size, 3, requires_grad=True) for size in (1, 2, 3, 4)]
    loss = torch.stack([number * weight.square().sum() for number, weight in enumerate(weights, 1)]).sum()
    told = torch.rand(2)
    sent: list[int] = []

    class Arrived:
        def wait(self) -> None:
            pass

    def all_reduce(flat: torch.Tensor, **options: bool) -> Arrived:
        sent.append(len(flat))
        flat.mul_(2)
        return Arrived()

    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "MESSAGE_BYTES", 4 * 7)
    monkeypatch.setattr(distributed.dist, "all_reduce", all_reduce)
    gradients, told_mean = distributed.mean_gradients(loss, weights, told)
    for number, (weight, gradient) in enumerate(zip(weights, gradients, strict=True), 1):
        torch.testing.assert_close(gradient, 2 * number * weight.detach())
    assert told_mean.equal(told)
    assert len(sent) > 1 and sum(sent) == 30 + 2
    assert all(not weight._backward_hooks for weight in weights)


def started_by_torchrun(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500", **variables}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("missing", distributed.TORCHRUN)
def test_a_part_of_torchruns_variables_makes_no_rank(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started_by_torchrun(monkeypatch, WORLD_SIZE="3", LOCAL_RANK="1", RANK="1")
    assert distributed.num_started() == 3 and not distributed.is_first_started()
    monkeypatch.delenv(missing)
    assert distributed.num_started() == 1 and distributed.is_first_started()
    monkeypatch.setattr(lazy, "train", lambda *_, **__: tmp_path, raising=False)
    cli.train("debug")
    assert capsys.readouterr().out == f"{tmp_path} is trained; next: jacsup report {tmp_path}\n"


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cuda", "3 processes were started on a machine with 2 GPUs; --nproc-per-node must be at most 2"),
        ("cuda:1", "device is cuda:1 for 3 processes; pass cuda"),
    ],
)
def test_every_process_needs_a_gpu_of_its_own(device: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started_by_torchrun(monkeypatch, WORLD_SIZE="3", LOCAL_WORLD_SIZE="3", LOCAL_RANK="2", RANK="2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=expected), distributed.joined(torch.device(device)):
        pass


@pytest.mark.parametrize(
    ("rank", "local_rank", "before", "after"), [(0, 0, 0, 2), (1, 1, 2, 0), (2, 0, 1, 1), (3, 1, 2, 0)]
)
def test_rank_0_prepares_first_then_one_process_of_each_machine(
    rank: int, local_rank: int, before: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "barrier", lambda: events.append("barrier"))
    with distributed.main_first():
        events.append("prepared")
    assert events == ["barrier"] * before + ["prepared"] + ["barrier"] * after


def test_alone_nothing_is_sent() -> None:
    values = torch.rand(4, 3)
    assert distributed.gather(values) is values and distributed.own(values).equal(values)
    assert distributed.partners(values).equal(values.roll(1, 0))
    assert distributed.size() == 1 and distributed.is_main() and not distributed.any_rank(flag=False)
    weight = torch.ones(2, requires_grad=True)
    (gradient,), told = distributed.mean_gradients(3 * weight.sum(), [weight], values[0])
    assert gradient.equal(torch.full((2,), 3.0)) and told.equal(values[0])
