"""What a stage's steps see, held against a loop that looks each image up."""

from __future__ import annotations

import threading

import pytest
import ranks
import torch

from jacsup.code import to_float
from jacsup.data import dataset
from jacsup.data.dataset import Dataset, Split
from jacsup.data.draws import batch_order, flip_mask
from jacsup.data.stream import NUM_BATCHES_AHEAD, batches_of_pixels
from jacsup.jsonable import set_field
from jacsup.objectives import Batch
from jacsup.training.batches import Batches

CPU = torch.device("cpu")
RECIPE = set_field(ranks.faces(), "data.num_images", 100)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return ranks.some_data(RECIPE)


def epoch(data: Dataset, first_step: int = 0) -> list[Batch]:
    return list(Batches(RECIPE, 1, data, CPU, None).epoch(3, first_step))


def test_batches_against_a_loop(data: Dataset) -> None:
    sizes, drawn = (len(data.train), ranks.BATCH), {"seed": RECIPE.seed, "stage": 1, "epoch": 3}
    order, mirrored = batch_order(*sizes, **drawn), flip_mask(*sizes, **drawn)
    batches = epoch(data)
    assert len(batches) == len(data.train) // ranks.BATCH
    assert data.train.attributes is not None and mirrored.any() and not mirrored.all()
    for step, batch in enumerate(batches):
        for row in range(ranks.BATCH):
            pixels = data.train.images[order[step, row]]
            pixels = pixels.flip(2) if mirrored[step, row] else pixels
            assert batch.x[row].equal(to_float(pixels, RECIPE.model.value_range))
        assert batch.attributes is not None
        assert batch.attributes.nan_to_num().equal(data.train.attributes[order[step]].nan_to_num())


@pytest.mark.parametrize("first_step", [0, 1])
def test_streamed_and_resumed_batches_are_the_same(
    first_step: int, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epoch(data)[first_step:]
    monkeypatch.setattr(dataset, "DEVICE_BYTES", 1000)
    assert data.train.streamed
    for ours, theirs in zip(epoch(data, first_step), expected, strict=True):
        assert ours.x.equal(theirs.x) and ours.swap_mask is not None and theirs.swap_mask is not None
        assert ours.swap_mask.equal(theirs.swap_mask)


def test_a_stream_reads_a_few_batches_ahead_and_ends_with_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DEVICE_BYTES", 1)
    before = threading.active_count()
    split = Split(torch.arange(4 * 40, dtype=torch.uint8).view(40, 1, 2, 2))
    order = torch.arange(40).view(40, 1)
    stream = batches_of_pixels(split, order, CPU)
    assert [next(stream)[0, 0, 0, 0].item() for _ in range(20)] == [4 * number for number in range(20)]
    assert threading.active_count() > before
    stream.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert threading.active_count() == before and NUM_BATCHES_AHEAD < 20


def test_a_streamed_read_that_fails_is_told(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "DEVICE_BYTES", 1)
    with pytest.raises(IndexError):
        list(batches_of_pixels(data.train.first(50), torch.tensor([[0], [60]]), CPU))
