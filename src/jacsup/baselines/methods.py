"""The methods that `compare` knows, one row each; to add a peer, add a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from jacsup.baselines.pca import train_pca
from jacsup.baselines.pca_autoencoder import COVARIANCE_WEIGHT, train_pca_autoencoder
from jacsup.baselines.variational import train_variational
from jacsup.config import Objective, Recipe
from jacsup.data.dataset import Dataset
from jacsup.models import Model

Trainer = Callable[[Dataset, Recipe], Model]


@dataclass(frozen=True)
class Arm:
    """The comparison's recipe with all its stages, or one of its arms.

    Attributes:
        name: An arm of `recipes.arms_of`; "" is the recipe itself.
        in_one_step: For an ordered code, learn the longest code right after the first teacher, which takes a third of
            the epochs. By default all stages share the epochs.
    """

    name: str = ""
    in_one_step: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method of a comparison: its name and how it is trained.

    Attributes:
        key: Its name in commands, results and folders.
        label: Its name in tables and figures.
        training: An arm of the recipe; or an objective that our own loop trains in a single stage; or a function of
            (data, recipe) that returns the trained model, on the device of the data. The recipe's only stage then has
            the code length, epochs, batch size and rates that every method gets. Attributes need an arm.
        ordered: Whether the units of the code are ordered by importance.
        settings: What determines the result in addition to the recipe, as JSON; results of other settings are not
            reused.
        exception: How it deviates from "every method sees the same images equally often", for the page.
        passes: How often it sees each training image; defaults to once per epoch.
        library: A package that it needs and jacsup does not install by default.
    """

    key: str
    label: str
    training: Arm | Objective | Trainer
    ordered: bool = False
    settings: Any = None
    exception: str = ""
    passes: int | None = None
    library: str = ""


def variational(key: str, label: str, *, exception: str = "", **weights: float) -> Method:
    """Return the row of one of pythae's variational autoencoders.

    Args:
        key: Its kind, one of `variational.KINDS`.
        label: Its name in tables and figures.
        exception: See Method.
        weights: Its loss weights, in pythae's names.
    """
    training = partial(train_variational, key, weights)
    return Method(key=key, label=label, training=training, settings=weights, exception=exception, library="pythae")


def _table(*methods: Method) -> dict[str, Method]:
    return {method.key: method for method in methods}


# For ordered codes. The variational autoencoders have the weights that their papers recommend for sprites.
METHODS = _table(
    Method(key="jacobian", label="Jacobian supervision", training=Arm(), ordered=True),
    Method(key="residual", label="residual student", training=Arm("residual", in_one_step=True), ordered=True),
    Method(key="exact", label="residual student, exact", training=Arm("exact", in_one_step=True), ordered=True),
    Method(key="plain", label="same curriculum, no Jacobian supervision", training=Arm("plain"), ordered=True),
    Method(key="autoencoder", label="autoencoder", training="reconstruction"),
    Method(key="nested-dropout", label="nested dropout", training="nested", ordered=True),
    Method(
        key="pca-autoencoder",
        label="PCA autoencoder",
        training=train_pca_autoencoder,
        ordered=True,
        settings=COVARIANCE_WEIGHT,
        exception="the PCA autoencoder has one encoder for each unit",
    ),
    Method(
        key="pca",
        label="PCA",
        training=train_pca,
        ordered=True,
        exception="PCA is linear and sees the images once",
        passes=1,
    ),
    variational("vae", "VAE"),
    variational("beta-vae", "beta-VAE", beta=4.0),
    variational(
        "factor-vae", "FactorVAE", exception="FactorVAE reads as many images again for its discriminator", gamma=35.0
    ),
    variational("beta-tcvae", "beta-TCVAE", beta=6.0),
)
# For attributes.
ATTRIBUTE_METHODS = _table(
    Method(key="jacobian", label="Jacobian supervision", training=Arm()),
    Method(key="exact", label="residual student, exact", training=Arm("exact")),
    Method(key="plain", label="long code, trained as the teacher", training=Arm("plain")),
    Method(key="reconstruction", label="long code, reconstruction alone", training=Arm("reconstruction")),
    Method(key="longer", label="short code, trained for as long", training=Arm("longer")),
    Method(key="fader", label="Fader Networks", training=Arm("fader")),
)
