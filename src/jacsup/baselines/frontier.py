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
from jacsup.metrics.table import flat_scores
from jacsup.report.html import command, figure, filled, html_page, number, section, table
from jacsup.report.sheets import PALETTE, SOFT, log_scale, plot, save

# What a table shows, from the key in scores.json to its title and form.
COLUMNS = {
    "images_seen": ("images seen", ",.0f"),
    "core_seconds": ("core-seconds", ".0f"),
    "num_parameters": ("parameters", ",.0f"),
    "mse": ("MSE", ".4f"),
    "psnr": ("PSNR, dB", ".2f"),
    "ssim": ("SSIM", ".3f"),
    "accuracy 1": ("edit accuracy at 1", ".3f"),
    "accuracy 2": ("edit accuracy at 2", ".3f"),
    "accuracy 4": ("edit accuracy at 4", ".3f"),
    "preservation_error 0": ("preservation error at 0", ".3f"),
    "preservation_error 2": ("preservation error at 2", ".3f"),
    "counterfactual_gain": ("counterfactual gain", ".3f"),
    "jacobian_error": ("Jacobian error", ".3f"),
    "swap_classifier": ("swap score", ".3f"),
    "swap_label": ("swap score, labels", ".3f"),
    "energy_monotony": ("order", ".2f"),
    "factor_vae": ("FactorVAE", ".3f"),
    "dci_fast disentanglement": ("DCI D", ".3f"),
    "dci_fast completeness": ("DCI C", ".3f"),
    "dci_fast informativeness": ("DCI I", ".3f"),
    "sap": ("SAP", ".3f"),
    "sap_r2": ("SAP, R²", ".3f"),
    "mig": ("MIG", ".3f"),
    "beta_vae": ("beta-VAE", ".3f"),
    "modularity": ("modularity", ".3f"),
    "explicitness": ("explicitness", ".3f"),
    "infomec infom": ("InfoM", ".3f"),
    "infomec infoc": ("InfoC", ".3f"),
    "infomec infoe": ("InfoE", ".3f"),
    "irs": ("IRS", ".3f"),
}
MARKERS = "osD^vP*Xhp"
# Pixels within which one number names two points.
CLOSE = 60
# What the figure sets against each other, across and up, where it was measured.
PANELS = (
    ("swap_classifier", "mse"),
    ("factor_vae", "mse"),
    ("psnr", "accuracy 2"),
    ("psnr", "counterfactual_gain"),
)


@dataclass(frozen=True)
class Point:
    """A method at one code length or stage: each figure's mean over the seeds and its deviation, None of one seed."""

    method: str
    stage: str
    code_size: int
    num_seeds: int
    figures: dict[str, tuple[float, float | None]]


def points(results: Sequence[dict[str, Any]]) -> list[Point]:
    """Results of equal method, stage and code length put together, in the order in which they come."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for result in results:
        key = result["method"], result.get("stage", ""), result["code_size"]
        groups.setdefault(key, []).append(result | flat_scores(result.get("factor_scores") or {}))
    return [
        Point(*key, len(group), {name: _spread(group, name) for name in COLUMNS if _measured(group, name)})
        for key, group in groups.items()
    ]


def _measured(group: Sequence[dict[str, Any]], key: str) -> bool:
    return all(result.get(key) is not None for result in group)


def _spread(group: Sequence[dict[str, Any]], key: str) -> tuple[float, float | None]:
    values = [result[key] for result in group]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def write_comparison(out: Path, name: str, labels: dict[str, str], results: Sequence[dict[str, Any]], how: str) -> Path:
    """Writes frontier.png, table.md, results.json and index.html into `out`; returns the page.

    labels: the methods' names. how: the command that made them.
    """
    every = points(results)
    write_atomically(out / "results.json", json.dumps(list(results), indent=2).encode())
    header, rows = table_rows(every, labels)
    write_atomically(out / "table.md", markdown(header, rows).encode())
    panels = [pair for pair in PANELS if all(key in point.figures for key in pair for point in every)]
    picture = ""
    if panels:
        draw_frontier(out / "frontier.png", every, labels, panels)
        alt = " and ".join(f"{COLUMNS[up][0]} against {COLUMNS[across][0]}" for across, up in panels)
        better = "lower" if panels[0][1] == "mse" else "upper"
        words = f"Each line is a method, each point a code of the size beside it; better is towards the {better} right."
        picture = figure("frontier.png", alt, words, "narrow")
    fewest, most = min(point.num_seeds for point in every), max(point.num_seeds for point in every)
    deviation = " and standard deviation" if most > 1 else ""
    seeds = f"{most} seed{'s' * (most > 1)}" if fewest == most else f"{fewest} to {most} seeds"
    sections = [
        f"<h1>{escape(name)}: methods side by side</h1>\n",
        f"<p>{_terms(every)} Mean{deviation} over {seeds}.</p>\n",
        command(how), picture,
        section("Numbers", "Definitions are in docs/METRICS.md.", table(header, rows)),
    ]  # fmt: skip
    write_atomically(out / "index.html", html_page(f"{name}: comparison", sections).encode())
    return out / "index.html"


def _terms(every: Sequence[Point]) -> str:
    if every[0].stage:
        return "The last stage of each method has seen the same images equally often, those before it fewer."
    compared = {point.method for point in every}
    present = [method.exception for method in METHODS.values() if method.key in compared and method.exception]
    return "; ".join(["Every method sees the same images equally often, with the same autoencoder", *present]) + "."


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *([cell or "-" for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table_rows(every: Sequence[Point], labels: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    """Titles and cells of a comparison's table, without the columns that nothing was measured of."""
    ordered = every if every[0].stage else sorted(every, key=lambda p: (p.code_size, list(labels).index(p.method)))
    rows = []
    for point in ordered:
        values = [_cell(point.figures.get(key), form) for key, (_, form) in COLUMNS.items()]
        rows.append([labels[point.method], point.stage, f"{point.code_size:,}", *values])
    return filled(["method", "stage", "code", *(title for title, _ in COLUMNS.values())], rows)


