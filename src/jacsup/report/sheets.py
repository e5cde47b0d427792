"""The tools for all figures: one palette, sheets of images in whole pixels, and plots in one style."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from jacsup.atomic import write_atomically
from jacsup.recipes import ARMS, SUPERVISED_ARMS

MINUS = "\N{MINUS SIGN}"

# Okabe and Ito's palette, which colour-blind readers can tell apart; a run without an arm is always blue.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
ARM_COLOURS = dict(zip(("", *(ARMS | SUPERVISED_ARMS)), PALETTE, strict=True))
INK, SOFT, RULE = "#16181d", "#5a606b", "#c4c8cf"

# A power of two, so that sizes in inches are exact and no pixel is lost by rounding.
SHEET_DPI = 128
PLOT_DPI = 200
GAP = 3
MARGIN = 16
LABEL_WIDTH = 216
NAME_SIZE = 30
NOTE_SIZE = 25
HEADING_SIZE = 23
LEADING = 1.25
ROW_GAP = 8
GROUP_GAP = 36
Pixels = int | float

# Blue, to stand out from black, white and grey strokes; images in colour do not need this.
SEAM = (0.26, 0.4, 0.6)
COLOUR_SEAM = (1.0, 1.0, 1.0, 1.0)


# Font families of common systems with more alphabets than matplotlib's own.
FONTS = (
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Noto Sans CJK KR",
    "Noto Sans Arabic",
    "Noto Sans Devanagari",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
    "Segoe UI",
    "FreeSans",
    "Unifont",
)


@contextmanager
def users_words() -> Iterator[None]:
    """Draw users' text, such as names of attributes, literally: $ does not start a formula, and all fonts are tried.

    If no font has some of the letters, one warning says so.
    """
    import matplotlib
    from matplotlib.font_manager import fontManager

    installed = {*fontManager.get_font_names()}
    families = ["DejaVu Sans", *(name for name in FONTS if name in installed)]
    with (
        warnings.catch_warnings(record=True) as told,
        matplotlib.rc_context({"text.parse_math": False, "font.family": families}),
    ):
        warnings.simplefilter("always")
        yield
    unknown = {str(note.message) for note in told if str(note.message).startswith("Glyph ")}
    for note in told:
        if str(note.message) not in unknown:
            warnings.warn_explicit(note.message, note.category, note.filename, note.lineno)
    if unknown:
        advice = "install one with more letters, such as Noto Sans (fonts-noto-core or fonts-noto-cjk on Debian)"
        warnings.warn(f"no installed font has {len(unknown)} of the letters in the figures; {advice}", stacklevel=3)


@dataclass(frozen=True)
class Row:
    """Images side by side, in [0, 1], with a name and a note to their left. `minus` marks some with a minus sign."""

    name: str
    tiles: Float[Tensor, "n c h w"]
    note: str = ""
    minus: Sequence[bool] = ()


@dataclass(frozen=True)
class Group:
    """Rows of images below one line of headings (one for each column), or without headings."""

    rows: Sequence[Row]
    headings: Sequence[str] = ()


def draw_rows(path: Path, groups: Sequence[Group], *, tile: int) -> None:
    """Draw a sheet of labelled rows of images, each image about `tile` pixels large."""
    blocks = [[block(row.tiles[None], tile) for row in group.rows] for group in groups]
    height, width = blocks[0][0].shape[:2]
    column = (width + GAP) / len(groups[0].rows[0].tiles)
    headings = [
        [_wrapped(words, column - 2 * GAP, HEADING_SIZE, bold=False) for words in group.headings] for group in groups
    ]
    heads = [
        max((LEADING * size * (words.count("\n") + 1) + 6 for words, size in each), default=0) for each in headings
    ]
    total = sum(head + len(each) * (height + ROW_GAP) for head, each in zip(heads, blocks, strict=True))
    sheet = Sheet(LABEL_WIDTH + width, round(total - ROW_GAP + (len(groups) - 1) * GROUP_GAP))
    top = 0.0
    for group, words_above, head, painted in zip(groups, headings, heads, blocks, strict=True):
        for number, (words, size) in enumerate(words_above):
            middle = LABEL_WIDTH + number * column + (column - GAP) / 2
            sheet.text(middle, top + head - 6, words, anchor="center", level="bottom", size=size)
        top = round(top + head)
        for row, pixels in zip(group.rows, painted, strict=True):
            for number in [number for number, marked in enumerate(row.minus) if marked]:
                _paint_minus(pixels, round(number * column))
            sheet.image(LABEL_WIDTH, top, pixels)
            _label(sheet, row, top + height / 2)
            top += height + ROW_GAP
        top += GROUP_GAP
    save(sheet.figure, path)


def _label(sheet: Sheet, row: Row, middle: Pixels) -> None:
    name, size = _wrapped(row.name, LABEL_WIDTH - 12, NAME_SIZE, bold=True)
    rise = LEADING * NOTE_SIZE / 2 if row.note else 0
    sheet.text(0, middle - rise, name, size=size, bold=True)
    if row.note:
        below = middle + LEADING * size * (name.count("\n") + 1) / 2
        sheet.text(0, below, row.note, size=NOTE_SIZE, colour=SOFT)


def _paint_minus(pixels: np.ndarray, left: int) -> None:
    pixels[6:28, left + 6 : left + 28] = 255
    pixels[15:19, left + 10 : left + 24, :3] = 0


def _wrapped(words: str, width: Pixels, size: int, *, bold: bool) -> tuple[str, int]:
    """Words broken into lines that fit the width, and the font size at which the longest word fits too."""
    lines: list[str] = []
    for word in words.replace("_", " ").split():
        if lines and _width(f"{lines[-1]} {word}", size, bold) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    widest = max((_width(line, size, bold) for line in lines), default=0)
    return "\n".join(lines), int(size * min(1, width / widest)) if widest else size


def _width(words: str, size: int, bold: bool) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), words, size=size, prop=font).get_extents().width)


def block(tiles: Float[Tensor, "rows columns c h w"], tile: int) -> np.ndarray:
    """Return a grid of images as RGB(A) bytes, each about `tile` pixels large, with seams between them."""
    rows, columns, channels, height, width = tiles.shape
    flat = tiles.flatten(0, 1)
    largest = max(height, width)
    # Small images are enlarged by a whole factor, so that each pixel stays a sharp square.
    times = max(1, round(tile / largest))
    if largest > 1.2 * tile:
        flat = interpolate(flat, scale_factor=tile / largest, mode="area")
    flat = flat.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
    seam = torch.tensor(SEAM if channels == 1 else COLOUR_SEAM[:channels])
    seams = seam[:, None, None].expand(-1, flat.shape[2] + GAP, flat.shape[3] + GAP)
    seamed = seams.repeat(len(flat), 1, 1, 1)
    seamed[..., :-GAP, :-GAP] = flat
    joined = seamed.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return joined[:-GAP, :-GAP].mul(255).round().to(torch.uint8).numpy()


class Sheet:
    """A figure laid out in whole pixels, from the top left corner inside its margin, so that images stay sharp."""

    def __init__(self, width: int, height: int):
        from matplotlib.figure import Figure

        self._width, self._height = width + 2 * MARGIN, height + 2 * MARGIN
        size = self._width / SHEET_DPI, self._height / SHEET_DPI
        self.figure = Figure(figsize=size, dpi=SHEET_DPI, facecolor="white")

    def image(self, left: int, top: int, pixels: np.ndarray) -> None:
        """Place RGB(A) bytes, unscaled."""
        bottom = self._height - MARGIN - top - pixels.shape[0]
        self.figure.figimage(pixels, MARGIN + left, bottom, origin="upper")

    def text(
        self,
        x: Pixels,
        y: Pixels,
        words: str,
        *,
        anchor: str = "left",
        level: str = "center_baseline",
        upright_anchor: str = "",
        size: int = 26,
        bold: bool = False,
        colour: str = INK,
    ) -> None:
        """Write words of `size` pixels, centred on the line y unless `level` gives another alignment.

        With `upright_anchor`, they run upwards and are centred on x.
        """
        self.figure.text(
            *self._share(x, y),
            words,
            ha="center" if upright_anchor else anchor,
            va=upright_anchor or level,
            rotation=90 if upright_anchor else 0,
            fontsize=size * 72 / SHEET_DPI,
            fontweight="bold" if bold else "normal",
            color=colour,
        )

    def arrow(self, start: Pixels, end: Pixels, y: Pixels) -> None:
        """Draw an arrow from left to right."""
        from matplotlib.patches import FancyArrowPatch

        style = {"arrowstyle": "-|>", "mutation_scale": 16, "color": SOFT, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        ends = self._share(start, y), self._share(end, y)
        self.figure.add_artist(FancyArrowPatch(*ends, transform=self.figure.transFigure, **style))

    def _share(self, x: Pixels, y: Pixels) -> tuple[float, float]:
        return (MARGIN + x) / self._width, 1 - (MARGIN + y) / self._height


def plot(num_panels: int, *, share_x: bool, height: float = 1.8) -> tuple[Any, list[Any]]:
    """Return a figure of stacked panels, each `height` inches high, and their axes."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07)
    figure = Figure(figsize=(6, 0.6 + height * num_panels), dpi=PLOT_DPI, facecolor="white", layout=layout)
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


def log_scale(axis: Any) -> None:
    """Make the y axis logarithmic, with labels in plain decimals and more ticks for a smaller range."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_yscale("log")
    low, high = axis.get_ylim()
    digits = (1, 1.5, 2, 3, 4, 6, 8) if high < 10 * low else (1, 2, 5) if high < 300 * low else (1,)
    axis.yaxis.set_major_locator(LogLocator(subs=digits))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=figure.dpi)
    write_atomically(path, content.getvalue())
