from __future__ import annotations

import math

import pytest
import reference
import torch
from torch import Tensor

from jacsup import losses


@pytest.fixture
def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    codes = {name: draw(6, size) for name, size in (("y", 3), ("y_teacher", 3), ("z", 2))}
    images = {name: draw(6, 5) for name in ("x", "x_hat", "swapped", "teacher", "teacher_swapped")}
    return codes | images


def test_reconstruction_is_equation_8(tensors: dict[str, Tensor]) -> None:
    expected = reference.reconstruction(tensors["x"].tolist(), tensors["x_hat"].tolist())
    assert losses.reconstruction(tensors["x"], tensors["x_hat"]).item() == pytest.approx(expected, rel=1e-12)


def test_jacobian_is_equation_9(tensors: dict[str, Tensor]) -> None:
    given = [tensors[name] for name in ("y", "y_teacher", "x_hat", "swapped", "teacher", "teacher_swapped")]
    expected = reference.jacobian(*(tensor.tolist() for tensor in given), w_y=0.25, w_diff=0.7)
    assert losses.jacobian(*given, w_y=0.25, w_diff=0.7).item() == pytest.approx(expected, rel=1e-12)


def test_jacobian_has_the_papers_weights_by_default(tensors: dict[str, Tensor]) -> None:
    given = [tensors[name] for name in ("y", "y_teacher", "x_hat", "swapped", "teacher", "teacher_swapped")]
    assert losses.jacobian(*given).equal(losses.jacobian(*given, w_y=0.1, w_diff=1.0))


def test_jacobian_is_zero_where_only_the_nuisance_part_differs(tensors: dict[str, Tensor]) -> None:
    teacher, swapped, detail = tensors["teacher"], tensors["teacher_swapped"], tensors["x"]
    loss = losses.jacobian(tensors["y"], tensors["y"], teacher + detail, swapped + detail, teacher, swapped)
    assert loss.item() == pytest.approx(0, abs=1e-20)


def test_cross_covariance_is_equation_10(tensors: dict[str, Tensor]) -> None:
    expected = reference.cross_covariance(tensors["y"].tolist(), tensors["z"].tolist())
    assert losses.cross_covariance(tensors["y"], tensors["z"]).item() == pytest.approx(expected, rel=1e-12)
    assert losses.cross_covariance_norm(tensors["y"], tensors["z"]).item() == pytest.approx(expected**0.5, rel=1e-12)


def test_cross_covariance_ignores_means_and_sees_correlation(tensors: dict[str, Tensor]) -> None:
    y = tensors["y"]
    assert losses.cross_covariance(y, tensors["z"]).item() == pytest.approx(
        losses.cross_covariance(y + 5, tensors["z"] - 3).item(), rel=1e-9
    )
    assert losses.cross_covariance(y, torch.ones(6, 2, dtype=torch.float64)).item() == 0
    assert losses.cross_covariance(y, y).item() > 0.1


def test_the_norms_gradient_is_finite_where_the_codes_do_not_vary() -> None:
    y, z = torch.randn(4, 2), torch.ones(4, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.cross_covariance_norm(y, z), z)
    assert gradient.isfinite().all()


def test_equation_10_has_the_noise_floor_of_independent_codes() -> None:
    torch.manual_seed(0)
    floor = torch.stack([losses.cross_covariance(torch.randn(128, 40), torch.randn(128, 512)) for _ in range(20)])
    assert floor.mean().item() == pytest.approx(155, rel=0.05)


LABELS = torch.tensor(
    [[1, -1, 0.3], [-1, -1, -2.0], [1, math.nan, 0.9], [math.nan, math.nan, math.nan], [-1, 1, math.nan], [1, 1, 0]],
    dtype=torch.float64,
)


@pytest.mark.parametrize("continuous", [[False, False, False], [False, False, True]])
def test_the_attribute_losses_are_equations_11_and_12(continuous: list[bool]) -> None:
    y = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kinds = torch.tensor(continuous) if any(continuous) else None
    for ours, naive in (
        (losses.prediction, reference.prediction),
        (losses.cycle_factors, reference.cycle_factors),
    ):
        expected = naive(y.tolist(), LABELS.tolist(), continuous)
        assert ours(y, LABELS, kinds).item() == pytest.approx(expected, rel=1e-12)


def test_attributes_beyond_the_margin_cost_nothing_and_missing_ones_have_no_gradient() -> None:
    labels = LABELS[:, :2]
    assert losses.prediction(1.5 * labels.nan_to_num(7), labels).item() == 0
    y = torch.zeros_like(labels, requires_grad=True)
    (gradient,) = torch.autograd.grad(losses.prediction(y, labels), y)
    assert gradient.isfinite().all()
    assert (gradient != 0).equal(~labels.isnan())


def test_no_label_at_all_costs_nothing() -> None:
    y, labels = torch.randn(4, 2), torch.full((4, 2), math.nan)
    assert losses.prediction(y, labels).item() == losses.cycle_factors(y, labels).item() == 0


def test_cycle_nuisance_is_equation_13(tensors: dict[str, Tensor]) -> None:
    z, again = tensors["z"], tensors["z"].roll(1, 0) * 0.9
    expected = reference.cycle_nuisance(again.tolist(), z.tolist())
    assert losses.cycle_nuisance(again, z).item() == pytest.approx(expected, rel=1e-12)
