"""The swap score on models whose scores are known, and its judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from known_models import constant_model, identity_model, linear_layers, random_model
from torch import Tensor, nn

from jacsup.code import Code, to_float
from jacsup.config import Digits
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset, Split
from jacsup.metrics import swap
from jacsup.metrics.swap import Judge, get_judge, swap_scores
from jacsup.models.mlp import MLPAutoencoder

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset(Digits())


@pytest.fixture(scope="module")
def judge(digits: Dataset) -> Judge:
    found = get_judge(digits)
    assert found
    return found


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Split]:
    """An empty cache, and the splits that judges were trained on, without the training."""
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path))
    calls: list[Split] = []
    monkeypatch.setattr(swap, "_fit", lambda _network, split: calls.append(split))
    return calls


def test_two_units_swapped_are_the_partner(digits: Dataset, judge: Judge) -> None:
    model = random_model(2, shape=SHAPE)
    assert swap_scores(model, digits.test, judge)["swap_classifier"] == 1


def test_a_decoder_that_ignores_the_first_two_units_never_shows_the_partner(digits: Dataset, judge: Judge) -> None:
    model = identity_model(SHAPE)
    with torch.no_grad():
        linear_layers(model.decoder)[0].weight[:, :2] = 0
    scores = swap_scores(model, digits.test, judge)
    assert scores["swap_classifier"] == 0
    assert scores["swap_label"] < 0.05, "no more than the judge's errors"


@pytest.mark.parametrize(("read", "score"), [(slice(0, 2), 1.0), (slice(2, 4), 0.0)])
def test_of_a_duplicated_code_the_copy_that_is_read_decides(
    read: slice, score: float, digits: Dataset, judge: Judge
) -> None:
    single = random_model(2, shape=SHAPE)
    double = MLPAutoencoder(single.config, SHAPE, 4).eval()
    with torch.no_grad():
        for ours, theirs in zip(linear_layers(double), linear_layers(single), strict=True):
            ours.weight.zero_()
            twice = ours.out_features > theirs.out_features
            ours.bias.copy_(theirs.bias.repeat(2) if twice else theirs.bias)
            columns = read if ours.in_features > theirs.in_features else slice(None)
            ours.weight[:, columns] = theirs.weight.repeat(2, 1) if twice else theirs.weight
    assert swap_scores(double, digits.test, judge)["swap_classifier"] == score


def test_a_constant_model_has_no_pair_to_judge(digits: Dataset) -> None:
    judge = Judge(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 1.0)
    split = Split(digits.test.images[:, :, :4, :4], digits.test.labels)
    assert swap_scores(constant_model(0.5), split, judge)["swap_classifier"] == 0


def test_swap_scores_agree_with_their_naive_twin(digits: Dataset, judge: Judge) -> None:
    model, split = random_model(4, shape=SHAPE), digits.test
    assert split.labels is not None
    labels = split.labels.tolist()

    def units_of(n: int) -> list[float]:
        return model.encode(to_float(split.images[n : n + 1], (0.0, 1.0))).units[0].tolist()

    def class_of(units: list[float]) -> int:
        return int(judge(model.decode(Code.of_units(torch.tensor([units]))).clamp(0, 1)))

    own = [class_of(units_of(n)) for n in range(len(split))]
    partners = torch.randperm(len(split), generator=torch.Generator().manual_seed(0)).tolist()
    hits: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for n, partner in enumerate(partners):
        swapped = class_of([*units_of(partner)[:2], *units_of(n)[2:]])
        for name, classes in (("swap_classifier", own), ("swap_label", labels)):
            if classes[n] != classes[partner]:
                pairs[name] += 1
                hits[name] += swapped == classes[partner]
    naive = {name: hits[name] / pairs[name] for name in pairs}
    assert swap_scores(model, split, judge) == pytest.approx(naive)
    assert 0.05 < naive["swap_classifier"] < 0.95


def test_the_judge_knows_digits(digits: Dataset, judge: Judge) -> None:
    assert digits.test.labels is not None
    found = judge(to_float(digits.test.images, (0.0, 1.0)))
    assert judge.accuracy == sum(found.eq(digits.test.labels).tolist()) / len(digits.test)
    assert judge.accuracy > 0.9
    assert not judge.network.training


def test_the_judge_is_the_same_on_every_machine(
    digits: Dataset, judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    again = get_judge(digits)
    assert again
    assert torch.get_rng_state().equal(state), "training a judge leaves the run's randomness alone"
    for ours, theirs in zip(again.network.parameters(), judge.network.parameters(), strict=True):
        assert ours.equal(theirs)


def test_a_judge_is_trained_once(digits: Dataset, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_network: nn.Module, _split: Split) -> None:
        raise AssertionError("the judge is in the cache")

    monkeypatch.setattr(swap, "_fit", refuse)
    again = get_judge(digits)
    assert again
    x = torch.rand(50, *SHAPE)
    assert again.network(x).equal(judge.network(x))


def test_each_training_set_has_its_own_judge(digits: Dataset, fits: list[Split], tmp_path: Path) -> None:
    train, test = digits.train, digits.test
    assert train.labels is not None
    sets = [
        train,
        Split(255 - train.images, train.labels),
        Split(train.images, train.labels.flip(0)),
        Split(train.images.transpose(2, 3), train.labels),
        Split(train.images.reshape(-1, 1, 4, 16), train.labels),
    ]
    for count, split in enumerate(sets, start=1):
        reshaped = Split(test.images.reshape(-1, *split.images.shape[1:]), test.labels)
        for _ in range(2):
            get_judge(Dataset(split, reshaped, Digits()))
        assert len(fits) == len(list((tmp_path / "judges").iterdir())) == count


@pytest.mark.parametrize("unlabelled", ["train", "test"])
def test_there_is_no_judge_without_labels(unlabelled: str, digits: Dataset, fits: list[Split]) -> None:
    without: dict[str, Tensor | None] = {"train": digits.train.labels, "test": digits.test.labels, unlabelled: None}
    train, test = Split(digits.train.images, without["train"]), Split(digits.test.images, without["test"])
    assert get_judge(Dataset(train, test, Digits())) is None
    assert not fits
