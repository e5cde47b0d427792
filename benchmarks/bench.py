"""Our step against the literal twin and against its own arithmetic: one table and build/bench.json.

Usage: python benchmarks/bench.py [--threads N] [--device cpu|cuda] [--quick]
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import literal
import torch
from alone import alone
from steps import Case, Student, faces, mnist, seconds_per_step

from jacsup.training.reporter import peak_memory


@dataclass(frozen=True)
class Budget:
    """Sizes and repetitions of all measurements."""

    num_digits: int = 60_000
    # Sides and batch sizes of the faces.
    small: int = 64
    large: int = 256
    small_batch: int = 128
    large_batch: int = 16
    # Steps of MNIST in a turn; faces take one.
    steps: int = 100
    rounds: int = 7
    attribute_rounds: int = 5
    memory_steps: int = 3
    num_drawn: int = 2000
    draws: int = 3

    def cases(self) -> dict[str, tuple[Case, int]]:
        """The cases, each with its steps per turn."""
        small, large = faces(self.small, batch_size=self.small_batch), faces(self.large, batch_size=self.large_batch)
        return {
            "MNIST, code 3": (mnist(3, self.num_digits), self.steps),
            "MNIST, code 16": (mnist(16, self.num_digits), self.steps),
            f"faces, {self.small}x{self.small}": (small, 1),
            f"faces, {self.large}x{self.large}": (large, 1),
        }


FULL = Budget()
QUICK = Budget(
    num_digits=256,
    small=32,
    large=64,
    small_batch=2,
    large_batch=2,
    steps=1,
    rounds=1,
    attribute_rounds=1,
    memory_steps=1,
    num_drawn=20,
    draws=1,
)


def measure(case: Case, steps: int, rounds: int, device: torch.device) -> dict[str, float]:
    """Seconds per step of ours, the twins and the floor; on a GPU also of ours compiled, convolutions in bfloat16."""
    student = Student(case, device)
    candidates = {
        "ours": student.ours(),
        "twin": student.twin(literal.loaded),
        "twin in memory": student.twin(literal.in_memory),
        "floor": student.floor(),
    }
    if device.type == "cuda":
        candidates["ours, fast"] = Student(case, device).ours(fast=True)
    return seconds_per_step(candidates, steps, rounds)


def attributes_cost(budget: Budget, device: torch.device) -> float:
    """Time of a step with 40 attributes divided by that of a step with one, on large faces."""
    size, batch_size = budget.large, budget.large_batch
    students = {str(k): Student(faces(size, num_attributes=k, batch_size=batch_size), device).ours() for k in (1, 40)}
    seconds = seconds_per_step(students, 1, budget.attribute_rounds)
    return seconds["40"] / seconds["1"]


def drawn_per_second(budget: Budget) -> float:
    """How many faces of 64x64 are drawn in a second, without a cache."""
    from jacsup.data.drawn.faces import draw_set

    rates = []
    for seed in range(budget.draws):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            draw_set(budget.num_drawn, 64, 10_000 + seed, cache=Path(folder))
            rates.append(budget.num_drawn / (time.perf_counter() - start))
    return median(rates)


def memory_of(kind: str, budget: Budget, device: torch.device) -> float:
    """Peak memory of this process in MiB during steps on large faces."""
    student = Student(faces(budget.large, batch_size=budget.large_batch), device)
    (student.ours() if kind == "ours" else student.twin(literal.loaded))(budget.memory_steps)
    return peak_memory(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small images and batches, one step each")
    parser.add_argument("--memory", choices=("ours", "twin"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device, budget = torch.device(arguments.device), QUICK if arguments.quick else FULL
    cases = budget.cases()
    if arguments.memory:
        print(json.dumps(memory_of(arguments.memory, budget, device)))
        return
    if arguments.case:
        print(json.dumps(measure(*cases[arguments.case], budget.rounds, device)))
        return
    options = ["--threads", str(arguments.threads), "--device", arguments.device]
    options += ["--quick"] if arguments.quick else []
    # First, while this process is small: a child's peak starts from its parent's.
    memory = {kind: alone(__file__, *options, "--memory", kind) for kind in ("ours", "twin")}
    seconds = {name: alone(__file__, *options, "--case", name) for name in cases}
    _print(seconds, {name: case.batch_size for name, (case, _) in cases.items()})
    three, sixteen, small, large = seconds.values()
    results = {
        "mnist_vs_twin": sixteen["twin"] / sixteen["ours"],
        "mnist_vs_twin_in_memory": sixteen["twin in memory"] / sixteen["ours"],
        "mnist_vs_floor": sixteen["ours"] / sixteen["floor"],
        "mnist_code3_vs_twin": three["twin"] / three["ours"],
        f"faces{budget.small}_vs_twin": small["twin"] / small["ours"],
        f"faces{budget.large}_vs_twin": large["twin"] / large["ours"],
        "cost_40_vs_1_attributes": attributes_cost(budget, device),
        "faces_drawn_per_second": drawn_per_second(budget),
        f"memory{budget.large}_vs_twin": memory["ours"] / memory["twin"],
    }
    for name, value in results.items():
        print(f"{name:>26}  {value:.2f}")
    where = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine(),
        "threads": arguments.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    Path("build").mkdir(exist_ok=True)
    measured = {"seconds_per_step": seconds, f"peak_mib_{budget.large}": memory}
    Path("build/bench.json").write_text(json.dumps({**results, **measured, **where}, indent=2))


def _print(seconds: dict[str, dict[str, float]], batch_sizes: dict[str, int]) -> None:
    names = list(next(iter(seconds.values())))
    print(f"{'student step':<16}{'batch':>6}" + "".join(f"{name + ', ms':>20}" for name in names) + f"{'images/s':>10}")
    for title, measured in seconds.items():
        batch = batch_sizes[title]
        cells = "".join(f"{1000 * measured[name]:>20.2f}" for name in names)
        print(f"{title:<16}{batch:>6}{cells}{batch / measured['ours']:>10.0f}")


if __name__ == "__main__":
    main()
