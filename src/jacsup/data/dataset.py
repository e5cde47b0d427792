"""Images as uint8 with their labels, attributes and factors, in a training and a test split."""

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

# An attribute that fewer images have, or lack, is hardly learned.
FEW_IMAGES = 50
# Splits up to this size are kept on the device; larger ones stay in their memory-mapped file. A constant, because a run
# must do the same arithmetic on every machine.
DEVICE_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Split:
    """Images and, where known, their labels, attributes and factors.

    Attributes:
        images: Pixels from 0 to 255.
        labels: Numbers of classes, from 0.
        attributes: -1 or 1, or a standardised number for a continuous attribute; nan where the value is missing.
        factors: Known factors, each as the index, from 0, of the value with which the image was drawn.
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
        """Whether the images are too large to be kept on a device."""
        return self.images.numel() > DEVICE_BYTES

    def to(self, device: str | torch.device) -> Split:
        """Return the split on another device; images that are streamed stay where they are.

        Args:
            device: The device.
        """
        images = self.images if self.streamed else self.images.to(device)
        return Split(images, *(value if value is None else value.to(device) for value in self._known()))

    def pixels(self, index: Int[Tensor, " b"], device: torch.device) -> UInt8[Tensor, "b c h w"]:
        """Return the images at the indices `index`, on a device.

        Args:
            index: Indices of the images, shape (b,).
            device: The device.
        """
        return self.images[index.to(self.images.device)].to(device)

    def first(self, count: int) -> Split:
        """Return the first `count` images with their labels, attributes and factors.

        Args:
            count: Number of images.
        """
        return self.rows(slice(count))

    def rows(self, rows: slice) -> Split:
        """Return a slice of the images with their labels, attributes and factors.

        Args:
            rows: The slice.
        """
        return Split(self.images[rows], *(value if value is None else value[rows] for value in self._known()))

    def _known(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.labels, self.attributes, self.factors


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, with their config, attributes and notes.

    Attributes:
        train: Images to learn from.
        test: Images to measure on.
        config: The data settings of a recipe.
        attributes: The columns of the splits' `attributes`.
        notes: What a user must know about these data, one sentence each, such as that a file is not the official one.
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
        """Return the data on another device.

        Args:
            device: The device.
        """
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
        """Return a data set of images in memory. The arrays are copied.

        Args:
            images: uint8 array or tensor of shape (n, h, w), (n, c, h, w) or (n, h, w, c) with c = 1, 3 or 4.
            labels: Numbers of classes, from 0, of shape (n,). The swap score needs them.
            test_images: Images of the test split. By default it is the last tenth of `images`, at most 10,000, so
                shuffle them first.
            test_labels: Labels of `test_images`.
            attributes: n numbers by name: 0 and 1, or -1 and 1, or any numbers for a continuous attribute; nan where a
                value is missing.
            test_attributes: Attributes of `test_images`, in the same order.

        Returns:
            The data set, with a checksum of the arrays in its config.

        Raises:
            ValueError: An array has an unsupported type or shape, or an attribute cannot be learned.
        """
        train = Split(_images(images, "images"), _labels(labels, images, "labels"), _columns(attributes, images))
        if test_images is None and (test_labels is not None or test_attributes is not None):
            raise ValueError("test_labels or test_attributes are given without test_images; pass test_images too")
        if test_images is None:
            held_out = min(len(train) // 10, 10_000)
            if held_out < 1:
                raise ValueError(f"there are {len(train)} images; pass at least 10, or pass test_images")
            train, test = train.rows(slice(-held_out)), train.rows(slice(-held_out, None))
        else:
            if list(attributes or ()) != list(test_attributes or ()):
                raise ValueError(
                    "attributes and test_attributes have different names; must be the same names in the same order"
                )
            test = Split(
                _images(test_images, "test_images"),
                _labels(test_labels, test_images, "test_labels"),
                _columns(test_attributes, test_images),
            )
        if train.images.shape[1:] != test.images.shape[1:]:
            raise ValueError(
                f"images have shape {tuple(train.images.shape[1:])} and test_images {tuple(test.images.shape[1:])}; "
                "must be the same shape"
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
    """Return a digest of some images and of all labels, attributes and factors.

    Args:
        data: The data set.

    Returns:
        A SHA-256. It differs for different data with the same config, such as a data set and a subset of it.
    """
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        digest.update(str(tuple(split.images.shape)).encode())
        some = split.images[:: max(1, len(split) // 500)]
        for values in (some, split.labels, split.attributes, split.factors):
            if values is not None:
                digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _described(data: Dataset, names: list[str]) -> Dataset:
    """Name the attributes, turn 0 and 1 into -1 and 1, and standardise continuous attributes."""
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
            raise ValueError(
                f"attribute '{name}' is {array.dtype} of shape {array.shape}; must be {len(images)} numbers"
            )
        with np.errstate(over="ignore"):
            column = array.astype(np.float32)
        if np.isinf(column).any():
            raise ValueError(
                f"attribute '{name}' has numbers too large for float32; must be finite, or nan where a value is missing"
            )
        columns.append(column)
    return torch.from_numpy(np.stack(columns, axis=1))


def _array(values: Any, name: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be converted to an array ({error}); use rows of equal length") from None


def _images(values: Any, name: str) -> Tensor:
    array = _array(values, name)
    shape = array.shape
    if array.dtype != np.uint8:
        raise ValueError(f"{name} are {array.dtype}; must be uint8 from 0 to 255: scale, round and convert them")
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3, 4) and array.shape[3] in (1, 3, 4):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3, 4) or not array.size:
        raise ValueError(
            f"{name} have shape {shape}; must be (n, h, w), (n, c, h, w) or (n, h, w, c) with c = 1, 3 or 4"
        )
    return torch.from_numpy(np.array(array, order="C"))


def _labels(values: Any, images: Any, name: str) -> Tensor | None:
    if values is None:
        return None
    array = _array(values, name)
    if array.shape != (len(images),) or array.dtype.kind not in "iu":
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; must be {len(images)} integers")
    if array.min() < 0:
        raise ValueError(f"{name} start at {array.min()}; must be at least 0: number the classes from 0")
    return torch.from_numpy(array.astype(np.int64))


def rare_attributes(data: Dataset) -> dict[str, int]:
    """Return the binary attributes that few training images have, or that few of them lack, with this number.

    Args:
        data: The data set.

    Returns:
        The counts below 50, rarest first.
    """
    if data.train.attributes is None:
        return {}
    counts = {
        attribute.name: min(int((column > 0).sum()), int((column < 0).sum()))
        for column, attribute in zip(data.train.attributes.T, data.attributes, strict=True)
        if not attribute.continuous
    }
    return {name: counts[name] for name in sorted(counts, key=counts.__getitem__) if counts[name] < FEW_IMAGES}
