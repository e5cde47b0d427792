"""Peers do what their papers say, and meet us on equal terms."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from small_faces import small_faces

from jacsup.baselines import compare, pca_autoencoder
from jacsup.baselines import variational as variational_module
from jacsup.baselines.compare import COMPARISONS, Comparison, all_results, recipe_of, run_comparison
from jacsup.baselines.fit import fit
from jacsup.baselines.frontier import points, write_comparison
from jacsup.baselines.methods import ATTRIBUTE_METHODS, METHODS, Arm, variational
from jacsup.baselines.pca import train_pca
from jacsup.baselines.pca_autoencoder import train_pca_autoencoder
from jacsup.baselines.variational import KINDS, train_variational
from jacsup.cli import main as cli
from jacsup.code import UNIT, to_float
from jacsup.config import Conv, Digits, Recipe, Sprites
from jacsup.curricula import split_epochs
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset, Split
from jacsup.data.draws import batch_order, kept_mask
from jacsup.jsonable import set_field
from jacsup.metrics.images import encode_all, mse, reconstruct
from jacsup.models import Model
from jacsup.objectives import Batch, nested
from jacsup.recipes import RECIPES
from jacsup.run import Run
from jacsup.training.loop import DivergedError
from jacsup.training.step import learning_rate

SHORT = Comparison(recipe=RECIPES["digits"], codes=(2, 3), epochs=4, seeds=(0, 1))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(Digits())


@pytest.fixture(scope="module")
def few(digits: Dataset) -> Dataset:
    return Dataset(digits.train.first(256), digits.test.first(100), Digits())


def single(method: str, num_units: int = 3, epochs: int = 30) -> Recipe:
    return recipe_of(replace(SHORT, epochs=epochs), method, num_units, 0)


def trained(method: str, data: Dataset, recipe: Recipe) -> Model:
    training = METHODS[method].training
    assert callable(training)
    return training(data, recipe)


def error(model: Model, data: Dataset) -> float:
    return mse(reconstruct(model, data.test.images), data.test.images)


def mean_error(data: Dataset) -> float:
    """What a code without any information would leave."""
    pixels = to_float(data.train.images, UNIT).mean(dim=0)
    return float((to_float(data.test.images, UNIT) - pixels).square().mean())


def test_pca_is_scikit_learns(digits: Dataset) -> None:
    model = train_pca(digits, single("pca", 5))
    pixels = to_float(digits.test.images, UNIT).flatten(1).numpy()
    solved = PCA(5, random_state=0).fit(to_float(digits.train.images, UNIT).flatten(1).numpy())
    expected = solved.transform(pixels)
    assert np.allclose(encode_all(model, digits.test.images).numpy(), expected, atol=1e-4)
    assert np.allclose(
        reconstruct(model, digits.test.images).flatten(1).numpy(),
        solved.inverse_transform(expected).clip(0, 1),
        atol=1e-4,
    )


def test_units_of_a_pca_autoencoder_come_one_by_one_and_hardly_covary(digits: Dataset) -> None:
    model = train_pca_autoencoder(digits, single("pca-autoencoder"))
    units = encode_all(model, digits.train.images)
    correlation = units.T.corrcoef()
    assert units.shape == (1500, 3)
    assert correlation.triu(diagonal=1).abs().max() < 0.35
    assert error(model, digits) < 0.85 * mean_error(digits)
    # The first unit was frozen: it is what a run of one unit learns.
    first = train_pca_autoencoder(digits, single("pca-autoencoder", 2, epochs=20))
    assert torch.allclose(encode_all(first, digits.train.images)[:, :1], units[:, :1], atol=1e-5)


def test_the_covariance_penalty_is_felt(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def correlation() -> float:
        units = encode_all(train_pca_autoencoder(digits, single("pca-autoencoder", 2, epochs=16)), digits.train.images)
        return abs(float(units.T.corrcoef()[0, 1]))

    monkeypatch.setattr(pca_autoencoder, "COVARIANCE_WEIGHT", 0.0)
    free = correlation()
    monkeypatch.setattr(pca_autoencoder, "COVARIANCE_WEIGHT", 1.0)
    assert correlation() < min(0.1, free)


@pytest.mark.parametrize("kind", KINDS)
def test_variational_autoencoders_learn(digits: Dataset, kind: str) -> None:
    # On 64 pixels the prior outweighs them and nothing is learned for long.
    large = [split.images.repeat_interleave(3, 2).repeat_interleave(3, 3) for split in (digits.train, digits.test)]
    data = Dataset(Split(large[0]), Split(large[1]), Digits())
    model = train_variational(kind, dict.fromkeys(METHODS[kind].settings, 1.0), data, single(kind, epochs=6))
    assert not model.training
    assert encode_all(model, data.test.images).shape == (297, 3)
    assert error(model, data) < 0.9 * mean_error(data)


def test_more_weight_on_the_prior_costs_reconstruction(digits: Dataset) -> None:
    plain, strict = (trained(kind, digits, single(kind, epochs=15)) for kind in ("vae", "beta-vae"))
    assert error(plain, digits) < error(strict, digits)


def test_convolutional_peers_have_the_same_interface() -> None:
    data = load_dataset(Sprites(num_train=128))
    base = replace(RECIPES["sprites"], data=Sprites(num_train=128), model=Conv(channels=(4, 4)))
    stage = replace(base.stages[0], num_units=2, epochs=2)
    recipe = replace(base, stages=(stage,))
    for method in ("pca", "pca-autoencoder", "vae"):
        assert encode_all(trained(method, data, recipe), data.test.images[:7]).shape == (7, 2)


def test_nested_dropout_cuts_each_code_somewhere() -> None:
    where = {"seed": 1, "stage": 0, "epoch": 3}
    kept = kept_mask(6400, 64, 4, **where)
    assert kept.shape == (100, 64, 4) and kept.equal(kept_mask(6400, 64, 4, **where))
    lengths = kept.sum(dim=2).flatten()
    assert kept.equal(torch.arange(4) < kept.sum(dim=2, keepdim=True))
    assert (lengths.bincount()[1:] / len(lengths)).tolist() == pytest.approx([0.25] * 4, abs=0.02)


def test_nested_dropout_is_eq_8_of_cut_codes() -> None:
    from known_models import SHAPE, random_model

    model, x = random_model(3), torch.rand(4, *SHAPE)
    kept = torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    code = model.encode(x)
    found = nested().losses(model, Batch(x, kept=kept), code)["rec"]
    expected = 0.0
    for image, units, length in zip(x, code.units, (1, 2, 3, 1), strict=True):
        cut = torch.cat([units[:length], torch.zeros(3 - length)])
        expected += (model.decoder(cut[None])[0] - image.flatten()).square().mean().item() / 4
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)


def test_epochs_are_shared_out() -> None:
    assert split_epochs(30, 15) == [2] * 15
    assert split_epochs(30, 7) == [5, 5, 4, 4, 4, 4, 4]
    with pytest.raises(ValueError, match="it must be at least 3"):
        split_epochs(2, 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["digits", "mnist", "sprites"])
def test_no_method_gets_more_than_another(name: str, method: str) -> None:
    comparison = COMPARISONS[name]
    for num_units in comparison.codes:
        recipe = recipe_of(comparison, method, num_units, 2)
        assert sum(stage.epochs for stage in recipe.stages) == comparison.epochs
        assert recipe.stages[-1].num_units == num_units and recipe.seed == 2
        assert {stage.adam for stage in recipe.stages} == {comparison.recipe.stages[0].adam}
        assert recipe.model == comparison.recipe.model


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, few: Dataset) -> tuple[Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("compare")
    return out, list(run_comparison(SHORT, few, out, list(METHODS)))


def test_every_method_is_measured_and_kept(
    compared: tuple[Path, list[dict[str, Any]]], few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, results = compared
    assert len(results) == len(METHODS) * 2 * 2
    assert {(result["method"], result["code_size"], result["seed"]) for result in results} == {
        (method, units, seed) for method in METHODS for units in (2, 3) for seed in (0, 1)
    }
    for result in results:
        assert 0 < result["mse"] < 0.3 and 0 <= result["swap_classifier"] <= 1 and result["core_seconds"] >= 0
        assert result["images_seen"] == (256 if result["method"] == "pca" else 4 * 256)
    assert points(all_results(SHORT, few, out)) == points(results)
    monkeypatch.setattr(compare, "_scores", lambda *_: pytest.fail("a result was made again"))
    assert list(run_comparison(SHORT, few, out, list(METHODS))) == results


def test_other_data_of_the_same_config_are_measured_anew(few: Dataset, digits: Dataset, tmp_path: Path) -> None:
    comparison = replace(SHORT, codes=(2,), seeds=(0,))
    first, other = (list(run_comparison(comparison, data, tmp_path, ["pca"])) for data in (few, digits))
    assert first[0]["mse"] != other[0]["mse"]
    assert list(run_comparison(comparison, few, tmp_path, ["pca"])) == first


def test_a_result_that_one_seed_lacks_is_left_out() -> None:
    results = [
        {"method": "pca", "code_size": 2, "seed": seed, "mse": 0.1, "irs": irs} for seed, irs in ((0, 1.0), (1, None))
    ]
    assert set(points(results)[0].scores) == {"mse"}


def test_a_peer_that_diverges_stops_with_its_name(digits: Dataset) -> None:
    recipe = set_field(single("vae", epochs=1), "stages.adam.lr", 1e30)
    with pytest.raises(RuntimeError, match="vae failed in epoch 1"):
        trained("vae", digits, recipe)
    recipe = set_field(single("pca-autoencoder", epochs=3), "stages.adam.lr", 1e30)
    with pytest.raises(RuntimeError, match="failed in epoch 1: its loss is"):
        train_pca_autoencoder(digits, recipe)


def test_all_that_decides_a_result_is_in_its_name(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def name(method: str, data: Dataset = few) -> str:
        recipe = recipe_of(SHORT, method, 3, 0)
        return compare._folder_name(METHODS[method], 3, recipe, data, compare.fingerprint_of(data))

    split = few.train
    assert split.labels is not None
    relabelled = replace(few, train=replace(split, labels=split.labels.flip(0)))
    assert name("pca") == name("pca") != name("pca", relabelled)
    assert name("pca") != name("pca", replace(few, config=Sprites()))
    before = {method: name(method) for method in ("beta-vae", "pca-autoencoder", "autoencoder")}
    monkeypatch.setitem(METHODS, "beta-vae", variational("beta-vae", "beta-VAE", beta=5.0))
    monkeypatch.setitem(METHODS, "pca-autoencoder", replace(METHODS["pca-autoencoder"], settings=0.5))
    assert [method for method, old in before.items() if name(method) != old] == ["beta-vae", "pca-autoencoder"]


# Of results of version 0.1: none of these names may change.
NAMES = {
    ("digits", "jacobian"): "jacobian-2-s0-dd5f6f6e",
    ("digits", "plain"): "plain-2-s0-180e468f",
    ("digits", "autoencoder"): "autoencoder-2-s0-383608fc",
    ("digits", "nested-dropout"): "nested-dropout-2-s0-be7ae9ce",
    ("digits", "pca-autoencoder"): "pca-autoencoder-2-s0-9d6f5915",
    ("digits", "pca"): "pca-2-s0-a23e3690",
    ("digits", "vae"): "vae-2-s0-64bdc1ae",
    ("digits", "beta-vae"): "beta-vae-2-s0-7da8cee6",
    ("digits", "factor-vae"): "factor-vae-2-s0-ff8755c3",
    ("digits", "beta-tcvae"): "beta-tcvae-2-s0-79e3adbe",
    ("mnist", "jacobian"): "jacobian-2-s0-9f19598f",
    ("sprites", "factor-vae"): "factor-vae-10-s0-8d71c1c7",
    ("sprites", "jacobian"): "jacobian-10-s0-4a0c5947",
    ("sprites", "plain"): "plain-10-s0-cbe4b082",
    ("faces", "jacobian"): "jacobian-s0-6e832060",
    ("faces", "plain"): "plain-s0-1de522bd",
    ("faces", "reconstruction"): "reconstruction-s0-f9efb2c4",
    ("faces", "longer"): "longer-s0-2e5b82b5",
    ("faces", "fader"): "fader-s0-c9c582ca",
    ("celeba64", "jacobian"): "jacobian-s0-b1372c3f",
    ("celeba64", "fader"): "fader-s0-3723ebbe",
}


@pytest.mark.parametrize(("name", "method"), NAMES)
def test_results_keep_the_names_of_their_folders(name: str, method: str, few: Dataset) -> None:
    comparison = COMPARISONS[name]
    num_units = comparison.codes[0] if comparison.codes else 0
    recipe = recipe_of(comparison, method, num_units, 0)
    found = compare._folder_name(comparison.methods[method], num_units, recipe, few, fingerprint="f")
    assert found == NAMES[name, method]


def test_results_under_their_old_name_are_read(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = replace(SHORT, codes=(2,), seeds=(0,))
    results = list(run_comparison(comparison, few, tmp_path, ["pca"]))
    (file,) = tmp_path.glob("*/scores.json")
    file.rename(file.with_name("figures.json"))
    monkeypatch.setattr(compare, "_scores", lambda *_: pytest.fail("a result was computed again"))
    assert list(run_comparison(comparison, few, tmp_path, ["pca"])) == results
    assert all_results(comparison, few, tmp_path) == results


@pytest.mark.parametrize("method", [key for key, method in METHODS.items() if callable(method.training)])
def test_training_a_peer_leaves_the_callers_random_state_alone(few: Dataset, method: str) -> None:
    torch.manual_seed(99)
    before = torch.get_rng_state()
    trained(method, few, single(method, epochs=3))
    assert torch.get_rng_state().equal(before)


def test_core_seconds_and_order_are_passed_on(few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = list[bool]()

    def judge(*_: object, ordered: bool) -> dict[str, float]:
        judged.append(ordered)
        return {"code_size": 2, "mse": 0.1}

    def busy(data: Dataset, recipe: Recipe) -> Model:
        end = time.process_time() + 0.15
        while time.process_time() < end:
            pass
        return train_pca(data, recipe)

    monkeypatch.setattr(compare, "judge_units", judge)
    for method in ("vae", "pca"):
        monkeypatch.setitem(METHODS, method, replace(METHODS[method], training=busy))
    results = list(run_comparison(replace(SHORT, codes=(2,), seeds=(0,)), few, tmp_path, ["pca", "vae"]))
    assert all(0.1 < result["core_seconds"] < 5 for result in results) and judged == [True, False]


def test_one_that_fails_keeps_nobody_waiting(
    few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverges(_data: Dataset, _recipe: Recipe) -> Model:
        raise DivergedError("vae failed in epoch 1: its loss is nan")

    comparison = replace(SHORT, codes=(2,), seeds=(0,))
    monkeypatch.setitem(METHODS, "vae", replace(METHODS["vae"], training=diverges))
    measured = run_comparison(comparison, few, tmp_path, ["vae", "pca"])
    assert next(measured)["method"] == "pca"
    with pytest.raises(RuntimeError, match="1 of 2 results are missing for the reasons above: vae-2-s0-"):
        next(measured)
    assert "skipped: vae failed in epoch 1" in capsys.readouterr().out
    assert [result["method"] for result in all_results(comparison, few, tmp_path)] == ["pca"]


def test_one_that_another_process_trains_is_left_to_it(
    few: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    comparison = replace(SHORT, codes=(2,), seeds=(0,))
    list(run_comparison(comparison, few, tmp_path, ["pca"]))
    folder = next(tmp_path.glob("pca-2-s0-*"))
    (folder / "scores.json").unlink()
    with Run(folder).lock(), pytest.raises(RuntimeError, match="1 of 1 results are missing"):
        list(run_comparison(comparison, few, tmp_path, ["pca"]))
    assert "in use by another process" in capsys.readouterr().out
    with Run(folder).lock():
        measured = run_comparison(comparison, few, tmp_path, ["pca", "autoencoder"])
        first = next(measured)
        # Meanwhile the other process is done.
        (folder / "scores.json").write_text(json.dumps([first | {"method": "pca"}]))
    assert [each["method"] for each in (first, *measured)] == ["autoencoder", "pca"]


def test_a_damaged_result_is_named(few: Dataset, tmp_path: Path) -> None:
    comparison = replace(SHORT, codes=(2,), seeds=(0,))
    list(run_comparison(comparison, few, tmp_path, ["pca"]))
    file = next(tmp_path.glob("pca-2-s0-*")) / "scores.json"
    file.write_text(file.read_text()[:40])
    with pytest.raises(ValueError, match=f"{file} is damaged; delete it"):
        run_comparison(comparison, few, tmp_path, ["vae", "pca"])


@pytest.mark.parametrize("kind", KINDS)
def test_peers_are_what_their_names_say(few: Dataset, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, sizes, before = list[Any](), list[int](), list[torch.Tensor]()
    make = variational_module._peer

    def kept(*arguments: Any) -> Any:
        peer = make(*arguments)
        peer.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0]["data"])))
        made.append(peer)
        before.extend(weight.detach().clone() for weight in peer.parameters())
        return peer

    monkeypatch.setattr(variational_module, "_peer", kept)
    trained(kind, few, single(kind, epochs=2))
    names = {"vae": "VAE", "beta-vae": "BetaVAE", "factor-vae": "FactorVAE", "beta-tcvae": "BetaTCVAE"}
    assert type(made[0]).__name__ == names[kind]
    papers = {"beta-vae": {"beta": 4}, "factor-vae": {"gamma": 35}, "beta-tcvae": {"beta": 6}}
    for name, value in papers.get(kind, {}).items():
        assert getattr(made[0], name) == value
    # FactorVAE's two batches, one for its discriminator; everything that has weights learns.
    batch = single(kind).stages[0].batch_size
    assert set(sizes) == {2 * batch if kind == "factor-vae" else batch} and len(sizes) == 2 * (256 // batch)
    assert not any(weight.equal(old) for weight, old in zip(made[0].parameters(), before, strict=True))


def test_peers_see_our_batches_at_our_rates(few: Dataset) -> None:
    stage = single("vae", epochs=3).stages[0]
    rates, seen = list[float](), list[torch.Tensor]()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

    def step(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        rates.append(optimizer.param_groups[0]["lr"])
        assert x.equal(few.train.images[index])
        seen.append(index)
        return torch.zeros(())

    fit(few, stage, 7, 2, optimizer, step, lambda pixels: pixels)
    steps = 3 * (256 // stage.batch_size)
    orders = [batch_order(256, stage.batch_size, seed=7, stage=2, epoch=epoch) for epoch in range(3)]
    assert torch.stack(seen).equal(torch.cat(orders))
    assert rates == [learning_rate(stage.adam, place, steps) for place in range(steps)] and len(set(rates)) > 2


def test_seeds_matter_and_repeat(compared: tuple[Path, list[dict[str, Any]]], few: Dataset, tmp_path: Path) -> None:
    _, results = compared
    methods = ["jacobian", "nested-dropout", "pca-autoencoder", "factor-vae"]
    again = run_comparison(replace(SHORT, codes=(3,)), few, tmp_path, methods)
    first = {(each["method"], each["seed"]): each["mse"] for each in results if each["code_size"] == 3}
    for each in again:
        assert each["mse"] == first[each["method"], each["seed"]]
        assert each["mse"] != first[each["method"], 1 - each["seed"]]


def test_results_of_seeds_are_put_together(compared: tuple[Path, list[dict[str, Any]]]) -> None:
    _, results = compared
    one = next(point for point in points(results) if point.method == "jacobian" and point.code_size == 3)
    errors = [each["mse"] for each in results if each["method"] == "jacobian" and each["code_size"] == 3]
    assert one.num_seeds == 2
    assert one.scores["mse"] == (pytest.approx(np.mean(errors)), pytest.approx(np.std(errors, ddof=1)))


def test_faces_are_compared_stage_by_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jacsup import evaluate as evaluation
    from jacsup.metrics import attributes
    from jacsup.training import epoch_scores

    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    monkeypatch.setattr(attributes, "NUM_EDITED_IMAGES", 8)
    monkeypatch.setattr(evaluation, "NUM_DRAWN", 8)
    monkeypatch.setattr(evaluation, "NUM_JACOBIAN_IMAGES", 8)
    recipe = small_faces()
    comparison = Comparison(recipe=recipe, seeds=(0,))
    data = load_dataset(recipe.data)
    results = list(run_comparison(comparison, data, tmp_path, list(ATTRIBUTE_METHODS)))
    assert all_results(comparison, data, tmp_path) == results
    assert [(each["method"], each["stage"]) for each in results] == [
        *(("jacobian", name) for name in ("teacher", "teacher-cycles", "student-1")),
        *(
            ("exact", "exact"),
            ("plain", "student-1"),
            ("reconstruction", "student-1"),
            ("longer", "longer"),
            ("fader", "fader"),
        ),
    ]
    assert {each["images_seen"] for each in results[2:]} == {3 * 180}, "all get as many images"
    assert [each["images_seen"] for each in results[:2]] == [180, 360]
    for each in results:
        assert each["core_seconds"] > 0 and 0 <= each["accuracy 2"] <= 1 and each["counterfactual_gain"] < 1
    page = write_comparison(tmp_path, "faces", comparison.labels, results, "jacsup compare faces").read_text()
    for words in ("Fader Networks", "counterfactual gain", "edit accuracy at 2", "teacher-cycles"):
        assert words in page
    assert (tmp_path / "frontier.png").exists()


def test_a_missing_library_is_named_before_anything_is_trained(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="vae, beta-vae need the package pythae; run `pip install pythae`"):
        run_comparison(SHORT, digits, tmp_path, ["pca", "vae", "beta-vae"])
    assert not list(tmp_path.iterdir())
    assert list(run_comparison(replace(SHORT, codes=(2,), seeds=(0,)), digits, tmp_path, ["pca"]))


def test_unordered_codes_swap_their_strongest_units(digits: Dataset) -> None:
    from jacsup.evaluate import judge_units
    from jacsup.metrics.swap import get_judge, swap_scores

    assert {key for key, method in METHODS.items() if not method.ordered} == {"autoencoder", *KINDS}
    model = train_pca(digits, single("pca", 4))
    judge = get_judge(digits)
    assert judge
    # The weakest two come first.
    encoder, decoder = model.encoder.state_dict(), model.decoder.state_dict()
    model.encoder.load_state_dict({name: weight.flip(0) for name, weight in encoder.items()})
    model.decoder.load_state_dict({**decoder, "0.weight": decoder["0.weight"].flip(1)})
    strongest = swap_scores(model, digits.test, judge, (2, 3))["swap_classifier"]
    assert judge_units(model, digits, ordered=False)["swap_classifier"] == strongest
    assert judge_units(model, digits)["swap_classifier"] < strongest


def test_the_command_writes_figure_table_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [
        "jacsup",
        "compare",
        "digits",
        "--codes",
        "2",
        "3",
        "--seeds",
        "0",
        "1",
        "--epochs",
        "4",
        "--out",
        str(out),
    ]
    monkeypatch.setattr("sys.argv", [*words, "--methods", "jacobian", "pca"])
    cli.main()
    assert str(out / "index.html") in capsys.readouterr().out
    assert {"index.html", "frontier.png", "table.md", "results.json"} <= {path.name for path in out.iterdir()}
    assert len(json.loads((out / "results.json").read_text())) == 8
    page, table = (out / "index.html").read_text(), (out / "table.md").read_text()
    for shown in ("Jacobian supervision", "PCA", "images seen", "core-seconds"):
        assert shown in page and shown in table
    assert " ± " in table and "jacsup compare digits --methods jacobian pca --codes 2 3 --seeds 0 1 --epochs 4" in page
    # A call for less takes nothing away, whichever way it ends.
    monkeypatch.setattr("sys.argv", ["jacsup", *words[1:3], "--codes", "2", "--epochs", "4", "--out", str(out)])
    monkeypatch.setattr(compare, "_scores", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(SystemExit):
        cli.main()
    assert (out / "index.html").read_text() == page and (out / "table.md").read_text() == table


def test_a_folder_that_cannot_be_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(compare, "_scores", lambda *_: pytest.fail("training began"))
    monkeypatch.setattr("sys.argv", ["jacsup", "compare", "digits", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2 and "file: File exists; use another path" in capsys.readouterr().err


def test_methods_with_attributes_are_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(isinstance(method.training, Arm) for method in ATTRIBUTE_METHODS.values())
    monkeypatch.setitem(ATTRIBUTE_METHODS, "pca", METHODS["pca"])
    with pytest.raises(ValueError, match="method 'pca' is not an arm of the recipe"):
        recipe_of(COMPARISONS["faces"], "pca", 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnits"], "unknown comparison 'mnits'; did you mean 'mnist'"),
        (["digits", "--methods", "pva"], "unknown method 'pva' of comparison 'digits'; did you mean"),
        (["digits", "--codes", "1"], "codes"),
        (["digits", "--codes", "11"], "codes"),
        (["digits", "--epochs", "3"], "epochs is 3; it must be at least"),
        (
            ["faces-mini", "--epochs", "3"],
            "are only for ordered codes; omit them for 'faces-mini'",
        ),
        (["digits", "--epochs", "0"], "--epochs is 0; must be at least 1"),
        (["digits", "--seeds", "1", "1"], "--seeds is 1 1; values must be unique"),
    ],
)
def test_wrong_input_is_named(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["jacsup", "compare", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
