"""A run's report: its figures, its numbers and the arms beside it on one static page."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from jacsup import figures
from jacsup.arms import arm_label, find_siblings, last_lines, missing_arms, progress, purpose, shown
from jacsup.data.dataset import Dataset, Split
from jacsup.models import load, model_file
from jacsup.run import Run, write_atomically

MAX_UNITS = 14

# A table's columns: the title, the key in metrics.json or stats.jsonl, and how its values are written.
Column = tuple[str, str, str]
METRIC_COLUMNS: tuple[Column, ...] = (
    ("MSE", "mse", ".4f"),
    ("PSNR, dB", "psnr", ".2f"),
    ("SSIM", "ssim", ".3f"),
    ("Swap, classifier", "swap_classifier", ".1%"),
    ("Swap, label", "swap_label", ".1%"),
    ("Jacobian error", "jacobian_error", ".3f"),
)
TEST_COLUMNS: tuple[Column, ...] = (
    ("Test MSE", "test_mse", ".4f"),
    ("Swap score", "test_swap", ".1%"),
    ("Jacobian loss", "test_jacobian", ".4f"),
)

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
dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 1.25rem 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; margin-bottom: .5rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 23rem), 1fr)); gap: 0 1.5rem; }
.narrow { max-width: 44rem; }
.scroll, pre { overflow-x: auto; margin: 1rem 0; font-size: .95rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
tr { border-bottom: var(--line); }
th, td { padding: .35rem 1.2rem .35rem 0; text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 6rem; }
"""


@dataclass(frozen=True)
class _Report:
    """What the sections read: the run, the arms beside it, and its metrics.json."""

    run: Run
    siblings: dict[str, Run]
    metrics: dict[str, Any]

    @property
    def folder(self) -> Path:
        return self.run.path / "report"

    @property
    def runs(self) -> dict[str, Run]:
        """The run itself and its siblings, by arm."""
        return {self.run.recipe.arm: self.run, **self.siblings}


def write_report(run_path: Path, data: Dataset, metrics: dict[str, Any] | None) -> Path:
    """Draws a run's figures into RUN/report and writes the page that shows them; returns the page's path.

    data: the run's data set. metrics: the content of metrics.json, None where `jacsup evaluate` has not run.
    Other arms of the same recipe and seed that lie beside the run are drawn into the same figures.
    Raises ValueError for a folder that is no run or has no finished stage.
    """
    run = Run(run_path.resolve())
    newest = model_file(run.path)
    report = _Report(run, find_siblings(run), metrics or {})
    images = _varied_images(data.test)
    sections = (
        _headline(report, newest),
        _factors(report),
        _curves(report),
        _units(report, newest, images[::4]),
        _reconstructions(report, images),
        _order(report),
        _stages(report),
        _arms(report),
    )
    page = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(run.path.name)}: report</title>
