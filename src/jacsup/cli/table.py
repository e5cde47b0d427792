"""Tables and JSON on the command line's output."""

from __future__ import annotations

import json
from typing import Any


def print_json(value: Any) -> None:
    """Print a value as indented JSON, for other programs to read."""
    print(json.dumps(value, indent=2))


def print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print aligned columns of plain text, floats with four significant digits and None as a dash."""
    cells = [header, *[tuple(_cell(value) for value in row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
