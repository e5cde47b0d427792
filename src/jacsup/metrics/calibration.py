"""Calibrate the strengths 1 and -1 of a diffusion model by what a judge sees in its edits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from jacsup.code import Code, to_float, to_unit
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.attributes import DISTURBANCE, flipped, mean_of_known, unaffected
from jacsup.models import ModelInfo, decoding, device_of
from jacsup.models.diffusion import DiffusionEditor
from jacsup.progress import track

# The share of photos in which an edit of strength 1 should be seen.
SEEN = 0.75
# The tried factors of the denoiser's change; larger ones distort the photo.
GUIDANCES = (1.0, 2.0, 4.0, 8.0, 16.0)
# Number of photos to which each attribute is added, and number of photos from which it is removed.
NUM_PHOTOS = 24
# A direction with fewer photos gets the guidance of the other one.
FEWEST_PHOTOS = 4


@dataclass(frozen=True)
class _Direction:
    """The result for adding or for removing an attribute: the guidance, and the share of edits seen with it."""

    guidance: float
    seen: float


@torch.no_grad()
def calibrated(
    info: ModelInfo, model: DiffusionEditor, split: Split, judge: AttributeJudge, attributes: Sequence[Attribute]
) -> ModelInfo:
    """Set the model's guidance so that a judge sees 75 % of edits, unless this changes 10 % of the other verdicts.

    Args:
        info: The model's description.
        model: The model, in eval mode; its guidance is changed.
        split: Training images with labels, of which the first 24 with and without each attribute are edited.
        judge: The judge of the attributes.
        attributes: The attributes, in the order of the model's factors.

    Returns:
        The description with the share of edits that are then seen.
    """
    both = [
        [_direction(model, split, judge, attributes, factor, turned_on=turned_on) for turned_on in (False, True)]
        for factor in track(range(len(attributes)), "calibrating every attribute")
    ]
    untried = _Direction(model.config.guidance, math.nan)
    found = [(removed or added or untried, added or removed or untried) for removed, added in both]
    model.guidance.copy_(torch.tensor([[each.guidance for each in pair] for pair in found]).T)
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
    code = model.encode(to_float(images, model.value_range))
    ones = torch.ones_like(code.y[0])
    turned = torch.full_like(code.y[:, 0], turned_on, dtype=torch.bool)
    edited = Code(flipped(code.y, factor, turned, 1, attributes, (-ones, ones)), code.z)
    others = unaffected(factor, attributes)

    decode = decoding(model)

    def verdicts(code: Code) -> Bool[Tensor, "n k"]:
        return judge(to_unit(decode(code), model.value_range))

    before = verdicts(code)
    seen, changed = [], []
    for guidance in GUIDANCES:
        model.guidance.fill_(guidance)
        after = verdicts(edited)
        seen.append(float((after[:, factor] == turned).float().mean()))
        changed.append(float((after != before)[:, others].float().mean()))
        # Larger guidances are not needed, because the smaller of the two limits counts.
        if seen[-1] >= SEEN or changed[-1] >= DISTURBANCE:
            break
    guidance = min(_reached(seen, SEEN), _reached(changed, DISTURBANCE))
    return _Direction(guidance, float(np.interp(guidance, GUIDANCES[: len(seen)], seen)))


def _reached(shares: Sequence[float], wanted: float) -> float:
    """The smallest guidance at which a share is `wanted`, interpolated between the tried ones; else the largest."""
    for number, share in enumerate(shares):
        if share >= wanted:
            if number == 0:
                return GUIDANCES[0]
            low, high = GUIDANCES[number - 1], GUIDANCES[number]
            return low + (high - low) * (wanted - shares[number - 1]) / (share - shares[number - 1])
    return GUIDANCES[-1]
