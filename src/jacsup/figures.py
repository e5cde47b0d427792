"""The paper's figures as PNG files, drawn from model files and from the statistics of runs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from jacsup.arms import arm_label
from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.metrics.images import reconstruct
from jacsup.models import Factor, Model, load, load_info
from jacsup.recipes import ARMS, SUPERVISED_ARMS
from jacsup.run import Run, write_atomically

GRID_STEPS, GRID_STDS, UNIT_STEPS = 11, 2.0, 9
MINUS = "\N{MINUS SIGN}"

# Okabe and Ito's palette, which colour-blind readers can tell apart; a run without an arm is always the blue one.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
ARM_COLOURS = dict(zip(("", *(ARMS | SUPERVISED_ARMS)), PALETTE, strict=False))
INK, SOFT, RULE = "#16181d", "#5a606b", "#c4c8cf"

# A power of two: sizes in inches are then exact, and no pixel is lost to rounding.
SHEET_DPI, PLOT_DPI = 128, 200
GAP, MARGIN, LABEL_WIDTH = 3, 16, 216
Pixels = int | float

# Blue, so that it ends strokes of black, white and grey alike.
SEAM = (0.26, 0.4, 0.6, 1.0)


def draw_factor_grid(path: Path, model_file: Path) -> None:
    """Figure 1 (a) to (c): a model decoded over a grid of its first two units, the others at their training means."""
    model, factors = load(model_file), load_info(model_file).factors
    block = _block(_factor_grid(model, factors), tile=56)
    height, width, label = *block.shape[:2], 36
    sheet = _Sheet(label + width, height + label)
    sheet.image(label, 0, block)
    low, high = f"{MINUS}{GRID_STDS:g} std", f"+{GRID_STDS:g} std"
    for share, anchor, words in ((0.0, "left", low), (0.5, "center", factors[0].name), (1.0, "right", high)):
        sheet.text(label + share * width, height + 0.6 * label, words, anchor=anchor, size=23)
    if len(factors) > 1:
        for share, anchor, words in ((1.0, "bottom", low), (0.5, "center", factors[1].name), (0.0, "top", high)):
            sheet.text(0.4 * label, share * height, words, upright_anchor=anchor, size=23)
    _save(sheet.figure, path)


def draw_units(
    path: Path, model_file: Path, units: Sequence[int], images: UInt8[Tensor, "n c h w"], drops: Sequence[float]
) -> None:
    """Figure 2: each of `units` varied from its 1st to its 99th training percentile on `images`, the rest fixed.

    drops: how much each unit lowers the MSE, by unit number; empty when it was not measured.
    """
    model, factors = load(model_file), load_info(model_file).factors
    originals, outputs = to_float(images, UNIT), reconstruct(model, images)
    left = _block(torch.stack([originals, outputs], dim=1), tile=84)
    rights = [_block(_vary(model, images, unit, factors[unit]), tile=84) for unit in units]
    heading, between, column = 36, 24, (left.shape[1] - GAP) // 2
    right_start = LABEL_WIDTH + left.shape[1] + between
    right_end = right_start + rights[0].shape[1]
    sheet = _Sheet(right_end, heading + len(units) * (left.shape[0] + between) - between)
    starts = (LABEL_WIDTH, LABEL_WIDTH + column + GAP, right_start, right_end - column)
    for start, words in zip(starts, ("input", "output", "p01", "p99"), strict=True):
        sheet.text(start + column / 2, 12, words, anchor="center", size=min(24, round(0.28 * column)))
    sheet.arrow(right_start + 1.2 * column, right_end - 1.2 * column, 12)
    for row, (unit, right) in enumerate(zip(units, rights, strict=True)):
        top = heading + row * (left.shape[0] + between)
        sheet.image(LABEL_WIDTH, top, left)
        sheet.image(right_start, top, right)
        sheet.text(0, top + 20, factors[unit].name, size=34, bold=True)
        if unit < len(drops):
            sheet.text(0, top + 62, f"MSE {-drops[unit]:+#.2g}".replace("-", MINUS), colour=SOFT)
    _save(sheet.figure, path)


def draw_reconstructions(path: Path, stage_files: Sequence[Path], images: UInt8[Tensor, "n c h w"]) -> None:
    """Test images, and below each what the model of every given stage makes of it."""
    models = [load(file) for file in stage_files]
    errors = [load_info(file).metrics.get("test_mse") for file in stage_files]
    rows = [to_float(images, UNIT), *(reconstruct(model, images) for model in models)]
    blocks = [_block(row[None], tile=112) for row in rows]
    height, width, between = *blocks[0].shape[:2], 12
    sheet = _Sheet(LABEL_WIDTH + width, len(blocks) * (height + between) - between)
    names = ["original", *(f"{model.num_units} unit{'s' * (model.num_units > 1)}" for model in models)]
    notes = ["", *("" if error is None else f"MSE {error:.4f}" for error in errors)]
    for row, (block, name, note) in enumerate(zip(blocks, names, notes, strict=True)):
        top = row * (height + between)
        sheet.image(LABEL_WIDTH, top, block)
        sheet.text(0, top + height / 2 - (22 if note else 0), name, size=34, bold=True)
        sheet.text(0, top + height / 2 + 22, note, colour=SOFT)
    _save(sheet.figure, path)


def draw_curves(path: Path, runs: Sequence[Run]) -> None:
    """Figure 1 (d): test figures over the epochs of the whole curriculum; bars where the first run's code grew."""
    lines = {run.recipe.arm: run.stats() for run in runs}
    panels = [
        (name, label, scale)
        for name, label, scale in (
            ("test_mse", "test MSE", "log"),
            ("test_swap", "test swap score", "linear"),
            ("test_jacobian", "test Jacobian loss", "log"),
        )
        if any(name in line for arm in lines.values() for line in arm)
    ]
    figure, axes = _plot(len(panels), share_x=True)
    for axis, (name, label, scale) in zip(axes, panels, strict=True):
        for arm, arm_lines in reversed(lines.items()):
            values = [line.get(name, np.nan) for line in arm_lines]
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, color=ARM_COLOURS.get(arm, INK), lw=1.6, label=arm_label(arm))
        axis.set_ylabel(label)
        if scale == "log":
            _log_scale(axis)
        else:
            axis.set_ylim(0, 1.04)
    axes[-1].set(xlabel="epochs, all stages", xlim=(0, max(map(len, lines.values())) + 1))
    axes[-1].locator_params(axis="x", integer=True)
    _mark_growth(axes, lines[runs[0].recipe.arm])
    if len(runs) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(runs), frameon=False)
    _save(figure, path)


