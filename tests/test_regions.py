"""Regions of attributes, and the change outside."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.regions import attribute_regions, change_outside

SIDE = 9


def judge_of(network: nn.Module) -> AttributeJudge:
    return AttributeJudge(network.requires_grad_(False), (1.0,), (1.0,), (1.0,))


def naive_region(gradients: list[Tensor]) -> set[tuple[int, int]]:
    """The fewest pixels that hold 80 % of the mean squared gradient, averaged over 5x5 pixels."""
    square = sum(gradient.square().sum(0) for gradient in gradients) / len(gradients)
    assert isinstance(square, Tensor)
    smooth = {}
    for row in range(SIDE):
        for column in range(SIDE):
            window = square[max(0, row - 2) : row + 3, max(0, column - 2) : column + 3]
            smooth[row, column] = float(window.mean())
    whole, held, region = sum(smooth.values()), 0.0, set()
    for place in sorted(smooth, key=lambda place: -smooth[place]):
        if held < 0.8 * whole:
            region.add(place)
        held += smooth[place]
    return region


def test_regions_agree_with_their_naive_twin() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (SIDE - 2) ** 2, 2))
    pixels = torch.rand(5, 3, SIDE, SIDE)
    found = attribute_regions(judge_of(network), pixels)
    for factor in range(2):
        gradients = []
        for each in pixels:
            x = each.clone().requires_grad_()
            network(x[None])[0, factor].backward()
            assert x.grad is not None
            gradients.append(x.grad)
        assert {(int(row), int(column)) for row, column in found[factor].nonzero()} == naive_region(gradients)
    assert not found[0].equal(found[1])


class _Corner(nn.Module):
    """One attribute: how light the upper left pixels are."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels[:, 0, :2, :2].sum(dim=(1, 2))[:, None]


def test_a_region_is_where_the_judge_looks() -> None:
    region = attribute_regions(judge_of(_Corner()), torch.rand(2, 3, SIDE, SIDE))[0]
    assert region[:2, :2].all() and not region[5:].any() and not region[:, 5:].any()


def test_change_outside_counts_squares() -> None:
    region = torch.zeros(2, 2, dtype=torch.bool)
    region[0, 0] = True
    before = torch.zeros(3, 1, 2, 2)
    after = before.clone()
    after[0, 0, 0, 0], after[1, 0, 1, 1] = 2, 1
    assert change_outside(before.split(2), after.split(2), region) == pytest.approx(1 / 5)
    assert math.isnan(change_outside([before], [before], region))
