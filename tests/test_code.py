from __future__ import annotations

import pytest
import torch

from jacsup.code import Code, partners, to_float, to_uint8, to_unit


def make_code() -> Code:
    return Code(torch.arange(6.0).reshape(3, 2), -torch.arange(3.0).reshape(3, 1))


def test_swap_takes_the_partners_factors_and_keeps_the_own_rest() -> None:
    code = make_code()
    swapped = code.swap(torch.tensor([2, 0, 1]))
    assert swapped.y.tolist() == [[4, 5], [0, 1], [2, 3]]
    assert swapped.z is code.z


def test_split_draws_the_line_anywhere_and_keeps_the_units() -> None:
    code = make_code()
    for num_factors in range(4):
        parts = code.split(num_factors)
        assert parts.y.shape == (3, num_factors)
        assert parts.units.equal(code.units)
    with pytest.raises(ValueError, match="num_factors is 4; it must be between 0 and 3"):
        code.split(4)


def test_with_factor_changes_one_factor_of_a_copy() -> None:
    code = make_code()
    changed = code.with_factor(1, torch.tensor([7.0, 8.0, 9.0]))
    assert changed.y.tolist() == [[0, 7], [2, 8], [4, 9]]
    assert code.y[0, 1] == 1
    assert code.with_factor(0, 5.0).y[:, 0].tolist() == [5, 5, 5]
    with pytest.raises(ValueError, match="factor is 2; it must be between 0 and 1"):
        code.with_factor(2, 0.0)


def test_every_image_has_one_partner_and_is_never_its_own() -> None:
    rows = torch.arange(8.0)
    assert sorted(partners(rows).tolist()) == rows.tolist()
    assert not (partners(rows) == rows).any()


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_pixels_survive_the_way_to_the_model_and_back(value_range: tuple[float, float]) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    x = to_float(pixels, value_range)
    assert (x.min().item(), x.max().item()) == pytest.approx(value_range)
    assert to_uint8(x, value_range).equal(pixels)
    assert to_unit(x, value_range).allclose(torch.linspace(0, 1, 256), atol=1e-6)


def test_values_outside_the_range_are_clamped() -> None:
    assert to_unit(torch.tensor([-3.0, 3.0]), (-1.0, 1.0)).tolist() == [0, 1]
    assert to_uint8(torch.tensor([-0.2, 1.7]), (0.0, 1.0)).tolist() == [0, 255]
