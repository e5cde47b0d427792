"""The picture of the layers in DESIGN.md: python docs/architecture.py."""

from __future__ import annotations

from pathlib import Path

PICTURE = Path(__file__).parent / "images" / "architecture.svg"
# From the lowest layer to the highest; each module or package may import those before it.
BANDS = (
    ("files", "whole, within limits, in words", ("jsonable", "atomic", "bounded", "progress")),
    ("values", "what a run is, as data; no torch", ("renamed", "config", "hooks", "curricula", "recipes")),
    ("tensors", "codes, the paper's equations, ranks", ("code", "losses", "distributed")),
    ("runs and photos", "run folders, faces in photos", ("run", "detail", "photo", "align", "cascades", "detect")),
    ("networks and images", "autoencoders, model files, data sets", ("models", "data")),
    ("learning and judging", "what is optimised, what is measured", ("objectives", "metrics")),
    ("training", "the curriculum, metrics.json", ("training", "evaluate")),
    (
        "uses",
        "what people do with models",
        ("report", "baselines", "tuning", "edit", "serve", "export", "hub"),
    ),
    ("command line", "jacsup COMMAND", ("cli",)),
)
WIDTH = 1000
BAND = 64
GAP = 10
MARGIN = 20
LEFT_OF_BOXES = 290
BESIDE_BANDS = 56
STYLE = """
  .page { fill: #ffffff } .band { fill: #f1f4f8 } .box { fill: #ffffff; stroke: #5b7aa5 }
  .title { fill: #16202c; font-weight: 600 } .note, .arrow-text { fill: #4d5b6a; font-size: 13px }
  .name { fill: #16202c; font-family: ui-monospace, monospace; font-size: 13px } .arrow { stroke: #4d5b6a }
  text { font-family: system-ui, sans-serif; font-size: 15px }
  @media (prefers-color-scheme: dark) {
    .page { fill: #14181e } .band { fill: #1f2630 } .box { fill: #14181e; stroke: #7f9cc4 }
    .title, .name { fill: #e8edf3 } .note, .arrow-text { fill: #a9b6c4 } .arrow { stroke: #a9b6c4 }
  }
"""


def drawn() -> str:
    """The picture as SVG, the lowest layer at the bottom."""
    height = 2 * MARGIN + len(BANDS) * (BAND + GAP) - GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'aria-label="The layers of jacsup, from values at the bottom to the command line at the top">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="5" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L10 5 L0 10" fill="none" class="arrow"/></marker></defs>',
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="10"/>',
    ]
    for number, (title, note, names) in enumerate(BANDS):
        top = MARGIN + (len(BANDS) - 1 - number) * (BAND + GAP)
        middle = top + BAND / 2
        width = WIDTH - MARGIN - BESIDE_BANDS
        parts += [
            f'<rect class="band" x="{MARGIN}" y="{top}" width="{width}" height="{BAND}" rx="8"/>',
            f'<text class="title" x="{MARGIN + 14}" y="{middle - 4:g}">{title}</text>',
            f'<text class="note" x="{MARGIN + 14}" y="{middle + 16:g}">{note}</text>',
        ]
        left = LEFT_OF_BOXES
        for name in names:
            wide = 8 * len(name) + 16
            parts += [
                f'<rect class="box" x="{left}" y="{middle - 15:g}" width="{wide}" height="30" rx="5"/>',
                f'<text class="name" x="{left + wide / 2:g}" y="{middle + 5:g}" text-anchor="middle">{name}</text>',
            ]
            left += wide + 6
    right = WIDTH - BESIDE_BANDS + 18
    parts += [
        f'<path class="arrow" d="M{right} {MARGIN + 8} V{height - MARGIN - 8}" stroke-width="1.5" '
        'marker-end="url(#head)"/>',
        f'<text class="arrow-text" text-anchor="middle" '
        f'transform="translate({right + 14} {height / 2:g}) rotate(90)">imports run downwards</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(drawn())
