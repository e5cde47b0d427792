"""What metrics.json says of a supervised run, in flat rows, and which of its attributes are the best."""

from __future__ import annotations

import math
from typing import Any

from jacsup.models import Factor


def rank(factor: Factor, measured: dict[str, Any]) -> tuple[bool, float, float, float]:
    """Learned before not learned, then by gain, by accuracy and by what there is without a judge; higher is better."""
    known = measured.get("counterfactual_gain"), measured.get("accuracy 2"), distance(factor)
    gain, accuracy, apart = (-math.inf if value is None or math.isnan(value) else value for value in known)
    return factor.learned, gain, accuracy, apart


def distance(factor: Factor) -> float:
    """m+ - m-; nan for an attribute that all training images have or lack."""
    assert factor.m_minus is not None and factor.m_plus is not None
    return factor.m_plus - factor.m_minus


def stage_figures(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured of each finished stage, figures by strength as `accuracy 2`."""
    return [{**stage, **by_strength(stage.get("edit") or {})} for stage in metrics.get("stages") or []]


def attribute_figures(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What was measured of each attribute by name, figures by strength as `accuracy 2`."""
    attributes = metrics.get("attributes") or {}
    strengths = (metrics.get("edit") or {}).get("strengths", [])
    return {name: {**values, **by_strength({**values, "strengths": strengths})} for name, values in attributes.items()}


def by_strength(edit: dict[str, Any]) -> dict[str, float | None]:
    """Lists of `accuracy` and `preservation_error` by `strengths` as one figure each, such as `accuracy 2`."""
    return {
        f"{name} {strength:g}": edit[name][place]
        for place, strength in enumerate(edit.get("strengths", []))
        for name in ("accuracy", "preservation_error")
    }


def flat_scores(scores: dict[str, Any]) -> dict[str, float]:
    """Scores of known factors with the parts of each beside the others, as `dci_fast completeness`."""
    return {
        f"{name} {part}".strip(): value
        for name, score in scores.items()
        for part, value in (score if isinstance(score, dict) else {"": score}).items()
    }
