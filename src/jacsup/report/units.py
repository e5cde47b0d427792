"""A run's report: its figures, its numbers and the arms beside it on one static page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from jacsup.data.dataset import Dataset, Split
from jacsup.models import load
from jacsup.report import html, unit_plots
from jacsup.report.html import Column, Report
from jacsup.report.siblings import arm_label, last_lines, progress

MAX_UNITS = 14

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


def write_units_report(report: Report, newest: Path, data: Dataset) -> None:
    """Draws the figures of a run with an ordered code and writes the page that shows them.

    newest: the model of its newest finished stage. data: the run's data set.
    """
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
    html.write_page(report, sections)


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


def _headline(report: Report, newest: Path) -> str:
    metrics = report.metrics
    numbers = {
        "mean squared error": html.number(metrics.get("mse"), ".4f"),
        "PSNR": html.number(metrics.get("psnr"), ".2f", " dB"),
        "SSIM": html.number(metrics.get("ssim"), ".3f"),
        "swap score, classifier": html.number(metrics.get("swap_classifier"), ".1%"),
        "swap score, label": html.number(metrics.get("swap_label"), ".1%"),
        "judge's accuracy": html.number(metrics.get("classifier_accuracy"), ".1%"),
        "code size": str(load(newest).num_units),
        "parameters": html.number(metrics.get("num_parameters"), ",d"),
    }
    closing = ""
    if numbers["swap score, classifier"]:
        closing = (
            "<p>Swap score: how often an image turns into its partner's class when it takes over the partner's first "
            "two units; that class is what the judge sees in the partner's reconstruction (classifier) or the true one "
            "(label).</p>\n"
        )
    return html.headline(report, numbers, closing)


def _factors(report: Report) -> str:
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
        unit_plots.draw_factor_grid(report.folder / f"figure-{name}.png", file)
        caption = f"({name[1]}) {words}, code size {load(file).num_units}"
        parts.append(
            html.figure(f"figure-{name}.png", f"Images decoded while the first two units change. {caption}", caption)
        )
    text = (
        "The first two units go from &minus;2 to +2 standard deviations, all others stay at their training means. "
        "The more a grid shows what the first teacher's shows, the better these two units kept their meaning."
    )
    return html.section("Figure 1: what the first two units control", text, html.grid(parts))


def _curves(report: Report) -> str:
    if not report.run.stats():
        return ""
    unit_plots.draw_curves(report.folder / "figure-1d.png", list(report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images. Grey bars mark where this run's code grew. The "
        "Jacobian loss (eq. 9) is taken against each stage's own teacher, so it starts anew at every bar."
    )
    alt = "Curves of test error, swap score and Jacobian loss over the epochs of all stages"
    return html.section("Figure 1 (d): while the code grows", text, html.figure("figure-1d.png", alt, css="narrow"))


def _units(report: Report, newest: Path, images: UInt8[Tensor, "n c h w"]) -> str:
    first, last = load(report.run.stage_file(0)).num_units, load(newest).num_units
    units, parts = range(first, min(last, first + MAX_UNITS)), []
    half = -(-len(units) // 2)
    for name, part in (("figure-2a.png", units[:half]), ("figure-2b.png", units[half:])):
        if not part:
            continue
        unit_plots.draw_units(report.folder / name, newest, part, images, report.metrics.get("drop_per_unit") or [])
        parts.append(html.figure(name, f"Test images decoded while one unit changes: {', '.join(map(str, part))}"))
    text = (
        "Each unit that a student discovered, from its 1st to its 99th percentile in the training data, on three test "
        "images; all other units stay as the encoder read them. MSE: how the test error changes once the unit is kept."
    )
    return html.section("Figure 2: the factors discovered one by one", text, html.grid(parts)) if parts else ""


def _reconstructions(report: Report, images: UInt8[Tensor, "n c h w"]) -> str:
    last = report.run.finished_stages()[-1]
    files = [report.run.stage_file(number) for number in sorted({0, last // 2, last})]
    unit_plots.draw_reconstructions(report.folder / "reconstructions.png", files, images)
    alt = "Test images, and below them their reconstructions after the first, a middle and the last stage"
    text = "Test images, and what the model makes of them as its code grows."
    return html.section("Reconstructions", text, html.figure("reconstructions.png", alt, css="narrow"))


def _order(report: Report) -> str:
    if not any(report.metrics.get(name) for name in ("prefix_mse", "drop_per_unit", "energy_per_unit")):
        return ""
    unit_plots.draw_order(report.folder / "order.png", report.metrics)
    text = (
        "The test error when only the first units are kept, what each unit takes off it, and the unit's Jacobian "
        "energy: the decoder's mean squared derivative times the unit's variance. In an ordered code all three fall."
    )
    return html.section(
        "The order of the units", text, html.figure("order.png", "Charts of what each unit adds", css="narrow")
    )


def _stages(report: Report) -> str:
    judged, lines, rows = report.metrics.get("stages"), report.run.stats(), []
    columns = METRIC_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(report.run.finished_stages(), judged or last_lines(report.run), strict=False):
        stage = report.run.recipe.stages[number]
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        rows.append([stage.name, str(stage.num_units), *html.cells(values, columns), html.number(minutes, ".1f")])
    text = f"On {'all' if judged else 'the first 2,000'} test images."
    if judged:
        text += " Jacobian error: the distance to the teacher's Jacobian as a share of its length."
    return html.section("Stages", text, html.table(["Stage", "Units", *html.titles(columns), "Minutes"], rows))


def _arms(report: Report) -> str:
    rows = []
    for arm, run in report.runs.items():
        values = (last_lines(run) or [{}])[-1]
        columns = (("", "units", "d"), *TEST_COLUMNS)
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), *html.cells(values, columns)])
    text = "Same recipe, seed and first teacher; on the first 2,000 test images, at the end of the last finished stage."
    table = html.table(["Run", "Trained", "Units", *html.titles(TEST_COLUMNS)], rows)
    return html.section("Side by side", text, table + html.missing(report))
