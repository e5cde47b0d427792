"""Edits of attributes on models and judges whose scores are known, the judge itself, and the naive twins of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import reference
import torch
from known_models import factor as factor_of
from torch import Tensor, nn

from jacsup.code import to_float
from jacsup.config import Arrays, Conv
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset, Split
from jacsup.metrics import attribute_judge, attributes, images
from jacsup.metrics.attribute_judge import AttributeJudge, equal_error_threshold, get_attribute_judge, quality
from jacsup.metrics.attributes import (
    accuracy_at_equal_disturbance,
    at_strength,
    attribute_means,
    counterfactual_gain,
    edit_scores,
    flipped,
    mutually_exclusive,
)
from jacsup.metrics.regions import attribute_regions
from jacsup.models.conv import ConvAutoencoder

UNIT, RANGE = (0.0, 1.0), (-1.0, 1.0)
NAMES = ("Hat", "Beard", "Smile")
FREE = tuple(Attribute(name=name) for name in NAMES)
EXCLUSIVE = (
    Attribute(name="Hat", mutually_exclusive=("Beard",)),
    Attribute(name="Beard", mutually_exclusive=("Hat",)),
    FREE[2],
)
# uint8 values of a patch without and with its attribute, and the same in a model's range.
OFF, ON = 51, 204
MEANS = torch.full((3,), -0.6), torch.full((3,), 0.6)
SIDE, PATCH = 32, 4


def patches() -> Tensor:
    """One mask (3, 1024) per attribute: a patch that belongs to it alone."""
    masks = torch.zeros(3, SIDE, SIDE)
    for i, mask in enumerate(masks):
        mask[8 * i : 8 * i + PATCH, :PATCH] = 1
    return masks.flatten(1)


def faces(rows: Sequence[Sequence[bool]]) -> Tensor:
    """Grey images with each row's attributes."""
    signs = torch.tensor(rows).float()
    pixels = 128 + signs @ patches() * (ON - 128) + (1 - signs) @ patches() * (OFF - 128)
    return pixels.to(torch.uint8).unflatten(1, (1, SIDE, SIDE))


EVERY_FACE = [list(row) for row in product([False, True], repeat=3)]


class Reader(nn.Module):
    """y: the means of the patches. z: what is left of the image without `paint @ y`."""

    def __init__(self, paint: Tensor):
        super().__init__()
        self.paint = nn.Parameter(paint)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.flatten(1) @ patches().T / PATCH**2
        return y, x.flatten(1) - y @ self.paint


class Painter(nn.Module):
    """The image z + `paint @ y` + `offset`, with z taken `keep` times."""

    map_side = SIDE

    def __init__(self, paint: Tensor, keep: float, offset: float):
        super().__init__()
        self.paint, self.keep, self.offset = nn.Parameter(paint), keep, offset

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        return (self.keep * z + y @ self.paint + self.offset).unflatten(1, (1, SIDE, SIDE))


def patch_model(mix: Tensor | float = 1.0, *, keep: float = 1.0, offset: float = 0.0) -> ConvAutoencoder:
    """Reconstructs faces exactly; a change of y_i by c adds mix[i, j] * c to patch j. mix: the diagonal if a number."""
    paint = (mix if isinstance(mix, Tensor) else torch.eye(3) * mix) @ patches()
    model = ConvAutoencoder(Conv(channels=(2,), value_range=RANGE), (1, SIDE, SIDE), 3, 1)
    model._modules.update(encoder=Reader(paint), decoder=Painter(paint, keep, offset))
    return model.eval()


class PatchNetwork(nn.Module):
    """Outputs above 0 where a patch is brighter than grey."""

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels.flatten(1) @ patches().T / PATCH**2 - 0.5


def patch_judge(*auc: float) -> AttributeJudge:
    return AttributeJudge(PatchNetwork(), (1.0,) * 3, (1.0,) * 3, auc or (1.0,) * 3)


def scores_of(model: ConvAutoencoder, rows: Sequence[Sequence[bool]] = EVERY_FACE, **changes: object) -> dict:
    settings = {"judge": patch_judge(), "attributes": FREE, "means": MEANS, **changes}
    return edit_scores(model, Split(faces(rows)), **settings)  # type: ignore[arg-type]


