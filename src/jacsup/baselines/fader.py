"""Fader Networks (Lample et al. 2017): a decoder of labels and z, and an encoder that hides the labels in z.

Eq. 11 also trains the encoder to predict y, which the user must provide in the original Fader Networks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup import distributed as dist
from jacsup import losses
from jacsup.code import Code
from jacsup.config import Recipe, Stage, Weights
from jacsup.curricula import relevant
from jacsup.models import Model, TrainableAutoencoder
from jacsup.models.conv import ConvAutoencoder
from jacsup.objectives import Batch, Labels, Update, active_weights, code_terms

DROPOUT = 0.3
# The discriminator's weight in their paper, as a share of the reconstruction's.
ADVERSARIAL_SHARE = 1e-4


@final
class Discriminator(nn.Module):
    """One convolution to 512 channels and two linear layers, from z to a logit for each attribute.

    Differs from their paper: dropout is a function of seed and step, so that a resumed run takes the same steps.

    Args:
        z_channels: Channels of z.
        map_side: Height and width of z's map, at least 2.
        num_attributes: Number of logits.
        ramp: Number of steps over which the encoder's reward for fooling the discriminator rises to its full weight.
        seed: Seed of the dropout.
    """

    steps: Tensor

    def __init__(self, z_channels: int, map_side: int, num_attributes: int, ramp: int, seed: int = 0):
        super().__init__()
        self._shape, self._ramp, self._seed = (z_channels, map_side, map_side), ramp, seed << 32
        self.features = nn.Sequential(
            nn.Conv2d(z_channels, 512, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(512 * (map_side // 2) ** 2, 512),
            nn.LeakyReLU(0.2),
        )
        self.to_logits = nn.Linear(512, num_attributes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        # The same number on the host, because reading the buffer would make each step wait for the device.
        self._num_steps = 0
        self.register_load_state_dict_post_hook(_read_num_steps)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return logits, positive where an attribute is recognised in z."""
        features = self.features(z.unflatten(1, self._shape))
        if self.training:
            generator = torch.Generator(z.device).manual_seed(self._seed + self._num_steps)
            of_all = torch.rand(dist.size() * len(z), features.shape[1], generator=generator, device=z.device)
            kept = dist.own(of_all) >= DROPOUT
            features = features * kept / (1 - DROPOUT)
        return self.to_logits(features)

    @property
    def strength(self) -> Float[Tensor, ""]:
        """The share of its weight that the encoder's reward has reached."""
        return (self.steps / self._ramp).clamp(max=1)

    def advance(self) -> None:
        """Count a step."""
        self.steps += 1
        self._num_steps += 1


def _read_num_steps(network: Discriminator, _incompatible: Any) -> None:
    network._num_steps = int(network.steps)


def fader(stage: Stage, labels: Labels | None = None) -> tuple[Update, Update]:
    """Return the updates of an iteration: the autoencoder's, then the discriminator's.

    Args:
        stage: The stage, of whose weights `rec`, `pred` and `adv` are used.
        labels: The kinds of the attributes; by default all are binary, and none can be balanced.

    Returns:
        Two updates.
    """
    active = active_weights(stage.weights, "rec", "pred", "adv")

    def judged(model: TrainableAutoencoder, batch: Batch, code: Code, sign: int) -> Tensor:
        assert batch.attributes is not None
        return losses.attribute_cross_entropy(_discriminator(model)(code.z), sign * batch.attributes)

    def autoencoder(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        assert batch.attributes is not None
        values, network = code_terms(active, stage.options, batch, code, labels), _discriminator(model)
        x_hat = model.decode(Code(batch.attributes.nan_to_num(), code.z))
        fooled = network.strength * judged(model, batch, code, -1)
        network.advance()
        return {"rec": losses.reconstruction(batch.x, x_hat), "adv": fooled, **values}

    def discriminator(model: TrainableAutoencoder, batch: Batch, code: Code) -> dict[str, Tensor]:
        return {"disc": judged(model, batch, code, 1)}

    return Update(("encoder", "decoder"), autoencoder, active), Update(("discriminator",), discriminator, {"disc": 1.0})


def _discriminator(model: TrainableAutoencoder) -> Discriminator:
    assert isinstance(model, nn.Module)
    network = model.get_submodule("discriminator")
    assert isinstance(network, Discriminator)
    return network


class FaderHook:
    """How a stage of Fader Networks differs from others; see hooks.StageHook."""

    # The decoder was trained on labels instead of y, so -1 and 1 mean without and with the attribute.
    labels_are_y = True

    def arm(self, recipe: Recipe) -> tuple[Stage, ...]:
        """Return one stage that trains the last stage's code from scratch, for as many epochs as all stages."""
        first, last = recipe.stages[0], recipe.stages[-1]
        weights = Weights(
            rec=first.weights.rec,
            pred=first.weights.pred,
            y=0.0,
            jacobian=0.0,
            xcov=0.0,
            adv=ADVERSARIAL_SHARE * first.weights.rec,
        )
        options = relevant(first.options, weights)
        epochs = sum(stage.epochs for stage in recipe.stages)
        return (
            replace(last, name="fader", objective="fader", epochs=epochs, weights=weights, options=options, teacher=""),
        )

    def require_trainable(self, stage: Stage, model: Model) -> None:
        """Check that there is a discriminator to train, and a map of z that its convolution can halve."""
        if not stage.weights.adv:
            raise ValueError(f"stage '{stage.name}': weights.adv is 0; set it above 0, or use the objective 'teacher'")
        if not isinstance(model, ConvAutoencoder) or not stage.z_channels:
            raise ValueError(f"stage '{stage.name}': Fader Networks learn attributes; set z_channels, not num_units")
        if model.decoder.map_side < 2:
            raise ValueError(
                f"stage '{stage.name}': the map of z is 1x1, but the discriminator needs at least 2x2; use fewer "
                "model.channels"
            )

    def prepare(self, model: Model, recipe: Recipe, stage: Stage, num_images: int) -> None:
        """Add the discriminator, a third network. The reward for fooling it rises over the first half of the stage."""
        assert isinstance(model, ConvAutoencoder)
        ramp = max(1, stage.epochs * (num_images // stage.batch_size) // 2)
        network = Discriminator(stage.z_channels, model.decoder.map_side, model.num_units, ramp, recipe.seed)
        model.add_module("discriminator", network)

    def updates(self, stage: Stage, labels: Labels | None) -> tuple[Update, ...]:
        """Return the updates of one iteration."""
        return fader(stage, labels)

    def finish(self, model: Model) -> None:
        """Remove the discriminator."""
        del model.discriminator


HOOK = FaderHook()
