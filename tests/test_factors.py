"""Each score of known factors on codes whose score can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import known_scores as naive
import numpy as np
import pytest
from numpy import ndarray

from jacsup.metrics import (
    beta_vae,
    dci,
    explicitness,
    factor_vae,
    infomec,
    irs,
    mig,
    modularity,
    sampler_of,
    sap,
)
from jacsup.metrics.factors import checked


def grid(*sizes: int, times: int = 1) -> ndarray:
    """Every combination of factors of these sizes, `times` over, in random order."""
    points = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    return np.random.default_rng(0).permutation(np.tile(points, (times, 1)))


def rotated(factors: ndarray) -> ndarray:
    """Two factors turned by 45 degrees: each code knows as much of either."""
    return factors @ np.array([[1.0, 1.0], [1.0, -1.0]])


BITS = grid(2, 2, times=300)
MANY = grid(3, 4, 5, times=40)
# A number whose sums round, so that its variance is not quite 0.
CONSTANT = np.full((len(MANY), 2), 0.1)
# The first code knows the first bit, the second one knows both.
MIXED = np.stack([BITS[:, 0], BITS[:, 0] + 2 * BITS[:, 1]], axis=1).astype(float)


def test_mig_by_hand() -> None:
    assert mig(MANY, MANY) == pytest.approx(1)
    assert mig(-3.0 * MANY[:, [2, 0, 1]], MANY) == pytest.approx(1)
    assert mig(CONSTANT, MANY) == 0
    assert mig(np.hstack([MANY, MANY]), MANY) == pytest.approx(0)
    assert mig(rotated(BITS), BITS) == pytest.approx(0)
    # Gaps: the first bit is known twice, the second once.
    assert mig(MIXED, BITS) == pytest.approx((0 + 1) / 2)
    # a + b of two bits tells half a bit of each; there is no second code.
    assert mig(rotated(BITS)[:, :1], BITS) == pytest.approx(0.5)


def test_mig_counts_in_equal_bins() -> None:
    codes = np.repeat(np.arange(40.0), 50)
    factors = (codes.astype(int) % 2)[:, None]
    assert mig(codes[:, None], factors, num_bins=20) == pytest.approx(0, abs=1e-12)
    assert mig(codes[:, None], factors, num_bins=40) == pytest.approx(1)


def test_modularity_by_hand() -> None:
    assert modularity(MANY, MANY) == pytest.approx(1)
    assert modularity(np.hstack([MANY, MANY[:, [1]]]), MANY) == pytest.approx(1)
    assert modularity(CONSTANT, MANY) == 0
    assert modularity(rotated(BITS), BITS) == pytest.approx(0, abs=1e-9)
    assert modularity(MIXED, BITS) == pytest.approx((1 + 0) / 2)


def test_irs_by_hand() -> None:
    assert irs(MANY, MANY) == pytest.approx(1)
    assert irs(np.hstack([MANY, CONSTANT]), MANY) == pytest.approx(1)
    assert irs(CONSTANT, MANY) == 0
    # a + b is 0 to 2 around 1; given a it still moves by a half either way.
    assert irs(rotated(BITS), BITS) == pytest.approx(0.5)
    # Weighted by the largest deviations: the first bit stays by itself (1, weight 0.5); a + 2b moves by 0.5 given b
    # (1 - 0.5 / 1.5, weight 1.5).
    assert irs(MIXED, BITS) == pytest.approx((1 * 0.5 + (1 - 0.5 / 1.5) * 1.5) / 2)


def test_constant_codes_have_no_deviation_to_keep() -> None:
    factors = np.random.default_rng(0).integers(0, 3, (10_000, 2))
    for value in (0.1, 1 / 3, 0.7, 1e9 / 3):
        single = np.full((10_000, 2), value, np.float32)
        jitter = np.nextafter(single, factors.astype(np.float32) * 2 * value)
        assert irs(np.full((10_000, 2), value), factors) == irs(jitter, factors) == 0
        assert mig(jitter, factors) == modularity(jitter, factors) == 0


def test_irs_takes_any_labels() -> None:
    labels = np.array([0, 1, 1000, 1001, 5000])
    assert irs(MANY, labels[MANY]) == pytest.approx(1)
    codes = np.random.default_rng(0).normal(size=MANY.shape) + MANY
    assert irs(codes, labels[MANY]) == irs(codes, MANY)


def test_sap_by_hand() -> None:
    # Of bits the other code predicts half.
    assert sap(BITS, BITS) == pytest.approx(0.5, abs=0.05)
    assert sap(np.hstack([BITS, BITS]), BITS) == 0
    assert sap(CONSTANT, MANY) == 0
    assert sap(MANY, MANY, continuous_factors=True) == pytest.approx(1)
    assert sap(CONSTANT, MANY, continuous_factors=True) == 0
    assert sap(MANY, MANY / 7, continuous_factors=True) == pytest.approx(1)
    assert sap(MANY * 1e-7, MANY * 1e-7, continuous_factors=True) == pytest.approx(1)
    # What stands at the method: 40 values from one number.
    assert sap(grid(40, 3, times=30), grid(40, 3, times=30)) < 0.4
    assert sap(rotated(BITS), BITS, continuous_factors=True) == pytest.approx(0)
    # R^2 of a + 2b (variance 5/4): 1/5 of a, 4/5 of b; the first code has 1 and 0.
    assert sap(MIXED, BITS, continuous_factors=True) == pytest.approx(((1 - 1 / 5) + 4 / 5) / 2)


def test_explicitness_by_hand() -> None:
    assert explicitness(BITS, BITS) == 1
    assert explicitness(rotated(BITS), BITS) == 1
    assert explicitness(np.zeros((len(BITS), 2)), BITS) == pytest.approx(0.5)
    # No line tells whether two bits are equal.
    equal = (BITS[:, [0]] == BITS[:, [1]]).astype(int)
    assert explicitness(BITS, equal) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("fast", [False, True])
def test_dci_by_hand(fast: bool) -> None:
    perfect = dci(MANY[:, [1, 2, 0]].astype(float), MANY, fast=fast)
    assert list(perfect) == ["disentanglement", "completeness", "informativeness"]
    assert list(perfect.values()) == pytest.approx([1, 1, 1], abs=0.02)
    nothing = dci(np.zeros((len(BITS), 2)), BITS, fast=fast)
    assert list(nothing.values()) == pytest.approx([0, 0, 0.5], abs=0.05)
    turned = dci(rotated(BITS), BITS, fast=fast)
    assert list(turned.values()) == pytest.approx([0, 0, 1], abs=0.1)
    assert dci(np.hstack([BITS, BITS]), BITS, fast=fast)["disentanglement"] == pytest.approx(1, abs=0.02)


def test_exact_trees_share_importance_between_copies() -> None:
    copies = dci(np.hstack([BITS, BITS]), BITS)
    # Half of four codes for each factor: 1 - log 2 / log 4. One root of three in a hundred rounds decides it.
    assert copies["completeness"] == pytest.approx(0.5, abs=0.15)
    assert dci(np.hstack([BITS, BITS]), BITS, fast=True)["completeness"] == pytest.approx(1, abs=0.02)


def test_histogram_trees_find_what_exact_trees_find() -> None:
    rng = np.random.default_rng(0)
    codes = MANY @ (np.eye(3) + 0.3 * rng.normal(size=(3, 3))) + 0.3 * rng.normal(size=MANY.shape)
    exact, fast = dci(codes, MANY), dci(codes, MANY, fast=True)
    assert list(fast.values()) == pytest.approx(list(exact.values()), abs=0.06)
    assert 0.2 < exact["disentanglement"] < 0.8


def test_infomec_by_hand() -> None:
    perfect = infomec(np.hstack([BITS, 1e-3 * BITS[:, [0]]]), BITS)
    assert list(perfect) == ["infom", "infoe", "infoc"]
    assert list(perfect.values()) == pytest.approx([1, 1, 1], abs=0.02)
    assert list(infomec(CONSTANT, MANY).values()) == [0, 0, 0]
    assert list(infomec(rotated(BITS), BITS).values()) == pytest.approx([0, 1, 0], abs=0.05)
    copies = infomec(np.hstack([BITS, BITS]), BITS)
    # Two of four codes share a factor: (1/2 - 1/4) / (1 - 1/4).
    assert list(copies.values()) == pytest.approx([1, 1, 1 / 3], abs=0.02)


def test_factor_vae_by_hand() -> None:
    assert factor_vae(sampler_of(MANY, MANY), 3) == 1
    assert factor_vae(sampler_of(5.0 * MANY[:, [2, 0, 1, 1]], MANY), 3) == 1
    assert factor_vae(sampler_of(CONSTANT, MANY), 3) == 0
    noise = np.random.default_rng(0).normal(size=(len(MANY), 3))
    assert factor_vae(sampler_of(noise, MANY), 3) == pytest.approx(1 / 3, abs=0.04)
    # A code too small to count leaves two codes for three factors.
    small = MANY / MANY.std(axis=0, ddof=1) * [1, 1, 0.048]
    assert factor_vae(sampler_of(small, MANY), 3) == pytest.approx(2 / 3, abs=0.03)
    # The standard deviation is estimated from 10,000 points.
    assert factor_vae(sampler_of(small * [1, 1, 1.1], MANY), 3) == 1


def test_beta_vae_by_hand() -> None:
    assert beta_vae(sampler_of(MANY, MANY), 3) == 1
    assert beta_vae(sampler_of(MANY[:, [0, 0, 1, 2]], MANY), 3) == 1
    assert beta_vae(sampler_of(CONSTANT, MANY), 3) == pytest.approx(1 / 3, abs=0.03)


def test_factor_vae_against_a_loop() -> None:
    rng = np.random.default_rng(1)
    codes = MANY @ rng.normal(size=(3, 4)) + 0.5 * rng.normal(size=(len(MANY), 4))
    spread = codes.var(axis=0)

    def vote(factor: int) -> int:
        value = rng.choice(np.unique(MANY[:, factor]))
        rows = rng.choice(np.flatnonzero(MANY[:, factor] == value), size=64)
        return int(np.argmin(codes[rows].var(axis=0) / spread))

    drawn = [(factor, vote(factor)) for factor in rng.integers(3, size=3000)]
    table = np.zeros((4, 3))
    for factor, place in drawn[:2000]:
        table[place, factor] += 1
    score = np.mean([table[place].argmax() == factor for factor, place in drawn[2000:]])
    assert 0.4 < score < 0.99
    assert factor_vae(sampler_of(codes, MANY), 3) == pytest.approx(score, abs=0.05)


def test_a_sampler_draws_values_evenly_and_shares_them() -> None:
    factors = np.repeat([[0, 0], [0, 1], [1, 0], [2, 1]], [700, 100, 20, 180], axis=0)
    drawn = sampler_of(factors, factors)(0, 3000, 5, np.random.default_rng(0))
    assert drawn.shape == (3000, 5, 2)
    assert (drawn[:, :, 0] == drawn[:, :1, 0]).all()
    assert np.bincount(drawn[:, 0, 0].astype(int)) / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert (drawn[drawn[:, :, 0] == 0][:, 1] == 1).mean() == pytest.approx(100 / 800, abs=0.02)
    free = sampler_of(factors, factors)(None, 1, 5000, np.random.default_rng(0))
    assert (free[0, :, 0] == 0).mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(
    ("score", "twin"),
    [
        (mig, naive.naive_mig),
        (modularity, naive.naive_modularity),
        (irs, naive.naive_irs),
        (sap, naive.naive_sap),
        (lambda codes, factors: sap(codes, factors, continuous_factors=True), naive.naive_sap_r2),
        (explicitness, naive.naive_explicitness),
        (infomec, naive.naive_infomec),
    ],
)
def test_scores_agree_with_their_naive_twins(score: Callable[..., object], twin: Callable[..., object]) -> None:
    codes, factors = naive.noisy_points()
    assert score(codes, factors) == pytest.approx(twin(codes, factors), rel=1e-3)


def test_exact_trees_agree_with_their_naive_twin() -> None:
    codes, factors = (values[:600] for values in naive.noisy_points())
    assert dci(codes, factors[:, :2]) == pytest.approx(naive.naive_dci(codes, factors[:, :2]), rel=1e-6)


SCORES = [mig, modularity, irs, sap, explicitness, dci, infomec, sampler_of]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (np.zeros((0, 2)), np.zeros((0, 2), int), "with the same n and no size 0"),
        (np.zeros((4, 0)), np.zeros((4, 2), int), "with the same n and no size 0"),
        (np.zeros((4, 2)), np.zeros((4, 0), int), "with the same n and no size 0"),
        (np.full((2, 1), np.nan), np.array([[0], [1]]), "not finite; remove these points"),
        (
            np.zeros((2, 1)),
            np.array([[0, 3], [1, 3]]),
            r"each of the factors \[1\] has only one value; remove these columns",
        ),
    ],
)
def test_wrong_input_is_named(score: Callable[..., object], codes: ndarray, factors: ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(codes, factors)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.zeros((3, 2), int), r"must be \(n, d\) and \(n, f\)"),
        (np.array([0.5, 1, 2, 3])[:, None], "number the values"),
    ],
)
def test_sizes_that_differ_and_fractions_are_named(factors: ndarray, message: str) -> None:
    # The scores' own annotations refuse them first while tests run.
    with pytest.raises(ValueError, match=message):
        checked(np.zeros((4, 2)), factors)


@pytest.mark.parametrize("score", [sap, explicitness, dci])
@pytest.mark.parametrize("factors", [np.sort(MANY, axis=0), np.arange(30)[:, None], np.array([[0], [1]])])
def test_points_to_test_on_must_hold_what_was_learned(score: Callable[..., object], factors: ndarray) -> None:
    codes = np.random.default_rng(0).normal(size=(len(factors), 2))
    with pytest.raises(ValueError, match="in random order"):
        score(codes, factors)


def test_infomec_needs_neighbours() -> None:
    with pytest.raises(ValueError, match=r"no value of factors .* occurs twice in 30 points"):
        infomec(np.zeros((30, 2)), np.arange(30)[:, None])


@pytest.mark.parametrize("score", [factor_vae, beta_vae])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_factors": 1}, "num_factors is 1; it must be at least 2"),
        ({"num_factors": 4}, "num_factors must be at most 3"),
        ({"num_factors": 3, "batch_size": 1}, "batch_size is 1"),
        ({"num_factors": 3, "num_test": 0}, "num_test is 0"),
        ({"num_factors": 3, "num_train": 1}, "num_train is 1; it must be at least 50"),
    ],
)
def test_wrong_sizes_are_named(score: Callable[..., float], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(sampler_of(MANY, MANY), **options)
