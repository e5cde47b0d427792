"""The scores of FactorVAE and beta-VAE, which predict the factor that the images of a batch share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int, Integer, Real
from numpy import ndarray

from jacsup.metrics.factors import checked

# Maps (factor, groups, size, rng) to codes (groups, size, d) of random points. The points of a group share a random
# value of the factor, or nothing if it is None.
Sampler = Callable[[int | None, int, int, np.random.Generator], Float[ndarray, "groups size d"]]


def sampler_of(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"]) -> Sampler:
    """Return a sampler for `factor_vae` and `beta_vae` that draws from given points, with replacement.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.

    Returns:
        A function from a factor (None for no shared factor), a number of groups, their size and a random generator to
        the codes of the groups (groups, size, d). It raises ValueError for a factor that the points do not have.
    """
    codes, factors = checked(codes, factors)
    orders = [np.argsort(factor, kind="stable") for factor in factors.T]
    counts = [np.unique(factor, return_counts=True)[1] for factor in factors.T]

    def sample(factor: int | None, groups: int, size: int, rng: np.random.Generator) -> ndarray:
        if factor is not None and factor >= len(counts):
            raise ValueError(f"num_factors must be at most {len(counts)}, the number of factors of these points")
        if factor is None:
            return codes[rng.integers(len(codes), size=(groups, size))]
        count = counts[factor]
        value = rng.integers(len(count), size=(groups, 1))
        place = (np.cumsum(count) - count)[value] + (rng.random((groups, size)) * count[value]).astype(int)
        return codes[orders[factor][place]]

    return sample


def factor_vae(
    sampler: Sampler,
    num_factors: int,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
    smallest_std: float = 0.05,
    seed: int = 0,
) -> float:
    """FactorVAE's score, chance to 1: how often the code that varies least reveals which factor a batch shares.

    Each batch votes for the code with the lowest variance, relative to the code's variance over all images; the
    prediction is the most frequent factor among the training batches with that vote. The score is 0 if all codes are
    left out. Kim & Mnih 2018.

    Args:
        sampler: A source of batches, such as `sampler_of` returns.
        num_factors: The number of factors.
        num_train: The number of batches to learn from, at least 50.
        num_test: The number of batches to test on, at least 1.
        batch_size: The number of images in a batch, at least 2.
        smallest_std: Codes with a smaller standard deviation over all images are left out.
        seed: The seed of the batches.

    Returns:
        The share of test batches whose factor is predicted, from 0 to 1.

    Raises:
        ValueError: A size is too small.
    """
    _require(num_factors=num_factors, batch_size=batch_size, num_train=num_train, num_test=num_test)
    rng = np.random.default_rng(seed)
    spread = sampler(None, 1, num_train, rng)[0].var(axis=0, ddof=1)
    active = np.sqrt(spread) >= smallest_std
    if not active.any():
        return 0.0

    def votes(count: int) -> Int[ndarray, "d f"]:
        table = np.zeros((int(active.sum()), num_factors), dtype=int)
        for factor, points in enumerate(np.bincount(rng.integers(num_factors, size=count), minlength=num_factors)):
            groups = sampler(factor, int(points), batch_size, rng)[:, :, active]
            vote = (groups.var(axis=1, ddof=1) / spread[active]).argmin(axis=1)
            table[:, factor] = np.bincount(vote, minlength=len(table))
        return table

    answers = votes(num_train).argmax(axis=1)
    tested = votes(num_test)
    return float(tested[np.arange(len(answers)), answers].sum() / tested.sum())


def beta_vae(
    sampler: Sampler,
    num_factors: int,
    *,
    num_train: int = 10_000,
    num_test: int = 5_000,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """beta-VAE's score, chance to 1: accuracy of a linear classifier that predicts which factor pairs share.

    Its input is |c - c'|, mean over a batch of pairs that share one factor. Higgins et al. 2017.

    Args:
        sampler: A source of pairs, such as `sampler_of` returns.
        num_factors: The number of factors.
        num_train: The number of batches to learn from, at least 50.
        num_test: The number of batches to test on, at least 1.
        batch_size: The number of pairs in a batch, at least 2.
        seed: The seed of the batches.

    Returns:
        The accuracy on the test batches, from 0 to 1.

    Raises:
        ValueError: A size is too small.
    """
    from sklearn.linear_model import LogisticRegression

    _require(num_factors=num_factors, batch_size=batch_size, num_train=num_train, num_test=num_test)
    rng = np.random.default_rng(seed)

    def points(count: int) -> tuple[Float[ndarray, "n d"], Int[ndarray, " n"]]:
        shared = rng.integers(num_factors, size=count)
        differences = []
        for factor in range(num_factors):
            pairs = sampler(factor, int((shared == factor).sum()) * batch_size, 2, rng)
            distance = np.abs(pairs[:, 0] - pairs[:, 1])
            differences.append(distance.reshape(-1, batch_size, distance.shape[1]).mean(axis=1))
        return np.concatenate(differences), np.sort(shared)

    classifier = LogisticRegression(max_iter=1000).fit(*points(num_train))
    return float(classifier.score(*points(num_test)))


def _require(**sizes: int) -> None:
    for name, size in sizes.items():
        least = {"num_test": 1, "num_train": 50}.get(name, 2)
        if size < least:
            raise ValueError(f"{name} is {size}; it must be at least {least}")
