"""The keys of metrics.json and their types. docs/METRICS.md defines each of them.

A score that a model or its data cannot give is None.
"""

from __future__ import annotations

from typing import TypedDict


class EditScores(TypedDict, total=False):
    """Mean scores of edits, as lists by strength. The means over all attributes have no `strengths`.

    `change_outside` is measured only for edits of the image itself.
    """

    strengths: list[int | float]
    accuracy: list[float | None]
    preservation_error: list[float | None]
    change_outside: list[float | None]


class AttributeScores(TypedDict, total=False):
    """Scores of one attribute; `counterfactual_gain` only for drawn faces."""

    accuracy: list[float | None]
    preservation_error: list[float | None]
    pasted_at_equal_disturbance: float | None
    change_outside: float | None
    counterfactual_gain: float | None
    classifier_accuracy: float | None
    classifier_balanced_accuracy: float | None
    classifier_auc: float | None
    m_minus: float | None
    m_plus: float | None
    learned: bool


class IdentityDrift(TypedDict):
    """How much edits change a person."""

    reconstruction: float | None
    edited: float | None
    per_attribute: dict[str, float | None]
    same_person: float | None
    same_person_per_attribute: dict[str, float | None]


class _Scores(TypedDict):
    """Scores of any model."""

    code_size: int
    num_parameters: int
    mse: float
    mse_of_mean_image: float
    warning: str | None
    psnr: float | None
    ssim: float | None
    jacobian_error: float | None
    finite_difference_error: float | None
    classifier_accuracy: float | None


class ModelScores(_Scores, total=False):
    """Scores of one model: those of any model, and those of either an ordered code or attributes."""

    swap_classifier: float | None
    swap_label: float | None
    jacobian_error_first_teacher: float | None
    prefix_mse: list[float]
    drop_per_unit: list[float]
    energy_per_unit: list[float]
    energy_monotony: float | None
    factor_scores: dict[str, float | dict[str, float]] | None

    edit: EditScores
    edit_all: EditScores
    accuracy_at_equal_disturbance: float | None
    edit_pasted: EditScores
    pasted_at_equal_disturbance: float | None
    change_outside: float | None
    counterfactual_gain: float | None
    counterfactual_gain_full: float | None
    identity_drift: IdentityDrift | None
    attributes: dict[str, AttributeScores]


class StageScores(ModelScores):
    """Scores of a finished stage and its name."""

    name: str


class Scores(ModelScores, total=False):
    """What `evaluate` returns: scores of a model and, for a run, those of each finished stage."""

    stages: list[StageScores]