def _cell(value: tuple[float, float | None] | None, form: str) -> str:
    if value is None:
        return ""
    mean, deviation = value
    # Counts and times need no spread.
    spread = "" if deviation is None or form.endswith("0f") else f" ± {number(deviation, form)}"
    return number(mean, form) + spread


def draw_frontier(
    path: Path, every: Sequence[Point], labels: dict[str, str], panels: Sequence[tuple[str, str]]
) -> None:
    """One panel for each pair of figures, one line per method through its points, beside which code lengths stand."""
    drawing, axes = plot(len(panels), share_x=False, height=4.4 if len(panels) == 1 else 3.2)
    lines = [
        sorted((p for p in every if p.method == method), key=lambda p: 0 if p.stage else p.code_size)
        for method in dict.fromkeys(point.method for point in every)
    ]
    for axis, (across, up) in zip(axes, panels, strict=True):
        for line in lines:
            _draw_line(axis, line, across, up, labels)
        axis.set_xlabel(COLUMNS[across][0])
        axis.set_ylabel(COLUMNS[up][0])
        if up == "mse":
            log_scale(axis)
        _name_points(axis, every, across, up)
    handles, names = axes[0].get_legend_handles_labels()
    drawing.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    save(drawing, path)


def _draw_line(axis: Any, line: Sequence[Point], across: str, up: str, labels: dict[str, str]) -> None:
    (x, x_deviation), (y, y_deviation) = (
        zip(*(point.figures[key] for point in line), strict=True) for key in (across, up)
    )
    # A method's looks do not depend on which others are there; ours comes first.
    method = list(labels).index(line[0].method)
    first = method == 0
    axis.errorbar(
        x, y, xerr=[value or 0 for value in x_deviation], yerr=[value or 0 for value in y_deviation],
        color=PALETTE[method % len(PALETTE)], marker=MARKERS[method % len(MARKERS)], label=labels[line[0].method],
        lw=2.4 if first else 1.2, ms=7 if first else 5, ls="-" if method < len(PALETTE) else "--", elinewidth=0.8,
        zorder=3 if first else 2,
    )  # fmt: skip


def _name_points(axis: Any, every: Sequence[Point], across: str, up: str) -> None:
    """Each point's code length beside it, where it does not cover the same number of another point."""
    axis.autoscale_view()
    to_pixels, named = axis.transData.transform, []
    for point in every:
        place = point.figures[across][0], point.figures[up][0]
        words, pixels = f"{point.code_size:,}", to_pixels(place)
        if all(words != other or math.dist(pixels, pixel) > CLOSE for other, pixel in named):
            axis.annotate(words, place, xytext=(5, 4), textcoords="offset points", fontsize=7, color=SOFT)
            named.append((words, pixels))
