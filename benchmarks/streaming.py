"""How fast shuffled batches come from a file that no memory holds, and how long a student step waits for them.

The file's pages are dropped from memory first. Usage: python benchmarks/streaming.py [--gib N] [--threads N]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from steps import Student, faces

from jacsup.data import dataset
from jacsup.data.dataset import Split
from jacsup.data.draws import batch_order
from jacsup.data.stream import batches_of_pixels
from jacsup.training import batches

SIZE, BATCH, NUM_STEPS, NUM_ATTRIBUTES = 256, 16, 20, 40
IMAGE_BYTES = 3 * SIZE * SIZE


def write(path: Path, num_images: int) -> None:
    """Images in a file."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(0, num_images, 500):
            file.write(rng.bytes(500 * IMAGE_BYTES))
        file.flush()
        os.fsync(file.fileno())


def cold(path: Path, num_images: int) -> Split:
    """The file's images, of which the system's memory has nothing; an older mapping would hold its pages there."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    images = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(num_images, 3, SIZE, SIZE)))
    return Split(images, None, torch.ones(num_images, NUM_ATTRIBUTES))


def images_per_second(split: Split, device: torch.device, num_steps: int) -> float:
    """Shuffled batches and nothing else."""
    order = batch_order(len(split), BATCH, seed=0, stage=0, epoch=0)[:num_steps]
    start = time.perf_counter()
    for _ in batches_of_pixels(split, order, device):
        pass
    return num_steps * BATCH / (time.perf_counter() - start)


def waiting_share(split: Split, device: torch.device) -> tuple[float, float]:
    """Seconds per student step, and the share of it spent waiting for images."""
    student = Student(faces(SIZE, num_attributes=NUM_ATTRIBUTES, batch_size=BATCH), device)
    student.data = replace(student.data, train=split.to(device))
    waited = [0.0]

    def timed(*arguments: Any) -> Iterator[torch.Tensor]:
        stream = batches_of_pixels(*arguments)
        while True:
            start = time.perf_counter()
            pixels = next(stream, None)
            waited[0] += time.perf_counter() - start
            if pixels is None:
                return
            yield pixels

    with patch.object(batches, "batches_of_pixels", timed):
        run = student.ours()
        run(2)
        waited[0], start = 0.0, time.perf_counter()
        run(NUM_STEPS)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds / NUM_STEPS, waited[0] / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    num_images = int(arguments.gib * 2**30 / IMAGE_BYTES / 500) * 500
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as folder, patch.object(dataset, "DEVICE_BYTES", 0):
        path = Path(folder) / "images.u8"
        write(path, num_images)
        rate = images_per_second(cold(path, num_images), device, num_images // BATCH // 4)
        seconds, share = waiting_share(cold(path, num_images), device)
    print(f"{num_images} images of {SIZE}x{SIZE}, {arguments.gib} GiB, batches of {BATCH}, {arguments.threads} threads")
    print(f"reading alone: {rate:.0f} images/s, {rate * IMAGE_BYTES / 2**20:.0f} MiB/s")
    print(f"student step: {1000 * seconds:.0f} ms, waiting for images {share:.2%} of the time")


if __name__ == "__main__":
    main()
