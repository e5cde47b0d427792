"""A run's report: its figures, its numbers and the arms beside it on one static page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jacsup.data.dataset import Dataset
from jacsup.models import model_file
from jacsup.report.attributes import write_attributes_report
from jacsup.report.html import open_report
from jacsup.report.units import write_units_report


def write_report(run_path: Path, data: Dataset, metrics: dict[str, Any] | None) -> Path:
    """Draws a run's figures into RUN/report and writes the page that shows them; returns the page's path.

    data: the run's data set. metrics: the content of metrics.json, None where `jacsup evaluate` has not run.
    Other arms of the same recipe and seed that lie beside the run are drawn into the same figures.
    Raises ValueError for a folder that is no run or has no finished stage.
    """
    report = open_report(run_path, metrics)
    write = write_attributes_report if report.run.recipe.supervised else write_units_report
    write(report, model_file(report.run.path), data)
    return run_path / "report" / "index.html"
