"""The PCA autoencoder (Pham, Ladjal & Newson 2020): units are learned one by one, each by its own encoder."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.baselines.encoders import SideBySide
from jacsup.baselines.fit import fit, own_random_state
from jacsup.code import Code, to_float
from jacsup.config import Recipe, Stage
from jacsup.curricula import split_epochs
from jacsup.data.dataset import Dataset
from jacsup.losses import reconstruction
from jacsup.metrics.images import encode_all
from jacsup.models import Model, build
from jacsup.models.grow import grow
from jacsup.training.step import make_adam

# The covariance penalty's weight; mean squared errors are a few hundredths.
COVARIANCE_WEIGHT = 0.01


def train_pca_autoencoder(data: Dataset, recipe: Recipe) -> Model:
    """Train one encoder per unit, each with a decoder of all units so far.

    Each encoder ends in a BatchNorm, and earlier ones are frozen. The loss is eq. 8 plus the squared covariances of the
    new unit with the earlier ones. The recipe's epochs are split among the units.

    Differs from the paper: a decoder starts from the previous one, like our students, because it has few epochs.

    Args:
        data: Data set; training runs on its device.
        recipe: Model, seed and, in its last stage, units and epochs.

    Returns:
        The last decoder with all encoders side by side, in evaluation mode.

    Raises:
        DivergedError: A step failed, or the loss is not finite.
        ValueError: There are fewer epochs than units.
    """
    with own_random_state(data, recipe.seed):
        return _train(data, recipe)


def _train(data: Dataset, recipe: Recipe) -> Model:
    stage = recipe.stages[-1]
    device = data.train.images.device
    units = torch.empty(len(data.train), 0, device=device)
    encoders: list[nn.Module] = []
    decoder = None
    for number, epochs in enumerate(split_epochs(stage.epochs, stage.num_units)):
        torch.manual_seed(recipe.seed * 1000 + number)
        encoder = build(recipe.model, data.image_shape, 1, normalized=True).to(device)
        if decoder:
            decoder = grow(decoder, number + 1, 0, stage.growth)
        else:
            decoder = build(recipe.model, data.image_shape, 1, normalized=False)
        decoder.to(device)
        _add_unit(
            data, replace(stage, epochs=epochs, name=f"unit {number + 1}"), recipe, number, encoder, decoder, units
        )
        encoders.append(encoder.eval().encoder)
        units = torch.cat([units, encode_all(encoder, data.train.images)], dim=1)
    assert decoder
    decoder.add_module("encoder", SideBySide(encoders, stage.num_units))
    return decoder.eval()


def _add_unit(
    data: Dataset,
    stage: Stage,
    recipe: Recipe,
    number: int,
    encoder: Model,
    decoder: Model,
    earlier: Float[Tensor, "n u"],
) -> None:
    optimizer = make_adam([*encoder.encoder.parameters(), *decoder.decoder.parameters()], stage.adam)

    def step(x: Tensor, index: Tensor) -> Tensor:
        new, old = encoder.encode(x).units, earlier[index]
        loss = reconstruction(x, decoder.decode(Code.of_units(torch.cat([old, new], dim=1))))
        covariance = ((new - new.mean(dim=0)) * (old - old.mean(dim=0))).mean(dim=0)
        loss = loss + COVARIANCE_WEIGHT * covariance.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    encoder.train()
    decoder.train()
    fit(data, stage, recipe.seed, number, optimizer, step, lambda pixels: to_float(pixels, recipe.model.value_range))
