"""A finished run to a model that ships with the package: 16 bits, the figures of the stored file, and its card.

Usage: python experiments/ship.py RUN NAME [--data-root DIR] [--commit COMMIT]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
    """Stores the newest model of `run`, which `commit` trained, as `name`, judged on its test images as stored."""
    target = SHIPPED / f"{name}.safetensors"
    with tempfile.TemporaryDirectory() as folder:
        (half,) = export(run, folder, "half")
        model = load(half)
        metrics = figures(evaluate(half, data_root=data_root))
        SHIPPED.mkdir(exist_ok=True)
        save_model(target, model, replace(load_info(model), metrics=metrics), torch.float16)
    write_atomically(target.with_suffix(".md"), (card(target, name) + made(Run(run), commit)).encode())
    print(f"{target}: {target.stat().st_size / 2**20:.1f} MiB, {json.dumps(metrics)}")


def figures(metrics: Any) -> dict[str, float]:
    """What is one number; doing nothing has no accuracy, and nobody is shown what the full gain is of."""
    edits = {f"edit {name}": value for name, value in by_strength(metrics.get("edit") or {}).items()}
    hidden = ("edit accuracy 0", "counterfactual_gain_full")
    flat = {**metrics, **edits}
    return {key: value for key, value in flat.items() if isinstance(value, int | float) and key not in hidden}


def made(run: Run, commit: str) -> str:
    """How the model came about."""
    session = run.sessions()[-1]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", commit], capture_output=True, text=True, check=True
    ).stdout.strip()
    epochs = sum(stage.epochs for stage in run.recipe.stages)
    return (
        f"\n## Made\n\nBy `experiments/ship.sh` at commit {commit}, seed {run.recipe.seed}, {epochs} epochs, on "
        f"{session['device']}, with torch {session['torch']}. Figures are of this file, whose numbers have 16 bits.\n"
    )


if __name__ == "__main__":
    sys.exit(tyro.cli(ship))
