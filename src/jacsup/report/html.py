"""The page of a report: its style, and the parts that it consists of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, cast

from jacsup.atomic import write_atomically
from jacsup.metrics.scores import Scores
from jacsup.metrics.table import metric_of
from jacsup.report.sheets import MINUS
from jacsup.report.siblings import arm_label, find_siblings, missing_arms, progress, purpose, shown
from jacsup.run import Run

# A table's column: its title, the key in metrics.json or stats.jsonl, and the format of its values.
Column = tuple[str, str, str]

STYLE = """
:root { color-scheme: light dark; --line: 1px solid #8886;
  --page: #fff; --ink: #16181d; --soft: #5a606b; --card: #f4f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14161a; --ink: #eceef1; --soft: #a5abb6; --card: #1f2228; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 2rem 1.25rem 4rem; font: 1rem/1.55 system-ui, sans-serif;
  background: var(--page); color: var(--ink); overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 2.5rem 0 .5rem; padding-top: 1.5rem; border-top: var(--line); }
p { max-width: 46rem; margin: .6rem 0; }
figcaption, dt { color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(max(9.5rem, 22%), 1fr)); gap: .75rem; }
dl div { display: flex; flex-direction: column; justify-content: space-between; }
dl div, pre { background: var(--card); border-radius: 8px; padding: .7rem .9rem; }
dd { margin: 0; font-size: clamp(1.2rem, 5vw, 1.5rem); font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 1.25rem 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; margin-bottom: .5rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); gap: 0 1.5rem; }
.narrow { max-width: 44rem; }
.scroll, pre { overflow-x: auto; margin: 1rem 0; font-size: .95rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tr { border-bottom: var(--line); }
th, td { padding: .35rem 1.2rem .35rem 0; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 6rem; }
"""


@dataclass(frozen=True)
class Report:
    """The data of the page's sections: the run, the arms beside it, and its scores (empty if it was not judged)."""

    run: Run
    siblings: dict[str, Run]
    metrics: Scores

    @property
    def folder(self) -> Path:
        """The folder of the page and its figures."""
        return self.run.path / "report"

    @property
    def runs(self) -> dict[str, Run]:
        """The run itself and its siblings, by arm."""
        return {self.run.recipe.arm: self.run, **self.siblings}


def open_report(run_path: Path, metrics: Scores | None) -> Report:
    """Return the report of a run folder."""
    run = Run(run_path.resolve())
    return Report(run, find_siblings(run), metrics or cast(Scores, {}))


def write_page(report: Report, sections: Sequence[str]) -> None:
    """Write index.html."""
    page = html_page(f"{report.run.path.name}: report", sections)
    write_atomically(report.folder / "index.html", page.encode())


def html_page(title: str, sections: Sequence[str]) -> str:
    """Return a whole page in the reports' style."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
{"".join(sections)}</html>
"""


def headline(report: Report, numbers: dict[str, str], closing: str) -> str:
    """Return the run's name, its description and its key numbers without empty ones."""
    recipe = report.run.recipe
    lead = f"Recipe <b>{escape(recipe.name)}</b>, seed {recipe.seed}: {escape(purpose(recipe))}."
    if len(report.run.finished_stages()) < len(recipe.stages):
        lead += f" <b>Unfinished: {progress(report.run)}.</b> This page shows the last finished stage."
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in numbers.items() if value)
    if warning := report.metrics.get("warning"):
        lead += f" <b>Warning: {escape(warning)}.</b>"
    if not report.metrics:
        words = "The run has not been judged on the whole test set yet. To judge it, run:"
        closing = f"<p>{words}</p>\n{judge_command(report.run)}"
    return f"<h1>{escape(report.run.path.name)}</h1>\n<p>{lead}</p>\n<dl>\n{tiles}</dl>\n{closing}"


def judge_command(run: Run) -> str:
    """Return the command that judges a run."""
    return command(shlex.join(["jacsup", "evaluate", shown(run.path)]))


def missing(report: Report) -> str:
    """Return the arms that are not trained yet, and the commands that train them."""
    parts = []
    for arm, words in missing_arms(report.run, report.siblings).items():
        what = escape(purpose(replace(report.run.recipe, arm=arm)))
        parts.append(f"<p>Not trained yet: <b>{arm_label(arm)}</b>, {what}.</p>\n{command(words)}")
    return "".join(parts)


def section(title: str, text: str, content: str) -> str:
    """Return a heading, its explanation and its content."""
    return f"<h2>{title}</h2>\n<p>{text}</p>\n{content}"


def grid(parts: Sequence[str]) -> str:
    """Return figures in a grid, with as many columns as fit."""
    return f'<div class="grid">\n{"".join(parts)}</div>\n'


def figure(file: str, alt: str, caption: str = "", css: str = "") -> str:
    """Return an image that links to its file."""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    start = f'<figure class="{css}">' if css else "<figure>"
    return f'{start}<a href="{file}"><img src="{file}" alt="{escape(alt)}"></a>{words}</figure>\n'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table, without the columns in which no row has a value."""
    names, rows = filled(names, rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = ["".join(f"<td>{escape(cell) or '-'}</td>" for cell in row) for row in rows]
    lines = "".join(f"<tr>{line}</tr>\n" for line in (head, *body))
    return f'<div class="scroll"><table>\n{lines}</table></div>\n'


def filled(names: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the columns in which some row has a value."""
    kept = [index for index in range(len(names)) if any(row[index] for row in rows)]
    return [names[index] for index in kept], [[row[index] for index in kept] for row in rows]


def columns_of(*keys: str) -> tuple[Column, ...]:
    """Return the columns of metrics, by their keys in METRICS."""
    metrics = [(key, metric_of(key)) for key in keys]
    return tuple((capitalised(metric.heading), key, metric.format) for key, metric in metrics)


def tiles_of(values: Mapping[str, Any], *keys: str) -> dict[str, str]:
    """Return the titles and values of metrics for a headline."""
    metrics = [(key, metric_of(key)) for key in keys]
    return {
        metric.title: number(values.get(key), metric.format, f" {metric.unit}" if metric.unit else "")
        for key, metric in metrics
    }


def capitalised(words: str) -> str:
    """Return words with their first letter as a capital."""
    return words[:1].upper() + words[1:]


def cells(values: Mapping[str, Any], columns: Sequence[Column]) -> list[str]:
    """Return a row's cells, one for each column."""
    return [number(values.get(key), form) for _, key, form in columns]


def titles(columns: Sequence[Column]) -> list[str]:
    """Return the columns' titles."""
    return [title for title, _, _ in columns]


def command(words: str) -> str:
    """Return a command line to copy."""
    return f"<pre><code>{escape(words)}</code></pre>\n"


def number(value: int | float | None, form: str, unit: str = "") -> str:
    """Return a number as text, empty if it was not measured."""
    return "" if value is None or value != value else f"{value:{form}}{unit}".replace("-", MINUS)
