"""DCI: boosted trees predict each known factor from a code, and their importances show which units they use."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Real
from numpy import ndarray

from jacsup.metrics.factors import checked, parts


def dci(
    codes: Real[ndarray, "n d"], factors: Integer[ndarray, "n f"], *, fast: bool = False, seed: int = 0
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness, each 0 to 1. Eastwood & Williams 2018.

    Boosted trees predict each factor from the codes; a code's importance is how much it lowers their error.
    Disentanglement: 1 - entropy of a code's importances over the factors, mean weighted by the code's share of
    importance. Completeness: 1 - entropy of a factor's importances over the codes. Informativeness: accuracy on the
    test points.

    Args:
        codes: Codes of n images.
        factors: Factors of the same images.
        fast: Whether to use histogram trees of the same number, rate and depth, which take seconds instead of minutes
            and give slightly different scores. Of exact copies of a code they use only the first, so completeness
            ignores copies.
        seed: The seed of the trees.

    Returns:
        `disentanglement`, `completeness` and `informativeness`.
    """
    codes, factors = checked(codes, factors)
    fit, test = parts(factors)
    importances, accuracies = [], []
    for factor in factors.T:
        boosted = (_histogram_trees if fast else _exact_trees)(codes[fit], factor[fit], seed)
        importances.append(boosted[1])
        accuracies.append(boosted[0].score(codes[test], factor[test]))
    importance = np.stack(importances, axis=1)
    return {
        "disentanglement": _mean_certainty(importance),
        "completeness": _mean_certainty(importance.T),
        "informativeness": float(np.mean(accuracies)),
    }


def _mean_certainty(importance: Float[ndarray, "rows columns"]) -> float:
    """1 - entropy of each row, to the base of the number of columns; mean weighted by the rows' sums."""
    sums = importance.sum(axis=1)
    if not sums.any() or importance.shape[1] < 2:
        return float(bool(sums.any()))
    share = importance[sums > 0] / sums[sums > 0, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1) / np.log(importance.shape[1])
    return float(np.average(1 - entropy, weights=sums[sums > 0]))


def _exact_trees(codes: ndarray, factor: ndarray, seed: int) -> tuple[Any, Float[ndarray, " d"]]:
    from sklearn.ensemble import GradientBoostingClassifier

    trees = GradientBoostingClassifier(random_state=seed).fit(codes, factor)
    return trees, np.asarray(trees.feature_importances_)


def _histogram_trees(codes: ndarray, factor: ndarray, seed: int) -> tuple[Any, Float[ndarray, " d"]]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # The number of trees, their depth and their rate are those of the exact ones.
    settings: dict[str, Any] = {"max_iter": 100, "max_depth": 3, "max_leaf_nodes": 8, "min_samples_leaf": 1}
    settings |= {"early_stopping": False, "random_state": seed}
    trees = HistGradientBoostingClassifier(**settings).fit(codes, factor)
    # scikit-learn gives no importances for these trees, but stores the gain of each split.
    nodes = np.concatenate([tree.nodes for step in trees._predictors for tree in step])
    splits = nodes[nodes["is_leaf"] == 0]
    gains = np.bincount(splits["feature_idx"], weights=splits["gain"], minlength=codes.shape[1])
    return trees, gains / max(gains.sum(), 1e-12)
