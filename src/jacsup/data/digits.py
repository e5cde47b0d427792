"""scikit-learn's handwritten digits: real data that needs no download."""

from __future__ import annotations

import numpy as np
import torch

from jacsup.config import Digits
from jacsup.data.dataset import Dataset, Split
from jacsup.data.spec import DatasetSpec


def load_digits(config: Digits) -> Dataset:
    """Load 1,500 training and 297 test images of 1x8x8, shuffled with seed 0.

    Args:
        config: The data set's config.

    Returns:
        Images with their values of 0 to 16 scaled to 0 to 255, and labels from 0 to 9.
    """
    from sklearn.datasets import load_digits as load

    pixels, digits = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    images = torch.from_numpy(np.rint(pixels[order] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8))
    everything = Split(images, torch.from_numpy(digits[order].astype(np.int64)))
    return Dataset(everything.rows(slice(1500)), everything.rows(slice(1500, None)), config)


DATA_SET = DatasetSpec(
    load=lambda config, _: load_digits(config),
    description=lambda _: "scikit-learn's handwritten digits",
    license="apache-2.0",
)
