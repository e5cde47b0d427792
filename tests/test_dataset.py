from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from jacsup.config import Arrays, Digits
from jacsup.data import load_dataset
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset
from jacsup.data.draws import batch_order, flip_mask, swap_mask


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def identity(values: np.ndarray) -> np.ndarray:
    return values


def read_only(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values.setflags(write=False)
    return values


def sha256(*arrays: Any) -> str:
    config = Dataset.from_arrays(*arrays).config
    assert isinstance(config, Arrays)
    return config.sha256


@pytest.mark.parametrize("convert", [identity, torch.from_numpy, read_only])
@pytest.mark.parametrize(
    ("shape", "image_shape", "channels_first"),
    [
        ((20, 5, 7), (1, 5, 7), lambda images: images[:, None]),
        ((20, 1, 5, 7), (1, 5, 7), identity),
        ((20, 3, 5, 7), (3, 5, 7), identity),
        ((20, 4, 5, 7), (4, 5, 7), identity),
        ((20, 5, 7, 1), (1, 5, 7), lambda images: np.moveaxis(images, -1, 1)),
        ((20, 5, 7, 3), (3, 5, 7), lambda images: np.moveaxis(images, -1, 1)),
        ((20, 5, 7, 4), (4, 5, 7), lambda images: np.moveaxis(images, -1, 1)),
        ((20, 3, 5, 3), (3, 5, 3), identity),
    ],
)
def test_layouts_arrive_as_channels_first_uint8(
    convert: Callable[[np.ndarray], Any],
    shape: tuple[int, ...],
    image_shape: tuple[int, ...],
    channels_first: Callable[[np.ndarray], np.ndarray],
) -> None:
    images, labels = pixels(*shape), np.arange(20) % 4
    data = Dataset.from_arrays(convert(images), convert(labels))
    assert data.image_shape == image_shape
    assert data.train.images.dtype == torch.uint8
    np.testing.assert_array_equal(torch.cat([data.train.images, data.test.images]), channels_first(images))
    assert data.train.labels is not None
    assert data.train.labels.dtype == torch.int64
    assert data.train.labels.tolist() == labels[:18].tolist()


def test_the_callers_array_is_copied() -> None:
    images = pixels(20, 4, 4)
    data = Dataset.from_arrays(images)
    before = data.train.images.clone()
    images[:] = 0
    assert torch.equal(data.train.images, before)


IMAGES = pixels(20, 6, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES / 255,), "images are float64; must be uint8 from 0 to 255"),
        ((torch.zeros(20, 6, 6, requires_grad=True),), "images are float32; must be uint8 from 0 to 255"),
        ((IMAGES.tolist(),), "images are int64; must be uint8"),
        (([[1, 2], [3]],), "images cannot be converted to an array"),
        ((IMAGES[0],), "images have shape (6, 6); must be (n, h, w), (n, c, h, w) or (n, h, w, c)"),
        ((IMAGES[..., None, None],), "images have shape (20, 6, 6, 1, 1)"),
        ((pixels(20, 5, 6, 6),), "images have shape (20, 5, 6, 6)"),
        ((IMAGES[:0],), "images have shape (0, 6, 6)"),
        ((IMAGES[:9],), "there are 9 images; pass at least 10, or pass test_images"),
        ((IMAGES, np.arange(19)), "labels are int64 of shape (19,); must be 20 integers"),
        ((IMAGES, np.arange(20)[:, None]), "labels are int64 of shape (20, 1); must be 20 integers"),
        ((IMAGES, np.arange(20.0)), "labels are float64 of shape (20,); must be 20 integers"),
        ((IMAGES, torch.arange(20) - 1), "labels start at -1; must be at least 0"),
        (
            (IMAGES, None, IMAGES[:, :5]),
            "images have shape (1, 6, 6) and test_images (1, 5, 6); must be the same shape",
        ),
        (
            (IMAGES, None, pixels(20, 3, 6, 6)),
            "images have shape (1, 6, 6) and test_images (3, 6, 6); must",
        ),
        ((IMAGES, None, IMAGES / 255), "test_images are float64; must be uint8"),
        ((IMAGES, np.arange(20), IMAGES[:5], np.arange(4)), "test_labels are int64 of shape (4,); must be 5"),
        (
            (IMAGES, np.arange(20), None, np.arange(2)),
            "test_labels or test_attributes are given without test_images; pass",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=rf"\A{re.escape(message)}"):
        Dataset.from_arrays(*arguments)


