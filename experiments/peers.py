"""How peers depend on their settings: MNIST's comparison with 16 units, seed 0, with other weights and other rates.

Usage: python experiments/peers.py DATA_ROOT [OUT]; results already in OUT are read, so an interrupted run resumes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

from jacsup.baselines.compare import COMPARISONS, run_comparison
from jacsup.baselines.methods import METHODS, variational
from jacsup.data import load_dataset
from jacsup.jsonable import set_field

# Method, weight (0: that of the comparison), learning rate; the comparison's own rate is 2e-3.
AT_OTHER_RATES = ("jacobian", "autoencoder", "nested-dropout", "pca-autoencoder", "vae", "beta-vae", "beta-tcvae")
CHOICES = (
    *(("beta-vae", beta, 2e-3) for beta in (2.0, 8.0)),
    *(("beta-tcvae", beta, 2e-3) for beta in (2.0, 4.0, 10.0)),
    *((method, 0.0, 1e-3) for method in AT_OTHER_RATES),
)


def main(data_root: str, out: str = "runs/peers") -> None:
    """Print MSE, swap score and order of every choice."""
    comparison = replace(COMPARISONS["mnist"], codes=(16,), seeds=(0,))
    data = load_dataset(comparison.recipe.data, Path(data_root))
    for method, beta, rate in CHOICES:
        chosen = replace(comparison, recipe=set_field(comparison.recipe, "stages.adam.lr", rate))
        with mock.patch.dict(METHODS, {method: variational(method, METHODS[method].label, beta=beta)} if beta else {}):
            (scores,) = run_comparison(chosen, data, Path(out), [method], data_root=Path(data_root))
        shown = [f"{scores[key]:.4f}" for key in ("mse", "swap_classifier", "energy_monotony")]
        print(method, beta or "", rate, *shown, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
