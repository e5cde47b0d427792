"""The paper's figures as PNG files, drawn from models and from the statistics of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.metrics.images import reconstruct
from jacsup.metrics.scores import Scores
from jacsup.metrics.table import metric_of
from jacsup.models import Autoencoder, Factor, device_of, load, load_info
from jacsup.report.sheets import (
    ARM_COLOURS,
    GAP,
    INK,
    LABEL_WIDTH,
    MINUS,
    PALETTE,
    RULE,
    SOFT,
    Group,
    Row,
    Sheet,
    block,
    draw_rows,
    log_scale,
    plot,
    save,
)
from jacsup.report.siblings import arm_label, stage_letter
from jacsup.run import Run

GRID_STEPS = 11
GRID_STDS = 2.0
UNIT_STEPS = 9


def draw_factor_grid(path: Path, model: Autoencoder, factors: Sequence[Factor]) -> None:
    """Draw figure 1 (a) to (c): images decoded over a grid of the first two units, the others at their training means.

    Args:
        path: The PNG file to write.
        model: A model with an ordered code.
        factors: The names, means and deviations of its units in the training data, as `describe` returns them.
    """
    grid = block(_factor_grid(model, factors), tile=56)
    height, width, label = *grid.shape[:2], 36
    sheet = Sheet(label + width, height + label)
    sheet.image(label, 0, grid)
    low, high = f"{MINUS}{GRID_STDS:g} std", f"+{GRID_STDS:g} std"
    for share, anchor, words in ((0.0, "left", low), (0.5, "center", factors[0].name), (1.0, "right", high)):
        sheet.text(label + share * width, height + 0.6 * label, words, anchor=anchor, size=23)
    if len(factors) > 1:
        for share, anchor, words in ((1.0, "bottom", low), (0.5, "center", factors[1].name), (0.0, "top", high)):
            sheet.text(0.4 * label, share * height, words, upright_anchor=anchor, size=23)
    save(sheet.figure, path)


def draw_units(
    path: Path,
    model: Autoencoder,
    factors: Sequence[Factor],
    units: Sequence[int],
    images: UInt8[Tensor, "n c h w"],
    drops: Sequence[float],
) -> None:
    """Draw figure 2: each of `units` varied from its 1st to its 99th training percentile, the rest fixed.

    Args:
        path: The PNG file to write.
        model: A model with an ordered code.
        factors: The names and percentiles of its units in the training data, as `describe` returns them.
        units: The units to vary.
        images: The images to vary them on.
        drops: How much each unit lowers the MSE, by its index. Empty if it was not measured.
    """
    originals, outputs = to_float(images, UNIT), reconstruct(model, images).to(images.device)
    left = block(torch.stack([originals, outputs], dim=1), tile=84)
    rights = [block(_vary(model, images, unit, factors[unit]), tile=84) for unit in units]
    heading, between, column = 36, 24, (left.shape[1] - GAP) // 2
    right_start = LABEL_WIDTH + left.shape[1] + between
    right_end = right_start + rights[0].shape[1]
    sheet = Sheet(right_end, heading + len(units) * (left.shape[0] + between) - between)
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
    save(sheet.figure, path)


def draw_reconstructions(path: Path, stage_files: Sequence[Path], images: UInt8[Tensor, "n c h w"]) -> None:
    """Draw test images, and below each its reconstruction by the model of every given stage."""
    models = [load(file) for file in stage_files]
    errors = [load_info(file).metrics.get("test_mse") for file in stage_files]
    rows = [Row("original", to_float(images, UNIT))]
    for model, error in zip(models, errors, strict=True):
        name = f"{model.num_units} unit{'s' * (model.num_units > 1)}"
        rows.append(Row(name, reconstruct(model, images), "" if error is None else f"MSE {error:.4f}"))
    draw_rows(path, [Group(rows)], tile=112)


def draw_curves(path: Path, runs: Sequence[Run]) -> None:
    """Draw figures 1 (d) and 3 (b): test scores over the epochs of all stages; bars where the first run's code grew."""
    lines = {run.recipe.arm: run.stats() for run in runs}
    panels = [
        (name, scale)
        for name, scale in (
            ("test_mse", "log"),
            ("test_swap", "linear"),
            ("test_edit", "linear"),
            ("test_jacobian", "log"),
        )
        if any(name in line for arm in lines.values() for line in arm)
    ]
    figure, axes = plot(len(panels), share_x=True)
    for axis, (name, scale) in zip(axes, panels, strict=True):
        for arm, arm_lines in reversed(lines.items()):
            values = [line.get(name, np.nan) for line in arm_lines]
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, color=ARM_COLOURS.get(arm, INK), lw=1.6, label=arm_label(arm))
        axis.set_ylabel(metric_of(name).title)
        if scale == "log":
            log_scale(axis)
        else:
            axis.set_ylim(0, 1.04)
    axes[-1].set(xlabel="epochs, all stages", xlim=(0, max(map(len, lines.values())) + 1))
    axes[-1].locator_params(axis="x", integer=True)
    _mark_growth(axes, runs[0])
    if len(runs) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper center", ncols=len(runs), frameon=False)
    save(figure, path)


