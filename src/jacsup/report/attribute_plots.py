"""A supervised run's figures as PNG files: attributes edited on test faces, and what that costs in sharpness."""

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
from jacsup.data.dataset import Split
from jacsup.metrics.attributes import Counterfactual, Means, Number, flipped, stored_means
from jacsup.metrics.images import reconstruct
from jacsup.models import Model, load, load_info
from jacsup.report.sheets import ARM_COLOURS, INK, MINUS, Group, Row, draw_rows, plot, save
from jacsup.report.siblings import arm_label, stage_letter

STRENGTH, SWEEP = 2, (-3, -2, -1, 0, 1, 2, 3)
TILE = 128
GREY = 0.5

Images = UInt8[Tensor, "n c h w"]


@dataclass(frozen=True)
class Painter:
    """A model, its attributes and their m- and m+."""

    model: Model
    attributes: Sequence[Attribute]
    means: Means

    @classmethod
    def of(cls, file: Path, attributes: Sequence[Attribute]) -> Painter:
        """The painter of a model file."""
        return cls(load(file), attributes, stored_means(load_info(file).factors))

    @torch.no_grad()
    def edited(
        self, images: UInt8[Tensor, "n c h w"], factor: int, turned_on: Bool[Tensor, " n"], strength: Number = STRENGTH
    ) -> Float[Tensor, "n c h w"]:
        """Images with an attribute at `strength` where it is turned on, at -strength elsewhere; pixels in [0, 1]."""
        code = self.model.encode(to_float(images, self.model.value_range))
        y = flipped(code.y, factor, turned_on, strength, self.attributes, self.means)
        return to_unit(self.model.decode(Code(y, code.z)), self.model.value_range)

    def name(self, factor: int) -> str:
        """What attribute number `factor` is called."""
        return self.attributes[factor].name


def draw_attributes(path: Path, painter: Painter, factors: Sequence[int], faces: Split) -> None:
    """Figure 4: faces, their reconstructions, and below them each of `factors` turned over; minus: taken away."""
    images = faces.images
    rows = [Row("original", to_float(images, UNIT)), Row("reconstruction", reconstruct(painter.model, images))]
    for factor in factors:
        turned_on = _lacking(faces, factor)
        rows.append(Row(painter.name(factor), painter.edited(images, factor, turned_on), minus=(~turned_on).tolist()))
    draw_rows(path, [Group(rows)], tile=TILE)


def draw_sweep(path: Path, painter: Painter, factors: Sequence[int], images: UInt8[Tensor, "n c h w"]) -> None:
    """Each of `factors` on a face of its own, from the smallest strength of SWEEP to the largest."""
    rows = []
    for place, factor in enumerate(factors):
        image = images[place % len(images)][None]
        swept = [painter.edited(image, factor, torch.tensor([strength > 0]), abs(strength)) for strength in SWEEP]
        rows.append(
            Row(painter.name(factor), torch.cat([to_float(image, UNIT), reconstruct(painter.model, image), *swept]))
        )
    headings = ["original", "decoded", *(f"{strength:+d}".replace("-", MINUS) for strength in SWEEP)]
    headings[2 + SWEEP.index(0)] = "0"
    draw_rows(path, [Group(rows, headings)], tile=TILE)


def draw_models(path: Path, painters: dict[str, Painter], factors: Sequence[int], faces: Split) -> None:
    """The same edits of the same faces by several models, one below the other; minus: taken away."""
    names = [next(iter(painters.values())).name(factor) for factor in factors]
    groups = []
    for place in range(len(faces)):
        face = faces.rows(slice(place, place + 1))
        turned_on = [_lacking(face, factor) for factor in factors]
        minus = [False, False, *(not on for on in turned_on)]
        rows = []
        for name, painter in painters.items():
            edits = [painter.edited(face.images, factor, on) for factor, on in zip(factors, turned_on, strict=True)]
            tiles = torch.cat([to_float(face.images, UNIT), reconstruct(painter.model, face.images), *edits])
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
    """Each of `factors` turned over by drawing the face again and by the model, and what either changes.

    Of `images` each row has the one that the truth changes most. notes: what stands below each attribute's name.
    """
    rows = []
    for factor, note in zip(factors, notes, strict=True):
        truths, turned_on = counterfactual(factor)
        sources, truths = to_float(images, UNIT), to_float(truths, UNIT)
        place = int((truths - sources).square().sum(dim=(1, 2, 3)).argmax())
        chosen = slice(place, place + 1)
        before = reconstruct(painter.model, images[chosen])
        after = painter.edited(images[chosen], factor, turned_on[chosen], strength=1)
        changes = [(GREY + change).clamp(0, 1) for change in (truths[chosen] - sources[chosen], after - before)]
        rows.append(
            Row(painter.name(factor), torch.cat([sources[chosen], truths[chosen], before, after, *changes]), note)
        )
    headings = ("original", "truth", "decoded", "edit", "true change", "edit's change")
    draw_rows(path, [Group(rows, headings)], tile=TILE)


def draw_tradeoff(path: Path, arms: dict[str, list[dict[str, Any]]]) -> None:
    """The poster's curve: PSNR against edit accuracy and counterfactual gain, one point for each stage of each arm.

    arms: by arm, what was measured of its stages; the first arm's points bear the stages' letters.
    """
    figures = {"accuracy 2": "edit accuracy at 2", "counterfactual_gain": "counterfactual gain"}
    known = [key for key in figures if any(stage.get(key) is not None for stages in arms.values() for stage in stages)]
    figure, axes = plot(len(known), share_x=True, height=2.6)
    for axis, key in zip(axes, known, strict=True):
        for arm, stages in reversed(arms.items()):
            measured = [stage for stage in stages if stage.get(key) is not None]
            x, y = [stage["psnr"] for stage in measured], [stage[key] for stage in measured]
            colour, line = ARM_COLOURS.get(arm, INK), "--" if arm else "-"
            axis.plot(x, y, f"o{line}", color=colour, lw=1.6, ms=5, label=arm_label(arm))
        for number, stage in enumerate(next(iter(arms.values()))):
            if stage.get(key) is not None:
                axis.annotate(
                    stage_letter(number), (stage["psnr"], stage[key]), xytext=(-6, 5), textcoords="offset points",
                    ha="center", weight="bold", color=INK,
                )  # fmt: skip
        axis.set_ylabel(figures[key])
        axis.margins(0.08, 0.18)
    axes[-1].set_xlabel("PSNR, dB")
    if len(arms) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(arms), frameon=False)
    save(figure, path)


def _lacking(faces: Split, factor: int) -> Bool[Tensor, " n"]:
    """Which faces lack an attribute, or are not known to have it."""
    assert faces.attributes is not None
    return ~(faces.attributes[:, factor] > 0)
