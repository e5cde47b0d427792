"""How well a code separates known factors: the scores of the disentanglement literature.

In all functions, `codes` are (n, d) numbers and `factors` are the (n, f) integers from which the same n images were
generated. The defaults are the standard settings (Locatello et al. 2019, `disentanglement_lib`), with 10,000 points to
learn or count on and 5,000 more to test a predictor on: `dci`, `sap` and `explicitness` test on the last third of their
points, and the others use all points. Points must be in random order. All functions raise ValueError if codes or
factors are not finite, if factors are not integers or have only one value, if there are too few points, or if sizes
differ.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, Real
from numpy import ndarray

NUM_BINS = 20
TEST_SHARE = 1 / 3


def mig(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"], *, num_bins: int = NUM_BINS) -> float:
    """Mutual information gap, 0 to 1: how much more information the best code has about a factor than the second best.

    (I(c_1; v) - I(c_2; v)) / H(v), mean over factors. Chen et al. 2018.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        num_bins: The number of equal bins that codes are counted in.

    Returns:
        The score, from 0 to 1.
    """
    information, entropies = _information(codes, factors, num_bins)
    return float(np.mean(_gap(information) / entropies))


def modularity(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"], *, num_bins: int = NUM_BINS) -> float:
    """Modularity, 0 to 1: whether each code depends on one factor only. Ridgeway & Mozer 2018.

    1 - sum of the other factors' squared mutual information over (f - 1) times the largest, mean over codes; a
    constant code counts as 0. Noise can score near 1, because its spurious information is rarely spread evenly.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        num_bins: The number of equal bins that codes are counted in.

    Returns:
        The score, from 0 to 1.
    """
    squared = _information(codes, factors, num_bins)[0] ** 2
    largest = squared.max(axis=1)
    others = (squared.sum(axis=1) - largest) / (np.where(largest > 0, largest, 1) * max(1, squared.shape[1] - 1))
    return float(np.mean(np.where(largest > 0, 1 - others, 0)))


def irs(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"], *, quantile: float = 0.99) -> float:
    """Interventional robustness score, up to 1: whether a code stays the same when all factors but its own change.

    1 - (the `quantile` of |c - mean of c given v|, mean over the values of v) / (largest |c - mean of c|), with the
    best factor for each code; mean over codes weighted by that largest deviation, without constant codes. Factors with
    more than 20 values are put into 20 bins of neighbouring values, as in the standard settings. Suter et al. 2019.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        quantile: The quantile of deviations that counts as the largest.

    Returns:
        The score, at most 1; 0 if all codes are constant.
    """
    codes, factors = checked(codes, factors)
    factors = np.stack([_binned(np.unique(factor, return_inverse=True)[1], NUM_BINS) for factor in factors.T], axis=1)
    codes = codes[:, np.ptp(codes, axis=0) > 0]
    if not codes.shape[1]:
        return 0.0
    largest = np.abs(codes - codes.mean(axis=0)).max(axis=0)
    deviations = np.stack([_deviation_within(codes, factor, quantile) for factor in factors.T], axis=1)
    best = (1 - deviations / largest[:, None]).max(axis=1)
    return float(np.average(best, weights=largest))


def infomec(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"], *, seed: int = 0) -> dict[str, float]:
    """InfoM, InfoE and InfoC, each up to 1: modularity, explicitness and compactness. Hsu et al. 2023.

    InfoM and InfoC: the largest share of a code's (a factor's) normalised mutual information that one factor (code)
    has; mean, rescaled so that chance is 0. Mutual information is estimated from the 10 nearest neighbours, for codes
    whose range is above 1/20 of the largest. InfoE: the share of a factor's entropy that a linear classifier of the
    codes removes, on its training points as in the reference, so that it is overestimated on a few hundred points.
    Constant codes score 0, 0, 0. If InfoE is near 0, the other two are meaningless: noise can reach 0.7 and 0.5.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images. No factor may have n different values.
        seed: The seed of the estimate of mutual information.

    Returns:
        `infom`, `infoe` and `infoc`.
    """
    from sklearn.feature_selection import mutual_info_classif
    from sklearn.preprocessing import StandardScaler

    codes, factors = checked(codes, factors)
    single = [j for j, factor in enumerate(factors.T) if len(np.unique(factor)) == len(factor)]
    if single:
        raise ValueError(f"no value of factors {single} occurs twice in {len(factors)} points; pass more points")
    spans = np.ptp(codes, axis=0)
    scaled = StandardScaler().fit_transform(codes)
    active = scaled[:, spans > spans.max() / 20]
    if not active.shape[1]:
        return {"infom": 0.0, "infoe": 0.0, "infoc": 0.0}
    shares = np.stack(
        [
            mutual_info_classif(active, factor, n_neighbors=10, random_state=seed) / _entropy(factor)
            for factor in factors.T
        ],
        axis=1,
    )
    return {
        "infom": _concentration(shares),
        "infoe": float(np.mean([_explained(scaled, factor) for factor in factors.T])),
        "infoc": _concentration(shares.T),
    }


def sap(codes: Real[ndarray, "n d"], factors: Real[ndarray, "n f"], *, continuous_factors: bool = False) -> float:
    """Separated attribute predictability, 0 to 1: how much better the best code alone predicts a factor than the next.

    The gap in accuracy of a balanced linear classifier (C = 0.01) on the test points, or in R^2 of a line; mean over
    factors. Kumar et al. 2018. The two cannot be compared: a linear classifier cannot tell 40 values apart by one
    number, so perfect codes of dSprites score about 0.24 with it and 1 in R^2. Its penalty also makes the score depend
    on the scale of the codes.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        continuous_factors: Whether factors are numbers, of any type, so that R^2 is used. Defaults to the classifier.

    Returns:
        The score, from 0 to 1.
    """
    from sklearn.svm import LinearSVC

    codes, factors = checked(codes, factors, continuous=continuous_factors)
    if continuous_factors:
        return float(np.mean(_gap(_squared_correlation(codes, factors))))
    fit, test = parts(factors)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for i, j in np.ndindex(scores.shape):
        column = codes[:, [i]]
        classifier = LinearSVC(C=0.01, class_weight="balanced", dual="auto").fit(column[fit], factors[fit, j])
        scores[i, j] = classifier.score(column[test], factors[test, j])
    return float(np.mean(_gap(scores)))


def explicitness(codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"]) -> float:
    """Explicitness, 0.5 (chance) to 1: the area under the ROC curve of one-against-all logistic regressions.

    There is one regression for each value of each factor, on all codes, standardised; a point's probabilities are
    divided by their sum, as in the standard settings. The area is computed on the test points; mean over a factor's
    values, then over factors. Ridgeway & Mozer 2018.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.

    Returns:
        The score; 0.5 is chance, 1 is best.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import StandardScaler

    codes, factors = checked(codes, factors)
    fit, test = parts(factors)
    scaled = StandardScaler().fit(codes[fit]).transform(codes)
    scores = []
    for factor in factors.T:
        classifier = OneVsRestClassifier(LogisticRegression()).fit(scaled[fit], factor[fit])
        likely = classifier.predict_proba(scaled[test])
        tested = [column for column, value in enumerate(classifier.classes_) if value in factor[test]]
        areas = [roc_auc_score(factor[test] == classifier.classes_[column], likely[:, column]) for column in tested]
        scores.append(np.mean(areas))
    return float(np.mean(scores))