def _mark_growth(axes: Sequence[Any], lines: Sequence[dict[str, Any]]) -> None:
    """Grey bars where a stage begins, and above them the number of units of each stage."""
    stages = [line["stage"] for line in lines]
    starts = [index for index, stage in enumerate(stages) if index == 0 or stage != stages[index - 1]]
    for axis in axes:
        for start in starts[1:]:
            axis.axvline(start + 0.5, color=RULE, lw=1, zorder=0)
    middles = [(start + end) / 2 + 0.5 for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    every = -(-len(starts) // 20)
    top = axes[0].secondary_xaxis("top")
    top.set_xticks(middles[::every], [str(lines[start]["units"]) for start in starts[::every]])
    top.tick_params(length=0, labelcolor=SOFT, labelsize=9)
    top.set_xlabel("units in the code", color=SOFT)
    top.spines["top"].set_visible(False)


def draw_order(path: Path, metrics: dict[str, Any]) -> None:
    """What each unit adds: the error of the code cut short, the drop per unit, the Jacobian's energy per unit."""
    panels = [
        (metrics[name], label, ticks)
        for name, label, ticks in (
            ("prefix_mse", "test MSE", "first units kept, the others at their means"),
            ("drop_per_unit", "drop in MSE", "unit"),
            ("energy_per_unit", "Jacobian energy", "unit"),
        )
        if metrics.get(name)
    ]
    figure, axes = _plot(len(panels), share_x=False)
    for axis, (values, label, ticks) in zip(axes, panels, strict=True):
        # A bar has a length only on an axis that starts at zero.
        if 0 < 20 * min(values) < max(values):
            axis.plot(values, "o-", color=PALETTE[0], lw=1.6, markersize=5)
            _log_scale(axis)
        else:
            axis.bar(range(len(values)), values, color=PALETTE[0], width=0.72)
            axis.axhline(0, color=INK, lw=0.8)
        axis.set(ylabel=label, xlabel=ticks, xlim=(-0.6, len(values) - 0.4))
        axis.set_xticks(range(0, len(values), -(-len(values) // 20)))
    _save(figure, path)


@torch.no_grad()
def _factor_grid(model: Model, factors: Sequence[Factor]) -> Float[Tensor, "rows columns c h w"]:
    """Unit 0 from left to right, unit 1 from bottom to top (one row for a model that has no unit 1)."""
    steps = torch.linspace(-GRID_STDS, GRID_STDS, GRID_STEPS)
    rows = GRID_STEPS if len(factors) > 1 else 1
    units = torch.tensor([factor.mean for factor in factors]).repeat(rows, GRID_STEPS, 1)
    units[..., 0] += factors[0].std * steps
    if len(factors) > 1:
        units[..., 1] += factors[1].std * steps.flip(0)[:, None]
    pixels = to_unit(model.decode(Code.of_units(units.flatten(0, 1))), model.config.value_range)
    return pixels.unflatten(0, (rows, GRID_STEPS))


@torch.no_grad()
def _vary(model: Model, images: UInt8[Tensor, "n c h w"], unit: int, factor: Factor) -> Float[Tensor, "n s c h w"]:
    code = model.encode(to_float(images, model.config.value_range))
    values = torch.linspace(factor.p01, factor.p99, UNIT_STEPS).tolist()
    changed = torch.stack([model.decode(code.with_factor(unit, value)) for value in values], dim=1)
    return to_unit(changed, model.config.value_range)


def _block(tiles: Float[Tensor, "rows columns c h w"], tile: int) -> np.ndarray:
    """Images side by side as RGB(A) bytes, each about `tile` pixels large, with seams between them."""
    rows, columns, channels, height, width = tiles.shape
    flat = tiles.flatten(0, 1)
    largest = max(height, width)
    # Small images grow by a whole factor, so that each pixel stays a sharp square.
    times = max(1, round(tile / largest))
    if largest > 1.2 * tile:
        flat = interpolate(flat, scale_factor=tile / largest, mode="area")
    flat = flat.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    seams = torch.tensor(SEAM[: max(3, channels)])[:, None, None].expand(-1, flat.shape[2] + GAP, flat.shape[3] + GAP)
    seamed = seams.repeat(len(flat), 1, 1, 1)
    seamed[..., :-GAP, :-GAP] = flat
    joined = seamed.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return joined[:-GAP, :-GAP].mul(255).round().to(torch.uint8).numpy()


class _Sheet:
    """A picture laid out in whole pixels from the top left corner inside its margin, so that images stay sharp."""

    def __init__(self, width: int, height: int):
        from matplotlib.figure import Figure

        self._width, self._height = width + 2 * MARGIN, height + 2 * MARGIN
        size = self._width / SHEET_DPI, self._height / SHEET_DPI
        self.figure = Figure(figsize=size, dpi=SHEET_DPI, facecolor="white")

    def image(self, left: int, top: int, pixels: np.ndarray) -> None:
        bottom = self._height - MARGIN - top - pixels.shape[0]
        self.figure.figimage(pixels, MARGIN + left, bottom, origin="upper")

    def text(
        self,
        x: Pixels,
        y: Pixels,
        words: str,
        *,
        anchor: str = "left",
        upright_anchor: str = "",
        size: int = 26,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Words of `size` pixels centred on the line y; with `upright_anchor`, written upwards and centred on x."""
        self.figure.text(
            *self._share(x, y), words,
            ha="center" if upright_anchor else anchor, va=upright_anchor or "center_baseline",
            rotation=90 if upright_anchor else 0, fontsize=size * 72 / SHEET_DPI,
            fontweight="bold" if bold else "normal", color=colour, parse_math=False,
        )  # fmt: skip

    def arrow(self, start: Pixels, end: Pixels, y: Pixels) -> None:
        from matplotlib.patches import FancyArrowPatch

        style = {"arrowstyle": "-|>", "mutation_scale": 16, "color": SOFT, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        ends = self._share(start, y), self._share(end, y)
        self.figure.add_artist(FancyArrowPatch(*ends, transform=self.figure.transFigure, **style))

    def _share(self, x: Pixels, y: Pixels) -> tuple[float, float]:
        return (MARGIN + x) / self._width, 1 - (MARGIN + y) / self._height


def _plot(num_panels: int, *, share_x: bool) -> tuple[Any, list[Any]]:
    """A figure of stacked panels, in one style."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07)
    figure = Figure(figsize=(6, 0.6 + 1.8 * num_panels), dpi=PLOT_DPI, facecolor="white", layout=layout)
    axes = list(figure.subplots(num_panels, 1, sharex=share_x, squeeze=False)[:, 0])
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(SOFT)
        axis.tick_params(colors=INK, labelsize=10, which="major")
        axis.yaxis.label.set_size(11)
        axis.xaxis.label.set_size(11)
        axis.grid(axis="y", color="#e6e8ec", lw=0.8)
        axis.set_axisbelow(True)
    figure.align_ylabels(axes)
    return figure, axes


def _log_scale(axis: Any) -> None:
    """A logarithmic y axis labelled in plain decimals, with more ticks where it spans less."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    digits = (1, 1.5, 2, 3, 4, 6, 8) if high < 10 * low else (1, 2, 5) if high < 300 * low else (1,)
    axis.yaxis.set_major_locator(LogLocator(subs=digits))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def _save(figure: Any, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi)
    write_atomically(path, content.getvalue())
