"""Every metric in one table, and the scores of metrics.json in the flat rows that tables print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jaxtyping import Float, Integer
from numpy import ndarray

from jacsup.metrics.attributes import STRENGTHS
from jacsup.metrics.dci import dci
from jacsup.metrics.factors import explicitness, infomec, irs, mig, modularity, parts, sap
from jacsup.metrics.scores import AttributeScores, EditScores, Scores, StageScores
from jacsup.metrics.votes import beta_vae, factor_vae, sampler_of

Codes = Float[ndarray, "n d"]
Factors = Integer[ndarray, "n f"]
FactorScore = Callable[[Codes, Factors], float | dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The name, the format and the meaning of a score.

    Attributes:
        title: Its name in tables and figures, in lower case unless it is a proper name.
        short: A shorter name for tables in a terminal.
        format: The format of its values, as in an f-string.
        unit: The unit of its values, if they have one.
        better: Whether a higher or a lower value is better; None if neither is.
        parts: Titles of the parts of a score with several, by the parts' names. A part without a title gets the
            score's title followed by its own name.
        of_factors: For a score of known factors, the function that computes it from codes (n, d) and factors (n, f).
    """

    title: str
    short: str = ""
    format: str
    unit: str = ""
    better: Literal["higher", "lower"] | None = None
    parts: Mapping[str, str] = field(default_factory=dict)
    of_factors: FactorScore | None = None

    @property
    def heading(self) -> str:
        """The title and the unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def column(self) -> str:
        """The heading in a terminal."""
        return self.short or self.heading


def _at_strengths(title: str) -> dict[str, str]:
    return {f"{strength:g}": f"{title} at {strength:g}" for strength in STRENGTHS}


def _on_first_part(score: FactorScore) -> FactorScore:
    """Compute a score on the points that predictors learn on, without those that they are tested on."""

    def of_first(codes: Codes, factors: Factors) -> float | dict[str, float]:
        first = parts(factors)[0]
        return score(codes[first], factors[first])

    return of_first


# By key in metrics.json, in the order of tables. A new score of known factors is one line here: `evaluate` then
# computes it, and tables, reports and comparisons show it.
METRICS: dict[str, Metric] = {
    "images_seen": Metric(title="images seen", format=",.0f"),
    "core_seconds": Metric(title="core-seconds", format=",.0f", better="lower"),
    "code_size": Metric(title="code size", format=",d"),
    "num_parameters": Metric(title="parameters", format=",.0f"),
    "mse": Metric(title="MSE", format=".4f", better="lower"),
    "psnr": Metric(title="PSNR", format=".2f", unit="dB", better="higher"),
    "ssim": Metric(title="SSIM", format=".3f", better="higher"),
    "swap_classifier": Metric(title="swap score, classifier", short="swap", format=".1%", better="higher"),
    "swap_label": Metric(title="swap score, label", short="swap, label", format=".1%", better="higher"),
    "accuracy": Metric(
        title="edit accuracy", short="edit", format=".1%", better="higher", parts=_at_strengths("edit accuracy")
    ),
    "accuracy_at_equal_disturbance": Metric(
        title="edit accuracy where 10 % of the other verdicts change", short="edit@10%", format=".1%", better="higher"
    ),
    "pasted_at_equal_disturbance": Metric(
        title="edit accuracy on the image itself where 10 % of the other verdicts change",
        short="pasted@10%",
        format=".1%",
        better="higher",
    ),
    "change_outside": Metric(
        title="change outside the attribute's region", short="outside", format=".1%", better="lower"
    ),
    "preservation_error": Metric(
        title="preservation error",
        short="changed",
        format=".1%",
        better="lower",
        parts=_at_strengths("preservation error"),
    ),
    "counterfactual_gain": Metric(title="counterfactual gain", short="gain", format=".3f", better="higher"),
    "counterfactual_gain_full": Metric(title="counterfactual gain, full", format=".3f", better="higher"),
    "identity_drift": Metric(
        title="identity drift",
        format=".3f",
        better="lower",
        parts={"reconstruction": "identity drift of reconstruction", "edited": "identity drift of edits"},
    ),
    "classifier_accuracy": Metric(title="judge's accuracy", format=".1%"),
    "classifier_balanced_accuracy": Metric(title="judge's balanced accuracy", format=".1%"),
    "classifier_auc": Metric(title="judge's AUC", format=".3f"),
    "jacobian_error": Metric(title="Jacobian error", format=".3f", better="lower"),
    "jacobian_error_first_teacher": Metric(title="Jacobian error to the first teacher", format=".3f", better="lower"),
    "finite_difference_error": Metric(title="Jacobian loss", format=".4f", better="lower"),
    "prefix_mse": Metric(title="prefix MSE", format=".4f", better="lower"),
    "drop_per_unit": Metric(title="drop in MSE", format=".4f"),
    "energy_per_unit": Metric(title="Jacobian energy", format=".3g"),
    "energy_monotony": Metric(title="order", format=".2f", better="higher"),
    "factor_vae": Metric(
        title="FactorVAE",
        format=".3f",
        better="higher",
        of_factors=lambda codes, factors: factor_vae(sampler_of(codes, factors), factors.shape[1]),
    ),
    "beta_vae": Metric(
        title="beta-VAE",
        format=".3f",
        better="higher",
        of_factors=lambda codes, factors: beta_vae(sampler_of(codes, factors), factors.shape[1]),
    ),
    "mig": Metric(title="MIG", format=".3f", better="higher", of_factors=_on_first_part(mig)),
    "dci_fast": Metric(
        title="DCI",
        format=".3f",
        better="higher",
        parts={"disentanglement": "DCI D", "completeness": "DCI C", "informativeness": "DCI I"},
        # The exact trees take minutes instead of seconds.
        of_factors=lambda codes, factors: dci(codes, factors, fast=True),
    ),
    "sap": Metric(title="SAP", format=".3f", better="higher", of_factors=sap),
    "sap_r2": Metric(
        title="SAP, R²",
        format=".3f",
        better="higher",
        of_factors=lambda codes, factors: sap(codes, factors, continuous_factors=True),
    ),
    "modularity": Metric(title="modularity", format=".3f", better="higher", of_factors=_on_first_part(modularity)),
    "explicitness": Metric(title="explicitness", format=".3f", better="higher", of_factors=explicitness),
    "infomec": Metric(
        title="InfoMEC",
        format=".3f",
        better="higher",
        parts={"infom": "InfoM", "infoe": "InfoE", "infoc": "InfoC"},
        of_factors=_on_first_part(infomec),
    ),
    "irs": Metric(title="IRS", format=".3f", better="higher", of_factors=_on_first_part(irs)),
    # These are in stats.jsonl, after each epoch.
    "test_mse": Metric(title="test MSE", format=".4f", better="lower"),
    "test_swap": Metric(title="test swap score", format=".1%", better="higher"),
    "test_edit": Metric(title="test edit accuracy at 2", format=".1%", better="higher"),
    "test_jacobian": Metric(title="test Jacobian loss", format=".4f", better="lower"),
}


def metric_of(key: str) -> Metric:
    """Return the metric of a flat key, with the title of the part that the key names.

    Args:
        key: A key of METRICS, or one followed by a part, such as `accuracy 2` or `dci_fast completeness`.
    """
    name, _, part = key.partition(" ")
    metric = METRICS[name]
    title = metric.parts.get(part, f"{metric.title} {part}".strip())
    return replace(metric, title=title, short=f"{metric.short}@{part}" if metric.short and part else metric.short)


def stage_scores(stages: Sequence[StageScores]) -> list[dict[str, Any]]:
    """Return the scores of each finished stage, those by strength as `accuracy 2`.

    Args:
        stages: `stages` as in metrics.json.
    """
    return [{**stage, **by_strength(stage.get("edit") or {})} for stage in stages]


def attribute_scores(metrics: Scores) -> dict[str, dict[str, Any]]:
    """Return the scores of each attribute by its name, those by strength as `accuracy 2`.

    Args:
        metrics: Scores of a model of attributes, as in metrics.json. Other models have none.
    """
    attributes: dict[str, AttributeScores] = metrics.get("attributes") or {}
    edit: EditScores = metrics.get("edit") or {}
    strengths = edit.get("strengths", [])
    return {name: {**values, **by_strength({**values, "strengths": strengths})} for name, values in attributes.items()}


def by_strength(edit: Mapping[str, Any]) -> dict[str, float | None]:
    """Return lists of scores by strength as one score each, such as `accuracy 2`.

    Args:
        edit: `accuracy` and `preservation_error` for each of `strengths`; empty if nothing was edited.
    """
    return {
        f"{name} {strength:g}": edit[name][place]
        for place, strength in enumerate(edit.get("strengths", []))
        for name in ("accuracy", "preservation_error")
    }


def flat_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return scores of known factors as one number each, such as `dci_fast completeness`.

    Args:
        scores: `factor_scores` as in metrics.json.
    """
    return {
        f"{name} {part}".strip(): value
        for name, score in scores.items()
        for part, value in (score if isinstance(score, dict) else {"": score}).items()
    }