def checked(codes: Any, factors: Any, *, continuous: bool = False) -> tuple[Float[ndarray, "n d"], Any]:
    """Return codes and factors as arrays. Codes that differ only by rounding are made constant.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        continuous: Whether factors may be any numbers. Defaults to integers.

    Raises:
        ValueError: No score can be computed from them.
    """
    codes, factors = np.asarray(codes, dtype=np.float64), np.asarray(factors)
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors) or not codes.size or not factors.size:
        raise ValueError(
            f"codes have shape {codes.shape} and factors {factors.shape}; "
            "they must be (n, d) and (n, f), with the same n and no size 0"
        )
    if factors.dtype.kind not in ("iubf" if continuous else "iub"):
        raise ValueError(f"factors are {factors.dtype}; they must be integers: number the values of each factor")
    for name, values in (("codes", codes), ("factors", factors)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} have values that are not finite; remove these points")
    constant = [j for j, factor in enumerate(factors.T) if (factor == factor[0]).all()]
    if constant:
        raise ValueError(f"each of the factors {constant} has only one value; remove these columns")
    # Codes come from float32.
    still = np.ptp(codes, axis=0) <= 1e-6 * np.abs(codes).max(axis=0)
    return np.where(still, codes[0], codes), factors.astype(float if continuous else int)


