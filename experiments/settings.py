"""How a comparison's methods depend on their settings, on held-out training images: 16 units, seed 0.

Usage: python experiments/settings.py mnist|svhn FOLDER [OUT]

FOLDER has the data set's files. Results already in OUT are read, so an interrupted run resumes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import torch

from jacsup.baselines.compare import COMPARISONS, run_comparison
from jacsup.baselines.methods import METHODS, variational
from jacsup.data import load_dataset
from jacsup.jsonable import set_field
from jacsup.tuning import hold_out

RATES = (1e-3, 2e-3, 4e-3)
BETAS = {"beta-vae": (2.0, 8.0), "beta-tcvae": (2.0, 4.0, 10.0)}
# PCA has no settings; a FactorVAE takes fifteen times as long as the others.
LEFT_OUT = ("pca", "factor-vae")


def main(name: str, folder: str, out: str = "runs/settings") -> None:
    """Print MSE, swap score and order of every choice: each rate, and other weights at the comparison's own rate."""
    comparison = replace(COMPARISONS[name], codes=(16,), seeds=(0,))
    own_rate = comparison.recipe.stages[0].adam.lr
    data = hold_out(load_dataset(comparison.recipe.data, Path(folder)))
    choices = [(method, rate, 0.0) for method in METHODS if method not in LEFT_OUT for rate in RATES]
    choices += [(method, own_rate, beta) for method, betas in BETAS.items() for beta in betas]
    for method, rate, beta in choices:
        chosen = replace(comparison, recipe=set_field(comparison.recipe, "stages.adam.lr", rate))
        with mock.patch.dict(METHODS, {method: variational(method, METHODS[method].label, beta=beta)} if beta else {}):
            (scores,) = run_comparison(chosen, data, Path(out), [method])
        shown = [f"{scores[key]:.4f}" for key in ("mse", "swap_classifier", "energy_monotony")]
        print(method, f"beta={beta:g}" if beta else f"rate={rate:g}", *shown, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
