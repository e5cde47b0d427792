"""Images on the device as uint8, and the order in which training sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from jacsup.config import Arrays, DataConfig
from jacsup.data.attributes import Attribute, learnable, signed

# Sets up to this size live on the device; larger ones stay in their memory-mapped file. A constant, as the same run
# must do the same arithmetic everywhere.
DEVICE_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Split:
    """Images (n, c, h, w) as uint8 and, where known, their class labels (n,) and attributes (n, k).

    attributes: -1 and 1, or a standardised number for a continuous one; nan where the value is missing.
    factors: numbers of the values that an image was drawn with, for scores of known factors.
    """

    images: UInt8[Tensor, "n c h w"]
    labels: Int64[Tensor, " n"] | None = None
    attributes: Float[Tensor, "n k"] | None = None
    factors: Int[Tensor, "n f"] | None = None

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    @property
    def streamed(self) -> bool:
        """Whether there are more images than a device should hold."""
        return self.images.numel() > DEVICE_BYTES

    def to(self, device: str | torch.device) -> Split:
        """The same split on another device; images that are streamed stay where they are."""
        images = self.images if self.streamed else self.images.to(device)
        return Split(images, *(value if value is None else value.to(device) for value in self._known()))

    def pixels(self, index: Int[Tensor, " b"], device: torch.device) -> UInt8[Tensor, "b c h w"]:
        """The images numbered `index` on a device."""
        return self.images[index.to(self.images.device)].to(device)

    def first(self, count: int) -> Split:
        """The first `count` images with all that is known of them."""
        return self.rows(slice(count))

    def rows(self, rows: slice) -> Split:
        """Some of the images with all that is known of them."""
        return Split(self.images[rows], *(value if value is None else value[rows] for value in self._known()))

    def _known(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.labels, self.attributes, self.factors


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, the config that names them, and what is known of them.

    Attributes:
        train: Images to learn from.
        test: Images to measure on.
        config: What a recipe says of the data set.
        attributes: The columns of the splits' `attributes`.
        notes: What a user must know of these data, one sentence each, such as that a file is not the official one.
    """

    train: Split
    test: Split
    config: DataConfig
    attributes: tuple[Attribute, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def to(self, device: str | torch.device) -> Dataset:
        """The same data on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any = None,
        test_images: Any = None,
        test_labels: Any = None,
        *,
        attributes: Mapping[str, Any] | None = None,
        test_attributes: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """A data set from uint8 arrays or tensors of shape (n, h, w), (n, c, h, w) or (n, h, w, c), c = 1, 3 or 4.

        labels: integers (n,), optional; without them the swap score is not measured.
        attributes: n numbers by name: 0 and 1, or -1 and 1, or any others for a continuous one; nan where missing.
        The pixels are copied, so changing the arrays later changes nothing here.
        Without `test_images` the last tenth of the images (at most 10,000) is held out, so shuffle them first.
        Raises ValueError for other types or shapes.
        """
        train = Split(_images(images, "images"), _labels(labels, images, "labels"), _columns(attributes, images))
        if test_images is None and (test_labels is not None or test_attributes is not None):
            raise ValueError("test_labels or test_attributes are given without test_images; pass test_images too")
        if test_images is None:
            held_out = min(len(train) // 10, 10_000)
            if held_out < 1:
                raise ValueError(f"images has {len(train)} rows; give at least 10, or test_images")
            train, test = train.rows(slice(-held_out)), train.rows(slice(-held_out, None))
        else:
            if list(attributes or ()) != list(test_attributes or ()):
                raise ValueError(
                    "attributes and test_attributes have different names; both need the same, in one order"
                )
            test = Split(
                _images(test_images, "test_images"),
                _labels(test_labels, test_images, "test_labels"),
                _columns(test_attributes, test_images),
            )
        if train.images.shape[1:] != test.images.shape[1:]:
            raise ValueError(
                f"images are {tuple(train.images.shape[1:])}, test_images {tuple(test.images.shape[1:])}; "
                "both must have one shape"
            )
        digest = hashlib.sha256()
        for split in (train, test):
            for tensor in (split.images, split.labels, split.attributes):
                if tensor is not None:
                    digest.update(str(tuple(tensor.shape)).encode() + tensor.numpy().tobytes())
        names = list(attributes or ())
        digest.update(repr(names).encode() if names else b"")
        return _described(cls(train, test, Arrays(sha256=digest.hexdigest())), names)


def fingerprint_of(data: Dataset) -> str:
    """Tells data sets of one config apart, a subset from the whole, by some images and all labels."""
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(str(tuple(split.images.shape)).encode())
        some = split.images[:: max(1, len(split) // 500)]
        for values in (some, split.labels, split.attributes, split.factors):
            if values is not None:
                digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _described(data: Dataset, names: list[str]) -> Dataset:
    """The data with its columns named, 0 and 1 as -1 and 1, and continuous ones standardised."""
    if data.train.attributes is None or data.test.attributes is None:
        return data
    values = signed(torch.cat([data.train.attributes, data.test.attributes]).numpy())
    attributes, values = learnable(names, values, len(data.train))
    train, test = torch.from_numpy(values).split([len(data.train), len(data.test)])
    train, test = replace(data.train, attributes=train), replace(data.test, attributes=test)
    return replace(data, train=train, test=test, attributes=attributes)


def _columns(attributes: Mapping[str, Any] | None, images: Any) -> Tensor | None:
    if not attributes:
        return None
    columns = []
    for name, values in attributes.items():
        array = _array(values, name)
        if array.shape != (len(images),) or array.dtype.kind not in "biuf":
            raise ValueError(f"attribute '{name}' is {array.dtype} of shape {array.shape}; give {len(images)} numbers")
        with np.errstate(over="ignore"):
            column = array.astype(np.float32)
        if np.isinf(column).any():
            raise ValueError(
                f"attribute '{name}' has numbers beyond float32; allowed are finite ones, nan where missing"
            )
        columns.append(column)
    return torch.from_numpy(np.stack(columns, axis=1))


def _array(values: Any, name: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} are no array ({error}); give numbers in equal rows") from None


def _images(values: Any, name: str) -> Tensor:
    array = _array(values, name)
    shape = array.shape
    if array.dtype != np.uint8:
        raise ValueError(f"{name} are {array.dtype}; allowed is uint8 from 0 to 255: scale, round and convert them")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3, 4) and array.shape[3] in (1, 3, 4):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3, 4) or not array.size:
        raise ValueError(f"{name} have shape {shape}; allowed are (n, h, w), (n, c, h, w), (n, h, w, c), c = 1, 3 or 4")
    return torch.from_numpy(np.array(array, order="C"))


def _labels(values: Any, images: Any, name: str) -> Tensor | None:
    if values is None:
        return None
    array = _array(values, name)
    if array.shape != (len(images),) or array.dtype.kind not in "iu":
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; allowed are {len(images)} integers")
    if array.min() < 0:
        raise ValueError(f"{name} start at {array.min()}; allowed are 0 and more: number the classes from 0")
    return torch.from_numpy(array.astype(np.int64))