def test_exact_edits() -> None:
    scores = scores_of(patch_model())
    assert scores["strengths"] == [0, 1, 2, 4]
    assert scores["accuracy"] == scores["accuracy_all"] == [0, 1, 1, 1]
    assert scores["preservation_error"] == scores["preservation_error_all"] == [0, 0, 0, 0]
    assert list(scores["per_attribute"]) == list(NAMES)


def test_a_weak_decoder_needs_strength() -> None:
    assert scores_of(patch_model(0.4))["accuracy"] == [0, 0, 1, 1]


def test_a_decoder_that_ignores_y_edits_nothing() -> None:
    scores = scores_of(patch_model(0.0))
    assert scores["accuracy"] == scores["preservation_error"] == [0, 0, 0, 0]


def test_a_constant_decoder_edits_nothing_and_loses_half_of_the_attributes() -> None:
    scores = scores_of(patch_model(0.0, keep=0.0, offset=0.5))
    assert scores["accuracy"] == [0, 0, 0, 0]
    assert scores["preservation_error"] == [0.5, 0, 0, 0]


def entangled() -> Tensor:
    """The hat's factor moves the beard as far as the hat: it flips where both are on or both are off."""
    mix = torch.eye(3)
    mix[0, 1] = 1
    return mix


def test_entangled_attributes_are_not_preserved() -> None:
    scores = scores_of(patch_model(entangled()), strengths=(1,))
    errors = {name: each["preservation_error"] for name, each in scores["per_attribute"].items()}
    assert errors == {"Hat": [0.25], "Beard": [0], "Smile": [0]}
    assert scores["preservation_error"] == [pytest.approx(0.25 / 3)]
    assert scores["accuracy"] == [1]


def test_what_excludes_each_other_need_not_be_preserved() -> None:
    scores = scores_of(patch_model(entangled()), attributes=EXCLUSIVE, strengths=(1,))
    assert scores["per_attribute"]["Hat"] == {"accuracy": [1], "preservation_error": [0]}


@pytest.mark.parametrize(
    ("accuracy", "changed", "expected"),
    [
        ([0, 0.4, 0.6, 0.8], [0.2, 0.05, 0.1, 0.15], 0.6),
        ([0, 0.4, 0.6, 0.8], [0.0, 0.05, 0.15, 0.2], 0.5),
        ([0, 0.4, 0.6, 0.8], [0.0, 0.4, 0.5, 0.6], 0.1),
        ([0, 0.4, 0.6, 0.8], [0.0, 0.0, 0.01, 0.02], 0.8),
        ([0, math.nan, math.nan, math.nan], [0.0, math.nan, math.nan, math.nan], math.nan),
    ],
)
def test_accuracy_is_compared_at_equal_disturbance(
    accuracy: list[float], changed: list[float], expected: float
) -> None:
    scores = {"strengths": [0, 1, 2, 4], "accuracy": accuracy, "preservation_error": changed}
    assert accuracy_at_equal_disturbance(scores) == pytest.approx(expected, nan_ok=True)
    # The naive twin: walk along the line from no edit on in small steps.
    known = [(0.0, 0.0), *zip(changed[1:], accuracy[1:], strict=True)]
    walked = [
        (a0 + (a1 - a0) * step / 10000, d0 + (d1 - d0) * step / 10000)
        for (d0, a0), (d1, a1) in pairwise(known)
        for step in range(10001)
    ]
    reached = next((a for a, d in walked if d >= 0.1 - 1e-9), walked[-1][0])
    assert reached == pytest.approx(expected, abs=1e-3, nan_ok=True)


def test_reliable_attributes_alone_make_the_headline() -> None:
    mix = torch.diag(torch.tensor([1.0, 1.0, 0.0]))
    scores = scores_of(patch_model(mix), judge=patch_judge(0.85, 0.84, 0.84), strengths=(2,))
    assert scores["accuracy"] == [1] and scores["accuracy_all"] == [pytest.approx(2 / 3)]
    nobody = scores_of(patch_model(mix), judge=patch_judge(0.5, 0.5, math.nan), strengths=(2,))
    assert math.isnan(nobody["accuracy"][0]) and nobody["accuracy_all"] == scores["accuracy_all"]