def parts(factors: Integer[ndarray, "n f"]) -> tuple[slice, slice]:
    """Return the points to learn on and the points to test on.

    Args:
        factors: Factors of n images.

    Raises:
        ValueError: The two have fewer than two values of a factor in common.
    """
    lacking = [j for j, both in enumerate(common_values(factors)) if both < 2]
    if lacking:
        raise ValueError(
            f"factors {lacking} have fewer than two values that occur both in the first two thirds of the "
            f"{len(factors)} points, to learn on, and in the rest, to test on; pass more points, in random order"
        )
    return _parts(len(factors))


def common_values(factors: Integer[ndarray, "n f"]) -> list[int]:
    """Return how many values of each factor occur at least twice in the points to learn on, and in those to test on.

    Args:
        factors: Factors of n images.
    """
    fit, test = _parts(len(factors))
    known = [np.unique(factor[fit], return_counts=True) for factor in factors.T]
    return [
        len(np.intersect1d(values[counts > 1], factor[test]))
        for (values, counts), factor in zip(known, factors.T, strict=True)
    ]


def _parts(num_points: int) -> tuple[slice, slice]:
    first_test = num_points - round(num_points * TEST_SHARE)
    return slice(first_test), slice(first_test, None)


def _information(codes: Any, factors: Any, num_bins: int) -> tuple[Float[ndarray, "d f"], Float[ndarray, " f"]]:
    """Mutual information of each code, in equal bins, with each factor, and the factors' entropies, in nats."""
    from sklearn.metrics import mutual_info_score

    codes, factors = checked(codes, factors)
    binned = [_binned(code, num_bins) for code in codes.T]
    information = np.array([[mutual_info_score(code, factor) for factor in factors.T] for code in binned])
    return information, np.array([_entropy(factor) for factor in factors.T])


def _binned(values: Real[ndarray, " n"], num_bins: int) -> Int[ndarray, " n"]:
    return np.digitize(values, np.histogram_bin_edges(values, num_bins)[1:-1])


def _entropy(factor: Int[ndarray, " n"]) -> float:
    share = np.unique(factor, return_counts=True)[1] / len(factor)
    return float(-(share * np.log(share)).sum())


def _gap(scores: Float[ndarray, "d f"]) -> Float[ndarray, " f"]:
    """The best code's score minus the second best's; a missing second counts as 0."""
    ranked = np.sort(np.concatenate([np.zeros((1, scores.shape[1])), scores]), axis=0)
    return ranked[-1] - ranked[-2]


def _deviation_within(codes: Real[ndarray, "n d"], factor: Int[ndarray, " n"], quantile: float) -> ndarray:
    within = [codes[factor == value] for value in np.unique(factor)]
    return np.mean([np.quantile(np.abs(part - part.mean(axis=0)), quantile, axis=0) for part in within], axis=0)


def _concentration(shares: Float[ndarray, "rows columns"]) -> float:
    """Mean over rows of the largest share of a row's sum, from 0 (all columns equal) to 1 (a single column)."""
    if shares.shape[1] < 2:
        return 1.0
    sums = shares.sum(axis=1)
    largest = shares.max(axis=1)[sums > 0] / sums[sums > 0]
    chance = 1 / shares.shape[1]
    return float((largest.mean() - chance) / (1 - chance)) if len(largest) else 0.0


def _explained(codes: Real[ndarray, "n d"], factor: Int[ndarray, " n"]) -> float:
    """The share of a factor's cross-entropy that a balanced linear classifier without penalty removes."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    def cross_entropy(inputs: ndarray) -> float:
        classifier = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=100)
        with warnings.catch_warnings():
            # If the codes determine the factor, the best weights are infinite.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return log_loss(factor, classifier.fit(inputs, factor).predict_proba(inputs))

    without = cross_entropy(np.zeros_like(codes))
    return 1 - cross_entropy(codes) / without


def _squared_correlation(codes: Real[ndarray, "n d"], factors: Real[ndarray, "n f"]) -> Float[ndarray, "d f"]:
    squared = [
        [np.corrcoef(code, factor)[0, 1] ** 2 if np.ptp(code) else 0 for factor in factors.T] for code in codes.T
    ]
    return np.array(squared, dtype=float)
