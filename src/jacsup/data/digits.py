"""scikit-learn's handwritten digits: real data that needs no download."""

from __future__ import annotations

import numpy as np
import torch

from jacsup.data.dataset import Split


def load_digits() -> tuple[Split, Split]:
    """1,500 training and 297 test images of 1x8x8, values 0 to 16 scaled to 0 to 255, shuffled with seed 0."""
    from sklearn.datasets import load_digits as load

    pixels, digits = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.from_numpy(np.rint(pixels[order] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8))
    labels = torch.from_numpy(digits[order].astype(np.int64))
    return Split(images[:1500], labels[:1500]), Split(images[1500:], labels[1500:])
