"""The report of a run with an ordered code: its figures, its scores and the arms beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from jacsup.data.dataset import Dataset, Split
from jacsup.metrics.table import flat_scores, metric_of
from jacsup.models import load, load_info
from jacsup.report import html, unit_plots
from jacsup.report.html import Report
from jacsup.report.siblings import arm_label, last_lines, progress

MAX_UNITS = 14

SCORE_COLUMNS = html.columns_of("mse", "psnr", "ssim", "swap_classifier", "swap_label", "jacobian_error")
TEST_COLUMNS = html.columns_of("test_mse", "test_swap", "test_jacobian")


def write_units_report(report: Report, newest: Path, data: Dataset) -> None:
    """Draw the figures of a run with an ordered code and write the page that shows them.

    Args:
        report: The run's report.
        newest: The model file of the run's newest finished stage.
        data: The run's data set.
    """
    images = _varied_images(data.test)
    sections = (
        _headline(report, newest),
        _factors(report),
        _curves(report),
        _units(report, newest, images[::4]),
        _reconstructions(report, images),
        _order(report),
        _known_factors(report),
        _stages(report),
        _arms(report),
    )
    html.write_page(report, sections)


def _varied_images(split: Split, count: int = 10) -> UInt8[Tensor, "n c h w"]:
    """The first image of each class, then the second of each, and so on; without labels the first images."""
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
    values = {**metrics, "code_size": load(newest).code_size}
    keys = (
        "mse",
        "psnr",
        "ssim",
        "swap_classifier",
        "swap_label",
        "classifier_accuracy",
        "code_size",
        "num_parameters",
    )
    closing = ""
    if metrics.get("swap_classifier") is not None:
        closing = (
            "<p>Swap score: how often an image takes on its partner's class when it gets the partner's first two "
            "units. The partner's class is the one that the judge sees in its reconstruction (classifier), or its true "
            "class (label).</p>\n"
        )
    return html.headline(report, html.tiles_of(values, *keys), closing)


def _factors(report: Report) -> str:
    first = report.run.stage_file(0)
    grids = [("1a", first, "the first teacher")]
    for arm, run in report.runs.items():
        finished = run.finished_stages()
        # A run with one stage is just the first teacher.
        if len(finished) > 1:
            name = "1b" if run is report.run else f"1c-{arm or 'jacobian'}"
            grids.append((name, run.stage_file(finished[-1]), f"{arm_label(arm)}, {progress(run)}"))
    parts = []
    for name, file, words in grids:
        model = load(file)
        unit_plots.draw_factor_grid(report.folder / f"figure-{name}.png", model, load_info(model).factors)
        caption = f"({name[1]}) {words}, code size {model.code_size}"
        parts.append(
            html.figure(f"figure-{name}.png", f"Images decoded while the first two units change. {caption}", caption)
        )
    text = (
        "The first two units range from &minus;2 to +2 standard deviations; all others are at their training means. "
        "The more a grid looks like the first teacher's, the better these two units have kept their meaning."
    )
    return html.section("Figure 1: what the first two units control", text, html.grid(parts))


def _curves(report: Report) -> str:
    if not report.run.stats():
        return ""
    unit_plots.draw_curves(report.folder / "figure-1d.png", list(report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images. Grey bars mark where this run's code grew. The "
        "Jacobian loss (eq. 9) is measured against each stage's own teacher, so it starts anew at every bar."
    )
    alt = "Curves of test error, swap score and Jacobian loss over the epochs of all stages"
    return html.section("Figure 1 (d): while the code grows", text, html.figure("figure-1d.png", alt, css="narrow"))


def _units(report: Report, newest: Path, images: UInt8[Tensor, "n c h w"]) -> str:
    first, model = load(report.run.stage_file(0)).num_units, load(newest)
    units, parts = range(first, min(model.num_units, first + MAX_UNITS)), []
    factors, drops = load_info(model).factors, report.metrics.get("drop_per_unit") or []
    half = -(-len(units) // 2)
    for name, part in (("figure-2a.png", units[:half]), ("figure-2b.png", units[half:])):
        if not part:
            continue
        unit_plots.draw_units(report.folder / name, model, factors, part, images, drops)
        parts.append(html.figure(name, f"Test images decoded while one unit changes: {', '.join(map(str, part))}"))
    text = (
        "Each unit that a student discovered, from its 1st to its 99th percentile in the training data, on three test "
        "images; all other units keep the encoder's values. MSE: the change in test error when this unit is added."
    )
    return html.section("Figure 2: the factors discovered one by one", text, html.grid(parts)) if parts else ""


def _reconstructions(report: Report, images: UInt8[Tensor, "n c h w"]) -> str:
    last = report.run.finished_stages()[-1]
    files = [report.run.stage_file(number) for number in sorted({0, last // 2, last})]
    unit_plots.draw_reconstructions(report.folder / "reconstructions.png", files, images)
    alt = "Test images, and below them their reconstructions after the first, a middle and the last stage"
    text = "Test images, and their reconstructions as the code grows."
    return html.section("Reconstructions", text, html.figure("reconstructions.png", alt, css="narrow"))


def _order(report: Report) -> str:
    if not any(report.metrics.get(name) for name in ("prefix_mse", "drop_per_unit", "energy_per_unit")):
        return ""
    unit_plots.draw_order(report.folder / "order.png", report.metrics)
    text = (
        "The test error when only the first units are kept, how much each unit lowers it, and each unit's Jacobian "
        "energy: the decoder's mean squared derivative times the unit's variance. In an ordered code all three fall."
    )
    return html.section(
        "The order of the units", text, html.figure("order.png", "Charts of each unit's contribution", css="narrow")
    )


def _known_factors(report: Report) -> str:
    scores = flat_scores(report.metrics.get("factor_scores") or {})
    if not scores:
        return ""
    rows = []
    for key, value in scores.items():
        metric = metric_of(key)
        rows.append([html.capitalised(metric.heading), html.number(value, metric.format), metric.better or ""])
    text = "How well the code separates the factors from which the test images were generated."
    return html.section("Scores of known factors", text, html.table(["Score", "Value", "Better"], rows))


def _stages(report: Report) -> str:
    judged, lines, rows = report.metrics.get("stages"), report.run.stats(), []
    columns = SCORE_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(report.run.finished_stages(), judged or last_lines(report.run), strict=False):
        stage = report.run.recipe.stages[number]
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        rows.append([stage.name, str(stage.num_units), *html.cells(values, columns), html.number(minutes, ".1f")])
    text = f"On {'all' if judged else 'the first 2,000'} test images."
    if judged:
        text += " Jacobian error: the distance to the teacher's Jacobian, relative to the norm of the teacher's."
    return html.section("Stages", text, html.table(["Stage", "Units", *html.titles(columns), "Minutes"], rows))


def _arms(report: Report) -> str:
    rows = []
    for arm, run in report.runs.items():
        values = (last_lines(run) or [{}])[-1]
        columns = (("", "units", "d"), *TEST_COLUMNS)
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), *html.cells(values, columns)])
    text = (
        "Runs of the same recipe, seed and first teacher, on the first 2,000 test images at the end of the last "
        "finished stage."
    )
    table = html.table(["Run", "Trained", "Units", *html.titles(TEST_COLUMNS)], rows)
    return html.section("Side by side", text, table + html.missing(report))