def test_both_directions_count_alike() -> None:
    """m+ lies so far off that strength -1 still leaves the attribute on in a weak decoder, and 1 turns it on."""
    means = MEANS[0], torch.full((3,), 3.0)
    three_on = [[True] * 3] * 3 + [[False] * 3]
    for rows, accuracy in ((three_on, 0.5), (three_on[:3], 0.0), (three_on[3:], 1.0)):
        assert scores_of(patch_model(0.3), rows, means=means, strengths=(1,))["accuracy"] == [accuracy]


def test_only_the_first_images_are_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attributes, "NUM_EDITED_IMAGES", 1)
    rows = [[True] * 3, *EVERY_FACE]
    means = MEANS[0], torch.full((3,), 3.0)
    assert scores_of(patch_model(0.3), rows, means=means, strengths=(1,))["accuracy"] == [0]


def test_an_attribute_without_examples_is_left_out() -> None:
    means = MEANS[0], torch.tensor([0.6, math.nan, 0.6])
    scores = scores_of(patch_model(), means=means, strengths=(1,))
    assert math.isnan(scores["per_attribute"]["Beard"]["accuracy"][0])
    assert scores["accuracy"] == [1] and scores["preservation_error"] == [0]


def test_strengths() -> None:
    m_minus, m_plus = torch.tensor([-1.0, 0.0]), torch.tensor([3.0, 0.5])
    for strength, expected in ((-1, [-1.0, 0.0]), (0, [1.0, 0.25]), (1, [3.0, 0.5]), (2, [5.0, 0.75])):
        assert at_strength(m_minus, m_plus, strength).tolist() == expected


def test_a_flip_turns_rivals_off_where_it_turns_on() -> None:
    y = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    means = torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([1.0, 2.0, 3.0])
    assert mutually_exclusive(0, EXCLUSIVE) == [1] and mutually_exclusive(2, EXCLUSIVE) == []
    after = flipped(y, 0, torch.tensor([True, False]), 2, EXCLUSIVE, means)
    assert after.equal(torch.tensor([[2.0, -2.0, 0.3], [-2.0, 0.5, 0.6]]))
    assert y[0, 0] == 0.1, "the codes stay as they are"
    unknown = means[0].where(torch.tensor([True, False, True]), torch.nan), means[1]
    after = flipped(y, 0, torch.tensor([True, False]), 2, EXCLUSIVE, unknown)
    assert after.equal(torch.tensor([[2.0, 0.2, 0.3], [-2.0, 0.5, 0.6]]))


def test_attribute_means_agree_with_their_naive_twin() -> None:
    y = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    labels[:, :2] = labels[:, :2].sign()
    labels[::3, 1], labels[::4, 2], labels[1, 2], labels[:, 3] = math.nan, math.nan, 0, 1
    for means, sign in zip(attribute_means(y, labels), (-1, 1), strict=True):
        naive = [reference.attribute_mean(y.tolist(), labels.tolist(), factor, sign) for factor in range(4)]
        assert means.tolist() == pytest.approx(naive, nan_ok=True)
        assert math.isnan(naive[3]) == (sign < 0)


def random_model() -> ConvAutoencoder:
    """Its edits and reconstructions change many verdicts of `random_judge`."""
    torch.manual_seed(0)
    model = ConvAutoencoder(Conv(channels=(4, 8), value_range=RANGE), (3, SIDE, SIDE), 3, 2).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    return model


def random_faces(count: int = 12) -> Tensor:
    return torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("pasted", [False, True])