@pytest.mark.parametrize(("num_images", "held_out"), [(10, 1), (19, 1), (57, 5), (100_010, 10_000)])
def test_the_last_tenth_up_to_ten_thousand_is_held_out(num_images: int, held_out: int) -> None:
    images, labels = pixels(num_images, 1, 1), np.arange(num_images)
    data = Dataset.from_arrays(images, labels)
    assert (len(data.train), len(data.test)) == (num_images - held_out, held_out)
    np.testing.assert_array_equal(data.test.images[:, 0], images[-held_out:])
    assert data.test.labels is not None
    assert data.test.labels.tolist() == labels[-held_out:].tolist()


def test_given_test_images_leave_the_training_images_whole() -> None:
    data = Dataset.from_arrays(IMAGES[:3], None, IMAGES[3:])
    assert (len(data.train), len(data.test)) == (3, 17)
    assert data.train.labels is None
    assert data.test.labels is None


def test_equal_data_give_an_equal_digest_however_they_are_passed() -> None:
    images, labels = pixels(20, 6, 6, 3), np.arange(20)
    expected = sha256(images, labels)
    assert re.fullmatch("[0-9a-f]{64}", expected)
    assert sha256(images.copy(), labels.astype(np.uint8)) == expected
    assert sha256(torch.from_numpy(images), torch.from_numpy(labels)) == expected
    assert sha256(np.moveaxis(images, -1, 1), labels) == expected
    assert sha256(images[:18], labels[:18], images[18:], labels[18:]) == expected


def test_each_change_of_the_data_changes_the_digest() -> None:
    images, labels = pixels(20, 6, 4), np.arange(20)
    in_training, in_test, relabelled = images.copy(), images.copy(), labels.copy()
    in_training[0, 3, 2] ^= 1
    in_test[-1, 5, 3] ^= 1
    relabelled[7] = 8
    digests = [
        sha256(images),
        sha256(images, labels),
        sha256(in_training, labels),
        sha256(in_test, labels),
        sha256(images, relabelled),
        sha256(images[::-1], labels),
        sha256(images.reshape(20, 4, 6), labels),
        sha256(images[:17], labels[:17], images[17:], labels[17:]),
    ]
    assert len(set(digests)) == len(digests)


def naive_batch_order(num_images: int, batch_size: int, *, seed: int, stage: int, epoch: int) -> list[list[int]]:
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, stage, epoch])))
    waiting = list(range(num_images))
    generator.shuffle(waiting)
    batches = []
    while len(waiting) >= batch_size:
        batches.append([waiting.pop(0) for _ in range(batch_size)])
    return batches


@pytest.mark.parametrize(("num_images", "batch_size"), [(100, 10), (103, 10), (10, 10), (19, 10), (7, 2)])
@pytest.mark.parametrize(("seed", "stage", "epoch"), [(0, 0, 0), (3, 2, 1), (2**40, 14, 99)])
def test_batch_order_is_a_shuffle_cut_into_whole_batches(
    num_images: int, batch_size: int, seed: int, stage: int, epoch: int
) -> None:
    order = batch_order(num_images, batch_size, seed=seed, stage=stage, epoch=epoch)
    assert order.dtype == torch.int64
    assert order.tolist() == naive_batch_order(num_images, batch_size, seed=seed, stage=stage, epoch=epoch)
    assert order.shape == (num_images // batch_size, batch_size)
    seen = order.flatten().tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(num_images))


def test_batch_order_is_a_pure_function_of_seed_stage_and_epoch() -> None:
    def orders() -> list[tuple[int, ...]]:
        return [
            tuple(batch_order(100, 10, seed=seed, stage=stage, epoch=epoch).flatten().tolist())
            for seed, stage, epoch in itertools.product(range(3), repeat=3)
        ]

    first = orders()
    np.random.default_rng().permutation(10)
    torch.rand(3)
    assert orders() == first
    assert len(set(first)) == 27


def test_batch_order_never_changes_silently() -> None:
    assert batch_order(100, 10, seed=0, stage=0, epoch=0)[0, :5].tolist() == [82, 36, 20, 5, 93]


def test_a_batch_larger_than_the_set_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size is 11, but there are only 10 training images; use"):
        batch_order(10, 11, seed=0, stage=0, epoch=0)


