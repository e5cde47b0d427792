"""Calibrate the strengths 1 and -1 of a diffusion model by what a judge sees in its edits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from jacsup.code import Code, to_float, to_unit
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.attributes import (
    DISTURBANCE,
    attribute_means,
    flipped,
    mean_of_known,
    mutually_exclusive,
    switchable,
    unaffected,
)
from jacsup.metrics.description import MOST_DESCRIBED
from jacsup.metrics.images import encode_factors
from jacsup.models import ModelInfo, device_of
from jacsup.models.diffusion import DiffusionEditor, KeptChanges, where_large
from jacsup.progress import track

# An edit is kept where its mean size over photos is at least this share of the largest.
LEAST_SHARE = 0.25
# The share of photos in which an edit of strength 1 should be seen.
SEEN = 0.75
# The tried multiples of the usual guidance. Less is hardly visible, whatever the judge sees; more distorts the photo.
MULTIPLES = (1.0, 1.5, 2.0)
# Attributes whose labels correlate by at least this are related: a woman who becomes a man loses her lipstick.
RELATED = 0.2
# Number of photos to which each attribute is added, and number of photos from which it is removed.
NUM_PHOTOS = 48
# An attribute whose mean outputs with and without it differ by less than this has not been learned.
LEAST_DIFFERENCE = 0.1
# A direction with fewer photos gets the guidance and the place of the other one.
FEWEST_PHOTOS = 4


@dataclass(frozen=True)
class _Direction:
    """The result for adding or for removing an attribute.

    Attributes:
        multiple: Its guidance, as a multiple of the usual one.
        seen: Share of the edits that are seen with it.
        place: Where they are kept.
    """

    multiple: float
    seen: float
    place: Tensor


@torch.no_grad()
def standardise(model: DiffusionEditor, split: Split, attributes: Sequence[Attribute]) -> None:
    """Give y the meaning of the denoiser's labels, and tell the model which attributes exclude each other.

    The classifier's outputs for rare attributes are mostly negative, with or without it. They are scaled so that their
    means over images without and with each attribute are -1 and 1. Those that it has not learned do not change.

    Args:
        model: The model, in eval mode; its classifier's last layer is changed.
        split: Training images with labels.
        attributes: The attributes, in the order of the model's factors.
    """
    for factor in range(len(attributes)):
        model.excluded[factor, mutually_exclusive(factor, attributes)] = 1
    some = split.first(MOST_DESCRIBED)
    assert some.attributes is not None
    y = encode_factors(model, some.images)
    m_minus, m_plus = attribute_means(y, some.attributes.to(y.device))
    learned = m_plus - m_minus >= LEAST_DIFFERENCE
    scale = torch.where(learned, 2 / (m_plus - m_minus), 1.0)
    shift = torch.where(learned, (m_plus + m_minus) / 2, 0.0)
    to_y = model.encoder.to_y
    to_y.bias.copy_((to_y.bias - shift) * scale)
    to_y.weight.mul_(scale[:, None])


@torch.no_grad()
def calibrated(
    info: ModelInfo, model: DiffusionEditor, split: Split, judge: AttributeJudge, attributes: Sequence[Attribute]
) -> ModelInfo:
    """Set where edits change photos, and the guidance with which a judge sees 75 % of them.

    The guidance is smaller if it would change 10 % of the verdicts on unrelated attributes. It is between the usual one
    and twice as much.

    Args:
        info: The model's description.
        model: The model, in eval mode; its guidance and its places are changed.
        split: Training images with labels, of which the first 48 with and without each attribute are edited.
        judge: The judge of the attributes.
        attributes: The attributes, in the order of the model's factors.

    Returns:
        The description with the share of edits that are then seen.
    """
    both = [
        [_direction(model, split, judge, attributes, factor, turned_on=turned_on) for turned_on in (False, True)]
        for factor in track(range(len(attributes)), "calibrating every attribute")
    ]
    untried = _Direction(1.0, math.nan, torch.ones_like(model.places[0, 0]))
    found = [(removed or added or untried, added or removed or untried) for removed, added in both]
    multiples = torch.tensor([[each.multiple for each in pair] for pair in found])
    assert split.attributes is not None
    model.guidance.copy_((multiples * _usual_guidance(model, split.attributes)).T)
    model.places.copy_(torch.stack([torch.stack([each.place for each in pair]) for pair in found], dim=1))
    seen = [mean_of_known([each.seen for each in pair]) for pair in found]
    factors = [
        replace(factor, seen=share if math.isfinite(share) else None)
        for factor, share in zip(info.factors, seen, strict=True)
    ]
    return replace(info, factors=tuple(factors))


def _direction(
    model: DiffusionEditor,
    split: Split,
    judge: AttributeJudge,
    attributes: Sequence[Attribute],
    factor: int,
    *,
    turned_on: bool,
) -> _Direction | None:
    """The result for one direction, or None if there are too few photos to edit."""
    assert split.attributes is not None
    without_it = split.attributes[:, factor] < 0 if turned_on else split.attributes[:, factor] > 0
    images = split.images[without_it.nonzero()[:NUM_PHOTOS, 0]].to(device_of(model))
    if len(images) < FEWEST_PHOTOS:
        return None
    x = to_float(images, model.value_range)
    code = model.encode(x)
    ones = torch.ones_like(code.y[0])
    turned = torch.full_like(code.y[:, 0], turned_on, dtype=torch.bool)
    edited = Code(flipped(code.y, factor, turned, 1, switchable(model, attributes), (-ones, ones)), code.z)
    others = _unrelated(factor, split.attributes, attributes)

    def verdicts(x: Float[Tensor, "n c h w"]) -> Bool[Tensor, "n k"]:
        return judge(to_unit(x, model.value_range))

    usual = _usual_guidance(model, split.attributes)[factor]
    model.guidance[:, factor] = MULTIPLES[0] * usual
    changes = KeptChanges(model.changes)
    drawn = changes(x, code.y, torch.full_like(turned, factor, dtype=torch.long), turned)
    place = _place(drawn, model.places.shape[-1])
    model.places[:, factor] = place
    before = verdicts(x)
    seen, changed = [], []
    for multiple in MULTIPLES:
        model.guidance[:, factor] = multiple * usual
        after = verdicts(model.decode(edited, changes))
        seen.append(float((after[:, factor] == turned).float().mean()))
        # Without unrelated attributes, the mean is nan, and nothing limits the guidance.
        changed.append(float((after != before)[:, others].float().mean().nan_to_num()))
        # More guidance is not needed, because the smaller of the two limits counts.
        if seen[-1] >= SEEN or changed[-1] >= DISTURBANCE:
            break
        changes = KeptChanges(model.changes)
    multiple = min(_reached(seen, SEEN), _reached(changed, DISTURBANCE))
    return _Direction(multiple, float(np.interp(multiple, MULTIPLES[: len(seen)], seen)), place)


def _usual_guidance(model: DiffusionEditor, labels: Tensor) -> Float[Tensor, "k 2"]:
    """The usual guidance to lower and to raise each factor: to remove what most photos have is to add the opposite."""
    usual = model.usual_guidance
    return torch.where((labels.nanmean(dim=0) > 0)[:, None], usual.flip(0), usual)


def _unrelated(factor: int, labels: Tensor, attributes: Sequence[Attribute]) -> list[int]:
    """The columns of the attributes that an edit should leave unchanged, without those that change with its own."""
    correlations = torch.corrcoef(labels.nan_to_num().T)[factor].abs()
    return [other for other in unaffected(factor, attributes) if not correlations[other] >= RELATED]


def _place(changes: Float[Tensor, "n c h w"], side: int) -> Float[Tensor, "side side"]:
    """Where an edit is kept, in a map with this side: where it is large on average over photos."""
    size = changes.abs().mean(dim=(0, 1), keepdim=True)
    return where_large(F.adaptive_avg_pool2d(size, side), 3, LEAST_SHARE)[0, 0]


def _reached(shares: Sequence[float], wanted: float) -> float:
    """The smallest multiple at which a share is `wanted`, interpolated between the tried ones; else the largest.

    Only the last share can reach it, because no more multiples are tried then.
    """
    if shares[-1] < wanted:
        return MULTIPLES[-1]
    return float(np.interp(wanted, shares[-2:], MULTIPLES[: len(shares)][-2:]))
