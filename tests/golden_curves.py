"""Losses of every epoch that a change must not move, in float64, where no machine's rounding can be seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import jacsup
from jacsup.config import Recipe
from jacsup.data.dataset import Dataset
from jacsup.run import Run
from jacsup.training import loop

TIMES = ("seconds", "core_seconds", "peak_memory_mib")


def follows_golden_curve(recipe: Recipe, data: Dataset, name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains the recipe and holds its figures to those in golden/NAME.json."""
    golden = json.loads((Path(__file__).parent / "golden" / f"{name}.json").read_text())
    # The judges' own training is no part of the curve.
    monkeypatch.setattr(loop, "get_judges", lambda *_, **__: None)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        lines = Run(jacsup.train(recipe, data, out=out)).stats()
    finally:
        torch.set_default_dtype(before)
    for line, expected in zip(lines, golden, strict=True):
        assert line.pop("name") == expected.pop("name")
        assert {key: value for key, value in line.items() if key not in TIMES} == pytest.approx(expected, rel=1e-6)
