"""Seconds per epoch and peak memory of the MNIST curriculum, for each code size, on images of MNIST's shape.

Each size runs in a process of its own (peak memory is a process's) for EPOCHS epochs; the median counts.
Writes build/bench.json. Usage: python benchmarks/mnist_stages.py [threads]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

SIZES = (2, 3, 4, 6, 8, 10, 12, 14, 16)
EPOCHS = 3


def measure(units: int, threads: int) -> dict[str, float]:
    """Trains one stage of `units` units (after one epoch of its teacher) in this process."""
    import numpy as np
    import torch

    import jacsup
    from jacsup.run import Run

    torch.set_num_threads(threads)
    recipe = jacsup.recipe("mnist")
    stage = replace(recipe.stages[units - 2], epochs=EPOCHS)
    stages = (replace(recipe.stages[0], num_units=units - 1, epochs=1), stage) if units > 2 else (stage,)
    pixels = np.random.default_rng(0).integers(0, 256, (62_000, 28, 28), dtype=np.uint8)
    data = jacsup.Dataset.from_arrays(pixels[:60_000], test_images=pixels[60_000:])
    with tempfile.TemporaryDirectory() as folder:
        lines = Run(jacsup.train(replace(recipe, stages=stages), data, Path(folder) / "run")).stats()[-EPOCHS:]
    return {
        "seconds_per_epoch": statistics.median(line["seconds"] for line in lines),
        "peak_memory_mib": max(line["peak_memory_mib"] for line in lines),
    }


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    results = {}
    print(f"MNIST curriculum, batch 128, {threads} threads, median of {EPOCHS} epochs")
    for units in SIZES:
        command = [sys.executable, __file__, "--one", str(units), str(threads)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results[units] = json.loads(output.splitlines()[-1])
        print("{:3d} units  {seconds_per_epoch:6.2f} s  {peak_memory_mib:6.0f} MiB".format(units, **results[units]))
    Path("build").mkdir(exist_ok=True)
    Path("build/bench.json").write_text(json.dumps({"mnist_stages": results, "threads": threads}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(measure(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
