"""Each way to compute a convolution, held against torch's own and against loops; and what their layouts may not do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.models import convolution
from jacsup.models.convolution import Down, up
from jacsup.training.step import set_gradients


def looped_up(maps: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution as its definition has it: every pixel lays its weights over the output."""
    images, inputs, side, _ = maps.shape
    wide = torch.zeros(images, weight.shape[1], 2 * side + 2, 2 * side + 2, dtype=maps.dtype)
    for n in range(images):
        for i in range(inputs):
            for row in range(side):
                for column in range(side):
                    rows, columns = slice(2 * row, 2 * row + 4), slice(2 * column, 2 * column + 4)
                    wide[n, :, rows, columns] += maps[n, i, row, column] * weight[i]
    return wide[:, :, 1:-1, 1:-1]


@pytest.fixture(params=["convolution", "product"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "MANY_PAIRS", 1 if request.param == "product" else 10**9)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("side", [1, 2, 4, 16])
@pytest.mark.parametrize("bias", [False, True])
def test_up_is_the_transposed_convolution(side: int, bias: bool) -> None:
    torch.manual_seed(0)
    maps, weight = torch.randn(2, 3, side, side), torch.randn(3, 5, 4, 4)
    offset = torch.randn(5) if bias else None
    inputs = [value.requires_grad_() for value in (maps, weight, offset) if value is not None]
    ours = up(maps, weight, offset, training=True)
    theirs = F.conv_transpose2d(maps, weight, offset, stride=2, padding=1)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if side <= 4 and not bias:
        torch.testing.assert_close(ours.detach(), looped_up(maps.detach(), weight.detach()), rtol=1e-4, atol=1e-4)
    target = torch.randn_like(theirs)
    for mine, other in zip(*(torch.autograd.grad(y, inputs, target) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("side", [2, 4, 32])
@pytest.mark.parametrize("bias", [False, True])
def test_down_is_the_convolution(side: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer = Down(3, 5, bias=bias)
    plain = nn.Conv2d(3, 5, kernel_size=4, stride=2, padding=1, bias=bias)
    plain.load_state_dict(layer.state_dict())
    maps = torch.randn(2, 3, side, side, requires_grad=True)
    ours, theirs = layer(maps), plain(maps)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    target = torch.randn_like(theirs)
    gradients = [torch.autograd.grad(y, [maps, *m.parameters()], target) for y, m in ((ours, layer), (theirs, plain))]
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-3)


def test_products_are_left_alone_where_others_may_want_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "MANY_PAIRS", 1)
    monkeypatch.setattr(convolution, "product", None)
    maps, weight = torch.randn(2, 3, 2, 2), torch.randn(3, 5, 4, 4)
    up(maps, weight, training=False)
    up(maps.double(), weight.double(), training=True)
    with pytest.raises(TypeError), torch.no_grad():
        up(maps, weight, training=False)


@pytest.mark.parametrize("layouts", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_adam_takes_the_same_step_whatever_layout_a_gradient_has(layouts: tuple[int, int]) -> None:
    """torch's fused Adam does not: it reads a gradient in the order in which it lies in memory."""
    torch.manual_seed(0)
    formats = (torch.contiguous_format, torch.channels_last)
    weight, gradient = (torch.randn(4, 3, 2, 2).contiguous(memory_format=formats[layout]) for layout in layouts)
    expected = weight - 0.1 * gradient / (gradient.abs() + 1e-8)
    parameter = nn.Parameter(weight.clone(memory_format=torch.preserve_format))
    set_gradients([parameter], [gradient])
    torch.optim.Adam([parameter], lr=0.1, fused=True).step()
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-5, atol=1e-5)
