"""A comparison as one figure, one table and one page."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jacsup.atomic import write_atomically
from jacsup.baselines.methods import METHODS
from jacsup.metrics.table import METRICS, flat_scores, metric_of
from jacsup.report.html import command, figure, filled, html_page, number, section, table
from jacsup.report.sheets import PALETTE, SOFT, log_scale, plot, save

# The scores in a table besides those of known factors, by their keys in METRICS.
SHOWN = (
    "images_seen",
    "core_seconds",
    "num_parameters",
    "mse",
    "psnr",
    "ssim",
    "accuracy 1",
    "accuracy 2",
    "accuracy 4",
    "preservation_error 0",
    "preservation_error 2",
    "accuracy_at_equal_disturbance",
    "pasted_at_equal_disturbance",
    "counterfactual_gain",
    "jacobian_error",
    "swap_classifier",
    "swap_label",
    "energy_monotony",
)
MARKERS = "osD^vP*Xhp<>"
# Of points with equal code length that are closer than this, in pixels, only one is labelled.
CLOSE = 60
# Pairs of scores that the figure plots, across and up, if they were measured.
PANELS = (
    ("swap_classifier", "mse"),
    ("factor_vae", "mse"),
    ("psnr", "accuracy 2"),
    ("psnr", "counterfactual_gain"),
)


@dataclass(frozen=True)
class Point:
    """A method at one code length or stage.

    Attributes:
        scores: The mean of each score over the seeds, and its standard deviation (None for a single seed).
    """

    method: str
    stage: str
    code_size: int
    num_seeds: int
    scores: dict[str, tuple[float, float | None]]


def points(results: Sequence[dict[str, Any]]) -> list[Point]:
    """Group results by method, stage and code length, in the order of their first appearance.

    Args:
        results: What `judge_units` or `judge_stages` returned for each trained model, with its `method`.
    """
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in results:
        key = result["method"], result.get("stage", ""), result["code_size"]
        groups.setdefault(key, []).append(result | flat_scores(result.get("factor_scores") or {}))
    keys = (*SHOWN, *_factor_keys(results))
    return [
        Point(*key, len(group), {name: _spread(group, name) for name in keys if _measured(group, name)})
        for key, group in groups.items()
    ]


def _factor_keys(results: Sequence[dict[str, Any]]) -> list[str]:
    """The flat keys of the results' scores of known factors, in the order of METRICS."""
    found = dict.fromkeys(key for result in results for key in flat_scores(result.get("factor_scores") or {}))
    return [key for name in METRICS for key in found if key.partition(" ")[0] == name]


def _measured(group: Sequence[dict[str, Any]], key: str) -> bool:
    return all(result.get(key) is not None for result in group)


def _spread(group: Sequence[dict[str, Any]], key: str) -> tuple[float, float | None]:
    values = [result[key] for result in group]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def write_comparison(out: Path, name: str, labels: dict[str, str], results: Sequence[dict[str, Any]], how: str) -> Path:
    """Write frontier.png, table.md, results.json and index.html into a folder.

    Args:
        out: The folder.
        name: The comparison's name.
        labels: The methods' names by method, ours first.
        results: What `judge_units` or `judge_stages` returned for each trained model, with its `method`.
        how: The command that reproduces them.

    Returns:
        The path of the page.
    """
    every = points(results)
    write_atomically(out / "results.json", json.dumps(list(results), indent=2).encode())
    header, rows = table_rows(every, labels)
    write_atomically(out / "table.md", markdown(header, rows).encode())
    panels = [pair for pair in PANELS if all(key in point.scores for key in pair for point in every)]
    frontier = ""
    if panels:
        draw_frontier(out / "frontier.png", every, labels, panels)
        alt = " and ".join(f"{metric_of(up).heading} against {metric_of(across).heading}" for across, up in panels)
        side = "lower" if metric_of(panels[0][1]).better == "lower" else "upper"
        words = f"Each line is a method, each point a code of the size beside it; the {side} right is better."
        frontier = figure("frontier.png", alt, words, "narrow")
    fewest, most = min(point.num_seeds for point in every), max(point.num_seeds for point in every)
    deviation = " and standard deviation" if most > 1 else ""
    seeds = f"{most} seed{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} seeds"
    sections = [
        f"<h1>{escape(name)}: methods side by side</h1>\n",
        f"<p>{_terms(every)} Mean{deviation} over {seeds}.</p>\n",
        command(how),
        frontier,
        section("Scores", "They are defined in docs/METRICS.md.", table(header, rows)),
    ]
    write_atomically(out / "index.html", html_page(f"{name}: comparison", sections).encode())
    return out / "index.html"