@pytest.mark.parametrize("chunk", [5, 2000])
def test_edit_scores_agree_with_their_naive_twin(chunk: int, pasted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "CHUNK", chunk)
    model, pictures = random_model(), random_faces()
    x = to_float(pictures, RANGE)
    code = model.encode(x)
    reconstructions = ((model.decode(code) + 1) / 2).clamp(0, 1)
    detail = (x + 1) / 2 - reconstructions if pasted else 0
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 3))
    with torch.no_grad():
        # Between two of the outputs: of one that is 0, rounding would decide the verdict.
        network[1].bias.sub_(network(reconstructions + detail).quantile(0.5, dim=0))  # type: ignore[union-attr]
    judge = AttributeJudge(network, (1.0,) * 3, (1.0,) * 3, (1.0,) * 3)
    means = torch.tensor([-3.0, -2.0, -4.0]), torch.tensor([2.0, 3.0, 4.0])

    def see(pixels: Tensor) -> list[list[bool]]:
        return [(network(each[None])[0] > 0).tolist() for each in pixels]

    before, real = see(reconstructions + detail), see((x + 1) / 2)
    regions = attribute_regions(judge, (x + 1) / 2)
    expected = {}
    for factor, excluded in enumerate(([1], [0], [])):
        accuracy, errors = (
            [0.0],
            [reference.changed_share(a, b, (factor, *excluded)) for a, b in zip(real, before, strict=True)],
        )
        error, outside = [sum(errors) / len(errors)], [math.nan]
        for strength in (1, 2):
            rows = [
                reference.flip(row, factor, -1 if seen[factor] else 1, strength, excluded, *(m.tolist() for m in means))
                for row, seen in zip(code.y.tolist(), before, strict=True)
            ]
            decoded = ((model.decoder(torch.tensor(rows), code.z) + 1) / 2).clamp(0, 1)
            edited = (decoded + detail).clamp(0, 1).detach()
            change = (edited - (x + 1) / 2).square().sum(dim=(0, 1))
            outside.append(float(change[~regions[factor]].sum() / change.sum()))
            after = see(edited)
            accuracy.append(reference.edit_accuracy(before, after, factor))
            errors = [reference.changed_share(a, b, (factor, *excluded)) for a, b in zip(before, after, strict=True)]
            error.append(sum(errors) / len(errors))
        expected[NAMES[factor]] = {"accuracy": accuracy, "preservation_error": error}
        expected[NAMES[factor]] |= {"change_outside": outside} if pasted else {}
    found = edit_scores(model, Split(pictures), judge, EXCLUSIVE, means, strengths=(0, 1, 2), pasted=pasted)
    for name, each in expected.items():
        assert found["per_attribute"][name].keys() == each.keys()
        for key, values in each.items():
            assert found["per_attribute"][name][key] == pytest.approx(values, nan_ok=True)
            columns = zip(*(other[key] for other in expected.values()), strict=True)
            means = pytest.approx([sum(column) / 3 for column in columns], nan_ok=True)
            assert found[key] == means and found[f"{key}_all"] == means
    assert 0 < found["accuracy"][2] < 1 and 0 < found["preservation_error"][2] < 1
    assert (found["preservation_error"][0] == 0) == pasted


def truth(mutually_exclusive: Sequence[Sequence[int]] = ((), (), ())) -> Callable[[int], tuple[Tensor, Tensor]]:
    """The true images of a flip of every face."""

    def counterfactual(factor: int) -> tuple[Tensor, Tensor]:
        rows = [list(row) for row in EVERY_FACE]
        for row in rows:
            row[factor] = not row[factor]
            for other in mutually_exclusive[factor] if row[factor] else ():
                row[other] = False
        return faces(rows), torch.tensor([row[factor] for row in rows])

    return counterfactual


@pytest.mark.parametrize(("mix", "gain"), [(1.0, 1), (0.0, 0), (0.5, 1 - 1 / 4), (1.5, 1 - 1 / 9)])
def test_gains_that_are_known(mix: float, gain: float) -> None:
    """Half an edit misses one half of the way; one half too far is clamped at 1, one third too far."""
    result = counterfactual_gain(patch_model(mix), faces(EVERY_FACE), FREE, MEANS, truth())
    assert result["mean"] == pytest.approx(gain, abs=1e-5)
    assert result["full"] == pytest.approx(gain, abs=1e-5)
    assert result["per_attribute"] == pytest.approx(dict.fromkeys(NAMES, gain), abs=1e-5)


