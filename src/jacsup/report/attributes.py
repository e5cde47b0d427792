"""The report of a run whose factors are attributes: its edits, its numbers and the arms beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jacsup.config import Faces
from jacsup.data import spec_of
from jacsup.data.dataset import Dataset, Split
from jacsup.data.drawn import faces as drawn_faces
from jacsup.evaluate import current_metrics
from jacsup.metrics.attributes import NUM_EDITED, RELIABLE_AUC
from jacsup.metrics.table import attribute_figures, distance, rank, stage_figures
from jacsup.models import LEARNED, Factor, load, load_info, num_parameters
from jacsup.report import attribute_plots, html
from jacsup.report.attribute_plots import Painter
from jacsup.report.html import Column, Report
from jacsup.report.sheets import MINUS
from jacsup.report.siblings import arm_label, last_lines, progress, stage_letter
from jacsup.report.unit_plots import draw_curves

NUM_FACES, NUM_COMPARED, NUM_SWEPT, NUM_EDITS, NUM_TRUTHS = 8, 3, 6, 6, 8
ROWS_ON_SHEET = 20
NUM_CORRELATIONS = 12

METRIC_COLUMNS: tuple[Column, ...] = (
    ("PSNR, dB", "psnr", ".2f"),
    ("SSIM", "ssim", ".3f"),
    ("Accuracy at 1", "accuracy 1", ".1%"),
    ("at 2", "accuracy 2", ".1%"),
    ("at 4", "accuracy 4", ".1%"),
    ("Preservation error at 0", "preservation_error 0", ".1%"),
    ("at 2", "preservation_error 2", ".1%"),
    ("Jacobian error", "jacobian_error", ".3f"),
    ("Gain", "counterfactual_gain", ".3f"),
)
ATTRIBUTE_COLUMNS: tuple[Column, ...] = (
    (f"m+ {MINUS} m{MINUS}", "distance", ".2f"),
    ("Judge's AUC", "classifier_auc", ".3f"),
    ("Accuracy at 1", "accuracy 1", ".1%"),
    ("at 2", "accuracy 2", ".1%"),
    ("at 4", "accuracy 4", ".1%"),
    ("Preservation error at 2", "preservation_error 2", ".1%"),
    ("Gain", "counterfactual_gain", ".3f"),
)
TEST_COLUMNS: tuple[Column, ...] = (
    ("Test MSE", "test_mse", ".4f"),
    ("Edit accuracy at 2", "test_edit", ".1%"),
    ("Jacobian loss", "test_jacobian", ".4f"),
)


@dataclass(frozen=True)
class _Faces:
    """What the sections read.

    shown: the test faces of the figures. factors: from the best learned to the worst. measured, judged: what
    metrics.json says of each attribute, and of each arm's stages.
    """

    report: Report
    data: Dataset
    shown: Split
    painter: Painter
    factors: Sequence[Factor]
    measured: dict[str, dict[str, Any]]
    judged: dict[str, list[dict[str, Any]]]

    @property
    def learned(self) -> list[int]:
        """The columns of the learned attributes, from the best to the worst."""
        columns = {attribute.name: column for column, attribute in enumerate(self.data.attributes)}
        return [columns[factor.name] for factor in self.factors if factor.learned]


def write_attributes_report(report: Report, newest: Path, data: Dataset) -> None:
    """Draws a supervised run's figures and writes the page that shows them.

    newest: the model of its newest finished stage. data: the run's data set.
    """
    metrics = {arm: current_metrics(run) or {} for arm, run in report.siblings.items()}
    measured = attribute_figures(report.metrics)
    faces = _Faces(
        report,
        data,
        data.test.first(NUM_FACES).to("cpu"),
        Painter.of(newest, data.attributes),
        sorted(load_info(newest).factors, key=lambda each: rank(each, measured.get(each.name, {})), reverse=True),
        measured,
        {arm: stage_figures(each) for arm, each in {report.run.recipe.arm: report.metrics, **metrics}.items()},
    )
    sections = [_headline(faces), _tradeoff(faces), _curves(faces)]
    if faces.learned:
        sections += [_sheets(faces), _sweep(faces), _models(faces), _truths(faces)]
    html.write_page(report, [*sections, _attributes(faces), _stages(faces), _arms(faces), _correlations(data)])


def _headline(faces: _Faces) -> str:
    metrics, model = faces.report.metrics, faces.painter.model
    newest = (faces.judged[faces.report.run.recipe.arm] or [{}])[-1]
    tiles = {
        "PSNR": html.number(metrics.get("psnr"), ".2f", " dB"),
        "SSIM": html.number(metrics.get("ssim"), ".3f"),
        "edit accuracy at 2": html.number(newest.get("accuracy 2"), ".1%"),
        "preservation error at 2": html.number(newest.get("preservation_error 2"), ".1%"),
        "preservation error at 0": html.number(newest.get("preservation_error 0"), ".1%"),
        "counterfactual gain": html.number(metrics.get("counterfactual_gain"), ".3f"),
        "attributes learned": f"{len(faces.learned)} of {len(faces.factors)}",
        "judge's accuracy": html.number(metrics.get("classifier_accuracy"), ".1%"),
        "code size": f"{model.code_size:,}",
        "parameters": f"{num_parameters(model):,}",
    }
    closing = (
        f"<p>Each of up to {NUM_EDITED:,} test faces has each attribute turned over. Strength 1 is a typical face with "
        "it, &minus;1 one without, 2 as far again. Edit accuracy: how often the judge then sees it turned over. "
        "Preservation error: how often its verdict on another attribute changes; at strength 0, what reconstruction "
        f"alone changes. Means over the attributes that the judge knows well (AUC of {RELIABLE_AUC} and more)."
    )
    if metrics.get("counterfactual_gain") is not None:
        closing += " Counterfactual gain, at strength 1: 1 is the change that drawing the face anew makes, 0 no change."
    return html.headline(faces.report, tiles, f"{closing}</p>\n")


def _tradeoff(faces: _Faces) -> str:
    judged = {arm: stages for arm, stages in faces.judged.items() if stages}
    if not any(stage.get("accuracy 2") is not None for stages in judged.values() for stage in stages):
        return ""
    attribute_plots.draw_tradeoff(faces.report.folder / "tradeoff.png", judged)
    text = (
        "One point for each stage, letters at this run's. Up is better control, right is a better reconstruction; the "
        "method is to get both. " + _letters(faces)
    )
    alt = "How well each stage edits against its PSNR, a line for each arm"
    return html.section("Reconstruction against control", text, html.figure("tradeoff.png", alt, css="narrow"))


def _curves(faces: _Faces) -> str:
    if not faces.report.run.stats():
        return ""
    draw_curves(faces.report.folder / "figure-3b.png", list(faces.report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images; edit accuracy at strength 2 on a few of them. "
        "Vertical bars: this run's next stage, dotted where the code keeps its size. The Jacobian loss (eq. 9) is "
        "taken against each stage's own teacher. " + _letters(faces)
    )
    alt = "Curves of test error, edit accuracy and Jacobian loss over the epochs of all stages"
    return html.section("Figure 3 (b): while the code grows", text, html.figure("figure-3b.png", alt, css="narrow"))


def _letters(faces: _Faces) -> str:
    names = [escape(stage.name.replace("-", "\N{NON-BREAKING HYPHEN}")) for stage in faces.report.run.recipe.stages]
    return "; ".join(f"{stage_letter(number)}: {name}" for number, name in enumerate(names)) + "."


def _sheets(faces: _Faces) -> str:
    learned, parts = faces.learned, []
    count = -(-len(learned) // ROWS_ON_SHEET)
    rows = -(-len(learned) // count)
    for number in range(count):
        file, some = f"figure-4{chr(ord('a') + number)}.png", learned[number * rows : (number + 1) * rows]
        attribute_plots.draw_attributes(faces.report.folder / file, faces.painter, some, faces.shown)
        parts.append(html.figure(file, f"Test faces with attributes turned over: {_names(faces, some)}"))
    text = (
        "Every learned attribute, from the best to the worst, set to strength 2 on test faces, or to &minus;2 (with a "
        f"minus sign) on those that have it.{_not_learned(faces)}"
    )
    return html.section("Figure 4: attributes edited", text, html.grid(parts) if count > 1 else parts[0])


def _sweep(faces: _Faces) -> str:
    some = faces.learned[:NUM_SWEPT]
    attribute_plots.draw_sweep(faces.report.folder / "strengths.png", faces.painter, some, faces.shown.images)
    text = "The best learned attributes from strength &minus;3 to 3: &minus;1 is typical without it, 1 typical with it."
    alt = f"Test faces at seven strengths of one attribute each: {_names(faces, some)}"
    return html.section("Strengths", text, html.figure("strengths.png", alt, css="narrow"))


def _models(faces: _Faces) -> str:
    runs, some = faces.report.runs, _spread(faces.learned, NUM_EDITS)
    files = {arm_label(arm): newest for arm, run in runs.items() if (newest := run.newest_model())}
    main = runs.get("")
    last = main.finished_stages()[-1:] if main else []
    if main and last and main.recipe.stages[last[0]].objective == "student":
        files = {"teacher": main.stage_file(main.recipe.teacher_of(last[0])), **files}
    painters = {name: Painter.of(file, faces.data.attributes) for name, file in files.items()}
    attribute_plots.draw_models(faces.report.folder / "models.png", painters, some, faces.shown.first(NUM_COMPARED))
    text = "The same edits by each model, to strength 2, or, with a minus sign, to &minus;2."
    alt = f"Test faces edited by {', '.join(painters)}: {_names(faces, some)}"
    return html.section("Teacher, student and arms", text, html.figure("models.png", alt, css="narrow"))


def _truths(faces: _Faces) -> str:
    config, images = faces.data.config, faces.shown.images
    counterfactual = spec_of(config).counterfactual
    if counterfactual is None:
        return ""
    some = _spread(faces.learned, NUM_TRUTHS)
    gains = [faces.measured.get(faces.painter.name(factor), {}).get("counterfactual_gain") for factor in some]
    notes = ["" if gain is None else f"gain {html.number(gain, '.2f')}" for gain in gains]
    attribute_plots.draw_truth(
        faces.report.folder / "truth.png", faces.painter, some, notes, images,
        lambda factor: counterfactual(config, factor, len(images)),
    )  # fmt: skip
    text = (
        "Drawn faces can be drawn again with one attribute turned over: that is the truth of an edit to strength 1 or "
        "&minus;1. From the best attribute to the worst; grey is no change."
    )
    alt = f"Drawn faces, their true counterfactuals and the model's edits: {_names(faces, some)}"
    return html.section("Against the truth", text, html.figure("truth.png", alt, css="narrow"))


def _attributes(faces: _Faces) -> str:
    rows = []
    for factor in faces.factors:
        values = {"distance": distance(factor), **faces.measured.get(factor.name, {})}
        learned = "yes" if factor.learned else "not learned"
        rows.append([factor.name, learned, *html.cells(values, ATTRIBUTE_COLUMNS)])
    text = f"From the best to the worst.{_not_learned(faces)}"
    return html.section("Attributes", text, html.table(["Attribute", "Learned", *html.titles(ATTRIBUTE_COLUMNS)], rows))


def _stages(faces: _Faces) -> str:
    run = faces.report.run
    judged, lines, rows = faces.judged[run.recipe.arm], run.stats(), []
    columns = METRIC_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(run.finished_stages(), judged or last_lines(run), strict=False):
        size = load(run.stage_file(number)).code_size
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        name = f"{stage_letter(number)} {run.recipe.stages[number].name}"
        rows.append([name, f"{size:,}", *html.cells(values, columns), html.number(minutes, ".1f")])
    text = "On all test images." if judged else "On the first 2,000 test images."
    return html.section("Stages", text, html.table(["Stage", "Code", *html.titles(columns), "Minutes"], rows))


def _arms(faces: _Faces) -> str:
    runs, judged, rows = faces.report.runs, any(faces.judged.values()), []
    columns = METRIC_COLUMNS if judged else TEST_COLUMNS
    for arm, run in runs.items():
        values = (faces.judged[arm] if judged else last_lines(run)) or [{}]
        newest = run.newest_model()
        size = f"{load(newest).code_size:,}" if newest else ""
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), size, *html.cells(values[-1], columns)])
    text = "Same recipe, seed and teachers, at the end of the last finished stage."
    commands = [html.judge_command(run) for arm, run in runs.items() if judged and not faces.judged[arm]]
    if commands:
        commands.insert(0, "<p>Not judged yet; this does it:</p>\n")
    table = html.table(["Run", "Trained", "Code", *html.titles(columns)], rows)
    return html.section("Side by side", text, table + "".join(commands) + html.missing(faces.report))


def _correlations(data: Dataset) -> str:
    if not isinstance(data.config, Faces):
        return ""
    values, names = drawn_faces.correlations(), drawn_faces.ATTRIBUTES
    pairs = [(i, j) for i in range(len(names)) for j in range(i) if j not in drawn_faces.mutually_exclusive(i)]
    strongest = sorted(pairs, key=lambda pair: -abs(float(values[pair])))[:NUM_CORRELATIONS]
    rows = [[names[j], names[i], html.number(float(values[i, j]), "+.2f")] for i, j in strongest]
    text = (
        "Attributes of drawn faces go together as they do in photographs. The strongest correlations in 20,000 random "
        "faces, besides those of attributes that exclude each other:"
    )
    return html.section("How the data are correlated", text, html.table(["Attribute", "with", "Correlation"], rows))


def _not_learned(faces: _Faces) -> str:
    missed = [escape(factor.name) for factor in faces.factors if not factor.learned]
    reason = f"m+ &minus; m&minus;, the difference of their mean values with and without, is below {LEARNED}"
    return f" <b>Not learned: {', '.join(missed)}</b> ({reason})." if missed else ""


def _names(faces: _Faces, factors: Sequence[int]) -> str:
    return ", ".join(faces.painter.name(factor) for factor in factors)


def _spread(factors: Sequence[int], count: int) -> list[int]:
    """`count` of them at equal distances, the first and the last included."""
    last = len(factors) - 1
    return [factors[place] for place in sorted({round(i * last / (count - 1)) for i in range(count)})]
