"""Our step against the literal twin and against its own arithmetic: one table and build/bench.json.

Usage: python benchmarks/bench.py [--threads N] [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import literal
import torch
from steps import Case, Student, faces, mnist, seconds_per_step

from jacsup.training.reporter import peak_memory

BATCH_256 = 16
NUM_DRAWN = 2000
MEMORY_STEPS = 3
# Each with the steps of a turn, and the turns.
CASES: dict[str, tuple[Case, int, int]] = {
    "MNIST, code 3": (mnist(3), 100, 7),
    "MNIST, code 16": (mnist(16), 100, 7),
    "faces, 64x64": (faces(64), 1, 7),
    "faces, 256x256": (faces(256, batch_size=BATCH_256), 1, 7),
}


def measure(name: str, device: torch.device) -> dict[str, float]:
    """Seconds per step of us, the twins and the floor; on a GPU also of us compiled, with convolutions in bfloat16."""
    case, count, rounds = CASES[name]
    student = Student(case, device)
    candidates = {
        "ours": student.ours(),
        "twin": student.twin(literal.loaded),
        "twin in memory": student.twin(literal.in_memory),
        "floor": student.floor(),
    }
    if device.type == "cuda":
        candidates["ours, fast"] = Student(case, device).ours(fast=True)
    return seconds_per_step(candidates, count, rounds)


def attributes_cost(device: torch.device) -> float:
    """The step with 40 attributes over the step with one, 256x256."""
    students = {str(k): Student(faces(256, num_attributes=k, batch_size=BATCH_256), device).ours() for k in (1, 40)}
    seconds = seconds_per_step(students, 1, rounds=5)
    return seconds["40"] / seconds["1"]


def drawn_per_second() -> float:
    """Drawn faces, 64x64, cold."""
    from jacsup.data.drawn.faces import draw_set

    rates = []
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            draw_set(NUM_DRAWN, 64, 10_000 + seed, cache=Path(folder))
            rates.append(NUM_DRAWN / (time.perf_counter() - start))
    return median(rates)


def memory_of(kind: str, device: torch.device) -> float:
    """MiB that this process needs at most for some steps at 256x256."""
    student = Student(faces(256, batch_size=BATCH_256), device)
    (student.ours() if kind == "ours" else student.twin(literal.loaded))(MEMORY_STEPS)
    return peak_memory(device)


def alone(arguments: argparse.Namespace, *question: str) -> Any:
    """The answer of a process that does nothing else: what one case leaves in memory slows down the next."""
    options = ["--threads", str(arguments.threads), "--device", arguments.device]
    command = [sys.executable, __file__, *options, *question]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory", choices=("ours", "twin"), help=argparse.SUPPRESS)
    parser.add_argument("--case", choices=tuple(CASES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if arguments.memory or arguments.case:
        answer = memory_of(arguments.memory, device) if arguments.memory else measure(arguments.case, device)
        print(json.dumps(answer))
        return
    # First, while this process is small: a child's peak starts from its parent's.
    memory = {kind: alone(arguments, "--memory", kind) for kind in ("ours", "twin")}
    seconds = {name: alone(arguments, "--case", name) for name in CASES}
    _print(seconds)
    three, sixteen, small, large = seconds.values()
    results = {
        "mnist_vs_twin": sixteen["twin"] / sixteen["ours"],
        "mnist_vs_twin_in_memory": sixteen["twin in memory"] / sixteen["ours"],
        "mnist_vs_floor": sixteen["ours"] / sixteen["floor"],
        "mnist_code3_vs_twin": three["twin"] / three["ours"],
        "faces64_vs_twin": small["twin"] / small["ours"],
        "faces256_vs_twin": large["twin"] / large["ours"],
        "cost_40_vs_1_attributes": attributes_cost(device),
        "faces_drawn_per_second": drawn_per_second(),
        "memory256_vs_twin": memory["ours"] / memory["twin"],
    }
    for name, value in results.items():
        print(f"{name:>26}  {value:.2f}")
    where = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "threads": arguments.threads, "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip
    Path("build").mkdir(exist_ok=True)
    text = json.dumps({**results, "seconds_per_step": seconds, "peak_mib_256": memory, **where}, indent=2)
    Path("build/bench.json").write_text(text)


def _print(seconds: dict[str, dict[str, float]]) -> None:
    names = list(next(iter(seconds.values())))
    print(f"{'student step':<16}{'batch':>6}" + "".join(f"{name + ', ms':>20}" for name in names) + f"{'images/s':>10}")
    for title, measured in seconds.items():
        batch = CASES[title][0].batch_size
        cells = "".join(f"{1000 * measured[name]:>20.2f}" for name in names)
        print(f"{title:<16}{batch:>6}{cells}{batch / measured['ours']:>10.0f}")


if __name__ == "__main__":
    main()
