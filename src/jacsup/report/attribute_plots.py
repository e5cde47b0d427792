"""A supervised run's figures as PNG files: edited test faces, and control against sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.data.attributes import Attribute
from jacsup.data.dataset import Dataset, Split
from jacsup.metrics.attributes import Counterfactual, Means, Number, flipped, stored_means, switchable
from jacsup.metrics.images import reconstruct
from jacsup.metrics.table import metric_of
from jacsup.models import Autoencoder, device_of, load, load_info
from jacsup.report.sheets import ARM_COLOURS, INK, MINUS, Group, Row, draw_rows, plot, save, users_words
from jacsup.report.siblings import arm_label, stage_letter

SHEET_STRENGTH = 2
SWEPT_STRENGTHS = (-3, -2, -1, 0, 1, 2, 3)
TILE = 128
GREY = 0.5
# The sheet of samples: images per attribute, half of them without it, and the most attributes.
NUM_SAMPLES, MOST_SAMPLED = 8, 20

Images = UInt8[Tensor, "n c h w"]


@dataclass(frozen=True)
class Painter:
    """A model that edits images for figures, its attributes, and their m- and m+."""

    model: Autoencoder
    attributes: Sequence[Attribute]
    means: Means

    @classmethod
    def of(cls, file: Path, attributes: Sequence[Attribute]) -> Painter:
        """Return the painter of a model file."""
        model = load(file)
        return cls(model, switchable(model, attributes), stored_means(load_info(file).factors))

    @torch.no_grad()
    def edited(
        self,
        images: UInt8[Tensor, "n c h w"],
        factor: int,
        turned_on: Bool[Tensor, " n"],
        strength: Number = SHEET_STRENGTH,
    ) -> Float[Tensor, "n c h w"]:
        """Return images with an attribute at `strength` where it is turned on, at -strength elsewhere, in [0, 1]."""
        code = self.model.encode(to_float(images.to(device_of(self.model)), self.model.value_range))
        m_minus, m_plus = (values.to(code.y) for values in self.means)
        y = flipped(code.y, factor, turned_on.to(code.y.device), strength, self.attributes, (m_minus, m_plus))
        return to_unit(self.model.decode(Code(y, code.z)), self.model.value_range).to(images.device)

    def decoded(self, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the reconstructions of images, in [0, 1]."""
        return reconstruct(self.model, images).to(images.device)

    def name(self, factor: int) -> str:
        """Return the name of attribute number `factor`."""
        return self.attributes[factor].name


def draw_samples(path: Path, data: Dataset) -> None:
    """Draw training images for each attribute: with it, then without it (marked by minus), or sorted by its value."""
    train = data.train
    rows = [_samples(attribute, train, number) for number, attribute in enumerate(data.attributes[:MOST_SAMPLED])] or [
        Row("training images", _tiles(train, range(min(NUM_SAMPLES, len(train)))))
    ]
    with users_words():
        draw_rows(path, [Group(rows)], tile=TILE)


