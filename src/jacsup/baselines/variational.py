"""Variational autoencoders and their disentangling variants, from the library pythae."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from jacsup.baselines.encoders import SideBySide
from jacsup.baselines.fit import fit, own_random_state
from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.config import Adam, Recipe
from jacsup.data.dataset import Dataset
from jacsup.models import Model, build
from jacsup.models.linear import Linear
from jacsup.training.step import make_adam, set_gradients

# pythae's names.
KINDS = {"vae": "VAE", "beta-vae": "BetaVAE", "factor-vae": "FactorVAE", "beta-tcvae": "BetaTCVAE"}


def train_variational(kind: str, weights: Mapping[str, float], data: Dataset, recipe: Recipe) -> Model:
    """Train a variational autoencoder. The code of the returned model is the mean of the posterior.

    VAE: Kingma & Welling 2014, beta-VAE: Higgins et al. 2017, FactorVAE: Kim & Mnih 2018, beta-TCVAE: Chen et al. 2018.
    As in these papers, the likelihood is Bernoulli. The encoder has a second head for the variances.

    Args:
        kind: One of KINDS.
        weights: The weights of its loss, in pythae's names.
        data: Data set; training runs on its device.
        recipe: Model, seed and one stage.

    Returns:
        The trained autoencoder, in evaluation mode.

    Raises:
        DivergedError: A step failed, or the loss is not finite.
    """
    with own_random_state(data, recipe.seed):
        return _train(kind, weights, data, recipe)


def _train(kind: str, weights: Mapping[str, float], data: Dataset, recipe: Recipe) -> Model:
    stage = recipe.stages[-1]
    config = replace(recipe.model, value_range=(-1.0, 1.0))
    model = build(config, data.image_shape, stage.num_units, normalized=False)
    with_variances = build(config, data.image_shape, 2 * stage.num_units, normalized=False)
    peer = _peer(kind, weights, with_variances, model, stage.num_units).to(data.train.images.device).train()
    autoencoder = [*with_variances.encoder.parameters(), *model.decoder.parameters()]
    optimizer = make_adam(autoencoder, stage.adam)
    players = [("loss", autoencoder, optimizer)]
    if kind == "factor-vae":
        # The discriminator has Kim and Mnih's settings and a constant rate. Most of the time goes into its layers.
        for layer in peer.discriminator.modules():
            if type(layer) is nn.Linear:
                layer.__class__ = Linear
        discriminator = list(peer.discriminator.parameters())
        adversary = make_adam(discriminator, Adam(lr=1e-4, betas=(0.5, 0.9), weight_decay=0.0))
        players = [
            ("autoencoder_loss", autoencoder, optimizer),
            ("discriminator_loss", discriminator, adversary),
        ]

    def step(x: Tensor, _index: Tensor) -> Tensor:
        if kind == "factor-vae":
            # pythae reconstructs one half and permutes the codes of the other; Kim and Mnih draw two batches.
            other = torch.randint(len(data.train), (len(x),), device=x.device)
            x = torch.cat([x, to_float(data.train.images[other], UNIT)])
        output = peer({"data": x}, dataset_size=len(data.train))
        gradients = [torch.autograd.grad(output[loss], each, retain_graph=True) for loss, each, _ in players]
        for (_, parameters, each), values in zip(players, gradients, strict=True):
            set_gradients(parameters, values)
            each.step()
        return output[players[0][0]].detach()

    fit(data, stage, recipe.seed, 0, optimizer, step, lambda pixels: to_float(pixels, UNIT))
    model.add_module("encoder", SideBySide([with_variances.encoder], stage.num_units))
    return model.eval()


def _peer(kind: str, weights: Mapping[str, float], with_variances: Model, model: Model, num_units: int) -> Any:
    """pythae's model of this kind around the encoder of one autoencoder and the decoder of another."""
    from pythae import models
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = with_variances.encoder

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = with_variances.encode(2 * x - 1).units.chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=to_unit(model.decode(Code.of_units(z)), (-1.0, 1.0)))

    settings = {"input_dim": model.image_shape, "latent_dim": num_units, "reconstruction_loss": "bce"}
    config = getattr(models, f"{KINDS[kind]}Config")(**settings, **weights)
    return getattr(models, KINDS[kind])(config, encoder=Encoder(), decoder=Decoder())
