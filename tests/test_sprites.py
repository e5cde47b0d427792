"""dSprites' grid: drawn as its naive twin draws it, and read from a file like the published one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from jacsup.config import Sprites
from jacsup.data import load_dataset, sprites
from jacsup.data.sprites import NUM_IMAGES, NUM_TEST, OFFICIAL, SIZES, draw_sprites, factors_of


def is_white(factors: list[int], row: int, column: int) -> bool:
    """One pixel, from the definition: the sprite's middle is at (16 + x, 16 + y)."""
    shape, scale, orientation, x, y = factors
    size = 0.5 + 0.1 * scale
    angle = 2 * math.pi * orientation / 39
    right, down = (column - 16 - x) / size, (row - 16 - y) / size
    u = right * math.cos(angle) + down * math.sin(angle)
    v = down * math.cos(angle) - right * math.sin(angle)
    if shape == 0:
        return max(abs(u), abs(v)) <= 8.5
    if shape == 1:
        return (u / 12) ** 2 + (v / 7.7) ** 2 <= 1
    quarter = 12.7 / math.sqrt(8)
    return abs(u) + abs(v) <= 2 * quarter or math.hypot(abs(u) - quarter, v + quarter) <= 12.7 / 2


def test_sprites_against_their_definition() -> None:
    factors = factors_of(np.random.default_rng(0).integers(NUM_IMAGES, size=8))
    # The whole range of each factor too.
    factors = torch.cat([factors, torch.zeros(1, 5, dtype=torch.int64), torch.tensor([SIZES]) - 1])
    drawn = draw_sprites(factors)
    assert drawn.shape == (10, 1, 64, 64)
    twin = torch.tensor(
        [[[is_white(each.tolist(), row, column) for column in range(64)] for row in range(64)] for each in factors]
    )
    # Rounding decides on edges that pass through pixels.
    assert (drawn[:, 0].bool() != twin).sum(dim=(1, 2)).max() <= 8
    assert set(drawn.unique().tolist()) == {0, 255}


def test_factors_number_the_published_order() -> None:
    assert factors_of(np.array([0, 1, 32, NUM_IMAGES - 1])).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [2, 5, 39, 31, 31],
    ]


def test_every_factor_changes_the_picture_and_stays_inside() -> None:
    middle = torch.tensor([1, 3, 10, 16, 16])
    for factor in range(5):
        other = middle.clone()
        other[factor] += 1
        pair = draw_sprites(torch.stack([middle, other]))
        assert (pair[0] != pair[1]).sum() >= 8
    largest = draw_sprites(
        torch.tensor([[shape, 5, o, x, x] for shape in range(3) for o in range(40) for x in (0, 31)])
    )
    inner = largest[:, :, 2:-2, 2:-2]
    assert inner.sum() == largest.sum()
    # About as large as the published ones, whose mean is 174 pixels.
    assert (load_dataset(Sprites(num_train=1)).test.images > 0).sum(dim=(1, 2, 3)).float().mean() == pytest.approx(
        174, abs=8
    )


def test_the_split_is_fixed_and_disjoint() -> None:
    data, larger = load_dataset(Sprites(num_train=100)), load_dataset(Sprites(num_train=200))
    assert len(data.test) == NUM_TEST and len(data.train) == 100
    assert torch.equal(data.train.images, larger.train.images[:100])
    assert torch.equal(data.test.images, larger.test.images)
    assert data.train.factors is not None and data.test.factors is not None
    both = torch.cat([data.train.factors, data.test.factors])
    assert len(both.unique(dim=0)) == len(both)
    assert torch.equal(draw_sprites(data.train.factors[:5]), data.train.images[:5])


def test_the_published_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (2, 2, 3, 2, 2)
    monkeypatch.setattr(sprites, "SIZES", sizes)
    monkeypatch.setattr(sprites, "NUM_IMAGES", math.prod(sizes))
    monkeypatch.setattr(sprites, "NUM_TEST", 8)
    images = np.random.default_rng(0).integers(2, size=(48, 64, 64), dtype=np.uint8)
    np.savez_compressed(tmp_path / OFFICIAL, imgs=images)
    data = load_dataset(Sprites(num_train=40, official=True), tmp_path)
    for split in (data.train, data.test):
        assert split.factors is not None
        index = np.ravel_multi_index(split.factors.numpy().T, sizes)
        assert np.array_equal(split.images[:, 0].numpy(), images[index] * 255)


def test_wrong_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_train is 0; must be between 1 and 722280"):
        load_dataset(Sprites(num_train=0))
    with pytest.raises(ValueError, match="--data-root"):
        load_dataset(Sprites(official=True), tmp_path)
    (tmp_path / OFFICIAL).write_bytes(b"no archive")
    with pytest.raises(ValueError, match="download it again"):
        load_dataset(Sprites(official=True), tmp_path)
    np.savez(tmp_path / OFFICIAL, imgs=np.zeros((3, 64, 64), np.uint8))
    (tmp_path / OFFICIAL).write_bytes((tmp_path / OFFICIAL).read_bytes()[:200])
    with pytest.raises(ValueError, match="download it again"):
        load_dataset(Sprites(official=True), tmp_path)
    np.savez(tmp_path / OFFICIAL, imgs=np.zeros((3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="has images of shape"):
        load_dataset(Sprites(official=True), tmp_path)
    with pytest.raises(ValueError, match="must be"):
        draw_sprites(torch.tensor([[3, 0, 0, 0, 0]]))
