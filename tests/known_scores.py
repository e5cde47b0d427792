"""Scores of known factors as one would first write them, in loops, with scikit-learn's estimators; and hard points."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy import ndarray
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC


def noisy_points(num_points: int = 1500) -> tuple[ndarray, ndarray]:
    """Codes that know something of everything, on different scales, and factors of 3, 6 and 40 values, uneven ones."""
    rng = np.random.default_rng(0)
    factors = np.stack([rng.binomial(size - 1, 0.35, num_points) for size in (3, 6)], axis=1)
    factors = np.column_stack([factors, rng.integers(0, 40, num_points)])
    scaled = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    codes = scaled @ rng.normal(size=(3, 5)) + 0.5 * rng.normal(size=(num_points, 5))
    # The last one is too small to count for InfoM and InfoC, the one before it is not.
    return codes * [1, 2, 0.5, 0.2, 0.02], factors


def bins(values: ndarray) -> list[int]:
    low, high = min(values), max(values)
    return [min(19, int(20 * (value - low) / (high - low))) for value in values]


def information(first: list[int], second: list[int]) -> float:
    total = 0.0
    for a, b in product(set(first), set(second)):
        joint = sum(x == a and y == b for x, y in zip(first, second, strict=True)) / len(first)
        if joint:
            total += joint * math.log(joint * len(first) ** 2 / (first.count(a) * second.count(b)))
    return total


def informations(codes: ndarray, factors: ndarray) -> ndarray:
    return np.array([[information(bins(code), list(factor)) for factor in factors.T] for code in codes.T])


def naive_mig(codes: ndarray, factors: ndarray) -> float:
    gaps = []
    for factor, known in zip(factors.T, informations(codes, factors).T, strict=True):
        best, second = sorted(known)[-1], sorted(known)[-2]
        gaps.append((best - second) / information(list(factor), list(factor)))
    return float(np.mean(gaps))


def naive_modularity(codes: ndarray, factors: ndarray) -> float:
    scores = []
    for known in informations(codes, factors):
        best = int(np.argmax(known))
        deviation = sum((known[j] / known[best]) ** 2 for j in range(len(known)) if j != best)
        scores.append(1 - deviation / (len(known) - 1))
    return float(np.mean(scores))


def naive_irs(codes: ndarray, factors: ndarray) -> float:
    scores, weights = [], []
    for code in codes.T:
        largest = max(abs(code - code.mean()))
        of_factors = []
        for factor in factors.T:
            values = np.array(bins(factor) if len(set(factor)) > 20 else factor)
            moved = []
            for value in set(values):
                part = code[values == value]
                moved.append(np.quantile(abs(part - part.mean()), 0.99))
            of_factors.append(1 - np.mean(moved) / largest)
        scores.append(max(of_factors) * largest)
        weights.append(largest)
    return sum(scores) / sum(weights)


def naive_sap(codes: ndarray, factors: ndarray) -> float:
    cut, gaps = 2 * len(codes) // 3, []
    for factor in factors.T:
        shares = []
        for code in codes.T:
            line = LinearSVC(C=0.01, class_weight="balanced").fit(code[:cut, None], factor[:cut])
            shares.append(np.mean(line.predict(code[cut:, None]) == factor[cut:]))
        gaps.append(sorted(shares)[-1] - sorted(shares)[-2])
    return float(np.mean(gaps))


def naive_sap_r2(codes: ndarray, factors: ndarray) -> float:
    gaps = []
    for factor in factors.T:
        shares = []
        for code in codes.T:
            slope, offset = np.polyfit(code, factor, 1)
            shares.append(1 - np.var(factor - slope * code - offset) / np.var(factor))
        gaps.append(sorted(shares)[-1] - sorted(shares)[-2])
    return float(np.mean(gaps))


def naive_explicitness(codes: ndarray, factors: ndarray) -> float:
    cut, scores = 2 * len(codes) // 3, []
    scaled = (codes - codes[:cut].mean(axis=0)) / codes[:cut].std(axis=0)
    for factor in factors.T:
        values = sorted(set(factor))
        told = np.array(
            [
                LogisticRegression().fit(scaled[:cut], factor[:cut] == value).predict_proba(scaled[cut:])[:, 1]
                for value in values
            ]
        )
        told /= told.sum(axis=0)
        areas = []
        for value, likely in zip(values, told, strict=True):
            yes, no = likely[factor[cut:] == value], likely[factor[cut:] != value]
            areas.append(np.mean([(a > b) + 0.5 * (a == b) for a, b in product(yes, no)]))
        scores.append(np.mean(areas))
    return float(np.mean(scores))


def naive_infomec(codes: ndarray, factors: ndarray) -> dict[str, float]:
    scaled = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    spans = codes.max(axis=0) - codes.min(axis=0)
    active = [i for i in range(codes.shape[1]) if spans[i] > max(spans) / 20]
    known = np.array(
        [
            mutual_info_classif(scaled[:, active], factor, n_neighbors=10, random_state=0)
            / information(list(factor), list(factor))
            for factor in factors.T
        ]
    )

    def concentration(rows: ndarray) -> float:
        chance = 1 / rows.shape[1]
        return (np.mean([max(row) / sum(row) for row in rows]) - chance) / (1 - chance)

    removed = []
    for factor in factors.T:
        entropies = []
        for inputs in (scaled, 0 * scaled):
            told = LogisticRegression(C=np.inf, class_weight="balanced").fit(inputs, factor).predict_proba(inputs)
            values = sorted(set(factor))
            entropies.append(-np.mean([math.log(row[values.index(v)]) for row, v in zip(told, factor, strict=True)]))
        removed.append(1 - entropies[0] / entropies[1])
    return {"infom": concentration(known.T), "infoe": float(np.mean(removed)), "infoc": concentration(known)}


def naive_dci(codes: ndarray, factors: ndarray) -> dict[str, float]:
    cut = 2 * len(codes) // 3
    trees = [GradientBoostingClassifier(random_state=0).fit(codes[:cut], factor[:cut]) for factor in factors.T]
    importance = np.array([tree.feature_importances_ for tree in trees]).T
    hits = [np.mean(tree.predict(codes[cut:]) == factor[cut:]) for tree, factor in zip(trees, factors.T, strict=True)]

    def certainty(row: ndarray) -> float:
        return 1 + sum(p * math.log(p, len(row)) for p in row / sum(row) if p)

    total = importance.sum()
    return {
        "disentanglement": sum(certainty(row) * sum(row) / total for row in importance),
        "completeness": float(np.mean([certainty(column) for column in importance.T])),
        "informativeness": float(np.mean(hits)),
    }
