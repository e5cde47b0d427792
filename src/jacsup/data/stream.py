"""Batches of images that are not kept on the device but read from disk in advance."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from jacsup.data.dataset import Split

# Disks serve several reads at once as fast as a single one.
NUM_BATCHES_AHEAD = 8
NUM_READERS = 4


def batches_of_pixels(
    split: Split, order: Int[Tensor, "steps b"], device: torch.device
) -> Iterator[UInt8[Tensor, "b c h w"]]:
    """Yield the images of each batch.

    Args:
        split: The images.
        order: Image numbers of each batch.
        device: Where the images are needed.

    Yields:
        The images of one row of `order`, on the device.
    """
    images, rows = split.images, order.to(split.images.device)
    if not split.streamed and images.device.type == device.type:
        yield from (images.index_select(0, index) for index in rows)
        return

    def read(index: Tensor) -> Tensor:
        pixels = images.index_select(0, index)
        return pixels.pin_memory() if device.type == "cuda" else pixels

    remaining = iter(rows)
    with ThreadPoolExecutor(NUM_READERS) as pool:
        waiting = deque(pool.submit(read, index) for index in islice(remaining, NUM_BATCHES_AHEAD))
        while waiting:
            pixels = waiting.popleft().result()
            waiting.extend(pool.submit(read, index) for index in islice(remaining, 1))
            yield pixels.to(device, non_blocking=True)
