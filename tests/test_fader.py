"""Fader Networks, the adversarial baseline: its losses, its third network, and a run from start to end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from crashes import stop_after
from small_faces import small_faces
from torch.nn import functional as F

import jacsup
from jacsup import losses
from jacsup.baselines.fader import HOOK, Discriminator, fader
from jacsup.config import Conv, Stage, Weights
from jacsup.jsonable import set_field
from jacsup.models import load_info, load_metadata
from jacsup.models.conv import ConvAutoencoder
from jacsup.objectives import Batch
from jacsup.recipes import RECIPES, with_arm
from jacsup.report.siblings import find_siblings, missing_arms
from jacsup.run import Run
from jacsup.training import epoch_scores

WEIGHTS = Weights(rec=100.0, y=0.0, jacobian=0.0, xcov=0.0, pred=1.0, adv=0.01)
STAGE = Stage(name="fader", objective="fader", z_channels=5, weights=WEIGHTS)


def at_step(judge: Discriminator, steps: int) -> Discriminator:
    """The discriminator as a checkpoint of that step has it."""
    judge.load_state_dict({**judge.state_dict(), "steps": torch.tensor(steps)})
    return judge


def make() -> tuple[ConvAutoencoder, Discriminator, Batch]:
    torch.manual_seed(0)
    model = ConvAutoencoder(Conv(channels=(4, 6, 8)), (3, 32, 32), 3, 5).train()
    judge = Discriminator(5, 2, 3, ramp=4)
    model.add_module("discriminator", judge)
    labels = torch.tensor([[1.0, -1, math.nan], [-1, 1, 1], [1, 1, -1], [-1, -1, 1]])
    return model, judge, Batch(torch.rand(4, 3, 32, 32) * 2 - 1, labels)


def test_cross_entropy_against_a_loop() -> None:
    logits, labels = torch.tensor([[0.3, -2.0], [1.5, 0.1]]), torch.tensor([[1.0, -1.0], [math.nan, 2.5]])
    expected = [
        math.log(1 + math.exp(-logit * (1 if label > 0 else -1)))
        for logit, label in zip(logits.flatten().tolist(), labels.flatten().tolist(), strict=True)
        if not math.isnan(label)
    ]
    assert losses.attribute_cross_entropy(logits, labels).item() == pytest.approx(sum(expected) / 2, rel=1e-5)
    assert losses.attribute_cross_entropy(logits, torch.full((2, 2), math.nan)) == 0


def test_the_decoder_sees_labels_and_the_encoder_is_rewarded_for_errors() -> None:
    model, judge, batch = make()
    assert batch.attributes is not None
    first, second = fader(STAGE)
    code = model.encode(batch.x)
    at_step(judge, 2)
    terms = first.losses(model, batch, code)
    assert judge.steps == 3
    at_step(judge, 2)
    logits, known = judge(code.z), ~batch.attributes.isnan()
    wrong = F.softplus(logits * batch.attributes.nan_to_num())[known].sum() / 4
    right = F.softplus(-logits * batch.attributes.nan_to_num())[known].sum() / 4
    x_hat = model.decoder(batch.attributes.nan_to_num(), code.z)
    assert terms["rec"].allclose((x_hat - batch.x).square().mean())
    # Two of four steps up the ramp.
    assert terms["adv"].allclose(wrong / 2, rtol=1e-4)
    assert second.losses(model, batch, code)["disc"].allclose(right, rtol=1e-4)
    assert (first.trains, second.trains) == (("encoder", "decoder"), ("discriminator",))


def test_dropout_is_a_function_of_the_step() -> None:
    model, judge, batch = make()
    z = model.encode(batch.x).z
    assert judge(z).equal(judge(z))
    first = judge(z)
    judge.advance()
    assert not judge(z).allclose(first)
    assert judge(z).equal(at_step(judge, 1)(z))
    assert at_step(judge, 0)(z).equal(first)
    judge.eval()
    assert judge(z).equal(judge(z))
    features = judge.features(z.unflatten(1, (5, 2, 2)))
    assert judge(z).allclose(judge.to_logits(features))


def test_three_tenths_of_the_features_are_dropped() -> None:
    model, judge, batch = make()
    z = model.encode(batch.x).z.repeat(64, 1)
    judge.add_module("to_logits", torch.nn.Identity())
    assert (judge(z) == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert (judge.eval()(z) == 0).float().mean().item() < 0.01


def test_the_reward_rises_for_half_of_the_stage() -> None:
    recipe = with_arm(small_faces(), "fader")
    model = make()[0]
    stage = replace(recipe.stages[0], epochs=5, batch_size=8, z_channels=5)
    HOOK.prepare(model, recipe, stage, num_images=83)
    judge = model.discriminator
    assert isinstance(judge, Discriminator)
    assert at_step(judge, 10).strength.item() == pytest.approx(10 / (5 * 10 // 2))


def test_the_reward_rises_and_stays() -> None:
    judge = Discriminator(5, 2, 3, ramp=4)
    strengths = []
    for _ in range(6):
        strengths.append(judge.strength.item())
        judge.advance()
    assert strengths == [0, 0.25, 0.5, 0.75, 1, 1]


def test_an_encoder_that_is_rewarded_hides_what_the_other_one_shows() -> None:
    """Only the attribute differs between these images; whether z tells it is the discriminator's to find out."""

    def told(adv: float) -> float:
        from jacsup.config import Adam
        from jacsup.training.step import make_optimizer, train_step

        model, judge, _ = make()
        judge._ramp = 1
        labels = torch.tensor([[1.0, 1, 1], [-1, 1, 1]]).repeat(8, 1)
        x = labels[:, :1, None, None].expand(-1, 3, 32, 32) * 0.5 + 0.05 * torch.randn(16, 3, 32, 32)
        optimizer = make_optimizer(model, Adam(lr=2e-3, weight_decay=0.0))
        for _ in range(120):
            train_step(model, fader(replace(STAGE, weights=replace(WEIGHTS, adv=adv))), optimizer, Batch(x, labels))
        judge.eval()
        with torch.no_grad():
            logits = judge(model.encode(x).z)[:, :1]
        return F.softplus(-logits * labels[:, :1]).mean().item()

    assert told(0.0) < 0.1
    assert told(30.0) > 0.4


