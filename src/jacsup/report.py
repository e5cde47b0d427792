"""A run's report: its figures, its numbers and the arms beside it on one static page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from jacsup import figures, page
from jacsup.arms import arm_label, last_lines, progress
from jacsup.data.dataset import Dataset, Split
from jacsup.face_report import write_face_report
from jacsup.models import load, model_file
from jacsup.page import Column, Report

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


def write_report(run_path: Path, data: Dataset, metrics: dict[str, Any] | None) -> Path:
    """Draws a run's figures into RUN/report and writes the page that shows them; returns the page's path.

    data: the run's data set. metrics: the content of metrics.json, None where `jacsup evaluate` has not run.
    Other arms of the same recipe and seed that lie beside the run are drawn into the same figures.
    Raises ValueError for a folder that is no run or has no finished stage.
    """
    report = page.open_report(run_path, metrics)
    newest = model_file(report.run.path)
    if report.run.recipe.supervised:
        write_face_report(report, newest, data)
        return run_path / "report" / "index.html"
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
    page.write_page(report, sections)
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


def _headline(report: Report, newest: Path) -> str:
    metrics = report.metrics
    numbers = {
        "mean squared error": page.number(metrics.get("mse"), ".4f"),
        "PSNR": page.number(metrics.get("psnr"), ".2f", " dB"),
        "SSIM": page.number(metrics.get("ssim"), ".3f"),
        "swap score, classifier": page.number(metrics.get("swap_classifier"), ".1%"),
        "swap score, label": page.number(metrics.get("swap_label"), ".1%"),
        "judge's accuracy": page.number(metrics.get("classifier_accuracy"), ".1%"),
        "code size": str(load(newest).num_units),
        "parameters": page.number(metrics.get("num_parameters"), ",d"),
    }
    closing = ""
    if numbers["swap score, classifier"]:
        closing = (
            "<p>Swap score: how often an image turns into its partner's class when it takes over the partner's first "
            "two units; that class is what the judge sees in the partner's reconstruction (classifier) or the true one "
            "(label).</p>\n"
        )
    return page.headline(report, numbers, closing)


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
        figures.draw_factor_grid(report.folder / f"figure-{name}.png", file)
        caption = f"({name[1]}) {words}, code size {load(file).num_units}"
        parts.append(
            page.figure(f"figure-{name}.png", f"Images decoded while the first two units change. {caption}", caption)
        )
    text = (
        "The first two units go from &minus;2 to +2 standard deviations, all others stay at their training means. "
        "The more a grid shows what the first teacher's shows, the better these two units kept their meaning."
    )
    return page.section("Figure 1: what the first two units control", text, page.grid(parts))


def _curves(report: Report) -> str:
    if not report.run.stats():
        return ""
    figures.draw_curves(report.folder / "figure-1d.png", list(report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images. Grey bars mark where this run's code grew. The "
        "Jacobian loss (eq. 9) is taken against each stage's own teacher, so it starts anew at every bar."
    )
    alt = "Curves of test error, swap score and Jacobian loss over the epochs of all stages"
    return page.section("Figure 1 (d): while the code grows", text, page.figure("figure-1d.png", alt, css="narrow"))


def _units(report: Report, newest: Path, images: UInt8[Tensor, "n c h w"]) -> str:
    first, last = load(report.run.stage_file(0)).num_units, load(newest).num_units
    units, parts = range(first, min(last, first + MAX_UNITS)), []
    half = -(-len(units) // 2)
    for name, part in (("figure-2a.png", units[:half]), ("figure-2b.png", units[half:])):
        if not part:
            continue
        figures.draw_units(report.folder / name, newest, part, images, report.metrics.get("drop_per_unit") or [])
        parts.append(page.figure(name, f"Test images decoded while one unit changes: {', '.join(map(str, part))}"))
    text = (
        "Each unit that a student discovered, from its 1st to its 99th percentile in the training data, on three test "
        "images; all other units stay as the encoder read them. MSE: how the test error changes once the unit is kept."
    )
    return page.section("Figure 2: the factors discovered one by one", text, page.grid(parts)) if parts else ""


def _reconstructions(report: Report, images: UInt8[Tensor, "n c h w"]) -> str:
    last = report.run.finished_stages()[-1]
    files = [report.run.stage_file(number) for number in sorted({0, last // 2, last})]
    figures.draw_reconstructions(report.folder / "reconstructions.png", files, images)
    alt = "Test images, and below them their reconstructions after the first, a middle and the last stage"
    text = "Test images, and what the model makes of them as its code grows."
    return page.section("Reconstructions", text, page.figure("reconstructions.png", alt, css="narrow"))


def _order(report: Report) -> str:
    if not any(report.metrics.get(name) for name in ("prefix_mse", "drop_per_unit", "energy_per_unit")):
        return ""
    figures.draw_order(report.folder / "order.png", report.metrics)
    text = (
        "The test error when only the first units are kept, what each unit takes off it, and the unit's Jacobian "
        "energy: the decoder's mean squared derivative times the unit's variance. In an ordered code all three fall."
    )
    return page.section(
        "The order of the units", text, page.figure("order.png", "Charts of what each unit adds", css="narrow")
    )


def _stages(report: Report) -> str:
    judged, lines, rows = report.metrics.get("stages"), report.run.stats(), []
    columns = METRIC_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(report.run.finished_stages(), judged or last_lines(report.run), strict=False):
        stage = report.run.recipe.stages[number]
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        rows.append([stage.name, str(stage.num_units), *page.cells(values, columns), page.number(minutes, ".1f")])
    text = f"On {'all' if judged else 'the first 2,000'} test images."
    if judged:
        text += " Jacobian error: the distance to the teacher's Jacobian as a share of its length."
    return page.section("Stages", text, page.table(["Stage", "Units", *page.titles(columns), "Minutes"], rows))


def _arms(report: Report) -> str:
    rows = []
    for arm, run in report.runs.items():
        values = (last_lines(run) or [{}])[-1]
        columns = (("", "units", "d"), *TEST_COLUMNS)
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), *page.cells(values, columns)])
    text = "Same recipe, seed and first teacher; on the first 2,000 test images, at the end of the last finished stage."
    table = page.table(["Run", "Trained", "Units", *page.titles(TEST_COLUMNS)], rows)
    return page.section("Side by side", text, table + page.missing(report))