def test_the_full_gain_counts_what_reconstruction_misses() -> None:
    result = counterfactual_gain(patch_model(offset=0.1), faces(EVERY_FACE), FREE, MEANS, truth())
    assert result["mean"] == pytest.approx(1, abs=1e-5)
    assert result["full"] == pytest.approx(1 - SIDE**2 * 0.05**2 / (PATCH**2 * 0.6**2), abs=1e-5)


def test_an_edit_takes_off_what_the_attribute_excludes_as_the_truth_does() -> None:
    picture, model = faces(EVERY_FACE), patch_model()
    of_exclusive = truth(([1], [0], []))
    assert counterfactual_gain(model, picture, EXCLUSIVE, MEANS, of_exclusive)["mean"] == pytest.approx(1, abs=1e-5)
    assert counterfactual_gain(model, picture, FREE, MEANS, of_exclusive)["mean"] < 0.9


def test_unknown_gains_are_left_out() -> None:
    means = MEANS[0], torch.tensor([0.6, math.nan, 0.6])

    def nothing_changes_in_a_smile(factor: int) -> tuple[Tensor, Tensor]:
        pictures, turned_on = truth()(factor)
        return (faces(EVERY_FACE) if factor == 2 else pictures), turned_on

    result = counterfactual_gain(patch_model(), faces(EVERY_FACE), FREE, means, nothing_changes_in_a_smile)
    assert result["mean"] == pytest.approx(1, abs=1e-5)
    assert [math.isnan(gain) for gain in result["per_attribute"].values()] == [False, True, True]


@pytest.mark.parametrize("chunk", [5, 2000])
def test_gains_agree_with_their_naive_twin(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "CHUNK", chunk)
    model, pictures, truths = random_model(), random_faces(), random_faces(24)[12:]
    turned_on = torch.arange(12) % 3 == 0
    means = torch.tensor([-3.0, -2.0, -4.0]), torch.tensor([2.0, 3.0, 4.0])
    found = counterfactual_gain(model, pictures, EXCLUSIVE, means, lambda _: (truths, turned_on))
    code, full = model.encode(to_float(pictures, RANGE)), []
    before = ((model.decode(code) + 1) / 2).clamp(0, 1).flatten(1)
    source, true = pictures.flatten(1) / 255, truths.flatten(1) / 255
    for factor, excluded in enumerate(([1], [0], [])):
        rows = [
            reference.flip(row, factor, 1 if on else -1, 1, excluded, *(m.tolist() for m in means))
            for row, on in zip(code.y.tolist(), turned_on.tolist(), strict=True)
        ]
        after = ((model.decoder(torch.tensor(rows), code.z) + 1) / 2).clamp(0, 1).flatten(1)
        wanted = (true - source).tolist()
        naive = reference.gain((after - before).tolist(), wanted)
        assert found["per_attribute"][NAMES[factor]] == pytest.approx(naive, abs=1e-5)
        full.append(reference.gain((after - source).tolist(), wanted))
    assert found["full"] == pytest.approx(sum(full) / 3, abs=1e-5)


# The judge. Its pictures have a bright top, green stripes or a red corner, and a number: how light the centre is.
KINDS = (*(Attribute(name=name) for name in ("top", "stripes", "corner")), Attribute(name="light", mean=0.5, std=0.3))


def pictures_with(num_images: int, seed: int, side: int = 32) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(num_images, 4, generator=generator) < torch.tensor([0.5, 0.5, 0.15, 0.5])).float() * 2 - 1
    labels[:, 3] = torch.randn(num_images, generator=generator)
    x = torch.randint(60, 160, (num_images, 3, side, side), generator=generator).float()
    unit, on = side // 32, labels > 0
    x[on[:, 0], :, : 6 * unit] += 50
    x[on[:, 1], 1, :: 4 * unit] += 70
    x[on[:, 2], 0, -8 * unit :, : 8 * unit] += 60
    x[:, :, 12 * unit : 20 * unit, 12 * unit : 20 * unit] += 25 * labels[:, 3, None, None, None]
    missing = torch.rand(num_images, 4, generator=generator) < 0.1
    return Split(x.clamp(0, 255).to(torch.uint8), None, labels.masked_fill(missing, math.nan))


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset(pictures_with(200, 0), pictures_with(200, 1), Arrays(sha256=""), KINDS)


