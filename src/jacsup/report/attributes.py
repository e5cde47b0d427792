"""The report of a run whose factors are attributes: its edits, its scores and the arms beside it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from jacsup.atomic import write_atomically
from jacsup.config import Faces
from jacsup.data import spec_of
from jacsup.data.dataset import Dataset, Split, rare_attributes
from jacsup.data.drawn import faces as drawn_faces
from jacsup.evaluate import current_metrics
from jacsup.metrics.attributes import NUM_EDITED_IMAGES, RELIABLE_AUC
from jacsup.metrics.table import attribute_scores, stage_scores
from jacsup.models import LEARNED, Factor, load, load_info, num_parameters
from jacsup.report import attribute_plots, html
from jacsup.report.attribute_plots import Painter, spread
from jacsup.report.html import Report
from jacsup.report.sheets import MINUS
from jacsup.report.siblings import arm_label, last_lines, progress, stage_letter
from jacsup.report.unit_plots import draw_curves

# Number of faces on the sheets of figure 4, and on the sheet that compares models.
NUM_FACES = 8
NUM_COMPARED = 3
# Number of attributes on the sheets of strengths, of models and of truths.
NUM_SWEPT = 6
NUM_EDITS = 6
NUM_TRUTHS = 8
ROWS_ON_SHEET = 20
NUM_CORRELATIONS = 12
ALL_ATTRIBUTES = "attributes.csv"
# The most attributes that the page shows; all are in a separate table.
MOST_SHOWN = 40
MOST_NAMED = 20

EDIT_ACCURACIES = ("accuracy 1", "accuracy 2", "accuracy 4")
SCORE_COLUMNS = html.columns_of(
    "psnr",
    "ssim",
    *EDIT_ACCURACIES,
    "preservation_error 0",
    "preservation_error 2",
    "accuracy_at_equal_disturbance",
    "pasted_at_equal_disturbance",
    "change_outside",
    "jacobian_error",
    "counterfactual_gain",
)
ATTRIBUTE_COLUMNS = (
    (f"m+ {MINUS} m{MINUS}", "distance", ".2f"),
    *html.columns_of(
        "classifier_auc",
        *EDIT_ACCURACIES,
        "preservation_error 2",
        "pasted_at_equal_disturbance",
        "change_outside",
        "counterfactual_gain",
    ),
)
TEST_COLUMNS = html.columns_of("test_mse", "test_edit", "test_jacobian")


@dataclass(frozen=True)
class _Faces:
    """The data of the page's sections.

    Attributes:
        shown: The test faces of the figures.
        factors: The attributes, from the best learned to the worst.
        measured: The scores of each attribute, by its name.
        judged: The scores of each arm's stages, by arm.
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
        """Columns of the learned attributes, from the best to the worst."""
        columns = {attribute.name: column for column, attribute in enumerate(self.data.attributes)}
        return [columns[factor.name] for factor in self.factors if factor.learned]


def write_attributes_report(report: Report, newest: Path, data: Dataset) -> None:
    """Draw the figures of a run that learned attributes and write the page that shows them.

    Args:
        report: The run's report.
        newest: The model file of the run's newest finished stage.
        data: The run's data set.
    """
    metrics = {arm: current_metrics(run) for arm, run in report.siblings.items()}
    measured = attribute_scores(report.metrics)
    faces = _Faces(
        report,
        data,
        data.test.first(NUM_FACES).to("cpu"),
        Painter.of(newest, data.attributes),
        sorted(load_info(newest).factors, key=lambda each: rank(each, measured.get(each.name, {})), reverse=True),
        measured,
        {
            arm: stage_scores(each.get("stages", []) if each else [])
            for arm, each in {report.run.recipe.arm: report.metrics, **metrics}.items()
        },
    )
    sections = [_headline(faces), _tradeoff(faces), _curves(faces)]
    if faces.learned:
        sections += [_sheets(faces), _sweep(faces), _models(faces), _truths(faces)]
    html.write_page(report, [*sections, _attributes(faces), _stages(faces), _arms(faces), _correlations(data)])


