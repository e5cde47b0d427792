"""How well attributes can be edited: flips seen by a judge, and drawn faces compared with their true edits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jacsup.code import UNIT, Code, at_strength, to_float, to_unit
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Split
from jacsup.metrics.attribute_judge import AttributeJudge
from jacsup.metrics.images import chunk_size, code_of, exact_sum
from jacsup.metrics.regions import attribute_regions, change_outside
from jacsup.models import Autoencoder, Factor, Model, decoding
from jacsup.progress import track

# Mean scores are over attributes for which the judge's AUC on real images is at least this.
RELIABLE_AUC = 0.85
# Test images whose attributes are flipped.
NUM_EDITED_IMAGES = 1000
STRENGTHS = (0, 1, 2, 4)
# An edit that keeps a photo's own detail needs larger strengths.
PASTED_STRENGTHS = (0, 1, 2, 4, 6)
NUM_PASTED_IMAGES = 300
# Share of the other verdicts that an edit may change when models of unequal sharpness are compared.
DISTURBANCE = 0.1

Number = int | float
# From a code to images in [0, 1], in chunks.
Decode = Callable[[Code], Iterator[Float[Tensor, "b c h w"]]]
Means = tuple[Float[Tensor, " k"], Float[Tensor, " k"]]
# From an attribute's number to the true images with it flipped, and where the flip turned it on.
Counterfactual = Callable[[int], tuple[UInt8[Tensor, "n c h w"], Bool[Tensor, " n"]]]


def attribute_means(y: Float[Tensor, "n k"], attributes: Float[Tensor, "n k"]) -> Means:
    """Return m- and m+, the mean predicted y over images without and with each attribute.

    For a continuous attribute, these are images below and above its mean.

    Args:
        y: The predicted factors, shape (n, k).
        attributes: The labels of the same images. Missing labels (nan) are ignored.

    Returns:
        m- and m+ of each attribute; nan if all images with a label have it or none has.
    """
    without, with_it = attributes < 0, attributes > 0
    return (y * without).sum(0) / without.sum(0), (y * with_it).sum(0) / with_it.sum(0)


def stored_means(factors: Sequence[Factor]) -> Means:
    """Return m- and m+ of factors.

    Args:
        factors: The factors of a model file, or those that `describe` returns.
    """
    means = torch.tensor([(factor.m_minus, factor.m_plus) for factor in factors])
    return means[:, 0], means[:, 1]


def mutually_exclusive(factor: int, attributes: Sequence[Attribute]) -> list[int]:
    """Return the columns of the attributes that attribute number `factor` excludes.

    Args:
        factor: Column of the attribute, from 0.
        attributes: All attributes.
    """
    return [i for i, attribute in enumerate(attributes) if attribute.name in attributes[factor].mutually_exclusive]


def unaffected(factor: int, attributes: Sequence[Attribute]) -> list[int]:
    """Return the columns of the attributes that an edit of attribute number `factor` should leave unchanged.

    Args:
        factor: Column of the attribute, from 0.
        attributes: All attributes.
    """
    return [i for i in range(len(attributes)) if i not in (factor, *mutually_exclusive(factor, attributes))]


def switchable(model: Autoencoder, attributes: Sequence[Attribute]) -> list[Attribute]:
    """Return the attributes with those that they exclude, for `flipped`: none if the model's factors are independent.

    Args:
        model: A model of these attributes.
        attributes: All attributes.
    """
    independent = isinstance(model, Model) and model.independent_factors
    return [replace(each, mutually_exclusive=()) if independent else each for each in attributes]


def flipped(
    y: Float[Tensor, "n k"],
    factor: int,
    turned_on: Bool[Tensor, " n"],
    strength: Number,
    attributes: Sequence[Attribute],
    means: Means,
) -> Float[Tensor, "n k"]:
    """Return factors with one attribute at `strength` where it is turned on, and at -strength elsewhere.

    Where it is turned on, the attributes that it excludes are set to strength -1. Those whose m- is unknown do not
    change.

    Args:
        y: The factors of n images.
        factor: The attribute's column.
        turned_on: Whether the attribute is turned on in each image.
        strength: The strength; 1 is typical with the attribute.
        attributes: The attributes in the order of the columns.
        means: m- and m+ of each attribute.
    """
    m_minus, m_plus = means
    y = y.clone()
    y[:, factor] = at_strength(m_minus[factor], m_plus[factor], strength * (2 * turned_on - 1).to(y))
    others = mutually_exclusive(factor, attributes)
    y[:, others] = torch.where(turned_on[:, None] & m_minus[others].isfinite(), m_minus[others], y[:, others])
    return y


@torch.no_grad()
def edit_scores(
    model: Autoencoder,
    split: Split,
    judge: AttributeJudge,
    attributes: Sequence[Attribute],
    means: Means,
    strengths: Sequence[Number] = STRENGTHS,
    *,
    pasted: bool = False,
) -> dict[str, Any]:
    """Measure edit accuracy and preservation error by flipping each attribute of the first 1,000 images.

    If the judge sees attribute i in the reconstruction, i is set to strength -s, otherwise to s. The accuracy is the
    mean of the two directions' shares of successful flips. The preservation error is the share of changed verdicts
    among the other attributes that i does not exclude, compared with the reconstruction. Strength 0 edits nothing: its
    accuracy is 0, and its preservation error is the share of verdicts that reconstruction alone changes.

    With `pasted`, the judge sees what a user sees who edits a photo, x + D(y', z) - D(y, z); edits are then compared
    with the image itself instead of its reconstruction. The change outside is the share of an edit's squared change
    that lies outside the attribute's region (see `attribute_regions`); it is nan at strength 0.

    Args:
        model: A model of attributes.
        split: The images.
        judge: The judge of the attributes.
        attributes: The attributes, in the order of the model's factors.
        means: m- and m+ of each attribute.
        strengths: The strengths s.
        pasted: Whether images keep their own detail.

    Returns:
        Lists by strength, in [0, 1]: `accuracy` and `preservation_error`, means over attributes for which the judge's
        AUC is at least 0.85; `accuracy_all` and `preservation_error_all`, means over all; and both for each attribute
        in `per_attribute`. If pasted, also `change_outside` in all three. All are nan for an attribute whose m- or m+
        is unknown, and the preservation error is nan for one that excludes all others; means ignore nan.
    """
    images = split.images[:NUM_EDITED_IMAGES]
    code, decode = encoded_and_decoded(model, images)
    if pasted:
        decode = _pasted(images, code, decode)
    m_minus, m_plus = (values.to(code.y) for values in means)
    switched = switchable(model, attributes)
    seen = _verdicts(judge, decode(code))
    real = _verdicts(judge, _in_unit(images, code))
    regions = attribute_regions(judge, torch.cat([*_in_unit(images, code)])) if pasted else None

    def flip(factor: int, strength: Number) -> tuple[float, ...]:
        others = unaffected(factor, attributes)
        if strength == 0:
            return 0.0, _share((real != seen)[:, others]), math.nan
        if not (m_minus + m_plus).isfinite()[factor]:
            return math.nan, math.nan, math.nan
        y = flipped(code.y, factor, ~seen[:, factor], strength, switched, (m_minus, m_plus))
        edited, outside = decode(Code(y, code.z)), math.nan
        if regions is not None:
            edited = [*edited]
            outside = change_outside(_in_unit(images, code), edited, regions[factor])
        changed = _verdicts(judge, edited) != seen
        sides = changed[seen[:, factor], factor], changed[~seen[:, factor], factor]
        return mean_of_known([_share(side) for side in sides]), _share(changed[:, others]), outside

    keys = ("accuracy", "preservation_error", "change_outside")[: 3 if pasted else 2]
    per_attribute = {}
    for factor in track(range(len(attributes)), "editing every attribute"):
        by_score = zip(*(flip(factor, strength) for strength in strengths), strict=True)
        per_attribute[attributes[factor].name] = {key: [*row] for key, row in zip(keys, by_score, strict=False)}
    reliable = [attribute.name for attribute, auc in zip(attributes, judge.auc, strict=True) if auc >= RELIABLE_AUC]
    return {
        "strengths": [*strengths],
        **{
            key + suffix: [
                mean_of_known([per_attribute[name][key][place] for name in names]) for place in range(len(strengths))
            ]
            for suffix, names in {"": reliable, "_all": [*per_attribute]}.items()
            for key in keys
        },
        "per_attribute": per_attribute,
    }


def accuracy_at_equal_disturbance(scores: dict[str, Any]) -> float:
    """Return the edit accuracy at the strength that changes a tenth of the other verdicts.

    A sharp image needs a larger change than a blurred one before the judge's verdict changes, so models of unequal
    sharpness should not be compared at equal strengths. The accuracy is interpolated linearly between the strengths,
    starting with 0 for no edit.

    Args:
        scores: `strengths`, `accuracy` and `preservation_error`, as `edit_scores` returns them.

    Returns:
        The accuracy, in [0, 1]; the one at the largest strength if even that changes fewer verdicts; nan if no edit
        could be judged.
    """
    rows = zip(*(scores[name] for name in ("strengths", "preservation_error", "accuracy")), strict=True)
    accuracy = changed = 0.0
    for _, changed_next, accuracy_next in sorted(row for row in rows if row[0] > 0):
        if changed_next >= DISTURBANCE:
            share = (DISTURBANCE - changed) / (changed_next - changed)
            return accuracy + share * (accuracy_next - accuracy)
        changed, accuracy = changed_next, accuracy_next
    return accuracy


@torch.no_grad()
def counterfactual_gain(
    model: Autoencoder,
    images: UInt8[Tensor, "n c h w"],
    attributes: Sequence[Attribute],
    means: Means,
    counterfactual: Counterfactual,
) -> dict[str, Any]:
    """Compare edits with the true edited images: 1 is exact, 0 is no edit.

    1 - sum ||[D(y', z) - D(y, z)] - [truth - source]||^2 / sum ||truth - source||^2 over pixels in [0, 1], with y' at
    strength 1 where the truth turns the attribute on and at -1 elsewhere.

    Args:
        model: A model of attributes.
        images: The source images.
        attributes: The attributes, in the order of the model's factors.
        means: m- and m+ of each attribute.
        counterfactual: A function from an attribute's number to the true images with it flipped, and where it was
            turned on.

    Returns:
        `per_attribute`: the gain of each attribute; nan if its m- or m+ is unknown, or if its flip changes no image.
        `mean`: their mean, without nan. `full`: the mean of the gains with D(y', z) - source in the first bracket,
        which counts the reconstruction error as an error of the edit.
    """
    code, decode = encoded_and_decoded(model, images)
    device, size = code.y.device, chunk_size(images)
    m_minus, m_plus = (values.to(code.y) for values in means)
    switched = switchable(model, attributes)
    gains, full = [], []
    for factor in track(range(len(attributes)), "comparing edits with the truth"):
        truths, turned_on = counterfactual(factor)
        y = flipped(code.y, factor, turned_on.to(device), 1, switched, (m_minus, m_plus))
        sums = torch.zeros(3, dtype=torch.float64)
        decoded = decode(code), decode(Code(y, code.z))
        for before, after, *pixels in zip(*decoded, images.split(size), truths.split(size), strict=True):
            source, truth = (to_float(part.to(device), UNIT) for part in pixels)
            errors = after - before - (truth - source), after - truth, truth - source
            sums += torch.stack([exact_sum(error.square()) for error in errors]).cpu()
        of_edit, of_image, wanted = sums.tolist()
        gains.append(1 - of_edit / wanted if wanted else math.nan)
        full.append(1 - of_image / wanted if wanted else math.nan)
    names = [attribute.name for attribute in attributes]
    return {
        "mean": mean_of_known(gains),
        "full": mean_of_known(full),
        "per_attribute": dict(zip(names, gains, strict=True)),
    }


def encoded_and_decoded(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> tuple[Code, Decode]:
    """Encode images, and return their code and a function that decodes it, or a changed one, in chunks in [0, 1].

    Args:
        model: The model.
        images: The images.

    Returns:
        The code of all images, and the function from a code to chunks of images in [0, 1].
    """

    of_chunk = decoding(model)

    def decode(code: Code) -> Iterator[Float[Tensor, "b c h w"]]:
        size = chunk_size(images)
        for y, z in zip(code.y.split(size), code.z.split(size), strict=True):
            yield to_unit(of_chunk(Code(y, z)), model.value_range)

    return code_of(model, images), decode


def _pasted(images: UInt8[Tensor, "n c h w"], code: Code, decode: Decode) -> Decode:
    """A function that maps a changed code to the images with its change pasted into them."""
    detail = [x - x_hat for x, x_hat in zip(_in_unit(images, code), decode(code), strict=True)]
    return lambda changed: ((x_hat + own).clamp(0, 1) for x_hat, own in zip(decode(changed), detail, strict=True))


def _in_unit(images: UInt8[Tensor, "n c h w"], code: Code) -> Iterator[Float[Tensor, "b c h w"]]:
    """The images in [0, 1], in chunks, on the device of their code."""
    return (to_float(part.to(code.y.device), UNIT) for part in images.split(chunk_size(images)))


def _verdicts(judge: AttributeJudge, pixels: Iterable[Float[Tensor, "_ c h w"]]) -> Bool[Tensor, "n k"]:
    return torch.cat([judge(part) for part in pixels])


def _share(verdicts: Bool[Tensor, "..."]) -> float:
    return float(verdicts.float().mean())


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the finite values; nan if there are none.

    Args:
        values: Numbers, nan where unknown.
    """
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
