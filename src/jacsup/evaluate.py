"""Judges a trained model, or every stage of a run, on the whole test split: metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from jacsup import metrics as factor_metrics
from jacsup.atomic import write_atomically
from jacsup.data import spec_of
from jacsup.data.dataset import Dataset
from jacsup.data.of_run import find_data
from jacsup.metrics.attribute_judge import AttributeJudge, get_attribute_judge
from jacsup.metrics.attributes import Counterfactual, counterfactual_gain, edit_scores, stored_means
from jacsup.metrics.factors import common_values, parts
from jacsup.metrics.identity import Embedding, identity_drift, load_embedding
from jacsup.metrics.images import encode_factors, reconstruction_scores
from jacsup.metrics.jacobian import finite_difference_error, jacobian_error
from jacsup.metrics.order import drop_per_unit, energy_per_unit, monotony, prefix_mse
from jacsup.metrics.swap import NUM_SWAPPED, Judge, get_judge, swap_scores
from jacsup.models import Factor, Model, factor_statistics, load, load_info, model_file, num_parameters
from jacsup.progress import track
from jacsup.run import Run

NUM_JACOBIAN_IMAGES = 256
# Test faces that are drawn again for each attribute.
NUM_DRAWN = 500
# Test images for scores of known factors: 10,000 to count or learn on and 5,000 to test on.
NUM_POINTS = 15_000


@dataclass(frozen=True)
class Instruments:
    """What models are measured with: a judge of classes or attributes, the true images of edits, a face embedding."""

    judge: Judge | AttributeJudge | None
    truth: Counterfactual | None = None
    embed: Embedding | None = None


def evaluate(
    where: str | Path,
    data: Dataset | None = None,
    *,
    data_root: str | Path | None = None,
    identity: Path | None = None,
) -> dict[str, Any]:
    """The figures of a model file, or of a run folder and each of its finished stages (under `stages`).

    Keys, ranges and definitions are those of docs/METRICS.md; what a model or its data cannot give is None.
    A run's figures are also written to its metrics.json. data: the run's data set, found through run.json if None.
    identity: a face-recognition network for `identity_drift`; see metrics.identity.load_embedding.
    """
    path = Path(where)
    newest = model_file(path)
    data = data or find_data(path, data_root)
    if not (path / "recipe.json").is_file():
        return _figures(newest, None, None, data, _instruments(newest, data, identity))
    run = Run(path)
    stages = judge_stages(run, run.finished_stages(), data, identity)
    metrics = {**{name: value for name, value in stages[-1].items() if name != "name"}, "stages": stages}
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False).encode())
    return metrics


def judge_stages(run: Run, numbers: Sequence[int], data: Dataset, identity: Path | None = None) -> list[dict[str, Any]]:
    """The figures of some of a run's finished stages, each with the stage's name."""
    recipe, files = run.recipe, [run.stage_file(number) for number in run.finished_stages()]
    instruments = _instruments(files[0], data, identity)
    stages = []
    for number in track(numbers, "judging stages"):
        teacher, first = (files[recipe.teacher_of(number)], files[0]) if number else (None, None)
        figures = _figures(files[number], teacher, first, data, instruments)
        stages.append({"name": recipe.stages[number].name, **figures})
    return stages


def _instruments(file: Path, data: Dataset, identity: Path | None) -> Instruments:
    """What a model is measured with; ValueError for one of other images or attributes than the data's."""
    model = load(file)
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"{file} is a model of images {model.image_shape}, the data are {data.image_shape}; give its own"
        )
    if not model.z_channels:
        if identity:
            raise ValueError(f"{file} has no attributes to edit; leave --identity away")
        return Instruments(get_judge(data))
    ours, theirs = ([each.name for each in some] for some in (load_info(file).factors, data.attributes))
    if ours != theirs:
        raise ValueError(
            f"{file} has {len(ours)} attributes ({', '.join(ours[:3])} ...), the data have {len(theirs)} "
            f"({', '.join(theirs[:3])} ...); give its own"
        )
    # Read first: a wrong file should not cost the minutes that a judge takes.
    embed = load_embedding(identity) if identity else None
    # Drawing takes longer than editing, and every stage is held to the same truth.
    draw_again = spec_of(data.config).counterfactual
    truth = cache(lambda factor: draw_again(data.config, factor, NUM_DRAWN)) if draw_again else None
    return Instruments(get_attribute_judge(data), truth, embed)


def current_metrics(run: Run) -> dict[str, Any] | None:
    """The run's metrics.json if it covers the newest finished stage, else None."""
    path, newest = run.path / "metrics.json", run.newest_model()
    if not path.exists() or newest is None or path.stat().st_mtime < newest.stat().st_mtime:
        return None
    metrics = json.loads(path.read_text())
    return metrics if len(metrics["stages"]) == len(run.finished_stages()) else None


def _figures(
    file: Path,
    teacher: Path | None,
    first: Path | None,
    data: Dataset,
    instruments: Instruments,
) -> dict[str, Any]:
    model, images = load(file), data.test.images
    figures = {
        **_model_figures(model, images),
        "jacobian_error": _against(teacher, model, images, None),
        "finite_difference_error": finite_difference_error(model, load(teacher), images) if teacher else None,
    }
    judge = instruments.judge
    if isinstance(judge, AttributeJudge):
        figures |= _attribute_figures(model, load_info(file).factors, data, judge, instruments)
    elif not model.z_channels:
        figures |= _unit_figures(model, load_info(file).factors, first, data, judge)
    return _without_nan(figures)


