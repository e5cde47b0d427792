"""The command `data check`: examine a set of images before training."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jacsup import recipes
from jacsup.cli import lazy
from jacsup.cli.own_images import Own, OwnImages, print_columns, source_of
from jacsup.config import require_image_size
from jacsup.progress import duration

if TYPE_CHECKING:
    from jacsup.data.check import Examination

MOST_NAMED = 5
SHEET = Path("data-check.png")


def check(*, own: Own = OwnImages(), size: int = 64, sheet: Path = SHEET) -> None:
    """Read a set of images and its table and report what they contain, without training.

    The exit code is 2 where `jacsup train folder` would stop.

    Args:
        own: The user's own images.
        size: Side of the images to train on, in pixels: 32, 64, 128, 256 or 512.
        sheet: The PNG file to write; it shows sample images with their attributes.
    """
    require_image_size(size)
    with tempfile.TemporaryDirectory() as folder:
        found = lazy.examine(source_of(own), size, Path(folder))
        for title, text in _facts(found, size):
            print(f"{title:11}{text}")
        print_columns(found.columns)
        lazy.draw_samples(sheet, found.data)
        print(f"sample images with their attributes are in {sheet}")
    if found.skipped and not own.skip_bad:
        total = len(found.skipped) + len(found.names)
        raise ValueError(
            f"{len(found.skipped):,} of {total:,} images cannot be used; repair them, or skip them with --skip-bad"
        )


def _facts(found: Examination, size: int) -> list[tuple[str, str]]:
    data, sides = found.data, sorted(found.sizes, key=lambda side: side[0] * side[1])
    formats = ", ".join(f"{count:,} {kind}" for kind, count in found.formats.most_common())
    sizes = " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in (sides[0], sides[-1]))) if sides else ""
    num_rest = len(found.names) - len(data.train) - len(data.test)
    facts = [
        ("images", f"{formats}; {sizes} pixels"),
        ("splits", f"{len(data.train):,} training, {num_rest:,} validation and {len(data.test):,} test images"),
        *(("note", note) for note in found.notes),
    ]
    if found.skipped:
        facts += [("unusable", line) for line in found.skipped[:MOST_NAMED]]
        facts += [("", f"and {len(found.skipped) - MOST_NAMED:,} more")] if len(found.skipped) > MOST_NAMED else []
    if found.twice:
        examples = ", ".join(found.twice[0][:3])
        facts.append(("repeated", f"images that occur more than once: {len(found.twice):,}, such as {examples}"))
    if rare := _rare(found):
        facts.append(("rare", f"too few images to learn these attributes well: {rare}"))
    return [*facts, ("training", _cost(found, size))]


def _rare(found: Examination) -> str:
    """The binary attributes that few training images have, or that few lack, rarest first."""
    rare = lazy.rare_attributes(found.data)
    named = ", ".join(f"{name} ({count})" for name, count in [*rare.items()][:MOST_NAMED])
    return named + (f" and {len(rare) - MOST_NAMED} more" if len(rare) > MOST_NAMED else "")


def _cost(found: Examination, size: int) -> str:
    data = found.data
    recipe = recipes.with_size(recipes.find("folder" if data.attributes else "folder-ordered"), size)
    batch_size = recipe.stages[0].batch_size
    if len(data.train) < batch_size:
        smaller = max(2, len(data.train) // 4)
        return (
            f"fewer images than the batch size of {batch_size}; add --set stages.batch_size={smaller} to "
            "`jacsup train folder`"
        )
    seconds = lazy.seconds_of_training(replace(recipe, data=data.config), data)
    command = "jacsup train folder" if data.attributes else "jacsup train folder --unsupervised"
    return f"about {duration(seconds)} on this machine without a GPU, for `{command}` at {size} pixels"
