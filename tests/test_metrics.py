"""Each metric against a slow twin, and on an identity, a constant and a duplicated code."""

from __future__ import annotations

import math

import pytest
import torch
from known_models import PIXELS, SHAPE, constant_model, identity_model, linear_layers, random_images, random_model
from torch import Tensor, nn
from torch.func import jacrev
from torchmetrics.functional.image import structural_similarity_index_measure

from jacsup.code import Code, to_float
from jacsup.config import Digits, Growth
from jacsup.data import load_dataset
from jacsup.metrics import images as image_metrics
from jacsup.metrics import swap
from jacsup.metrics.images import encode_all, mse, psnr, reconstruct, reconstruction_mse, ssim
from jacsup.metrics.jacobian import decoder_jacobian, finite_difference_error, jacobian_error
from jacsup.metrics.order import drop_per_unit, energy_per_unit, monotony, prefix_mse
from jacsup.metrics.swap import Judge, swap_scores
from jacsup.models.grow import grow
from jacsup.models.mlp import MLPAutoencoder

# torch's own forward-mode rules are still scripted; the first derivative of a process says so.


def test_mse_and_psnr_by_hand() -> None:
    images = torch.tensor([0, 255, 255, 51], dtype=torch.uint8).reshape(2, 1, 1, 2)
    pixels = torch.tensor([0.0, 0.5, 1.0, 0.4]).reshape(2, 1, 1, 2)
    assert mse(pixels, images) == pytest.approx((0.5**2 + 0.2**2) / 4)
    assert psnr(0.01) == pytest.approx(20)
    assert psnr(1.0) == 0


def test_an_identity_is_perfect() -> None:
    images = random_images()
    pixels = reconstruct(identity_model(), images)
    assert (mse(pixels, images), psnr(mse(pixels, images))) == (0, math.inf)
    assert ssim(pixels, images) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "value_range", "grey"),
    [
        (1.5, (0.0, 1.0), 1.0),
        (-0.5, (0.0, 1.0), 0.0),
        (0.0, (-1.0, 1.0), 0.5),
        (-0.5, (-1.0, 1.0), 0.25),
        (-2.0, (-1.0, 1.0), 0.0),
    ],
)
def test_a_constant_models_pixels_are_scaled_and_clamped(
    value: float, value_range: tuple[float, float], grey: float
) -> None:
    images = random_images()
    pixels = reconstruct(constant_model(value, value_range), images)
    assert pixels.unique().tolist() == [grey]
    expected = sum((grey - int(byte) / 255) ** 2 for byte in images.flatten()) / images.numel()
    assert mse(pixels, images) == pytest.approx(expected, rel=1e-5)