<style>{STYLE}</style>
{"".join(sections)}</html>
"""
    write_atomically(report.folder / "index.html", page.encode())
    return run_path / "report" / "index.html"


def _varied_images(split: Split, count: int = 10) -> UInt8[Tensor, "n c h w"]:
    """The first image of each class, then the second ones and so on; without labels simply the first images."""
    if split.labels is None:
        return split.images[:count].cpu()
    seen: Counter[int] = Counter()
    ranks: list[tuple[int, int, int]] = []
    for index, label in enumerate(split.labels[:1000].tolist()):
        ranks.append((seen[label], label, index))
        seen[label] += 1
    return split.images[[index for *_, index in sorted(ranks)[:count]]].cpu()


def _headline(report: _Report, newest: Path) -> str:
    recipe, metrics = report.run.recipe, report.metrics
    numbers = {
        "mean squared error": _number(metrics.get("mse"), ".4f"),
        "PSNR": _number(metrics.get("psnr"), ".2f", " dB"),
        "SSIM": _number(metrics.get("ssim"), ".3f"),
        "swap score, classifier": _number(metrics.get("swap_classifier"), ".1%"),
        "swap score, label": _number(metrics.get("swap_label"), ".1%"),
        "judge's accuracy": _number(metrics.get("classifier_accuracy"), ".1%"),
        "code size": str(load(newest).num_units),
        "parameters": _number(metrics.get("num_parameters"), ",d"),
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>\n" for name, value in numbers.items() if value)
    lead = f"Recipe <b>{escape(recipe.name)}</b>, seed {recipe.seed}: {escape(purpose(recipe))}."
    if len(report.run.finished_stages()) < len(recipe.stages):
        lead += f" <b>Unfinished: {progress(report.run)}.</b> What follows shows the last finished one."
    closing = ""
    if numbers["swap score, classifier"]:
        closing = (
            "<p>Swap score: how often an image turns into its partner's class when it takes over the partner's first "
            "two units; that class is what the judge sees in the partner's reconstruction (classifier) or the true one "
            "(label).</p>\n"
        )
    elif not metrics:
        command = shlex.join(["jacsup", "evaluate", shown(report.run.path)])
        closing = f"<p>The run has not been judged on the whole test set yet. This does it:</p>\n{_command(command)}"
    return f"<h1>{escape(report.run.path.name)}</h1>\n<p>{lead}</p>\n<dl>\n{tiles}</dl>\n{closing}"


def _factors(report: _Report) -> str:
    first = report.run.stage_file(0)
    grids = [("1a", first, "the first teacher")]
    for arm, run in report.runs.items():
        finished = run.finished_stages()
        # After one stage a run still is its first teacher.
        if len(finished) > 1:
            name = "1b" if run is report.run else f"1c-{arm or 'jacobian'}"
            grids.append((name, run.stage_file(finished[-1]), f"{arm_label(arm)}, {progress(run)}"))
    parts = []
    for name, file, words in grids:
        figures.draw_factor_grid(report.folder / f"figure-{name}.png", file)
        caption = f"({name[1]}) {words}, code size {load(file).num_units}"
        parts.append(
            _figure(f"figure-{name}.png", f"Images decoded while the first two units change. {caption}", caption)
        )
    text = (
        "The first two units go from &minus;2 to +2 standard deviations, all others stay at their training means. "
        "The more a grid shows what the first teacher's shows, the better these two units kept their meaning."
    )
    return _section("Figure 1: what the first two units control", text, _grid(parts))


def _curves(report: _Report) -> str:
    if not report.run.stats():
        return ""
    figures.draw_curves(report.folder / "figure-1d.png", list(report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images. Grey bars mark where this run's code grew. The "
        "Jacobian loss (eq. 9) is taken against each stage's own teacher, so it starts anew at every bar."
    )
    alt = "Curves of test error, swap score and Jacobian loss over the epochs of all stages"
    return _section("Figure 1 (d): while the code grows", text, _figure("figure-1d.png", alt, css="narrow"))


def _units(report: _Report, newest: Path, images: UInt8[Tensor, "n c h w"]) -> str:
    first, last = load(report.run.stage_file(0)).num_units, load(newest).num_units
    units, parts = range(first, min(last, first + MAX_UNITS)), []
    half = -(-len(units) // 2)
    for name, part in (("figure-2a.png", units[:half]), ("figure-2b.png", units[half:])):
        if not part:
            continue
        figures.draw_units(report.folder / name, newest, part, images, report.metrics.get("drop_per_unit") or [])
        parts.append(_figure(name, f"Test images decoded while one unit changes: {', '.join(map(str, part))}"))
    text = (
        "Each unit that a student discovered, from its 1st to its 99th percentile in the training data, on three test "
        "images; all other units stay as the encoder read them. MSE: how the test error changes once the unit is kept."
    )
    return _section("Figure 2: the factors discovered one by one", text, _grid(parts)) if parts else ""


def _reconstructions(report: _Report, images: UInt8[Tensor, "n c h w"]) -> str:
    last = report.run.finished_stages()[-1]
    files = [report.run.stage_file(number) for number in sorted({0, last // 2, last})]
    figures.draw_reconstructions(report.folder / "reconstructions.png", files, images)
    alt = "Test images, and below them their reconstructions after the first, a middle and the last stage"
    text = "Test images, and what the model makes of them as its code grows."
    return _section("Reconstructions", text, _figure("reconstructions.png", alt, css="narrow"))


def _order(report: _Report) -> str:
    if not any(report.metrics.get(name) for name in ("prefix_mse", "drop_per_unit", "energy_per_unit")):
        return ""
    figures.draw_order(report.folder / "order.png", report.metrics)
    text = (
        "The test error when only the first units are kept, what each unit takes off it, and the unit's Jacobian "
        "energy: the decoder's mean squared derivative times the unit's variance. In an ordered code all three fall."
    )
    return _section("The order of the units", text, _figure("order.png", "Charts of what each unit adds", css="narrow"))


def _stages(report: _Report) -> str:
    judged, lines, rows = report.metrics.get("stages"), report.run.stats(), []
    columns = METRIC_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(report.run.finished_stages(), judged or last_lines(report.run), strict=False):
        stage = report.run.recipe.stages[number]
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        rows.append([stage.name, str(stage.num_units), *_cells(values, columns), _number(minutes, ".1f")])
    text = f"On {'all' if judged else 'the first 2,000'} test images."
    if judged:
        text += " Jacobian error: the distance to the teacher's Jacobian as a share of its length."
    return _section("Stages", text, _table(["Stage", "Units", *_titles(columns), "Minutes"], rows))


def _arms(report: _Report) -> str:
    rows = []
    for arm, run in report.runs.items():
        values = (last_lines(run) or [{}])[-1]
        cells = _cells(values, (("", "units", "d"), *TEST_COLUMNS))
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), *cells])
    missing = [
        f"<p>Not here yet: <b>{arm_label(arm)}</b>, {escape(purpose(replace(report.run.recipe, arm=arm)))}.</p>\n{_command(command)}"
        for arm, command in missing_arms(report.run, report.siblings).items()
    ]
    text = "Same recipe, seed and first teacher; on the first 2,000 test images, at the end of the last finished stage."
    table = _table(["Run", "Trained", "Units", *_titles(TEST_COLUMNS)], rows)
    return _section("Side by side", text, table + "".join(missing))


def _section(title: str, text: str, content: str) -> str:
    return f"<h2>{title}</h2>\n<p>{text}</p>\n{content}"


def _grid(parts: Sequence[str]) -> str:
    return f'<div class="grid">\n{"".join(parts)}</div>\n'


def _figure(file: str, alt: str, caption: str = "", css: str = "") -> str:
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    start = f'<figure class="{css}">' if css else "<figure>"
    return f'{start}<a href="{file}"><img src="{file}" alt="{escape(alt)}"></a>{words}</figure>\n'


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in which no row has a value are left out."""
    kept = [index for index in range(len(names)) if any(row[index] for row in rows)]
    head = "".join(f"<th>{escape(names[index])}</th>" for index in kept)
    body = ["".join(f"<td>{escape(row[index]) or '-'}</td>" for index in kept) for row in rows]
    lines = "".join(f"<tr>{cells}</tr>\n" for cells in (head, *body))
    return f'<div class="scroll"><table>\n{lines}</table></div>\n'


def _cells(values: dict[str, Any], columns: Sequence[Column]) -> list[str]:
    return [_number(values.get(key), form) for _, key, form in columns]


def _titles(columns: Sequence[Column]) -> list[str]:
    return [title for title, _, _ in columns]


def _command(words: str) -> str:
    return f"<pre><code>{escape(words)}</code></pre>\n"


def _number(value: int | float | None, form: str, unit: str = "") -> str:
    """Empty for what was not measured."""
    return "" if value is None or value != value else f"{value:{form}}{unit}"
