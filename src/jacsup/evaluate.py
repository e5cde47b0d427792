"""Judges a trained model, or every stage of a run, on the whole test split: metrics.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from jacsup.config import DataConfig, from_dict
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.metrics.images import mse, psnr, reconstruct, ssim
from jacsup.metrics.jacobian import finite_difference_error, jacobian_error
from jacsup.metrics.order import drop_per_unit, energy_per_unit, prefix_mse
from jacsup.metrics.swap import NUM_SWAPPED, Judge, get_judge, swap_scores
from jacsup.models import Model, load, load_info, load_metadata, model_file, num_parameters
from jacsup.progress import track
from jacsup.run import Run, write_atomically

NUM_JACOBIAN_IMAGES = 256


def evaluate(where: str | Path, data: Dataset | None = None, *, data_root: str | Path | None = None) -> dict[str, Any]:
    """The figures of a model file, or of a run folder and each of its finished stages (under `stages`).

    Keys, ranges and definitions are those of docs/METRICS.md; what a model or its data cannot give is None.
    A run's figures are also written to its metrics.json. data: the run's data set, found through run.json if None.
    """
    path = Path(where)
    newest = model_file(path)
    data = data or find_data(path, data_root)
    judge = get_judge(data)
    if not path.is_dir():
        return _figures(newest, None, None, data, judge)
    run = Run(path)
    files = [run.stage_file(number) for number in run.finished_stages()]
    stages = []
    for number, file in track(list(enumerate(files)), "judging stages"):
        figures = _figures(file, files[number - 1] if number else None, files[0] if number else None, data, judge)
        stages.append({"name": run.recipe.stages[number].name, **figures})
    metrics = {**{name: value for name, value in stages[-1].items() if name != "name"}, "stages": stages}
    write_atomically(path / "metrics.json", json.dumps(metrics, indent=2, allow_nan=False).encode())
    return metrics


def find_data(path: Path, data_root: str | Path | None) -> Dataset:
    """The data set that a run or model was trained on, from `data_root` or from where its last session read it."""
    run = next((Run(folder) for folder in (path, *path.parents[:3]) if (folder / "recipe.json").is_file()), None)
    config = run.recipe.data if run else from_dict(DataConfig, load_metadata(model_file(path))["data"], "data")
    if run and run.sessions():
        data_root = data_root or run.sessions()[-1]["data_root"]
    return load_dataset(config, Path(data_root) if data_root else None)


def current_metrics(run: Run) -> dict[str, Any] | None:
    """The run's metrics.json if it covers the newest finished stage, else None."""
    path, newest = run.path / "metrics.json", run.newest_model()
    if not path.exists() or newest is None or path.stat().st_mtime < newest.stat().st_mtime:
        return None
    metrics = json.loads(path.read_text())
    return metrics if len(metrics["stages"]) == len(run.finished_stages()) else None


def _figures(
    file: Path, teacher: Path | None, first: Path | None, data: Dataset, judge: Judge | None
) -> dict[str, Any]:
    model, images = load(file), data.test.images
    if model.image_shape != data.image_shape:
        raise ValueError(
            f"{file} is a model of images {model.image_shape}, the data are {data.image_shape}; give its own"
        )
    pixels = reconstruct(model, images)
    error = mse(pixels, images)
    factors = load_info(file).factors
    prefix = prefix_mse(model, images, torch.tensor([factor.mean for factor in factors]))
    some = images[:NUM_JACOBIAN_IMAGES]
    swap = swap_scores(model, data.test, judge) if judge else {"swap_classifier": None, "swap_label": None}
    figures = {
        "mse": error,
        "psnr": psnr(error),
        "ssim": ssim(pixels, images),
        "code_size": model.num_units,
        "num_parameters": num_parameters(model),
        **swap,
        "classifier_accuracy": judge.accuracy if judge else None,
        "jacobian_error": _against(teacher, model, some, None),
        "jacobian_error_first_teacher": _against(first, model, some, NUM_SWAPPED),
        "finite_difference_error": finite_difference_error(model, load(teacher), images) if teacher else None,
        "prefix_mse": prefix,
        "drop_per_unit": drop_per_unit(prefix),
        "energy_per_unit": energy_per_unit(model, some, torch.tensor([factor.std for factor in factors])),
    }
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }


def _against(teacher: Path | None, model: Model, images: torch.Tensor, num_factors: int | None) -> float | None:
    return jacobian_error(model, load(teacher), images, num_factors) if teacher else None