def _samples(attribute: Attribute, train: Split, number: int) -> Row:
    assert train.attributes is not None
    values = train.attributes[:, number]
    known = (~values.isnan()).nonzero()[:, 0]
    if attribute.continuous:
        order = known[values[known].argsort(stable=True)]
        return Row(attribute.name, _tiles(train, spread(order.tolist(), NUM_SAMPLES)), "sorted by value")
    having, lacking = (spread(half.nonzero()[:, 0].tolist(), NUM_SAMPLES // 2) for half in (values > 0, values < 0))
    share = f"{int((values > 0).sum()):,} of {len(known):,}"
    minus = [*[False] * (NUM_SAMPLES // 2), *[True] * len(lacking)]
    return Row(
        attribute.name, torch.cat([_tiles(train, half, NUM_SAMPLES // 2) for half in (having, lacking)]), share, minus
    )


def spread(numbers: Sequence[int], count: int) -> list[int]:
    """Return up to `count` of the numbers at equal distances, including the first and the last."""
    last = len(numbers) - 1
    return [numbers[place] for place in sorted({round(i * last / (count - 1)) for i in range(count)})]


def _tiles(train: Split, numbers: Sequence[int], count: int = NUM_SAMPLES) -> Float[Tensor, "n c h w"]:
    """Images in [0, 1], filled up with white ones."""
    images = to_float(train.images[list(numbers)], UNIT)
    white = images.new_ones(count - len(images), *train.images.shape[1:])
    return torch.cat([images, white])


def draw_attributes(path: Path, painter: Painter, factors: Sequence[int], faces: Split) -> None:
    """Draw figure 4: faces, their reconstructions, and below them each of `factors` flipped. A minus marks removals."""
    images = faces.images
    rows = [Row("original", to_float(images, UNIT)), Row("reconstruction", painter.decoded(images))]
    for factor in factors:
        turned_on = _lacking(faces, factor)
        rows.append(Row(painter.name(factor), painter.edited(images, factor, turned_on), minus=(~turned_on).tolist()))
    draw_rows(path, [Group(rows)], tile=TILE)


def draw_sweep(path: Path, painter: Painter, factors: Sequence[int], images: UInt8[Tensor, "n c h w"]) -> None:
    """Draw each of `factors` on a different face, at every strength of SWEPT_STRENGTHS."""
    rows = []
    for place, factor in enumerate(factors):
        image = images[place % len(images)][None]
        swept = [
            painter.edited(image, factor, torch.tensor([strength > 0]), abs(strength)) for strength in SWEPT_STRENGTHS
        ]
        rows.append(Row(painter.name(factor), torch.cat([to_float(image, UNIT), painter.decoded(image), *swept])))
    headings = ["original", "decoded", *(f"{strength:+d}".replace("-", MINUS) for strength in SWEPT_STRENGTHS)]
    headings[2 + SWEPT_STRENGTHS.index(0)] = "0"
    draw_rows(path, [Group(rows, headings)], tile=TILE)


def draw_models(path: Path, painters: dict[str, Painter], factors: Sequence[int], faces: Split) -> None:
    """Draw the same edits of the same faces by several models, one below the other. A minus marks removals."""
    names = [next(iter(painters.values())).name(factor) for factor in factors]
    groups = []
    for place in range(len(faces)):
        face = faces.rows(slice(place, place + 1))
        turned_on = [_lacking(face, factor) for factor in factors]
        minus = [False, False, *(not on for on in turned_on)]
        rows = []
        for name, painter in painters.items():
            edits = [painter.edited(face.images, factor, on) for factor, on in zip(factors, turned_on, strict=True)]
            tiles = torch.cat([to_float(face.images, UNIT), painter.decoded(face.images), *edits])
            rows.append(Row(name, tiles, f"code {painter.model.code_size:,}", minus))
        groups.append(Group(rows, ["original", "decoded", *names]))
    draw_rows(path, groups, tile=TILE)


def draw_truth(
    path: Path,
    painter: Painter,
    factors: Sequence[int],
    notes: Sequence[str],
    images: UInt8[Tensor, "n c h w"],
    counterfactual: Counterfactual,
) -> None:
    """Draw each of `factors` flipped in the face's drawing and by the model, and the change that each of them makes.

    Each row shows the image that the true flip changes most. `notes` are the texts below the attributes' names.
    """
    rows = []
    for factor, note in zip(factors, notes, strict=True):
        truths, turned_on = counterfactual(factor)
        sources, truths = to_float(images, UNIT), to_float(truths, UNIT)
        place = int((truths - sources).square().sum(dim=(1, 2, 3)).argmax())
        chosen = slice(place, place + 1)
        before = painter.decoded(images[chosen])
        after = painter.edited(images[chosen], factor, turned_on[chosen], strength=1)
        changes = [(GREY + change).clamp(0, 1) for change in (truths[chosen] - sources[chosen], after - before)]
        rows.append(
            Row(painter.name(factor), torch.cat([sources[chosen], truths[chosen], before, after, *changes]), note)
        )
    headings = ("original", "truth", "decoded", "edit", "true change", "edit's change")
    draw_rows(path, [Group(rows, headings)], tile=TILE)


def draw_tradeoff(path: Path, arms: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the poster's curve: edit accuracy and counterfactual gain against PSNR, one point per stage and arm.

    `arms` has the scores of each arm's stages; the first arm's points are labelled with the stages' letters.
    """
    keys = ("accuracy 2", "counterfactual_gain")
    known = [key for key in keys if any(stage.get(key) is not None for stages in arms.values() for stage in stages)]
    figure, axes = plot(len(known), share_x=True, height=2.6)
    for axis, key in zip(axes, known, strict=True):
        for arm, stages in reversed(arms.items()):
            measured = [stage for stage in stages if stage.get(key) is not None]
            x, y = [stage["psnr"] for stage in measured], [stage[key] for stage in measured]
            colour, line = ARM_COLOURS.get(arm, INK), "--" if arm else "-"
            axis.plot(x, y, f"o{line}", color=colour, lw=1.6, ms=5, label=arm_label(arm))
        for number, stage in enumerate(next(iter(arms.values()))):
            if stage.get(key) is not None:
                place = stage["psnr"], stage[key]
                style = {"textcoords": "offset points", "ha": "center", "weight": "bold", "color": INK}
                axis.annotate(stage_letter(number), place, xytext=(-6, 5), **style)
        axis.set_ylabel(metric_of(key).title)
        axis.margins(0.08, 0.18)
    axes[-1].set_xlabel(metric_of("psnr").heading)
    if len(arms) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(arms), frameon=False)
    save(figure, path)


def _lacking(faces: Split, factor: int) -> Bool[Tensor, " n"]:
    """Whether each face lacks an attribute or has no label for it."""
    assert faces.attributes is not None
    return ~(faces.attributes[:, factor] > 0)
