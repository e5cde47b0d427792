"""The report shows every figure, its numbers, the arms beside the run, and how to make those that are missing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import check_on_a_phone, images_of
from PIL import Image

import jacsup
from jacsup import recipes
from jacsup.config import Recipe
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import set_field
from jacsup.recipes import RECIPES, with_arm
from jacsup.report import write_report
from jacsup.report.sheets import block
from jacsup.report.siblings import find_siblings, missing_arms
from jacsup.run import Run

DEBUG = RECIPES["debug"]


@pytest.fixture(scope="module")
def debug_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The debug recipe with its plain arm beside it."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JACSUP_CACHE", str(folder / "cache"))
        run = jacsup.train(DEBUG, out=folder / "debug")
        jacsup.train(with_arm(DEBUG, "plain"), out=folder / "debug-plain")
    return run


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset(DEBUG.data)


def some_metrics() -> Any:
    stage = {
        "mse": 0.0123,
        "psnr": 19.1,
        "ssim": 0.71,
        "code_size": 4,
        "num_parameters": 12345,
        "swap_classifier": 0.512,
        "swap_label": 0.498,
        "classifier_accuracy": 0.953,
        "jacobian_error": None,
    }
    return {
        **stage,
        "prefix_mse": [0.07, 0.05, 0.03, 0.02, 0.0123],
        "drop_per_unit": [0.02, 0.02, 0.01, 0.0077],
        "energy_per_unit": [90.0, 70.0, 2.0, 1.0],
        "stages": [{"name": f"units-{units}", **stage} for units in (2, 3, 4)],
    }


def commands_of(page: Path) -> list[str]:
    return [unescape(text) for text in re.findall(r"<pre><code>(.*?)</code></pre>", page.read_text(), re.DOTALL)]


def start(folder: Path, recipe: Recipe) -> Run:
    run = Run(folder)
    run.write_recipe(recipe)
    return run


def test_every_figure_is_drawn_and_shown(debug_run: Path, data: Dataset) -> None:
    page = write_report(debug_run, data, some_metrics())
    assert page == debug_run / "report" / "index.html"
    names = {
        "figure-1a.png",
        "figure-1b.png",
        "figure-1c-plain.png",
        "figure-1d.png",
        "figure-2a.png",
        "figure-2b.png",
        "reconstructions.png",
        "order.png",
    }
    assert images_of(page) == names == {path.name for path in page.parent.glob("*.png")}
    assert page.read_text().count("<img") == len(names)
    for name in names:
        with Image.open(page.parent / name) as image:
            assert image.size[0] <= 1600
            assert np.asarray(image.convert("L")).std() > 20


def test_the_headline_has_the_key_numbers(debug_run: Path, data: Dataset) -> None:
    text = write_report(debug_run, data, some_metrics()).read_text()
    for number in ("0.0123", "19.10 dB", "0.710", "51.2%", "49.8%", "95.3%", "12,345"):
        assert f"<dd>{number}</dd>" in text
    assert "Unfinished" not in text
    assert "jacsup evaluate" not in text


def test_without_metrics_the_page_names_the_command_that_computes_them(debug_run: Path, data: Dataset) -> None:
    page = write_report(debug_run, data, None)
    assert f"jacsup evaluate {debug_run}" in commands_of(page)
    assert "order.png" not in images_of(page)
    assert "100.0%" in page.read_text()


def test_metrics_that_could_not_be_measured_are_left_out(debug_run: Path, data: Dataset) -> None:
    metrics: Any = dict.fromkeys(some_metrics()) | {"mse": 0.5}
    text = write_report(debug_run, data, metrics).read_text()
    assert "<dd>0.5000</dd>" in text
    assert "None" not in text
    assert "judge" not in text


def test_a_missing_arm_comes_with_its_command_and_a_present_one_with_its_numbers(
    debug_run: Path, data: Dataset
) -> None:
    page = write_report(debug_run, data, some_metrics())
    assert commands_of(page) == [
        f"jacsup train debug --arm {arm} --out {debug_run.parent / f'debug-{arm}'}"
        for arm in ("plain-jump", "residual", "exact")
    ]
    last = Run(debug_run.parent / "debug-plain").stats()[-1]
    assert (
        f"<td>plain (debug-plain)</td><td>3 of 3 stages</td><td>4</td><td>{last['test_mse']:.4f}</td>"
        in page.read_text()
    )


def test_an_arm_finds_the_run_that_it_is_compared_with(debug_run: Path, data: Dataset) -> None:
    page = write_report(debug_run.parent / "debug-plain", data, None)
    assert "figure-1c-jacobian.png" in images_of(page)
    assert "Jacobian supervision (debug)" in page.read_text()


def test_an_unfinished_run_says_how_far_it_is(debug_run: Path, data: Dataset, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(debug_run, tmp_path / "debug")))
    shutil.rmtree(run.stage_file(2).parent)
    page = write_report(run.path, data, None)
    assert "Unfinished: 2 of 3 stages." in page.read_text()
    shutil.rmtree(run.stage_file(1).parent)
    page = write_report(run.path, data, None)
    assert images_of(page) == {"figure-1a.png", "figure-1d.png", "reconstructions.png"}
    shutil.rmtree(run.stage_file(0).parent)
    with pytest.raises(ValueError, match="no finished stage"):
        write_report(run.path, data, None)


def test_names_are_escaped(debug_run: Path, data: Dataset, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(debug_run, tmp_path / "<u>&"))
    page = write_report(folder, data, None)
    assert "<u>" not in page.read_text()
    assert "<title>&lt;u&gt;&amp;: report</title>" in page.read_text()
    assert shlex.join(["jacsup", "evaluate", str(folder)]) in commands_of(page)


def test_colour_images_without_labels_make_a_report(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60, 130, 3), dtype=np.uint8)
    data = Dataset.from_arrays(pixels)
    recipe = set_field(set_field(DEBUG, "stages.epochs", 1), "stages.batch_size", 16)
    run = jacsup.train(recipe, data, tmp_path / "mine")
    page = write_report(run, data, None)
    assert len(images_of(page)) == 6
    assert "Swap" not in page.read_text()
    python = f"jacsup.train(jacsup.recipes.with_arm(recipe, 'plain'), data, out={str(tmp_path / 'mine-plain')!r})"
    assert python in commands_of(page)


@pytest.mark.parametrize(("channels", "side", "shown_side"), [(1, 8, 80), (3, 28, 84), (4, 64, 64), (1, 256, 84)])
def test_tiles_are_enlarged_by_whole_factors_and_shrunk_to_fit(channels: int, side: int, shown_side: int) -> None:
    tiles = torch.rand(2, 3, channels, side, side)
    shown_block = block(tiles, tile=84)
    assert shown_block.shape == (2 * shown_side + 3, 3 * shown_side + 6, max(3, channels))
    if shown_side >= side:
        times = shown_side // side
        shown = shown_block[shown_side + 3 :: times, :shown_side:times][:side]
        expected = tiles[1, 0].permute(1, 2, 0).mul(255).round().to(torch.uint8).expand(-1, -1, max(3, channels))
        assert np.array_equal(shown, expected.numpy())


@pytest.mark.parametrize(
    "changed",
    [
        DEBUG,
        replace(DEBUG, seed=3),
        set_field(DEBUG, "stages.epochs", 2),
        set_field(DEBUG, "stages.weights.y", 0.5),
        replace(DEBUG, name="of-my-own"),
    ],
)
def test_the_command_of_a_missing_arm_trains_exactly_that_arm(changed: Recipe, tmp_path: Path) -> None:
    run = start(tmp_path / "runs" / "mine", changed)
    (tmp_path / "runs" / "mine" / "run.json").write_text(json.dumps({"sessions": [{"data_root": "/some where"}]}))
    commands = missing_arms(run, find_siblings(run))
    assert set(commands) == set(recipes.ARMS)
    program, train, name, *words = shlex.split(commands["plain"])
    options = dict(zip(words[::2], words[1::2], strict=True))
    recipe = replace(recipes.find(name), seed=int(options.pop("--seed", changed.seed)))
    recipe = set_field(recipe, "stages.epochs", int(options.pop("--epochs", recipe.stages[0].epochs)))
    assert (program, train) == ("jacsup", "train")
    assert with_arm(recipe, options.pop("--arm")) == with_arm(changed, "plain")
    assert options == {"--data-root": "/some where", "--out": str(tmp_path / "runs" / "mine-plain")}


def test_the_command_for_photographs_needs_no_checksum(tmp_path: Path) -> None:
    photos = RECIPES["celeba64"]
    run = start(tmp_path / "celeba64", replace(photos, data=replace(photos.data, sha256="0" * 64)))
    assert missing_arms(run, {})["plain"].startswith("jacsup train celeba64 --arm plain --out")


def test_the_command_needs_no_out_in_the_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = start(Path("runs", "debug-s1").resolve(), replace(DEBUG, seed=1))
    assert missing_arms(run, {})["plain"] == "jacsup train debug --seed 1 --arm plain"


def test_an_arm_names_the_command_of_its_own_baseline(tmp_path: Path) -> None:
    run = start(tmp_path / "debug-plain", with_arm(DEBUG, "plain"))
    assert missing_arms(run, {})[""] == f"jacsup train debug --out {tmp_path / 'debug'}"
    run = start(tmp_path / "mine-plain", with_arm(replace(DEBUG, name="of-my-own"), "plain"))
    assert missing_arms(run, {}) == {}


def test_only_runs_with_the_same_first_teacher_are_siblings(tmp_path: Path) -> None:
    run = start(tmp_path / "debug", DEBUG)
    plain = start(tmp_path / "debug-plain", with_arm(DEBUG, "plain"))
    start(tmp_path / "seed", with_arm(replace(DEBUG, seed=1), "plain-jump"))
    start(tmp_path / "longer", with_arm(set_field(DEBUG, "stages.0.epochs", 9), "plain-jump"))
    start(tmp_path / "named", with_arm(replace(DEBUG, name="other"), "plain-jump"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.json").write_text("{")
    assert find_siblings(run) == {"plain": plain}
    assert find_siblings(plain) == {"": run}


@pytest.mark.browser
def test_a_browser_shows_the_page_offline_and_on_a_phone(debug_run: Path, data: Dataset) -> None:
    check_on_a_phone(write_report(debug_run, data, some_metrics()))