def judge_units(model: Model, data: Dataset, *, ordered: bool = True) -> dict[str, Any]:
    """The same figures of a code learned without labels that lies in no file, such as a baseline's.

    ordered: whether its units come in order. Where they do not, the swap score takes the two with the most energy.
    """
    factors = factor_statistics(encode_factors(model, data.train.images))
    units = _unit_figures(model, factors, None, data, get_judge(data), ordered=ordered)
    return _without_nan(_model_figures(model, data.test.images) | units)


def _model_figures(model: Model, images: torch.Tensor) -> dict[str, Any]:
    """What there is to say of any model."""
    scores = reconstruction_scores(model, images)
    return {**scores, "code_size": model.code_size, "num_parameters": num_parameters(model)}


def _unit_figures(
    model: Model,
    factors: tuple[Factor, ...],
    first: Path | None,
    data: Dataset,
    judge: Judge | None,
    *,
    ordered: bool = True,
) -> dict[str, Any]:
    """What there is to say of a code learned without labels."""
    images = data.test.images
    prefix = prefix_mse(model, images, torch.tensor([factor.mean for factor in factors]))
    spread = torch.tensor([factor.std for factor in factors])
    energy = energy_per_unit(model, images[:NUM_JACOBIAN_IMAGES], spread)
    first_two = range(NUM_SWAPPED) if ordered else np.argsort(energy)[::-1][:NUM_SWAPPED].tolist()
    swap = {"swap_classifier": None, "swap_label": None}
    if judge:
        swap = swap_scores(model, data.test, judge, first_two)
    return {
        **swap,
        "classifier_accuracy": judge.accuracy if judge else None,
        "jacobian_error_first_teacher": _against(first, model, images, NUM_SWAPPED),
        "prefix_mse": prefix,
        "drop_per_unit": drop_per_unit(prefix),
        "energy_per_unit": energy,
        "energy_monotony": monotony(energy),
        "factor_scores": _factor_scores(model, data),
    }


def _factor_scores(model: Model, data: Dataset) -> dict[str, Any] | None:
    """Scores of known factors on the first test images, None for data without."""
    points = data.test.first(NUM_POINTS)
    if points.factors is None:
        return None
    codes, factors = encode_factors(model, points.images).double().cpu().numpy(), points.factors.cpu().numpy()
    # A rare attribute may be missing in a part of few images.
    factors = factors[:, np.array(common_values(factors)) > 1]
    if factors.shape[1] < 2:
        return None
    counted = parts(factors)[0]
    sampler, first = factor_metrics.sampler_of(codes, factors), (codes[counted], factors[counted])
    return {
        "factor_vae": factor_metrics.factor_vae(sampler, factors.shape[1]),
        "beta_vae": factor_metrics.beta_vae(sampler, factors.shape[1]),
        "mig": factor_metrics.mig(*first),
        # The exact trees take minutes where these take seconds.
        "dci_fast": factor_metrics.dci(codes, factors, fast=True),
        "sap": factor_metrics.sap(codes, factors),
        "sap_r2": factor_metrics.sap(codes, factors, continuous_factors=True),
        "modularity": factor_metrics.modularity(*first),
        "explicitness": factor_metrics.explicitness(codes, factors),
        "infomec": factor_metrics.infomec(*first),
        "irs": factor_metrics.irs(*first),
    }


def _attribute_figures(
    model: Model, factors: tuple[Factor, ...], data: Dataset, judge: AttributeJudge, instruments: Instruments
) -> dict[str, Any]:
    """What there is to say of a code whose factors are attributes."""
    means = stored_means(factors)
    scores = edit_scores(model, data.test, judge, data.attributes, means)
    quality = zip(judge.accuracy, judge.balanced_accuracy, judge.auc, strict=True)
    attributes = {
        factor.name: {
            **scores["per_attribute"][factor.name],
            "classifier_accuracy": accuracy,
            "classifier_balanced_accuracy": balanced,
            "classifier_auc": auc,
            "m_minus": factor.m_minus,
            "m_plus": factor.m_plus,
            "learned": factor.learned,
        }
        for factor, (accuracy, balanced, auc) in zip(factors, quality, strict=True)
    }
    gain = {"mean": None, "full": None}
    if instruments.truth:
        gain = counterfactual_gain(model, data.test.images[:NUM_DRAWN], data.attributes, means, instruments.truth)
        for name, value in gain["per_attribute"].items():
            attributes[name]["counterfactual_gain"] = value
    drift = None
    if instruments.embed:
        drift = identity_drift(model, data.test, data.attributes, means, instruments.embed)
    return {
        "edit": {name: scores[name] for name in ("strengths", "accuracy", "preservation_error")},
        "edit_all": {name: scores[f"{name}_all"] for name in ("accuracy", "preservation_error")},
        "counterfactual_gain": gain["mean"],
        "counterfactual_gain_full": gain["full"],
        "identity_drift": drift,
        "classifier_accuracy": float(np.nanmean(judge.accuracy)),
        "attributes": attributes,
    }


def _against(teacher: Path | None, model: Model, images: torch.Tensor, num_factors: int | None) -> float | None:
    return jacobian_error(model, load(teacher), images[:NUM_JACOBIAN_IMAGES], num_factors) if teacher else None


def _without_nan(value: Any) -> Any:
    """The same figures with None for what is no number, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