def _terms(every: Sequence[Point]) -> str:
    if every[0].stage:
        return "The last stage of each method has seen the same images equally often; earlier stages have seen fewer."
    compared = {point.method for point in every}
    present = [method.exception for method in METHODS.values() if method.key in compared and method.exception]
    return "; ".join(["Every method sees the same images equally often, with the same autoencoder", *present]) + "."


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *([cell or "-" for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table_rows(every: Sequence[Point], labels: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of a comparison's table, without empty columns.

    Args:
        every: The points.
        labels: The methods' names by method, ours first.
    """
    ordered = every if every[0].stage else sorted(every, key=lambda p: (p.code_size, list(labels).index(p.method)))
    measured = dict.fromkeys(key for point in every for key in point.scores)
    ordered_keys = [key for key in SHOWN if key in measured] + [key for key in measured if key not in SHOWN]
    metrics = {key: metric_of(key) for key in ordered_keys}
    rows = []
    for point in ordered:
        values = [_cell(point.scores.get(key), metric.format) for key, metric in metrics.items()]
        rows.append([labels[point.method], point.stage, f"{point.code_size:,}", *values])
    return filled(["method", "stage", "code", *(metric.heading for metric in metrics.values())], rows)


def _cell(value: tuple[float, float | None] | None, form: str) -> str:
    if value is None:
        return ""
    mean, deviation = value
    # Counts and times are shown without a deviation.
    spread = "" if deviation is None or form.endswith("0f") else f" ± {number(deviation, form)}"
    return number(mean, form) + spread


def draw_frontier(
    path: Path, every: Sequence[Point], labels: dict[str, str], panels: Sequence[tuple[str, str]]
) -> None:
    """Draw one panel for each pair of scores, with a line per method and the code length beside each point."""
    drawing, axes = plot(len(panels), share_x=False, height=4.4 if len(panels) == 1 else 3.2)
    lines = [
        sorted((p for p in every if p.method == method), key=lambda p: 0 if p.stage else p.code_size)
        for method in dict.fromkeys(point.method for point in every)
    ]
    for axis, (across, up) in zip(axes, panels, strict=True):
        for line in lines:
            _draw_line(axis, line, across, up, labels)
        axis.set_xlabel(metric_of(across).heading)
        axis.set_ylabel(metric_of(up).heading)
        if up == "mse":
            log_scale(axis)
        _name_points(axis, every, across, up)
    handles, names = axes[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(drawing, path)


def _draw_line(axis: Any, line: Sequence[Point], across: str, up: str, labels: dict[str, str]) -> None:
    (x, x_deviation), (y, y_deviation) = (
        zip(*(point.scores[key] for point in line), strict=True) for key in (across, up)
    )
    # A method always has the same colour and marker; ours comes first.
    method = list(labels).index(line[0].method)
    first = method == 0
    axis.errorbar(
        x,
        y,
        xerr=[value or 0 for value in x_deviation],
        yerr=[value or 0 for value in y_deviation],
        color=PALETTE[method % len(PALETTE)],
        marker=MARKERS[method % len(MARKERS)],
        label=labels[line[0].method],
        lw=2.4 if first else 1.2,
        ms=7 if first else 5,
        ls="-" if method < len(PALETTE) else "--",
        elinewidth=0.8,
        zorder=3 if first else 2,
    )


def _name_points(axis: Any, every: Sequence[Point], across: str, up: str) -> None:
    """Write each point's code length beside it, unless the same number is close by."""
    axis.autoscale_view()
    to_pixels, named = axis.transData.transform, []
    for point in every:
        place = point.scores[across][0], point.scores[up][0]
        words, pixels = f"{point.code_size:,}", to_pixels(place)
        if all(words != other or math.dist(pixels, pixel) > CLOSE for other, pixel in named):
            axis.annotate(words, place, xytext=(5, 4), textcoords="offset points", fontsize=7, color=SOFT)
            named.append((words, pixels))
