"""Judge a trained model, or every stage of a run, on the whole test split, and write metrics.json."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from jacsup.atomic import write_atomically
from jacsup.data import spec_of
from jacsup.data.dataset import Dataset
from jacsup.data.of_run import find_data
from jacsup.metrics.attribute_judge import AttributeJudge, get_attribute_judge
from jacsup.metrics.attributes import (
    NUM_PASTED_IMAGES,
    PASTED_STRENGTHS,
    Counterfactual,
    accuracy_at_equal_disturbance,
    counterfactual_gain,
    edit_scores,
    stored_means,
)
from jacsup.metrics.description import describe, in_eval_mode
from jacsup.metrics.factors import common_values
from jacsup.metrics.identity import Recogniser, identity_drift, load_recogniser
from jacsup.metrics.images import encode_factors, mean_image_mse, reconstruction_scores, reconstruction_warning
from jacsup.metrics.jacobian import finite_difference_error, jacobian_error
from jacsup.metrics.order import drop_per_unit, energy_per_unit, monotony, prefix_mse
from jacsup.metrics.scores import Scores, StageScores
from jacsup.metrics.swap import NUM_SWAPPED, Judge, get_judge, swap_scores
from jacsup.metrics.table import METRICS
from jacsup.models import (
    Autoencoder,
    Factor,
    Model,
    device_of,
    factor_statistics,
    load,
    load_info,
    model_file,
    num_parameters,
)
from jacsup.progress import track
from jacsup.run import Run

NUM_JACOBIAN_IMAGES = 256
# Test faces that are drawn again for each attribute.
NUM_DRAWN = 500
# A mean squared error below this is rounding.
ROUNDING = 1e-9
# Test images for scores of known factors: 10,000 to count or learn on and 5,000 to test on.
NUM_POINTS = 15_000


@dataclass(frozen=True)
class Instruments:
    """The judges and reference images that models are judged with.

    Attributes:
        judge: A judge of classes for a model of units, or of attributes for a model of attributes; None without labels.
        truth: The true images of edits; None for data that cannot be drawn again.
        recogniser: A face-recognition network; None if identity drift is not measured.
    """

    judge: Judge | AttributeJudge | None
    truth: Counterfactual | None = None
    recogniser: Recogniser | None = None


@dataclass(frozen=True)
class _Subject:
    """A model to judge: its name in messages, and its factors."""

    name: str
    model: Autoencoder
    factors: tuple[Factor, ...]

    @property
    def has_attributes(self) -> bool:
        """Whether its factors are attributes, next to a nuisance part."""
        return self.model.code_size > self.model.num_units

    @classmethod
    def of_file(cls, file: Path) -> _Subject:
        return cls(str(file), load(file), load_info(file).factors)


def evaluate(
    where: str | Path | Autoencoder,
    data: Dataset | None = None,
    *,
    data_root: str | Path | None = None,
    identity: Path | None = None,
) -> Scores:
    """Judge a model, or each finished stage of a run, on the whole test split.

    A run's scores are also written to its metrics.json.

    Args:
        where: A run folder, a model file, the name of a shipped model, or a model in memory, which may be any
            `jacsup.models.Autoencoder`. Models are judged in eval mode.
        data: The data set to judge on. Defaults to the one that the run or the model was trained on. A model in memory
            that `jacsup.load` did not return needs it.
        data_root: The folder with the data set's files. Defaults to the one that the run's last session used.
        identity: A face-recognition network (.onnx, or `dlib`) to measure `identity_drift` with. Defaults to none;
            see `jacsup.metrics.identity.load_recogniser`.

    Returns:
        Scores with the keys that docs/METRICS.md defines. Scores that the model or its data cannot give are None. For a
        run, these are the scores of the newest finished stage, and `stages` has those of every stage.

    Raises:
        ValueError: There is no such run or model, its data are not found, or they have images or attributes other than
            the model's.
    """
    if not isinstance(where, str | Path):
        return _of_model(where, data, data_root, identity)
    path = Path(where)
    newest = model_file(path)
    data = data or find_data(path, data_root)
    if not (path / "recipe.json").is_file():
        return _of_subject(_Subject.of_file(newest), data, identity)
    run = Run(path)
    stages = judge_stages(run, run.finished_stages(), data, identity)
    metrics: Any = {**{name: value for name, value in stages[-1].items() if name != "name"}, "stages": stages}
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False).encode())
    return metrics


def _of_model(model: Autoencoder, data: Dataset | None, data_root: str | Path | None, identity: Path | None) -> Scores:
    """The scores of a model in memory, with its factors from its file or, if it has none, from the training data."""
    name, source = type(model).__name__, model.source if isinstance(model, Model) else None
    if not data:
        if not source:
            raise ValueError(f"this {name} was not loaded from a file, so its data are unknown; also pass data")
        data = find_data(source, data_root)
    data = data.to(device_of(model))
    _require_same_images(name, model, data)
    factors = (load_info(source) if source else describe(model, data)).factors
    return _of_subject(_Subject(name, model, factors), data, identity)


def _of_subject(subject: _Subject, data: Dataset, identity: Path | None) -> Scores:
    return _scores(subject, None, None, data, _instruments(subject, data, identity))


def judge_stages(run: Run, numbers: Sequence[int], data: Dataset, identity: Path | None = None) -> list[StageScores]:
    """Judge some of a run's finished stages.

    Args:
        run: The run.
        numbers: The stages to judge, counted from 0.
        data: The run's data set.
        identity: A face-recognition network (.onnx). Defaults to none.

    Returns:
        The scores of each stage, with its name under `name`.
    """
    recipe, files = run.recipe, [run.stage_file(number) for number in run.finished_stages()]
    instruments = _instruments(_Subject.of_file(files[0]), data, identity)
    stages: list[StageScores] = []
    for number in track(numbers, "judging stages"):
        teacher, first = (files[recipe.teacher_of(number)], files[0]) if recipe.has_teacher(number) else (None, None)
        scores = _scores(_Subject.of_file(files[number]), teacher, first, data, instruments)
        stages.append(cast(StageScores, {"name": recipe.stages[number].name, **scores}))
    return stages


def judge_units(model: Autoencoder, data: Dataset, *, ordered: bool = True) -> dict[str, Any]:
    """Judge a code learned without labels, such as a baseline's.

    Args:
        model: A model in memory, on the device of the data.
        data: The data set that it was trained on.
        ordered: Whether its units are ordered. If not, the swap score swaps the two units with the most energy.

    Returns:
        The scores that `evaluate` gives of such a model, except those against a teacher.
    """
    with in_eval_mode(model):
        factors = factor_statistics(encode_factors(model, data.train.images))
        units = _unit_scores(_Subject("", model, factors), None, data, get_judge(data), ordered=ordered)
        return _without_nan(_model_scores(model, data.test.images) | units)


def current_metrics(run: Run) -> Scores | None:
    """Return a run's metrics.json, or None if it does not cover the newest finished stage.

    Args:
        run: The run.
    """
    path, newest = run.path / "metrics.json", run.newest_model()
    if not path.exists() or newest is None or path.stat().st_mtime < newest.stat().st_mtime:
        return None
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        complete = len(metrics["stages"]) == len(run.finished_stages())
    # If the file is damaged, the run is judged again.
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return metrics if complete else None


def _instruments(subject: _Subject, data: Dataset, identity: Path | None) -> Instruments:
    """What a model is judged with. Raises ValueError if the data have other images or attributes than the model."""
    _require_same_images(subject.name, subject.model, data)
    if not subject.has_attributes:
        if identity:
            raise ValueError(f"{subject.name} has no attributes to edit; omit --identity")
        return Instruments(get_judge(data))
    ours, theirs = ([each.name for each in some] for some in (subject.factors, data.attributes))
    if ours != theirs:
        raise ValueError(
            f"{subject.name} has {len(ours)} attributes ({', '.join(ours[:3])} ...), but the data have {len(theirs)} "
            f"({', '.join(theirs[:3])} ...); use the data that it was trained on"
        )
    # Read first, so that a wrong file is found before the minutes that training a judge takes.
    recogniser = load_recogniser(identity) if identity else None
    # Drawing takes longer than editing, and every stage is compared with the same truth.
    draw_again = spec_of(data.config).counterfactual
    truth = cache(lambda factor: draw_again(data.config, factor, NUM_DRAWN)) if draw_again else None
    return Instruments(get_attribute_judge(data), truth, recogniser)


def _require_same_images(name: str, model: Autoencoder, data: Dataset) -> None:
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"{name} is a model of images of shape {model.image_shape}, but the data have shape {data.image_shape}; "
            "use the data that it was trained on"
        )


def _scores(
    subject: _Subject, teacher: Path | None, first: Path | None, data: Dataset, instruments: Instruments
) -> Scores:
    model, images, judge = subject.model, data.test.images, instruments.judge
    with in_eval_mode(model):
        scores = {
            **_model_scores(model, images),
            "jacobian_error": _against(teacher, model, images, None),
            "finite_difference_error": finite_difference_error(model, load(teacher), images) if teacher else None,
        }
        if isinstance(judge, AttributeJudge):
            scores |= _attribute_scores(subject, data, judge, instruments, exact=scores["mse"] < ROUNDING)
        else:
            scores |= _unit_scores(subject, first, data, judge)
    return _without_nan(scores)


def _model_scores(model: Autoencoder, images: torch.Tensor) -> dict[str, Any]:
    """The scores of any model."""
    scores, of_mean = reconstruction_scores(model, images), mean_image_mse(images)
    of_mean_image = {"mse_of_mean_image": of_mean, "warning": reconstruction_warning(scores["mse"], of_mean)}
    return {**scores, **of_mean_image, "code_size": model.code_size, "num_parameters": num_parameters(model)}


def _unit_scores(
    subject: _Subject, first: Path | None, data: Dataset, judge: Judge | None, *, ordered: bool = True
) -> dict[str, Any]:
    """The scores of a code learned without labels."""
    model, images = subject.model, data.test.images
    prefix = prefix_mse(model, images, torch.tensor([factor.mean for factor in subject.factors]))
    spread = torch.tensor([factor.std for factor in subject.factors])
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


def _factor_scores(model: Autoencoder, data: Dataset) -> dict[str, Any] | None:
    """Scores of known factors on the first test images, None for data without known factors."""
    points = data.test.first(NUM_POINTS)
    if points.factors is None:
        return None
    codes, factors = encode_factors(model, points.images).cpu().double().numpy(), points.factors.cpu().numpy()
    # With few images, a rare attribute may be missing in one of the parts.
    factors = factors[:, np.array(common_values(factors)) > 1]
    if factors.shape[1] < 2:
        return None
    return {name: metric.of_factors(codes, factors) for name, metric in METRICS.items() if metric.of_factors}


def _attribute_scores(
    subject: _Subject, data: Dataset, judge: AttributeJudge, instruments: Instruments, *, exact: bool
) -> dict[str, Any]:
    """The scores of a code whose factors are attributes. `exact`: whether it reconstructs every image exactly."""
    model, factors, means = subject.model, subject.factors, stored_means(subject.factors)
    photos = data.test.first(NUM_PASTED_IMAGES)
    pasted = edit_scores(model, photos, judge, data.attributes, means, PASTED_STRENGTHS, pasted=True)
    # An exact model edits the image itself, so both kinds of edits are equal, and drawing them twice would take hours.
    scores = pasted if exact else edit_scores(model, data.test, judge, data.attributes, means)
    at_one = PASTED_STRENGTHS.index(1)
    quality = zip(judge.accuracy, judge.balanced_accuracy, judge.auc, strict=True)
    attributes = {
        factor.name: {
            **scores["per_attribute"][factor.name],
            "pasted_at_equal_disturbance": accuracy_at_equal_disturbance(
                {"strengths": pasted["strengths"], **pasted["per_attribute"][factor.name]}
            ),
            "change_outside": pasted["per_attribute"][factor.name]["change_outside"][at_one],
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
    if instruments.recogniser:
        drift = identity_drift(model, data.test, data.attributes, means, instruments.recogniser)
    return {
        "edit": {name: scores[name] for name in ("strengths", "accuracy", "preservation_error")},
        "edit_all": {name: scores[f"{name}_all"] for name in ("accuracy", "preservation_error")},
        "accuracy_at_equal_disturbance": accuracy_at_equal_disturbance(scores),
        "edit_pasted": {
            name: pasted[name] for name in ("strengths", "accuracy", "preservation_error", "change_outside")
        },
        "pasted_at_equal_disturbance": accuracy_at_equal_disturbance(pasted),
        "change_outside": pasted["change_outside"][at_one],
        "counterfactual_gain": gain["mean"],
        "counterfactual_gain_full": gain["full"],
        "identity_drift": drift,
        "classifier_accuracy": float(np.nanmean(judge.accuracy)),
        "attributes": attributes,
    }


def _against(teacher: Path | None, model: Autoencoder, images: torch.Tensor, num_factors: int | None) -> float | None:
    return jacobian_error(model, load(teacher), images[:NUM_JACOBIAN_IMAGES], num_factors) if teacher else None


def _without_nan(value: Any) -> Any:
    """The same scores with None for numbers that are not finite, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
