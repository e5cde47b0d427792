"""A run's report: one static page with its figures, its scores and the arms beside it."""

from __future__ import annotations

from pathlib import Path

from jacsup.data.dataset import Dataset
from jacsup.metrics.scores import Scores
from jacsup.models import model_file
from jacsup.report.attributes import write_attributes_report
from jacsup.report.html import open_report
from jacsup.report.sheets import users_words
from jacsup.report.units import write_units_report


def write_report(run_path: Path, data: Dataset, metrics: Scores | None) -> Path:
    """Draw a run's figures into RUN/report and write the page that shows them.

    The figures also show the other arms of the same recipe and seed in the same folder.

    Args:
        run_path: The run folder.
        data: The run's data set.
        metrics: The run's scores, as `jacsup.evaluate.evaluate` returns them. None if it has not been judged.

    Returns:
        The path of the page.

    Raises:
        ValueError: The folder is not a run, or the run has no finished stage.
    """
    report = open_report(run_path, metrics)
    write = write_attributes_report if report.run.recipe.supervised else write_units_report
    with users_words():
        write(report, model_file(report.run.path), data)
    return run_path / "report" / "index.html"