@pytest.fixture(scope="module")
def judge(data: Dataset) -> AttributeJudge:
    found = get_attribute_judge(data)
    assert found
    return found


def test_the_judge_sees_what_is_there(data: Dataset, judge: AttributeJudge) -> None:
    assert min(judge.auc) > 0.95
    assert min(judge.balanced_accuracy) > 0.85
    assert data.test.attributes is not None
    seen, known = judge(to_float(data.test.images, UNIT)), ~data.test.attributes.isnan()
    for factor, accuracy in enumerate(judge.accuracy):
        labels = data.test.attributes[known[:, factor], factor] > 0
        assert (seen[known[:, factor], factor] == labels).double().mean() == pytest.approx(accuracy)
    assert not judge.network.training


@pytest.mark.parametrize(("num_with", "shift"), [(5, 0.5), (40, 1.5), (1, 0.0), (30, 9.0)])
def test_the_equal_error_threshold(num_with: int, shift: float) -> None:
    generator = torch.Generator().manual_seed(num_with)
    with_it, without = torch.randn(num_with, generator=generator) + shift, torch.randn(60, generator=generator)

    def imbalance(threshold: float) -> float:
        return abs(float((with_it <= threshold).float().mean() - (without > threshold).float().mean()))

    found = float(equal_error_threshold(with_it, without))
    assert imbalance(found) == pytest.approx(min(map(imbalance, torch.cat([with_it, without]).tolist())), abs=1e-6)
    if shift == 9.0:
        assert found == pytest.approx(float(with_it.min() + without.max()) / 2), "in the middle of a gap"


def test_the_judge_overlooks_as_much_as_it_imagines(data: Dataset, judge: AttributeJudge) -> None:
    assert data.train.attributes is not None
    seen = judge(to_float(data.train.images, UNIT))
    for verdicts, labels in zip(seen.T, data.train.attributes.T, strict=True):
        errors = float((~verdicts[labels > 0]).float().mean() - verdicts[labels <= 0].float().mean())
        assert abs(errors) <= 1 / int((labels > 0).sum())


def test_verdicts_do_not_depend_on_the_other_images(data: Dataset, judge: AttributeJudge) -> None:
    pixels = to_float(data.test.images[:20], UNIT)
    assert torch.cat([judge(each[None]) for each in pixels]).equal(judge(pixels))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Split]:
    """An empty cache, and the splits that judges were trained on, without the training."""
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path))
    calls: list[Split] = []
    monkeypatch.setattr(attribute_judge, "_fit", lambda _network, train, _attributes: calls.append(train))
    return calls


def test_a_judge_is_trained_once(data: Dataset, judge: AttributeJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the judge is in the cache")

    monkeypatch.setattr(attribute_judge, "_fit", refuse)
    again = get_attribute_judge(data)
    assert again and again.auc == judge.auc and again.accuracy == judge.accuracy


def test_the_judge_is_the_same_each_time(data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attribute_judge, "_IMAGES_SEEN", 600)
    judges = []
    for name in ("one", "two"):
        monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / name))
        torch.manual_seed(len(judges))
        state = torch.get_rng_state()
        judges.append(get_attribute_judge(data))
        assert torch.get_rng_state().equal(state), "training a judge leaves the run's randomness alone"
    for ours, theirs in zip(*(judge.network.parameters() for judge in judges), strict=True):
        assert ours.equal(theirs)


@pytest.mark.parametrize("damaged", [b"", b"no safetensors", None])
def test_a_damaged_judge_is_trained_again(
    damaged: bytes | None, data: Dataset, fits: list[Split], tmp_path: Path
) -> None:
    get_attribute_judge(data)
    (file,) = (tmp_path / "judges").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] if damaged is None else damaged)
    assert get_attribute_judge(data)
    assert len(fits) == 2 and file.read_bytes() == whole


