"""Turn a finished run into a shipped model: 16 bits, the scores of the stored file, and its card.

Usage: python experiments/ship.py RUN NAME [--data-root DIR] [--commit COMMIT]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from jacsup.atomic import write_atomically
from jacsup.evaluate import evaluate
from jacsup.export import export
from jacsup.hub import card
from jacsup.metrics.table import by_strength
from jacsup.models import load, load_info, save_model
from jacsup.run import Run

SHIPPED = Path(__file__).parent.parent / "src" / "jacsup" / "shipped"


def ship(
    run: Annotated[Path, tyro.conf.Positional],
    name: Annotated[str, tyro.conf.Positional],
    /,
    *,
    data_root: Path | None = None,
    commit: str = "HEAD",
) -> None:
    """Store the newest model of a run as a shipped model, judged on its test images as stored.

    Args:
        run: The run folder.
        name: Name of the shipped model.
        data_root: Folder with the data set's files, if they have moved.
        commit: The commit that trained the run.
    """
    target = SHIPPED / f"{name}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        (half,) = export(run, folder, "half")
        model = load(half)
        metrics = scores_of(evaluate(half, data_root=data_root))
        SHIPPED.mkdir(exist_ok=True)
        save_model(target, model, replace(load_info(model), metrics=metrics), torch.float16)
    write_atomically(target.with_suffix(".md"), (card(target, name) + made(Run(run), commit)).encode())
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB, {json.dumps(metrics)}")


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that are a single number, except the accuracy at strength 0 and the gain against the source."""
    edits = {f"edit {name}": value for name, value in by_strength(metrics.get("edit") or {}).items()}
    hidden = ("edit accuracy 0", "counterfactual_gain_full")
    flat = {**metrics, **edits}
    return {key: value for key, value in flat.items() if isinstance(value, int | float) and key not in hidden}


def made(run: Run, commit: str) -> str:
    """The card's section on how the model was made."""
    session = run.sessions()[-1]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", commit], capture_output=True, text=True, check=True
    ).stdout.strip()
    epochs = sum(stage.epochs for stage in run.recipe.stages)
    return (
        f"\n## Made\n\nBy `experiments/ship.sh` at commit {commit}, seed {run.recipe.seed}, {epochs} epochs, on "
        f"{session['device']}, with torch {session['torch']}. The scores are those of this file, "
        "whose numbers have 16 bits.\n"
    )


if __name__ == "__main__":
    sys.exit(tyro.cli(ship))
