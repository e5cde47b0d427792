"""A progress bar for anything that takes longer than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Sequence[Item], description: str) -> Iterable[Item]:
    """The items, with a bar on the terminal's error stream while they are worked through; silent in log files."""
    from rich.console import Console
    from rich.progress import track as rich_track

    # Not the console's own word for it: FORCE_COLOR, which notebooks set, makes it take everything for a terminal.
    silent = not sys.stderr.isatty()
    return rich_track(items, description, console=Console(stderr=True), transient=True, disable=silent)
