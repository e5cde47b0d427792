"""How time and memory of a student step grow with attributes, code, image size and batch: build/growth.png.

Each point is measured in a process of its own. Usage: python benchmarks/growth.py [--threads N] [--quick]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from alone import alone
from steps import Student, faces, seconds_per_step

from jacsup.report.sheets import PALETTE, plot, save
from jacsup.training.reporter import peak_memory

# Each axis varies around 40 attributes, 128 channels of z in the teacher's 2x2 map, 64x64 and batches of 32.
AXES: dict[str, tuple[int, ...]] = {
    "num_attributes": (1, 10, 20, 40, 80),
    "z_channels": (32, 64, 128, 256, 512),
    "size": (32, 64, 128, 256),
    "batch_size": (8, 16, 32, 64, 128),
}
LABELS = {
    "num_attributes": "attributes k",
    "z_channels": "channels of z (d = 4 times as many)",
    "size": "side of the images, pixels",
    "batch_size": "batch",
}
MIDDLE = {"size": 64, "batch_size": 32}
# With --quick: the same in one step, on small images and batches.
QUICK_AXES = {"num_attributes": (2,), "z_channels": (256,)}
QUICK_MIDDLE = {"size": 32, "batch_size": 2}


def measure(settings: dict[str, int], rounds: int) -> dict[str, float]:
    """Seconds per step and peak memory in MiB, in this process."""
    device = torch.device("cpu")
    run = Student(faces(**settings), device).ours()
    return {"seconds": seconds_per_step({"ours": run}, 1, rounds)["ours"], "mib": peak_memory(device)}


def draw(path: Path, axes: dict[str, tuple[int, ...]], results: dict[str, list[dict[str, float]]]) -> None:
    """One panel for each axis: time on the left, memory on the right."""
    figure, panels = plot(len(axes), share_x=False)
    for panel, (name, values) in zip(panels, axes.items(), strict=True):
        panel.set_xlabel(LABELS[name])
        panel.set_xticks(values)
        sides = (panel, "seconds", 1000, "ms per step"), (panel.twinx(), "mib", 1, "peak MiB")
        for colour, (axis, key, factor, label) in zip(PALETTE, sides, strict=False):
            heights = [factor * point[key] for point in results[name]]
            axis.plot(values, heights, "o-", color=colour)
            axis.set_ylabel(label, color=colour, size=11)
            axis.set_ylim(0, 1.15 * max(heights))
            axis.spines["top"].set_visible(False)
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a few small sizes, one step each")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        print(json.dumps(measure(arguments.one, rounds=1 if arguments.quick else 5)))
        return
    axes, middle = (QUICK_AXES, QUICK_MIDDLE) if arguments.quick else (AXES, MIDDLE)
    options = ["--threads", str(arguments.threads), *(["--quick"] if arguments.quick else [])]
    results: dict[str, Any] = {}
    for name, values in axes.items():
        results[name] = []
        for value in values:
            point = alone(__file__, *options, "--one", json.dumps(middle | {name: value}))
            results[name].append(point)
            print(
                f"{LABELS[name]:<38} {value:>4}  {1000 * point['seconds']:8.1f} ms  {point['mib']:7.0f} MiB", flush=True
            )
    folder = Path("build")
    folder.mkdir(exist_ok=True)
    (folder / "growth.json").write_text(json.dumps(results, indent=2))
    draw(folder / "growth.png", axes, results)


if __name__ == "__main__":
    main()
