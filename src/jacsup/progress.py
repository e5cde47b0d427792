"""What a person sees of work that takes longer than a few seconds: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")

# Where there is no terminal, seconds until the first line, and between lines.
SECONDS_TO_FIRST_LINE = 30.0
SECONDS_BETWEEN_LINES = 60.0


def track(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over items with a progress bar on the terminal's error stream, or with a line a minute in a log.

    Args:
        items: What to iterate over.
        description: What is being done, shown before the bar.

    Returns:
        The items, in order.
    """
    # rich's own check counts everything as a terminal under FORCE_COLOR, which notebooks set.
    if not sys.stderr.isatty():
        return _in_lines(items, description)
    return rich_track(items, description, console=Console(stderr=True), transient=True)


def _in_lines(items: Sequence[Item], description: str) -> Iterator[Item]:
    """The items; lines say how far they are and what is left, and of a long phase how long it took."""
    started_at, next_after = time.monotonic(), SECONDS_TO_FIRST_LINE
    for number, item in enumerate(items, start=1):
        yield item
        passed = time.monotonic() - started_at
        if number == len(items) and passed >= SECONDS_TO_FIRST_LINE:
            print(f"{description}: done in {duration(passed)}", file=sys.stderr, flush=True)
        elif passed >= next_after:
            left = passed / number * (len(items) - number)
            print(f"{description}: {number} of {len(items)}, {duration(left)} left", file=sys.stderr, flush=True)
            next_after = passed + SECONDS_BETWEEN_LINES


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} hours"