def test_chunks_do_not_change_a_score(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load_dataset(Digits()).test
    images, model, means = digits.images, random_model(4, shape=(1, 8, 8)), torch.tensor([0.1, -0.2, 0.3, 0.0])
    judge = Judge(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 1.0)
    teacher = random_model(2, seed=1, shape=(1, 8, 8))

    def scores() -> dict[str, float | list[float]]:
        pixels = reconstruct(model, images)
        assert pixels.shape == images.shape
        return {
            "mse": mse(pixels, images),
            "reconstruction": reconstruction_mse(model, images),
            "ssim": ssim(pixels, images),
            "codes": encode_all(model, images).flatten().tolist(),
            "prefix": prefix_mse(model, images, means),
            "finite differences": finite_difference_error(model, teacher, images),
            **swap_scores(model, digits, judge),
        }

    whole = scores()
    for module in (image_metrics, swap):
        monkeypatch.setattr(module, "CHUNK", 70)
    for name, value in scores().items():
        assert value == pytest.approx(whole[name], rel=1e-5, abs=1e-5), name


@pytest.mark.parametrize(
    ("shape", "sigma"), [((1, 4, 4), 0.5), ((1, 8, 8), 0.5), ((1, 28, 28), 1.5), ((3, 32, 32), 1.5)]
)
def test_ssim_is_torchmetrics_on_the_whole_batch(
    shape: tuple[int, int, int], sigma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_metrics, "CHUNK", 7)
    images = random_images(shape=shape) // 2
    x = images / 255
    noisy = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    whole = structural_similarity_index_measure(noisy, x, data_range=1.0, sigma=sigma)
    assert isinstance(whole, Tensor)
    assert ssim(noisy, images) == pytest.approx(whole.item(), abs=1e-6)
    assert ssim(torch.rand_like(x), images) < ssim(noisy, images) < 0.99 < ssim(x, images)


def test_images_too_small_for_a_window_have_no_ssim() -> None:
    assert math.isnan(ssim(torch.rand(5, 1, 2, 9), random_images(5, (1, 2, 9))))


@pytest.mark.parametrize("num_factors", [2, 5])
def test_the_decoders_jacobian_is_that_of_finite_differences_and_of_reverse_mode(num_factors: int) -> None:
    model = random_model(5).double()
    units = torch.randn(7, 5, dtype=torch.float64)
    jacobian = decoder_jacobian(model, Code(units[:, :2], units[:, 2:]), num_factors)
    assert jacobian.shape == (num_factors, 7, PIXELS)
    assert not jacobian.requires_grad
    for i in range(num_factors):
        step = torch.zeros(5, dtype=torch.float64)
        step[i] = 1e-6
        ahead, behind = (model.decode(Code.of_units(units + sign * step)).flatten(1) for sign in (1, -1))
        assert jacobian[i].allclose((ahead - behind) / 2e-6, atol=1e-8)
    for n in range(7):
        assert jacobian[:, n].allclose(naive_jacobian(model, units[n])[:num_factors], atol=1e-12)


def naive_jacobian(model: MLPAutoencoder, units: Tensor) -> Tensor:
    """dD/du of one image by reverse-mode differentiation, one row of pixels per unit."""
    jacobian = jacrev(lambda u: model.decode(Code.of_units(u[None])).flatten())(units)
    assert isinstance(jacobian, Tensor)
    return jacobian.T.detach()


@pytest.mark.parametrize("num_factors", [None, 1])
def test_the_jacobian_error_agrees_with_its_naive_twin(num_factors: int | None) -> None:
    student, teacher, images = random_model(4, seed=3), random_model(2), random_images(6)
    lengths, differences = [], []
    for image in images:
        x = to_float(image[None], (0.0, 1.0))
        of_teacher = naive_jacobian(teacher, teacher.encode(x).units[0])[:num_factors]
        of_student = naive_jacobian(student, student.encode(x).units[0])[: len(of_teacher)]
        lengths.append(of_teacher.norm().item())
        differences.append((of_student - of_teacher).norm().item())
    error = jacobian_error(student, teacher, images, num_factors)
    assert error == pytest.approx(sum(differences) / sum(lengths), rel=1e-4)
    assert error > 0.1


def test_the_jacobian_error_of_models_that_agree_is_zero() -> None:
    teacher, images = random_model(2), random_images()
    assert jacobian_error(teacher, teacher, images) == 0
    assert jacobian_error(grow(teacher, 4, 0, Growth()).eval(), teacher, images) < 1e-5
    assert jacobian_error(grow(teacher, 4, 0, Growth(new="random")).eval(), teacher, images) > 1e-3


def test_the_jacobian_error_of_known_models() -> None:
    identity, images = identity_model(), random_images()
    assert jacobian_error(constant_model(0.5, num_units=PIXELS), identity, images) == pytest.approx(1)
    assert jacobian_error(identity_model(copies=2), identity, images) == pytest.approx(0.5)
    assert math.isnan(jacobian_error(constant_model(0.5), constant_model(0.5), images)), "0 of 0 is no score"
    second_tripled = identity_model()
    with torch.no_grad():
        linear_layers(second_tripled)[2].weight[:, 1] *= 3
    assert jacobian_error(second_tripled, identity, images, 1) == 0
    assert jacobian_error(second_tripled, identity, images, 2) == pytest.approx(2 / math.sqrt(2))


def test_a_teacher_of_one_unit_is_compared_in_that_one() -> None:
    student, teacher, images = random_model(3), random_model(1, seed=1), random_images()
    assert jacobian_error(student, teacher, images, 2) == jacobian_error(student, teacher, images, 1)


@torch.no_grad()
def test_the_finite_difference_error_agrees_with_its_naive_twin() -> None:
    student, teacher, images = random_model(4, seed=3), random_model(2), random_images(6)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    x = to_float(images[order], (0.0, 1.0))
    total = 0.0
    for n in range(6):
        own, partner = x[n : n + 1], x[n - 1 : n] if n else x[5:]
        code = student.encode(own).units[0].tolist()
        swapped = [*student.encode(partner).units[0].tolist()[:2], *code[2:]]
        decoded = [student.decode(Code.of_units(torch.tensor([units])))[0] for units in (swapped, code)]
        of_teacher = [teacher.decode(teacher.encode(image))[0] for image in (partner, own)]
        total += float(((decoded[0] - decoded[1]) - (of_teacher[0] - of_teacher[1])).square().mean())
    assert finite_difference_error(student, teacher, images) == pytest.approx(total / 6, rel=1e-4)
    assert finite_difference_error(teacher, teacher, images) == 0


def test_the_order_of_energies() -> None:
    assert monotony([3.0, 2.0, 1.0]) == 1 and monotony([1.0, 2.0, 3.0]) == 0
    # One pair of three is not in order; units of the same energy are in none.
    assert monotony([2.0, 3.0, 1.0]) == pytest.approx(2 / 3) and monotony([1.0, 1.0]) == 0
    assert monotony([1.0]) is None


def test_the_prefix_mse_agrees_with_its_naive_twin() -> None:
    model, images, means = random_model(3), random_images(5), torch.tensor([0.5, -0.5, 1.0])
    prefix = prefix_mse(model, images, means)
    naive = []
    for kept in range(4):
        errors = []
        for image in images:
            units = model.encode(to_float(image[None], (0.0, 1.0))).units[0].tolist()
            cut = torch.tensor([[units[i] if i < kept else float(means[i]) for i in range(3)]])
            pixels = model.decode(Code.of_units(cut)).flatten().tolist()
            bytes_ = image.flatten().tolist()
            errors += [(min(max(p, 0), 1) - b / 255) ** 2 for p, b in zip(pixels, bytes_, strict=True)]
        naive.append(sum(errors) / len(errors))
    assert prefix == pytest.approx(naive, rel=1e-4)
    assert prefix[-1] == mse(reconstruct(model, images), images)
    at_means = model.decode(Code.of_units(means[None])).clamp(0, 1).detach()
    assert prefix[0] == pytest.approx(mse(at_means.expand(5, *SHAPE), images), rel=1e-6)
    assert sum(drop_per_unit(prefix)) == pytest.approx(prefix[0] - prefix[-1])
    assert drop_per_unit([0.5, 0.2, 0.25]) == pytest.approx([0.3, -0.05])


def test_the_order_of_known_codes() -> None:
    images = random_images(50)
    means, spread = to_float(images, (0.0, 1.0)).flatten(1).mean(0), torch.rand(PIXELS)
    identity, constant = identity_model(), constant_model(0.5, num_units=PIXELS)
    variances = to_float(images, (0.0, 1.0)).flatten(1).var(0, correction=0)
    assert drop_per_unit(prefix_mse(identity, images, means)) == pytest.approx((variances / PIXELS).tolist(), rel=1e-3)
    assert energy_per_unit(identity, images, spread) == pytest.approx(spread.square().tolist())
    assert len(set(prefix_mse(constant, images, means))) == 1
    assert energy_per_unit(constant, images, spread) == [0] * PIXELS
    twice = prefix_mse(identity_model(copies=2), images, means.repeat(2))
    first, second = drop_per_unit(twice)[:PIXELS], drop_per_unit(twice)[PIXELS:]
    assert sum(first) == pytest.approx(3 * sum(second), rel=1e-3), (
        "half of each difference leaves a quarter of its square"
    )


def test_a_units_energy_does_not_depend_on_its_scale() -> None:
    model, images, spread = random_model(4), random_images(), torch.tensor([1.0, 0.5, 2.0, 3.0])
    before = energy_per_unit(model, images, spread)
    encoder_end, decoder_start = linear_layers(model.encoder)[-1], linear_layers(model.decoder)[0]
    with torch.no_grad():
        encoder_end.weight[1] *= 5
        encoder_end.bias[1] *= 5
        decoder_start.weight[:, 1] /= 5
    spread[1] *= 5
    assert energy_per_unit(model, images, spread) == pytest.approx(before, rel=1e-4)
    assert min(before) > 0


@pytest.mark.parametrize(("side", "sigma"), [(10, 0.5), (11, 1.5), (3, 0.5)])
def test_the_ssim_window_is_small_below_11_pixels_and_none_below_3(side: int, sigma: float) -> None:
    images = random_images(shape=(1, side, 12)) // 2
    x = images / 255
    noisy = (x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    expected = structural_similarity_index_measure(noisy, x, data_range=1.0, sigma=sigma)
    other = structural_similarity_index_measure(noisy, x, data_range=1.0, sigma=0.5 if sigma == 1.5 else 0.7)
    assert isinstance(expected, Tensor) and isinstance(other, Tensor)
    assert ssim(noisy, images) == pytest.approx(expected.item(), abs=1e-6) != other.item()