def test_digits_are_all_there_scaled_to_uint8_and_split_without_overlap() -> None:
    from sklearn.datasets import load_digits

    data = load_dataset(Digits())
    assert data.config == Digits()
    assert data.train.images.shape == (1500, 1, 8, 8)
    assert data.test.images.shape == (297, 1, 8, 8)
    images = torch.cat([data.train.images, data.test.images])
    assert (images.min(), images.max()) == (0, 255)
    assert len(images.unique()) == 17
    in_training, in_test = ({image.numpy().tobytes() for image in split.images} for split in (data.train, data.test))
    assert not in_training & in_test
    label_of = {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): label
        for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    assert label_of.keys() == in_training | in_test
    for split in (data.train, data.test):
        assert split.labels is not None
        assert split.labels.tolist() == [label_of[image.numpy().tobytes()] for image in split.images]


def test_arrays_of_an_earlier_run_are_asked_for_again() -> None:
    with pytest.raises(
        ValueError,
        match=r"passed from Python and .*; in Python, pass them again to jacsup.evaluate.evaluate\(RUN, data\)",
    ):
        load_dataset(Arrays(sha256="0" * 64))


FACES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)


def test_attributes_come_by_name() -> None:
    ages = np.arange(20.0)
    hats = [0, 1] * 10
    beards = np.where(np.arange(20) % 3, -1, 1)
    data = Dataset.from_arrays(FACES, attributes={"Hat": hats, "Goatee": beards, "No_Beard": hats, "Age": ages})
    assert [attribute.name for attribute in data.attributes] == ["Hat", "Goatee", "No_Beard", "Age"]
    assert [attribute.continuous for attribute in data.attributes] == [False, False, False, True]
    assert data.attributes[1].mutually_exclusive == ("No_Beard",)
    assert data.train.attributes is not None and data.test.attributes is not None
    assert data.train.attributes.shape == (18, 4) and data.test.attributes.shape == (2, 4)
    assert data.train.attributes[:3, 0].tolist() == [-1, 1, -1]
    age = data.attributes[3]
    assert (data.test.attributes[:, 3] * age.std + age.mean).tolist() == pytest.approx([18, 19])
    assert data.train.attributes[:, 3].mean().abs() < 1e-6
    same = Dataset.from_arrays(FACES, attributes={"Hat": hats, "Goatee": -beards, "No_Beard": hats, "Age": ages})
    assert same.config != data.config
    renamed = Dataset.from_arrays(FACES, attributes={"Cap": hats, "Goatee": beards, "No_Beard": hats, "Age": ages})
    assert renamed.config != data.config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"attributes": {"Hat": [1, 0]}}, r"attribute 'Hat' is int64 of shape \(2,\); must be 20 numbers"),
        ({"attributes": {"Hat": ["a"] * 20}}, "attribute 'Hat' is <U1"),
        (
            {"attributes": {"Age": [1.0] * 19 + [np.inf]}},
            "attribute 'Age' has numbers too large for float32; must be finite",
        ),
        (
            {"attributes": {"Age": [1.0] * 19 + [-1e39]}},
            "attribute 'Age' has numbers too large for float32; must be finite",
        ),
        ({"attributes": {"Hat": [1] * 20}}, "Hat: the same value in all 18 training images"),
        ({"test_attributes": {"Hat": [1] * 20}}, "without test_images"),
        ({"attributes": {"Hat": [1, 0] * 10}, "test_images": FACES}, "have different names"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset.from_arrays(FACES, **given)


def test_masks_are_pure_functions_with_their_shares() -> None:
    where = {"seed": 1, "stage": 2, "epoch": 3}
    flips = flip_mask(640, 64, **where)
    assert flips.shape == (10, 64) and flips.equal(flip_mask(640, 64, **where))
    assert not flips.equal(flip_mask(640, 64, **{**where, "epoch": 4}))
    assert 0.4 < flips.float().mean() < 0.6
    hats = tuple(
        Attribute(name=name, mutually_exclusive=mutually_exclusive)
        for name, mutually_exclusive in (("A", ("C",)), ("B", ()), ("C", ("A",)))
    )
    mask = swap_mask(640, 64, hats, 0.25, **where)
    assert mask.shape == (10, 64, 3) and mask.equal(swap_mask(640, 64, hats, 0.25, **where))
    assert mask.float().mean(dim=(0, 1)).tolist() == pytest.approx([0.25] * 3, abs=0.06)
    assert mask[..., 0].equal(mask[..., 2]) and not mask[..., 0].equal(mask[..., 1])