def test_each_training_set_has_its_own_judge(data: Dataset, fits: list[Split], tmp_path: Path) -> None:
    train = data.train
    assert train.attributes is not None
    sets = [
        (train, KINDS),
        (Split(255 - train.images, None, train.attributes), KINDS),
        (Split(train.images, None, -train.attributes), KINDS),
        (train, (*KINDS[:3], Attribute(name="light"))),
    ]
    for count, (split, kinds) in enumerate(sets, start=1):
        for _ in range(2):
            get_attribute_judge(Dataset(split, data.test, data.config, kinds))
        assert len(fits) == len(list((tmp_path / "judges").iterdir())) == count


def test_there_is_no_judge_without_attributes(data: Dataset, fits: list[Split]) -> None:
    assert get_attribute_judge(Dataset(data.train, data.test, data.config)) is None
    assert not fits


def test_large_images_are_averaged_down(fits: list[Split]) -> None:
    train, test = pictures_with(40, 0, side=128), pictures_with(20, 1, side=128)
    large = get_attribute_judge(Dataset(train, test, Arrays(sha256=""), KINDS))
    assert large
    pixels = to_float(test.images, UNIT)
    means = pixels.unflatten(3, (64, 2)).unflatten(2, (64, 2)).mean(dim=(3, 5))
    assert large.network(pixels).allclose(large.network[1:](means), atol=1e-5)  # type: ignore[index]


def test_quality_agrees_with_its_naive_twin() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(60, 3, generator=generator).round(decimals=1), torch.randn(60, 3, generator=generator)
    labels[:, 0] = labels[:, 0].sign()
    labels[::4, :2], labels[:, 2] = math.nan, 1
    for factor, (accuracy, balanced, auc) in enumerate(zip(*quality(outputs, labels), strict=True)):
        rows = [
            (o, y > 0) for o, y in zip(outputs[:, factor].tolist(), labels[:, factor].tolist(), strict=True) if y == y
        ]
        if factor == 2:
            assert math.isnan(accuracy) and math.isnan(balanced) and math.isnan(auc)
            continue
        right = {side: [(o > 0) == y for o, y in rows if y == side] for side in (True, False)}
        assert accuracy == pytest.approx(sum(map(sum, right.values())) / len(rows))
        assert balanced == pytest.approx(sum(sum(side) / len(side) for side in right.values()) / 2)
        assert auc == pytest.approx(reference.area_under_roc(*(list(column) for column in zip(*rows, strict=True))))


def test_missing_labels_and_numbers_in_the_loss() -> None:
    outputs = torch.tensor([[2.0, 1.0], [-1.0, 4.0]])
    labels = torch.tensor([[1.0, math.nan], [-1.0, 2.5]])
    naive = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1)), (4 - 2.5) ** 2]
    loss = attribute_judge._loss(outputs, labels, torch.tensor([False, True]))
    assert float(loss) == pytest.approx(sum(naive) / 3)


def test_augmented_images_are_shifted_and_mirrored_copies() -> None:
    x = torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    moved = attribute_judge._augmented(x, np.random.default_rng(0))
    kinds = set()
    for before, after in zip(x[:, 0], moved[:, 0], strict=True):
        found = [
            (mirrored, down, right)
            for mirrored, down, right in product((False, True), (-1, 0, 1), (-1, 0, 1))
            for original in [before.flip(1) if mirrored else before]
            if original.roll((down, right), (0, 1))[1:-1, 1:-1].equal(after[1:-1, 1:-1])
        ]
        assert len(found) == 1
        kinds |= {*found}
    assert len(kinds) > 15, "18 are possible"


@pytest.mark.parametrize(("auc", "counts"), [(0.8501, True), (0.85, True), (0.8499, False)])
def test_an_attribute_counts_from_an_auc_of_85_percent(auc: float, counts: bool) -> None:
    scores = scores_of(patch_model(), judge=patch_judge(auc, 0.5, 0.5), strengths=(2,))
    assert (scores["accuracy"] == [1]) == counts
    assert math.isnan(scores["accuracy"][0]) != counts


@pytest.mark.parametrize(("m_plus", "learned"), [(0.2, True), (0.1999, False), (0.2001, True)])
def test_an_attribute_is_learned_from_a_distance_of_a_fifth(m_plus: float, learned: bool) -> None:
    assert factor_of("Hat", m_minus=0.0, m_plus=m_plus).learned == learned
