"""Scores of known factors: how well a code separates the factors that images were made with."""

from jacsup.metrics.dci import dci
from jacsup.metrics.factors import explicitness, infomec, irs, mig, modularity, sap
from jacsup.metrics.votes import Sampler, beta_vae, factor_vae, sampler_of

__all__ = [
    "Sampler",
    "beta_vae",
    "dci",
    "explicitness",
    "factor_vae",
    "infomec",
    "irs",
    "mig",
    "modularity",
    "sampler_of",
    "sap",
]