def test_a_run_resumes_bit_exactly_and_its_model_has_no_third_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    recipe = with_arm(small_faces(), "fader")
    finished = jacsup.train(recipe, out=tmp_path / "one")
    stop_after(10, recipe, tmp_path / "two", monkeypatch)
    jacsup.train(recipe, out=tmp_path / "two")
    model = finished / "model.safetensors"
    assert (tmp_path / "two/model.safetensors").read_bytes() == model.read_bytes()
    assert load_metadata(model)["recipe"] == "faces-mini-fader"
    assert not hasattr(jacsup.load(finished), "discriminator")
    stats = Run(finished).stats()
    assert {"rec", "pred", "adv", "disc", "test_mse", "test_edit"} <= set(stats[-1])
    assert stats[-1]["adv"] > stats[0]["adv"] > 0


def test_it_is_an_arm_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    run = Run(jacsup.train(small_faces(), out=tmp_path / "run", num_stages=1))
    assert "fader" in missing_arms(run, find_siblings(run))
    beside = jacsup.train(with_arm(small_faces(), "fader"), out=tmp_path / "beside", num_stages=1)
    assert find_siblings(run)["fader"].path == beside
    assert find_siblings(Run(beside))[""].path == run.path


def test_its_discriminator_needs_room(tmp_path: Path) -> None:
    recipe = replace(with_arm(small_faces(), "fader"), model=Conv(channels=(4, 4, 4, 4)))
    with pytest.raises(
        ValueError, match=r"map of z is 1x1, but the discriminator needs at least 2x2; use fewer model\.channels"
    ):
        jacsup.train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_it_needs_a_discriminator(tmp_path: Path) -> None:
    weights = replace(WEIGHTS, pred=0.0, adv=0.0)
    recipe = replace(
        RECIPES["debug"], stages=(replace(RECIPES["debug"].stages[0], objective="fader", weights=weights),)
    )
    with pytest.raises(ValueError, match=r"weights.adv is 0; set it above 0"):
        jacsup.train(recipe, out=tmp_path / "run")
    with pytest.raises(ValueError, match=r"weights.adv is 0.01; without attributes it must be 0.0"):
        set_field(recipe, "stages.weights.adv", 0.01)
    faces = set_field(with_arm(small_faces(), "fader"), "stages.weights.adv", 0.0)
    with pytest.raises(ValueError, match=r"weights.adv is 0; set it above 0"):
        jacsup.train(faces, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unknown_objective_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe = set_field(RECIPES["debug"], "stages.0.objective", "fade")
    with pytest.raises(ValueError, match=r"unknown objective 'fade'; it must be one of reconstruction, .*, fader"):
        jacsup.train(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_its_strengths_are_in_the_units_of_the_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_scores, "NUM_EPOCH_EDITS", 4)
    run = jacsup.train(with_arm(small_faces(), "fader"), out=tmp_path / "run")
    known = [factor for factor in load_info(run).factors if factor.m_plus == factor.m_plus]
    assert {(factor.m_minus, factor.m_plus) for factor in known} == {(-1.0, 1.0)}
