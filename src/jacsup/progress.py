"""Progress of work that takes longer than a few seconds: a bar on a terminal, lines of text elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track as rich_track

Item = TypeVar("Item")

# Without a terminal: seconds until the first line, and between lines.
SECONDS_TO_FIRST_LINE = 30.0
SECONDS_BETWEEN_LINES = 60.0


def track(items: Sequence[Item], description: str) -> Iterable[Item]:
    """Iterate over items with a progress bar on the terminal's error stream, or with a line a minute in a log.

    Args:
        items: What to iterate over.
        description: Name of the work, shown before the bar.

    Returns:
        The items, in order.
    """
    # With FORCE_COLOR, which notebooks set, rich would take everything for a terminal.
    if not sys.stderr.isatty():
        return _in_lines(items, description)
    return rich_track(items, description, console=Console(stderr=True), transient=True)


def _in_lines(items: Sequence[Item], description: str) -> Iterator[Item]:
    """Yield the items and print lines with the progress and the time left and, after a long phase, its duration."""
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