def rank(factor: Factor, measured: dict[str, Any]) -> tuple[bool, float, float, float]:
    """Return a sort key that is higher for better attributes: learned, then gain, accuracy and m+ - m-.

    Args:
        factor: An attribute.
        measured: The attribute's scores; empty if they were not measured.
    """
    known = measured.get("counterfactual_gain"), measured.get("accuracy 2"), distance(factor)
    gain, accuracy, apart = (-math.inf if value is None or math.isnan(value) else value for value in known)
    return factor.learned, gain, accuracy, apart


def distance(factor: Factor) -> float:
    """Return m+ - m- of an attribute; nan if all training images have it or none has."""
    assert factor.m_minus is not None and factor.m_plus is not None
    return factor.m_plus - factor.m_minus


def _headline(faces: _Faces) -> str:
    metrics, model = faces.report.metrics, faces.painter.model
    newest = (faces.judged[faces.report.run.recipe.arm] or [{}])[-1]
    sizes = {"code_size": model.code_size, "num_parameters": num_parameters(model)}
    edits = ("accuracy 2", "preservation_error 2", "preservation_error 0")
    tiles = {
        **html.tiles_of({**newest, **metrics}, "psnr", "ssim", *edits, "counterfactual_gain"),
        "attributes learned": f"{len(faces.learned)} of {len(faces.factors)}",
        **html.tiles_of({**metrics, **sizes}, "classifier_accuracy", *sizes),
    }
    closing = (
        f"<p>Every attribute of up to {NUM_EDITED_IMAGES:,} test faces is flipped. Strength 1 is a typical face with "
        "the attribute, &minus;1 one without it, and 2 is twice as far from the middle. Edit accuracy: how often the "
        "judge then sees the attribute flipped. Preservation error: how often its verdict on another attribute "
        "changes; at strength 0, how often reconstruction alone changes it. Both are means over the attributes that "
        f"the judge recognises reliably (AUC of at least {RELIABLE_AUC})."
    )
    if metrics.get("counterfactual_gain") is not None:
        closing += (
            " Counterfactual gain, at strength 1: 1 is exactly the change of a new drawing with the attribute flipped, "
            "0 is no change."
        )
    return html.headline(faces.report, tiles, f"{closing}</p>\n")


def _tradeoff(faces: _Faces) -> str:
    judged = {arm: stages for arm, stages in faces.judged.items() if stages}
    if not any(stage.get("accuracy 2") is not None for stages in judged.values() for stage in stages):
        return ""
    attribute_plots.draw_tradeoff(faces.report.folder / "tradeoff.png", judged)
    text = (
        "One point for each stage; letters mark the stages of this run. Higher is better control, further right is "
        "better reconstruction; the method aims at both. " + _letters(faces)
    )
    alt = "Edit accuracy of each stage against its PSNR, a line for each arm"
    return html.section("Reconstruction against control", text, html.figure("tradeoff.png", alt, css="narrow"))


def _curves(faces: _Faces) -> str:
    if not faces.report.run.stats():
        return ""
    draw_curves(faces.report.folder / "figure-3b.png", list(faces.report.runs.values()))
    text = (
        "Measured after each epoch on the first 2,000 test images; edit accuracy at strength 2 on a few of them. "
        "Vertical bars mark the start of this run's stages; they are dotted if the code keeps its size. The "
        "Jacobian loss (eq. 9) is measured against each stage's own teacher. " + _letters(faces)
    )
    alt = "Curves of test error, edit accuracy and Jacobian loss over the epochs of all stages"
    return html.section("Figure 3 (b): while the code grows", text, html.figure("figure-3b.png", alt, css="narrow"))


def _letters(faces: _Faces) -> str:
    names = [escape(stage.name.replace("-", "\N{NON-BREAKING HYPHEN}")) for stage in faces.report.run.recipe.stages]
    return "; ".join(f"{stage_letter(number)}: {name}" for number, name in enumerate(names)) + "."


