"""A progress bar for work that takes longer than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")


def track(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over items with a progress bar on the terminal's error stream; silent where that is no terminal.

    Args:
        items: What to iterate over.
        description: What is being done, shown before the bar.

    Returns:
        The items, in order.
    """
    # rich's own check counts everything as a terminal under FORCE_COLOR, which notebooks set.
    silent = not sys.stderr.isatty()
    return rich_track(items, description, console=Console(stderr=True), transient=True, disable=silent)
