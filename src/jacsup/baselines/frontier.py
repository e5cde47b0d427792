"""A comparison as one figure, one table and one page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jacsup.drawing import MINUS, PALETTE, log_scale, plot, save
from jacsup.evaluate import flat_scores
from jacsup.page import command, figure, html_page, section, table
from jacsup.run import write_atomically

# What a table shows, from the key in figures.json to its title and form.
COLUMNS = {
    "images_seen": ("images seen", ",.0f"),
    "core_seconds": ("core-seconds", ".0f"),
    "num_parameters": ("parameters", ",.0f"),
    "mse": ("MSE", ".4f"),
    "psnr": ("PSNR, dB", ".2f"),
    "swap_classifier": ("swap score", ".3f"),
    "swap_label": ("swap score, labels", ".3f"),
    "energy_monotony": ("order", ".2f"),
    "factor_vae": ("FactorVAE", ".3f"),
    "dci_fast disentanglement": ("DCI D", ".3f"),
    "dci_fast completeness": ("DCI C", ".3f"),
    "dci_fast informativeness": ("DCI I", ".3f"),
    "sap": ("SAP", ".3f"),
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


@dataclass(frozen=True)
class Point:
    """A method at one code length: each figure's mean over the seeds and its standard deviation, None of one seed."""

    method: str
    code_size: int
    num_seeds: int
    figures: dict[str, tuple[float, float | None]]


def points(results: Sequence[dict[str, Any]]) -> list[Point]:
    """Results of equal method and code length put together, in the order in which they come."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["method"], result["code_size"]), []).append(
            result | flat_scores(result.get("factor_scores") or {})
        )
    return [
        Point(*key, len(group), {name: _spread(group, name) for name in COLUMNS if group[0].get(name) is not None})
        for key, group in groups.items()
    ]


def _spread(group: Sequence[dict[str, Any]], key: str) -> tuple[float, float | None]:
    values = [result[key] for result in group]
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def write_comparison(out: Path, name: str, labels: dict[str, str], results: Sequence[dict[str, Any]], how: str) -> Path:
    """Writes frontier.png, table.md, results.json and index.html into `out`; returns the page.

    labels: the methods' names. how: the command that made them.
    """
    every = points(results)
    write_atomically(out / "results.json", json.dumps(list(results), indent=2).encode())
    write_atomically(out / "table.md", markdown(every, labels).encode())
    score = "swap_classifier" if "swap_classifier" in every[0].figures else "factor_vae"
    words = f"Each line is a method, each point a code length: better is down and to the right ({COLUMNS[score][0]})."
    pictures = ""
    if all(score in point.figures for point in every):
        draw_frontier(out / "frontier.png", every, labels, score)
        pictures = figure("frontier.png", f"error against {COLUMNS[score][0]} for each method", words)
    seeds = max(point.num_seeds for point in every)
    sections = [
        f"<h1>{escape(name)}: every method, side by side</h1>\n",
        f"<p>Same images, same autoencoder, same budget; mean and standard deviation over {seeds} seeds.</p>\n",
        command(how), pictures,
        section("Numbers", "Definitions are in docs/METRICS.md.", table(*_rows(every, labels))),
    ]  # fmt: skip
    write_atomically(out / "index.html", html_page(f"{name}: comparison", sections).encode())
    return out / "index.html"


def markdown(every: Sequence[Point], labels: dict[str, str]) -> str:
    """The table in Markdown."""
    header, rows = _rows(every, labels)
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    lines = [[row[place] or "-" for place in kept] for row in (header, ["---"] * len(header), *rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _rows(every: Sequence[Point], labels: dict[str, str]) -> tuple[list[str], list[list[str]]]:
    ordered = sorted(every, key=lambda point: (point.code_size, list(labels).index(point.method)))
    rows = []
    for point in ordered:
        values = [_cell(point.figures.get(key), form) for key, (_, form) in COLUMNS.items()]
        rows.append([labels[point.method], str(point.code_size), *values])
    return ["method", "code", *(title for title, _ in COLUMNS.values())], rows


def _cell(value: tuple[float, float | None] | None, form: str) -> str:
    if value is None:
        return ""
    mean, deviation = value
    # Counts and times need no spread.
    spread = "" if deviation is None or form.endswith("0f") else f" ± {deviation:{form}}"
    return f"{mean:{form}}{spread}".replace("-", MINUS)


def draw_frontier(path: Path, every: Sequence[Point], labels: dict[str, str], score: str) -> None:
    """Mean squared error against a score, one line per method over its code lengths, which stand beside the points."""
    drawing, (axis,) = plot(1, share_x=False, height=4.6)
    for number, method in enumerate(dict.fromkeys(point.method for point in every)):
        line = sorted((point for point in every if point.method == method), key=lambda point: point.code_size)
        across, up = ([point.figures[key] for point in line] for key in (score, "mse"))
        first = number == 0
        axis.errorbar(
            [mean for mean, _ in across], [mean for mean, _ in up],
            xerr=[deviation or 0 for _, deviation in across], yerr=[deviation or 0 for _, deviation in up],
            color=PALETTE[number % len(PALETTE)], marker=MARKERS[number % len(MARKERS)], label=labels[method],
            lw=2.4 if first else 1.2, ms=7 if first else 5, ls="-" if number < len(PALETTE) else "--", elinewidth=0.8,
            zorder=3 if first else 2,
        )  # fmt: skip
        for point in line:
            where = point.figures[score][0], point.figures["mse"][0]
            axis.annotate(str(point.code_size), where, xytext=(5, 4), textcoords="offset points", fontsize=7)
    axis.set_xlabel(f"{COLUMNS[score][0]} (higher is better)")
    axis.set_ylabel("mean squared error (lower is better)")
    log_scale(axis)
    drawing.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    save(drawing, path)