def _sheets(faces: _Faces) -> str:
    learned, parts = faces.learned[:MOST_SHOWN], []
    count = -(-len(learned) // ROWS_ON_SHEET)
    rows = -(-len(learned) // count)
    for number in range(count):
        file, some = f"figure-4{chr(ord('a') + number)}.png", learned[number * rows : (number + 1) * rows]
        attribute_plots.draw_attributes(faces.report.folder / file, faces.painter, some, faces.shown)
        parts.append(html.figure(file, f"Test faces with attributes flipped: {_names(faces, some)}"))
    text = (
        f"{_which(faces)}, from the best to the worst, set to strength 2 on test faces, or to &minus;2 (marked "
        f"by a minus sign) on faces that have it.{_not_learned(faces)}"
    )
    return html.section("Figure 4: attributes edited", text, html.grid(parts) if count > 1 else parts[0])


def _sweep(faces: _Faces) -> str:
    some = faces.learned[:NUM_SWEPT]
    attribute_plots.draw_sweep(faces.report.folder / "strengths.png", faces.painter, some, faces.shown.images)
    text = (
        "The best learned attributes at strengths &minus;3 to 3: &minus;1 is a typical face without the attribute, 1 "
        "is one with it."
    )
    alt = f"Test faces at seven strengths of one attribute each: {_names(faces, some)}"
    return html.section("Strengths", text, html.figure("strengths.png", alt, css="narrow"))


def _models(faces: _Faces) -> str:
    runs, some = faces.report.runs, spread(faces.learned, NUM_EDITS)
    files = {arm_label(arm): newest for arm, run in runs.items() if (newest := run.newest_model())}
    main = runs.get("")
    last = main.finished_stages()[-1:] if main else []
    if main and last and main.recipe.stages[last[0]].is_student:
        files = {"teacher": main.stage_file(main.recipe.teacher_of(last[0])), **files}
    painters = {name: Painter.of(file, faces.data.attributes) for name, file in files.items()}
    attribute_plots.draw_models(faces.report.folder / "models.png", painters, some, faces.shown.first(NUM_COMPARED))
    text = "The same edits by each model, to strength 2, or to &minus;2 where there is a minus sign."
    alt = f"Test faces edited by {', '.join(painters)}: {_names(faces, some)}"
    return html.section("Teacher, student and arms", text, html.figure("models.png", alt, css="narrow"))


def _truths(faces: _Faces) -> str:
    config, images = faces.data.config, faces.shown.images
    counterfactual = spec_of(config).counterfactual
    if counterfactual is None:
        return ""
    some = spread(faces.learned, NUM_TRUTHS)
    gains = [faces.measured.get(faces.painter.name(factor), {}).get("counterfactual_gain") for factor in some]
    notes = ["" if gain is None else f"gain {html.number(gain, '.2f')}" for gain in gains]
    attribute_plots.draw_truth(
        faces.report.folder / "truth.png",
        faces.painter,
        some,
        notes,
        images,
        lambda factor: counterfactual(config, factor, len(images)),
    )
    text = (
        "A drawn face can be drawn again with one attribute flipped, which is the true result of an edit to strength 1 "
        "or &minus;1. Attributes are ordered from the best to the worst; grey is no change."
    )
    alt = f"Drawn faces, their true counterfactuals and the model's edits: {_names(faces, some)}"
    return html.section("Against the truth", text, html.figure("truth.png", alt, css="narrow"))


def _attributes(faces: _Faces) -> str:
    rows = []
    for factor in faces.factors:
        values = {"distance": distance(factor), **faces.measured.get(factor.name, {})}
        learned = "yes" if factor.learned else "not learned"
        rows.append([factor.name, learned, *html.cells(values, ATTRIBUTE_COLUMNS)])
    titles, more = ["Attribute", "Learned", *html.titles(ATTRIBUTE_COLUMNS)], ""
    if len(rows) > MOST_SHOWN:
        _write_csv(faces.report.folder / ALL_ATTRIBUTES, titles, rows)
        more = f' These are the first {MOST_SHOWN}; <a href="{ALL_ATTRIBUTES}">all {len(rows):,}</a>.'
    text = f"Ordered from the best to the worst.{more}{_not_learned(faces)}{_rare(faces)}"
    return html.section("Attributes", text, html.table(titles, rows[:MOST_SHOWN]))


def _write_csv(path: Path, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    content = io.StringIO()
    csv.writer(content).writerows([cell.replace(MINUS, "-") for cell in row] for row in (titles, *rows))
    write_atomically(path, content.getvalue().encode("utf-8-sig"))


def _stages(faces: _Faces) -> str:
    run = faces.report.run
    judged, lines, rows = faces.judged[run.recipe.arm], run.stats(), []
    columns = SCORE_COLUMNS if judged else TEST_COLUMNS
    for number, values in zip(run.finished_stages(), judged or last_lines(run), strict=False):
        size = load(run.stage_file(number)).code_size
        minutes = sum(line["seconds"] for line in lines if line["stage"] == number) / 60
        name = f"{stage_letter(number)} {run.recipe.stages[number].name}"
        rows.append([name, f"{size:,}", *html.cells(values, columns), html.number(minutes, ".1f")])
    text = "On all test images." if judged else "On the first 2,000 test images."
    return html.section("Stages", text, html.table(["Stage", "Code", *html.titles(columns), "Minutes"], rows))


def _arms(faces: _Faces) -> str:
    runs, judged, rows = faces.report.runs, any(faces.judged.values()), []
    columns = SCORE_COLUMNS if judged else TEST_COLUMNS
    for arm, run in runs.items():
        values = (faces.judged[arm] if judged else last_lines(run)) or [{}]
        newest = run.newest_model()
        size = f"{load(newest).code_size:,}" if newest else ""
        rows.append([f"{arm_label(arm)} ({run.path.name})", progress(run), size, *html.cells(values[-1], columns)])
    text = "Runs of the same recipe, seed and teachers, at the end of the last finished stage."
    commands = [html.judge_command(run) for arm, run in runs.items() if judged and not faces.judged[arm]]
    if commands:
        commands.insert(0, "<p>Some are not judged yet. To judge them, run:</p>\n")
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
        "Attributes of drawn faces are correlated as in photographs. These are the strongest correlations in 20,000 "
        "random faces, without those of attributes that exclude each other:"
    )
    return html.section("How the data are correlated", text, html.table(["Attribute", "with", "Correlation"], rows))


def _not_learned(faces: _Faces) -> str:
    missed = [escape(factor.name) for factor in faces.factors if not factor.learned]
    reason = f"m+ &minus; m&minus;, the difference between the means of y with and without them, is below {LEARNED}"
    if len(missed) > MOST_NAMED:
        missed = [*missed[:MOST_NAMED], f"and {len(missed) - MOST_NAMED:,} more"]
    return f" <b>Not learned: {', '.join(missed)}</b> ({reason})." if missed else ""


def _rare(faces: _Faces) -> str:
    rare = [f"{escape(name)} ({count})" for name, count in rare_attributes(faces.data).items()]
    if len(rare) > MOST_NAMED:
        rare = [*rare[:MOST_NAMED], f"and {len(rare) - MOST_NAMED:,} more"]
    advice = "add images with (or without) them"
    return f" Too few training images to learn these attributes well: {', '.join(rare)}; {advice}." if rare else ""


def _which(faces: _Faces) -> str:
    count = len(faces.learned)
    return f"The best {MOST_SHOWN} of {count:,} learned attributes" if count > MOST_SHOWN else "Every learned attribute"


def _names(faces: _Faces, factors: Sequence[int]) -> str:
    return ", ".join(faces.painter.name(factor) for factor in factors)
