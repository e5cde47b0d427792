from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from jacsup.config import Faces
from jacsup.data.drawn import counterfactual, faces, true_edit
from jacsup.data.drawn import test_faces as first_faces
from jacsup.data.drawn.canvas import Canvas, blank
from jacsup.data.drawn.drawing import CHOICES
from jacsup.data.drawn.faces import (
    ATTRIBUTES,
    MUTUALLY_EXCLUSIVE,
    NUM_NUISANCE,
    correlations,
    draw_set,
    flipped,
    mutually_exclusive,
    render,
    sample,
)

CELEBA = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair
Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones
Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline
Rosy_Cheeks Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick
Wearing_Necklace Wearing_Necktie Young
"""
# Of four faces of 16x16 in version 3.
MEANS = [133.82, 108.43, 143.92, 105.92]


def place(name: str) -> int:
    return ATTRIBUTES.index(name)


def without(name: str, num_images: int) -> tuple[Tensor, Tensor]:
    """Sharp faces that have neither an attribute nor a other of it, and their nuisance."""
    attributes, nuisance = sample(400, seed=1)
    off = attributes[:, [place(name), place("Blurry"), *mutually_exclusive(place(name))]].sum(1) == 0
    rows = off.nonzero()[:num_images, 0]
    assert len(rows) == num_images
    return attributes[rows], nuisance[rows]


def change(one: Tensor, other: Tensor) -> Tensor:
    """The largest change of a colour at each pixel."""
    return (one.int() - other.int()).abs().amax(1)


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        call()
    return str(caught.value)


def test_names_are_celebas_in_its_order() -> None:
    assert len(ATTRIBUTES) >= 32
    assert [name for name in CELEBA.split() if name in ATTRIBUTES] == list(ATTRIBUTES)
    assert all(name in ATTRIBUTES for group in MUTUALLY_EXCLUSIVE for name in group)
    assert NUM_NUISANCE >= 300


def test_the_same_seed_gives_the_same_faces_however_many_follow() -> None:
    attributes, nuisance = sample(50, seed=3)
    for few, many in zip(sample(20, seed=3), (attributes, nuisance), strict=True):
        assert torch.equal(few, many[:20])
    assert not torch.equal(sample(20, seed=4)[0], attributes[:20])
    assert not torch.equal(sample(20, seed=4)[1], nuisance[:20])
    assert [len(part) for part in sample(0, seed=3)] == [0, 0]
    assert torch.equal(render(attributes, nuisance, 32), render(attributes, nuisance, 32))


def test_attributes_are_neither_rare_nor_the_rule_and_strong_where_they_are_on() -> None:
    attributes, _ = sample(20_000, seed=0)
    on = attributes > 0
    frequency = on.float().mean(0)
    assert frequency.min() > 0.07, ATTRIBUTES[int(frequency.argmin())]
    assert frequency.max() < 0.5
    assert attributes[on].min() >= 0.5 and attributes.max() <= 1
    assert attributes[on].mean() == pytest.approx(0.75, abs=0.01)
    for group in MUTUALLY_EXCLUSIVE:
        assert on[:, [place(name) for name in group]].sum(1).max() == 1


def test_attributes_go_together_as_in_photographs() -> None:
    matrix = correlations()
    for one, other, low, high in (
        ("Wearing_Lipstick", "Heavy_Makeup", 0.4, 0.7),
        ("Smiling", "High_Cheekbones", 0.2, 0.5),
        ("Chubby", "Double_Chin", 0.2, 0.5),
        ("Gray_Hair", "Bags_Under_Eyes", 0.1, 0.4),
        ("Goatee", "Wearing_Lipstick", -0.4, -0.1),
    ):
        assert low < matrix[place(one), place(other)] < high


def test_nuisance_is_normal_and_says_nothing_about_attributes() -> None:
    attributes, nuisance = sample(5_000, seed=0)
    numbers = torch.cat([attributes.gt(0).float(), nuisance], 1)
    assert nuisance.mean().abs() < 0.01 and nuisance.std() == pytest.approx(1, abs=0.01)
    across = numbers.T.corrcoef()[: len(ATTRIBUTES), len(ATTRIBUTES) :]
    assert across.abs().max() < 6 / 5_000**0.5


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_every_attribute_can_be_seen_and_touches_nothing_far_away(name: str) -> None:
    attributes, nuisance = without(name, 12)
    images = [render(faces, nuisance, 64) for faces in (attributes, flipped(attributes, place(name)))]
    changed = change(*images)
    assert (changed > 12).sum((1, 2)).min() >= 12
    if name != "Blurry":
        assert changed[:, :5, :5].max() == 0


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_strength_acts_evenly(name: str) -> None:
    attributes, nuisance = without(name, 6)
    strengths = torch.linspace(0, 1, 11)
    ladder = attributes.repeat(11, 1)
    ladder[:, place(name)] = strengths.repeat_interleave(6)
    images = render(ladder, nuisance.repeat(11, 1), 32).unflatten(0, (11, 6)).float()
    away = (images - images[0]).abs().mean((1, 2, 3, 4))
    assert (away.diff() >= 0).all()
    assert away.diff().max() < 0.4 * away[-1]


def test_flipping_turns_over_one_attribute_and_removes_its_rivals() -> None:
    attributes, _ = sample(200, seed=2)
    for factor in range(len(ATTRIBUTES)):
        turned = flipped(attributes, factor)
        on = attributes[:, factor] > 0
        assert (turned[on, factor] == 0).all() and (turned[~on, factor] == 0.75).all()
        assert (turned[~on][:, mutually_exclusive(factor)] == 0).all()
        kept = [other for other in range(len(ATTRIBUTES)) if other not in (factor, *mutually_exclusive(factor))]
        assert torch.equal(turned[:, kept], attributes[:, kept])
        back = flipped(turned, factor)
        assert torch.equal(back[:, factor] > 0, on) and torch.equal(back[on][:, kept], attributes[on][:, kept])
    assert {ATTRIBUTES[other] for other in mutually_exclusive(place("Goatee"))} == {
        "5_o_Clock_Shadow",
        "Mustache",
        "Sideburns",
    }
    assert mutually_exclusive(place("Smiling")) == []


def test_all_sizes_show_the_same_faces() -> None:
    attributes, nuisance = sample(6, seed=5)
    large = render(attributes, nuisance, 256).float()
    for size, limit in ((16, 9), (32, 5), (37, 5), (64, 2.5), (128, 1.2)):
        small = torch.nn.functional.interpolate(large, (size, size), mode="area")
        assert (small - render(attributes, nuisance, size).float()).abs().mean() < limit


def test_a_batch_is_drawn_as_each_face_alone() -> None:
    attributes, nuisance = sample(40, seed=6)
    alone = torch.cat([render(attributes[i : i + 1], nuisance[i : i + 1], 64) for i in range(40)])
    assert change(render(attributes, nuisance, 64), alone).max() <= 1


def test_boxes_cut_nothing_off_in_any_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = torch.cat([sample(24, seed=7)[0], torch.eye(len(ATTRIBUTES))])
    nuisance = sample(len(attributes), seed=8)[1]
    nuisance[:, : CHOICES["pose"]] = 9 * nuisance[:, : CHOICES["pose"]].sign()
    boxed = render(attributes, nuisance, 48)
    monkeypatch.setattr(Canvas, "box", lambda canvas, *bounds: canvas)
    assert change(boxed, render(attributes, nuisance, 48)).max() <= 1


def test_a_texture_is_a_cubic_spline_that_goes_on_beyond_the_ends() -> None:
    grid = torch.randn(2, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    field = blank(32, torch.zeros(2, 4)).texture(grid, top=-0.25)
    bump = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    for row, column in itertools.product(range(0, 32, 5), repeat=2):
        down, across = ((row + 0.5) / 32 - 0.25) / 0.75 * 4 - 0.5, (column + 0.5) / 32 * 5 - 0.5
        expected = torch.zeros(2)
        for i, j in itertools.product(range(-3, 7), range(-3, 8)):
            weight = np.nan_to_num(bump(down - i)) * np.nan_to_num(bump(across - j))
            expected += float(weight) * grid[:, 0, min(max(i, 0), 3), min(max(j, 0), 4)]
        if down >= -0.5:
            torch.testing.assert_close(field[:, 0, row, column], expected)


def test_strengths_and_nuisance_that_cannot_be_drawn_are_refused() -> None:
    attributes, nuisance = sample(3, seed=0)
    assert "(3, 4)" in message(lambda: render(attributes[:, :4], nuisance, 64))
    assert "(3, 5)" in message(lambda: render(attributes, nuisance[:, :5], 64))
    assert "size is 15" in message(lambda: render(attributes, nuisance, 15))
    assert "size is 8" in message(lambda: draw_set(3, 8, cache=Path()))
    assert "[0, 1]" in message(lambda: render(attributes + 0.6, nuisance, 64))
    assert "[0, 1]" in message(lambda: render(attributes - 0.1, nuisance, 64))
    assert "[0, 1]" in message(lambda: render(attributes * torch.nan, nuisance, 64))
    assert "finite" in message(lambda: render(attributes, nuisance / 0, 64))
    assert "seed is -1" in message(lambda: sample(3, seed=-1))
    assert "num_images is -3" in message(lambda: sample(-3, seed=1))
    assert "factor is 99" in message(lambda: flipped(attributes, 99))
    assert render(attributes[:0], nuisance[:0], 16).shape == (0, 3, 16, 16)


def test_a_set_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw_set(40, 16, seed=1, cache=tmp_path / "new")
    assert torch.equal(drawn, render(*sample(40, seed=1), 16))
    assert not torch.equal(drawn, draw_set(40, 16, seed=2, cache=tmp_path / "new"))
    monkeypatch.setattr(faces, "draw", None)
    assert torch.equal(drawn, draw_set(40, 16, seed=1, cache=tmp_path / "new"))
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-7], lambda content: content[:-1] + bytes([content[-1] ^ 1]), lambda content: b""],
    ids=["truncated", "altered", "empty"],
)
def test_a_damaged_file_is_drawn_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    drawn = draw_set(5, 16, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert torch.equal(draw_set(5, 16, cache=tmp_path), drawn)
    assert path.read_bytes() == content


def test_another_drawing_has_another_version() -> None:
    means = render(*sample(4, seed=0), 16).float().mean((1, 2, 3)).tolist()
    assert (faces.VERSION, means) == (3, pytest.approx(MEANS, abs=0.02)), "raise VERSION, then renew MEANS"


def test_the_truth_of_an_edit_is_the_counterfactual_of_its_attribute() -> None:
    config = Faces(size=32, num_images=100)
    plain = first_faces(config, 5, 32)
    for name in ("Smiling", "Blond_Hair", "Bald"):
        flipped_faces, turned_on = counterfactual(config, ATTRIBUTES.index(name), 5)
        for number in range(5):
            edited = true_edit(config, number, {name: 1.0 if turned_on[number] else -1.0}, 32)
            assert torch.equal(edited, flipped_faces[number])
            assert not torch.equal(edited, plain[number])
    both = true_edit(config, 0, {"Bald": 1.0, "Blond_Hair": 1.0}, 32)
    assert not torch.equal(both, true_edit(config, 0, {"Bald": 1.0}, 32)), "what is set itself is not taken off"
    with pytest.raises(ValueError, match="the test face is 10; must be between 0 and 9"):
        true_edit(config, 10, {}, 32)
    with pytest.raises(ValueError, match="drawn faces have no attribute 'Smilling'; did you mean 'Smiling'"):
        true_edit(config, 0, {"Smilling": 1.0}, 32)