def _mark_growth(axes: Sequence[Any], run: Run) -> None:
    """Draw a bar where each stage begins, dotted if the code keeps its size, and the size above it."""
    recipe, stages = run.recipe, [line["stage"] for line in run.stats()]
    sizes = [stage.z_channels or stage.num_units for stage in recipe.stages]
    starts = [index for index, stage in enumerate(stages) if index == 0 or stage != stages[index - 1]]
    for axis in axes:
        for start in starts[1:]:
            grown = sizes[stages[start]] > sizes[stages[start - 1]]
            axis.axvline(start + 0.5, color=RULE, lw=1, ls="-" if grown else ":", zorder=0)
    middles = [(start + end) / 2 + 0.5 for start, end in zip(starts, [*starts[1:], len(stages)], strict=True)]
    words = [f"{stage_letter(i)}: {size}" if recipe.supervised else str(size) for i, size in enumerate(sizes)]
    every = -(-len(starts) // 20)
    top = axes[0].secondary_xaxis("top")
    top.set_xticks(middles[::every], [words[stages[start]] for start in starts[::every]])
    top.tick_params(length=0, labelcolor=SOFT, labelsize=9)
    top.set_xlabel("stage: channels of z" if recipe.supervised else "units in the code", color=SOFT)
    top.spines["top"].set_visible(False)


def draw_order(path: Path, metrics: Scores) -> None:
    """Draw each unit's contribution: the error with only the first units, the drop and the Jacobian energy per unit."""
    panels = [
        (values, metric_of(name).title, ticks)
        for name, values, ticks in (
            ("prefix_mse", metrics.get("prefix_mse"), "first units kept, the others at their means"),
            ("drop_per_unit", metrics.get("drop_per_unit"), "unit"),
            ("energy_per_unit", metrics.get("energy_per_unit"), "unit"),
        )
        if values
    ]
    figure, axes = plot(len(panels), share_x=False)
    for axis, (values, label, ticks) in zip(axes, panels, strict=True):
        # On a logarithmic axis, the length of a bar has no meaning.
        if 0 < 20 * min(values) < max(values):
            axis.plot(values, "o-", color=PALETTE[0], lw=1.6, markersize=5)
            log_scale(axis)
        else:
            axis.bar(range(len(values)), values, color=PALETTE[0], width=0.72)
            axis.axhline(0, color=INK, lw=0.8)
        axis.set(ylabel=label, xlabel=ticks, xlim=(-0.6, len(values) - 0.4))
        axis.set_xticks(range(0, len(values), -(-len(values) // 20)))
    save(figure, path)


@torch.no_grad()
def _factor_grid(model: Autoencoder, factors: Sequence[Factor]) -> Float[Tensor, "rows columns c h w"]:
    """Images decoded with unit 0 from left to right and unit 1 from bottom to top; one row if there is no unit 1."""
    steps = torch.linspace(-GRID_STDS, GRID_STDS, GRID_STEPS)
    rows = GRID_STEPS if len(factors) > 1 else 1
    units = torch.tensor([factor.mean for factor in factors]).repeat(rows, GRID_STEPS, 1)
    units[..., 0] += factors[0].std * steps
    if len(factors) > 1:
        units[..., 1] += factors[1].std * steps.flip(0)[:, None]
    code = Code.of_units(units.flatten(0, 1).to(device_of(model)))
    pixels = to_unit(model.decode(code), model.value_range).cpu()
    return pixels.unflatten(0, (rows, GRID_STEPS))


@torch.no_grad()
def _vary(
    model: Autoencoder, images: UInt8[Tensor, "n c h w"], unit: int, factor: Factor
) -> Float[Tensor, "n s c h w"]:
    code = model.encode(to_float(images.to(device_of(model)), model.value_range))
    values = torch.linspace(factor.p01, factor.p99, UNIT_STEPS).tolist()
    changed = torch.stack([model.decode(code.with_factor(unit, value)) for value in values], dim=1)
    return to_unit(changed, model.value_range).to(images.device)
