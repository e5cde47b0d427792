"""How fast shuffled batches come from a file that is not in memory, and how long a student step waits for them.

The file's pages are dropped from memory first. Usage: python benchmarks/streaming.py [--gib N] [--threads N] [--quick]
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

NUM_ATTRIBUTES = 40
# Images are written in chunks of this many.
CHUNK = 500


def write(path: Path, num_images: int, image_bytes: int) -> None:
    """Random images in a file."""
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(0, num_images, CHUNK):
            file.write(rng.bytes(CHUNK * image_bytes))
        file.flush()
        os.fsync(file.fileno())


def cold(path: Path, num_images: int, size: int) -> Split:
    """The images of the file, none of them in the system's memory; an older mapping would keep its pages there."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    images = torch.from_numpy(np.memmap(path, np.uint8, "r+", shape=(num_images, 3, size, size)))
    return Split(images, None, torch.ones(num_images, NUM_ATTRIBUTES))


def images_per_second(split: Split, batch_size: int, num_steps: int, device: torch.device) -> float:
    """How fast shuffled batches are read when nothing else is done."""
    order = batch_order(len(split), batch_size, seed=0, stage=0, epoch=0)[:num_steps]
    start = time.perf_counter()
    for _ in batches_of_pixels(split, order, device):
        pass
    return num_steps * batch_size / (time.perf_counter() - start)


def waiting_share(split: Split, batch_size: int, num_steps: int, device: torch.device) -> tuple[float, float]:
    """Seconds per student step, and the share of it spent waiting for images."""
    size = split.images.shape[-1]
    student = Student(faces(size, num_attributes=NUM_ATTRIBUTES, batch_size=batch_size), device)
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
        run(num_steps)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds / num_steps, waited[0] / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="500 small images, few steps")
    arguments = parser.parse_args()
    size, batch_size, num_steps = (32, 4, 2) if arguments.quick else (256, 16, 20)
    image_bytes = 3 * size * size
    num_images = CHUNK if arguments.quick else int(arguments.gib * 2**30 / image_bytes / CHUNK) * CHUNK
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as folder, patch.object(dataset, "DEVICE_BYTES", 0):
        path = Path(folder) / "images.u8"
        write(path, num_images, image_bytes)
        rate = images_per_second(cold(path, num_images, size), batch_size, num_images // batch_size // 4, device)
        seconds, share = waiting_share(cold(path, num_images, size), batch_size, num_steps, device)
    gib = num_images * image_bytes / 2**30
    print(f"{num_images} images of {size}x{size}, {gib:.2f} GiB, batches of {batch_size}, {arguments.threads} threads")
    print(f"reading alone: {rate:.0f} images/s, {rate * image_bytes / 2**20:.0f} MiB/s")
    print(f"student step: {1000 * seconds:.0f} ms, waiting for images {share:.2%} of the time")


if __name__ == "__main__":
    main()
