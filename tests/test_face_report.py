"""The report of a supervised run: its edits are those it names, and its numbers those of metrics.json."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import check_on_a_phone, images_of
from PIL import Image
from torch import Tensor

from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.config import CelebA, Conv, Faces, Recipe
from jacsup.data import load_dataset
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset, Split, rare_attributes
from jacsup.data.drawn import counterfactual, faces
from jacsup.jsonable import set_field
from jacsup.models import Factor, ModelInfo, build, load, load_info, save_model
from jacsup.recipes import RECIPES, with_arm
from jacsup.report import attribute_plots as face_figures
from jacsup.report import sheets as drawing
from jacsup.report import write_report
from jacsup.report.attribute_plots import Painter
from jacsup.report.sheets import MINUS, Group
from jacsup.report.siblings import find_siblings
from jacsup.run import Run

DRAWN = Faces(size=32, num_images=100)
SMALL = replace(set_field(RECIPES["faces-mini"], "stages.epochs", 2), data=DRAWN, model=Conv(channels=(4, 8)))
PHOTOS = replace(SMALL, data=CelebA(size=32))
BEST, WORST, UNLEARNED = "Smiling", "Bald", "Blurry"


@pytest.fixture(scope="module")
def drawn() -> Dataset:
    return load_dataset(DRAWN)


def photos(num_attributes: int) -> Dataset:
    """Images whose truth is unknown; one label is missing."""
    generator = torch.Generator().manual_seed(0)
    attributes = torch.randint(0, 2, (10, num_attributes), generator=generator) * 2.0 - 1
    attributes[0, 0] = torch.nan
    images = torch.randint(0, 256, (10, 3, 32, 32), dtype=torch.uint8, generator=generator)
    names = tuple(
        Attribute(name=f"An_Attribute_{i}", mutually_exclusive=("An_Attribute_1",) * (i == 0))
        for i in range(num_attributes)
    )
    return Dataset(Split(images, None, attributes), Split(images, None, attributes), PHOTOS.data, names)


def make_run(folder: Path, recipe: Recipe, data: Dataset, *, num_stages: int = 9, learned: bool = True) -> Run:
    """A run with random models; UNLEARNED or all attributes have not been learned."""
    run = Run(folder)
    run.write_recipe(recipe)
    (folder / "run.json").write_text(json.dumps({"sessions": [{"data_root": None}]}))
    for number, stage in enumerate(recipe.stages[:num_stages]):
        torch.manual_seed(number)
        model = build(recipe.model, data.image_shape, len(data.attributes), stage.z_channels, normalized=False).eval()
        factors = tuple(
            Factor(
                name=attribute.name,
                mean=0.0,
                std=1.0,
                p01=-2.0,
                p99=2.0,
                mutually_exclusive=attribute.mutually_exclusive,
                m_minus=-1 - i / 100,
                m_plus=1.0 if learned and attribute.name != UNLEARNED else -0.9 - i / 100,
            )
            for i, attribute in enumerate(data.attributes)
        )
        info = ModelInfo(factors=factors, recipe=recipe.run_name, data=recipe.data, metrics={})
        save_model(run.stage_file(number), model, info)
        for epoch in range(stage.epochs):
            line = {"stage": number, "name": stage.name, "units": 0, "epoch": epoch, "seconds": 6.0}
            line |= {"test_mse": 0.1 / (number + 1), "test_edit": 0.5 + 0.1 * epoch, "test_jacobian": 0.2}
            with open(run.stats_file, "a") as file:
                file.write(json.dumps(line) + "\n")
    return run


def some_metrics(data: Dataset, *, gain: bool) -> Any:
    names = [attribute.name for attribute in data.attributes]
    values = {name: 0.9 if name == BEST else -0.4 if name == WORST else 0.5 for name in names}
    stage = {
        "psnr": 19.123,
        "ssim": 0.711,
        "code_size": 68,
        "num_parameters": 12345,
        "jacobian_error": 0.2345,
        "edit": {
            "strengths": [0, 1, 2, 4],
            "accuracy": [0.0, 0.31, 0.522, 0.741],
            "preservation_error": [0.11, 0.08, 0.134, 0.2],
        },
        "counterfactual_gain": 0.456 if gain else None,
        "classifier_accuracy": 0.9531,
        "attributes": {
            name: {
                "accuracy": [0.0, 0.2, value, 0.8],
                "preservation_error": [0.1, 0.1, 0.123, 0.2],
                "classifier_auc": 0.96,
                **({"counterfactual_gain": value - 0.1} if gain else {}),
            }
            for name, value in values.items()
        },
    }
    return {
        **stage,
        "stages": [{"name": name, **stage, "psnr": psnr} for name, psnr in zip("ABC", (15, 16, 19.123), strict=True)],
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, drawn: Dataset) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "faces", SMALL, drawn)


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Group]]:
    """The sheets that reports would draw, by file name."""
    groups: dict[str, list[Group]] = {}
    monkeypatch.setattr(face_figures, "draw_rows", lambda path, drawn, tile: groups.update({path.name: drawn}))
    return groups


@pytest.fixture(scope="module")
def written(run: Run, drawn: Dataset) -> tuple[Path, dict[str, list[Group]]]:
    """The page of `run` with all its figures, and what its sheets show."""
    groups: dict[str, list[Group]] = {}

    def record(path: Path, drawn: list[Group], *, tile: int) -> None:
        groups[path.name] = drawn
        drawing.draw_rows(path, drawn, tile=tile)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(face_figures, "draw_rows", record)
        return write_report(run.path, drawn, some_metrics(drawn, gain=True)), groups


@cache
def loaded(folder: Path) -> tuple[Any, tuple[Factor, ...]]:
    return load(folder), load_info(folder).factors


def rows_of(page: Path, section: str) -> list[list[str]]:
    """The table of a section, its heading first."""
    text = page.read_text().split(f"<h2>{section}</h2>")[1].split("<h2>")[0]
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd]>(.*?)</t[hd]>", row)]
        for row in re.findall(r"<tr>.*?</tr>", text)
    ]


def naively_edited(run: Run, image: Tensor, factor: int, strength: float, attributes: tuple[Attribute, ...]) -> Tensor:
    """One image with one attribute at a strength, and those that it excludes at -1 where that is above 0."""
    model, factors = loaded(run.path)
    code = model.encode(to_float(image[None], model.value_range))
    y = code.y.clone()
    for column, other in enumerate(factors):
        assert other.m_minus is not None and other.m_plus is not None
        if column == factor:
            y[0, column] = (other.m_plus + other.m_minus) / 2 + strength * (other.m_plus - other.m_minus) / 2
        elif strength > 0 and other.name in attributes[factor].mutually_exclusive:
            y[0, column] = other.m_minus
    with torch.no_grad():
        return to_unit(model.decode(Code(y, code.z)), model.value_range)[0]


def test_every_figure_is_drawn_and_shown(run: Run, written: tuple[Path, dict[str, list[Group]]]) -> None:
    page, _ = written
    assert page == run.path / "report" / "index.html"
    names = {
        "tradeoff.png",
        "figure-3b.png",
        "figure-4a.png",
        "figure-4b.png",
        "strengths.png",
        "models.png",
        "truth.png",
    }
    assert images_of(page) == names == {path.name for path in page.parent.glob("*.png")}
    assert page.read_text().count("<img") == len(names)
    for name in names:
        with Image.open(page.parent / name) as image:
            assert image.size[0] <= 1600
            assert np.asarray(image.convert("L")).std() > 15


def test_figure_4_flips_every_learned_attribute(
    run: Run, drawn: Dataset, written: tuple[Path, dict[str, list[Group]]]
) -> None:
    _, sheets = written
    labels, names = drawn.test.attributes, [attribute.name for attribute in drawn.attributes]
    assert labels is not None
    shown = []
    for sheet in ("figure-4a.png", "figure-4b.png"):
        (group,) = sheets[sheet]
        assert [row.name for row in group.rows[:2]] == ["original", "reconstruction"]
        assert torch.equal(group.rows[0].tiles, to_float(drawn.test.images[:8], UNIT))
        for row in group.rows[2:]:
            factor = names.index(row.name)
            shown.append(row.name)
            assert [*row.minus] == (labels[:8, factor] > 0).tolist()
            place = len(shown) % 8
            expected = naively_edited(
                run, drawn.test.images[place], factor, -2 if row.minus[place] else 2, drawn.attributes
            )
            assert torch.allclose(row.tiles[place], expected, atol=1e-5)
    assert sorted(shown) == sorted({*names} - {UNLEARNED})
    assert (shown[0], shown[-1]) == (BEST, WORST)


def test_strengths_are_swept_on_one_face_each(
    run: Run, drawn: Dataset, written: tuple[Path, dict[str, list[Group]]]
) -> None:
    _, sheets = written
    (group,) = sheets["strengths.png"]
    assert [*group.headings] == ["original", "decoded", f"{MINUS}3", f"{MINUS}2", f"{MINUS}1", "0", "+1", "+2", "+3"]
    assert group.rows[0].name == BEST
    names = [attribute.name for attribute in drawn.attributes]
    for place, row in enumerate(group.rows):
        for column, strength in enumerate((-3, -2, -1, 0, 1, 2, 3), 2):
            image = drawn.test.images[place]
            expected = naively_edited(run, image, names.index(row.name), strength, drawn.attributes)
            assert torch.allclose(row.tiles[column], expected, atol=1e-5)


def test_the_truth_is_the_face_drawn_again(
    run: Run, drawn: Dataset, written: tuple[Path, dict[str, list[Group]]]
) -> None:
    _, sheets = written
    (group,) = sheets["truth.png"]
    assert (group.rows[0].name, group.rows[0].note) == (BEST, "gain 0.80")
    assert (group.rows[-1].name, group.rows[-1].note) == (WORST, f"gain {MINUS}0.50")
    for row in group.rows:
        factor = faces.ATTRIBUTES.index(row.name)
        truths, turned_on = counterfactual(DRAWN, factor, 8)
        original, truth, decoded, edit, true_change, change = row.tiles
        errors = [float((to_float(image, UNIT) - original).abs().sum()) for image in drawn.test.images[:8]]
        place = int(np.argmin(errors))
        assert errors[place] == 0
        assert torch.equal(truth, to_float(truths[place], UNIT))
        changes = (truths[:8].float() - drawn.test.images[:8].float()).square().sum((1, 2, 3))
        assert place == int(changes.argmax())
        strength = 1 if turned_on[place] else -1
        assert torch.allclose(
            edit, naively_edited(run, drawn.test.images[place], factor, strength, drawn.attributes), atol=1e-5
        )
        assert torch.allclose(true_change, (0.5 + truth - original).clamp(0, 1), atol=1e-5)
        assert torch.allclose(change, (0.5 + edit - decoded).clamp(0, 1), atol=1e-5)


def test_teacher_student_and_arms_make_the_same_edits(
    drawn: Dataset, tmp_path: Path, sheets: dict[str, list[Group]]
) -> None:
    run = make_run(tmp_path / "faces", SMALL, drawn)
    longer = make_run(tmp_path / "faces-longer", with_arm(SMALL, "longer"), drawn)
    make_run(tmp_path / "faces-plain", with_arm(SMALL, "plain"), drawn, num_stages=0)
    page = write_report(run.path, drawn, some_metrics(drawn, gain=True))
    groups = sheets["models.png"]
    assert len(groups) == 3
    factor = faces.ATTRIBUTES.index(BEST)
    for place, group in enumerate(groups):
        assert [row.name for row in group.rows] == ["teacher", "Jacobian supervision", "longer"]
        assert group.headings[2] == BEST
        for row, file in zip(group.rows, (run.stage_file(1), run.path, longer.path), strict=True):
            painter = Painter.of(file if file.is_file() else Run(file).stage_file(2), drawn.attributes)
            turned_on = torch.tensor([not row.minus[2]])
            expected = painter.edited(drawn.test.images[place : place + 1], factor, turned_on)
            assert torch.allclose(row.tiles[2:3], expected, atol=1e-6)
    table = rows_of(page, "Side by side")
    assert [row[:3] for row in table[1:]] == [
        ["Jacobian supervision (faces)", "3 of 3 stages", f"{load(run.path).code_size:,}"],
        ["longer (faces-longer)", "3 of 3 stages", f"{load(longer.path).code_size:,}"],
        ["plain (faces-plain)", "0 of 3 stages", "-"],
    ]
    text = unescape(page.read_text())
    assert f"jacsup evaluate {longer.path}" in text
    assert "--arm reconstruction" in text


def test_numbers_are_those_of_metrics_json(written: tuple[Path, dict[str, list[Group]]]) -> None:
    page, _ = written
    text = page.read_text()
    for number in ("19.12 dB", "0.711", "52.2%", "13.4%", "11.0%", "0.456", "35 of 36", "95.3%"):
        assert f"<dd>{number}</dd>" in text
    assert f"<b>Not learned: {UNLEARNED}</b>" in text
    attributes = rows_of(page, "Attributes")
    assert attributes[1] == [BEST, "yes", "2.28", "0.960", "20.0%", "90.0%", "80.0%", "12.3%", "0.800"]
    assert [row[:3] for row in attributes[-2:]] == [[WORST, "yes", "2.03"], [UNLEARNED, "not learned", "0.10"]]
    assert len(attributes) == 37
    stages = rows_of(page, "Stages")
    assert [row[0] for row in stages[1:]] == ["A teacher", "B teacher-cycles", "C student-1"]
    values = ["0.711", "31.0%", "52.2%", "74.1%", "11.0%", "13.4%", "0.234", "0.456", "0.2"]
    assert stages[3][2:] == ["19.12", *values]
    assert "jacsup evaluate" not in text


def test_the_strongest_correlations_are_listed(written: tuple[Path, dict[str, list[Group]]]) -> None:
    rows = rows_of(written[0], "How the data are correlated")[1:]
    values, names = faces.correlations(), faces.ATTRIBUTES
    listed = {(one, other): value for one, other, value in rows}
    smallest = min(abs(float(value.replace(MINUS, "-"))) for value in listed.values())
    for i in range(len(names)):
        for j in range(i + 1, len(names)):
            if (names[i], names[j]) in listed:
                assert listed[names[i], names[j]] == f"{float(values[i, j]):+.2f}".replace("-", MINUS)
            elif j not in faces.mutually_exclusive(i):
                assert abs(float(values[i, j])) <= smallest + 0.006


def test_without_metrics_the_page_names_the_command_that_computes_them(
    run: Run, drawn: Dataset, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run.path, tmp_path / "faces"))
    shutil.rmtree(copy / "report", ignore_errors=True)
    page = write_report(copy, drawn, None)
    assert f"jacsup evaluate {copy}" in unescape(page.read_text())
    assert "tradeoff.png" not in images_of(page)
    assert rows_of(page, "Stages")[3][2:] == ["0.0333", "60.0%", "0.2000", "0.2"]
    assert "None" not in page.read_text() and "nan" not in page.read_text()


@pytest.mark.parametrize("num_attributes", [1, 40])
def test_photographs_make_a_report_without_a_truth(num_attributes: int, tmp_path: Path) -> None:
    data = photos(num_attributes)
    run = make_run(tmp_path / "photos", PHOTOS, data)
    page = write_report(run.path, data, some_metrics(data, gain=False))
    sheets = {"figure-4a.png"} | ({"figure-4b.png"} if num_attributes > 20 else set())
    assert images_of(page) == {"tradeoff.png", "figure-3b.png", "strengths.png", "models.png"} | sheets
    text = page.read_text()
    assert not any(words in text for words in ("correlat", "Counterfactual", "Not learned"))
    assert f"<dd>{num_attributes} of {num_attributes}</dd>" in text


def test_a_run_that_learned_nothing_says_so(tmp_path: Path) -> None:
    data = photos(3)
    run = make_run(tmp_path / "photos", PHOTOS, data, learned=False)
    page = write_report(run.path, data, some_metrics(data, gain=False))
    assert images_of(page) == {"tradeoff.png", "figure-3b.png"}
    (missed,) = set(re.findall("<b>Not learned: (.*?)</b>", page.read_text()))
    assert sorted(missed.split(", ")) == ["An_Attribute_0", "An_Attribute_1", "An_Attribute_2"]


def test_what_the_judge_cannot_tell_is_left_out(tmp_path: Path, sheets: dict[str, list[Group]]) -> None:
    data = photos(3)
    metrics = some_metrics(data, gain=False)
    for stage in (metrics, *metrics["stages"]):
        stage["edit"] = {"strengths": [0, 1, 2, 4], "accuracy": [None] * 4, "preservation_error": [None] * 4}
    page = write_report(make_run(tmp_path / "photos", PHOTOS, data).path, data, metrics)
    assert "tradeoff.png" not in images_of(page)
    assert "edit accuracy at 2</dt>" not in page.read_text() and "None" not in page.read_text()


def test_an_unfinished_run_says_how_far_it_is(drawn: Dataset, tmp_path: Path, sheets: dict[str, list[Group]]) -> None:
    run = make_run(tmp_path / "faces", SMALL, drawn, num_stages=2)
    page = write_report(run.path, drawn, None)
    assert "Unfinished: 2 of 3 stages." in page.read_text()
    assert [row.name for row in sheets["models.png"][0].rows] == ["Jacobian supervision"]


def test_an_arm_finds_the_run_that_it_is_compared_with(
    drawn: Dataset, tmp_path: Path, sheets: dict[str, list[Group]]
) -> None:
    make_run(tmp_path / "faces", SMALL, drawn)
    arm = make_run(tmp_path / "faces-plain", with_arm(SMALL, "plain"), drawn)
    write_report(arm.path, drawn, None)
    assert [row.name for row in sheets["models.png"][0].rows] == ["teacher", "plain", "Jacobian supervision"]


def test_runs_of_other_kinds_beside_it_are_no_siblings(tmp_path: Path) -> None:
    runs = {name: Run(tmp_path / name) for name in ("faces", "faces-plain", "digits")}
    for run, recipe in zip(runs.values(), (SMALL, with_arm(SMALL, "plain"), RECIPES["digits"]), strict=True):
        run.write_recipe(recipe)
    assert find_siblings(runs["faces"]) == {"plain": runs["faces-plain"]}
    assert find_siblings(runs["digits"]) == {}


def test_labels_fit_beside_their_images() -> None:
    for name in (*faces.ATTRIBUTES, "Jacobian supervision", "a_column_of_ones_own", "Unbreakable" * 3):
        words, size = drawing._wrapped(name, 204, 30, bold=True)
        assert words.replace("\n", " ") == name.replace("_", " ")
        widths = [drawing._width(line, size, True) for line in words.split("\n")]
        assert max(widths) <= 204
        assert size > 25 or "Unbreakable" in name
    assert drawing._wrapped("Bags_Under_Eyes", 204, 30, bold=True) == ("Bags Under\nEyes", 30)
    assert drawing._wrapped("", 204, 30, bold=True) == ("", 30)


@pytest.mark.browser
def test_a_browser_shows_the_page_on_a_phone(written: tuple[Path, dict[str, list[Group]]]) -> None:
    page_file, _ = written
    check_on_a_phone(page_file)


def named(data: Dataset, *names: str) -> Dataset:
    attributes = [replace(attribute, name=name) for attribute, name in zip(data.attributes, names, strict=False)]
    return replace(data, attributes=(*attributes, *data.attributes[len(names) :]))


def test_names_of_attributes_are_no_markup(tmp_path: Path) -> None:
    data = named(photos(3), "Costs $_{a$", "<b>bold</b> & $x^2$", "a\\b_%s {0}")
    page = write_report(make_run(tmp_path / "run", PHOTOS, data).path, data, None).read_text("utf-8")
    assert "Costs $_{a$" in unescape(page) and "&lt;b&gt;bold&lt;/b&gt;" in page and "<b>bold" not in page


def test_letters_that_no_font_has_are_told_once(tmp_path: Path) -> None:
    data = named(photos(3), "\U000f0000\U000f0001")
    with pytest.warns(UserWarning, match="no installed font has 2 of the letters in the figures; install one") as told:
        write_report(make_run(tmp_path / "run", PHOTOS, data).path, data, None)
    assert len(told) == 1


def test_of_many_attributes_the_best_are_shown(tmp_path: Path, sheets: dict[str, list[Group]]) -> None:
    data = photos(100)
    page = write_report(make_run(tmp_path / "run", PHOTOS, data).path, data, None)
    assert len(rows_of(page, "Attributes")) == 1 + 40
    assert "The best 40 of 100 learned attributes" in page.read_text("utf-8")
    assert '<a href="attributes.csv">all 100</a>' in page.read_text("utf-8")
    rows = (page.parent / "attributes.csv").read_text("utf-8-sig").splitlines()
    assert len(rows) == 101 and rows[0].startswith("Attribute,Learned,m+ - m-")
    drawn = {row.name for name, groups in sheets.items() if name.startswith("figure-4") for row in groups[0].rows}
    assert len(drawn) == 2 + 40


def test_attributes_on_few_images_are_named(tmp_path: Path, drawn: Dataset, sheets: dict[str, list[Group]]) -> None:
    assert sheets == {}
    page = write_report(make_run(tmp_path / "few", PHOTOS, photos(2)).path, photos(2), None).read_text("utf-8")
    assert "Too few training images to learn these attributes well: An_Attribute_" in page
    half = torch.ones(len(drawn.train), 1).index_fill(0, torch.arange(40), -1.0)
    data = replace(drawn, train=Split(drawn.train.images, None, half), attributes=drawn.attributes[:1])
    assert rare_attributes(data) == {drawn.attributes[0].name: 40}
    many = replace(data, train=Split(drawn.train.images.repeat(2, 1, 1, 1), None, half.repeat(2, 1)))
    assert rare_attributes(many) == {}
