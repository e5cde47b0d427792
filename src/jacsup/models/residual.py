"""A student whose decoder contains its frozen teacher: D_S(y, z) = D_T(y) + g(y) R(z), the exact student."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import ResidualStudent
from jacsup.models.backbone import Model
from jacsup.models.linear import Layers
from jacsup.models.mlp import dense_layers

# The gate starts near 1: sigmoid(2) = 0.88.
GATE_BIAS = 2.0


@final
class ResidualAutoencoder(Model):
    """A frozen teacher, and an autoencoder of what the teacher's reconstruction lacks.

    The factors y are those that the teacher's encoder predicts. With E_R and R the networks of `addition`, the new part
    of the code is E_R(x - D_T(E_T(x))), and its images are added to the teacher's. Without a gate the Jacobian in y is
    exactly the teacher's; with one it is that plus g'(y) R(z). An ordered code has the teacher's units first; a
    code of attributes has the teacher's z before the new one.
    """

    config: ResidualStudent
    addition: Any
    gate: Any

    def __init__(self, config: ResidualStudent, teacher: Model, addition: Model):
        """Put the networks together; a gate gets weights from torch's global random state.

        Args:
            config: What the networks are built from.
            teacher: The trained teacher; it is frozen.
            addition: The autoencoder of the rest. Of a teacher of attributes it has no units, only a z.
        """
        units, z_channels = teacher.num_units + addition.num_units, teacher.z_channels + addition.z_channels
        super().__init__(config, teacher.image_shape, units, z_channels)
        self.teacher = teacher.requires_grad_(False).eval()
        self.addition = addition
        sizes = (teacher.num_units, *config.gate, math.prod(self.image_shape))
        self.gate = Layers(*dense_layers(sizes)) if config.gate else nn.Identity()

    def train(self, mode: bool = True) -> ResidualAutoencoder:
        """Switch the new networks between training and evaluation; the teacher stays in evaluation.

        Args:
            mode: Whether to train.
        """
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def encoder(self) -> nn.Module:
        """The network of E_R."""
        return self.addition.encoder

    @property
    def decoder(self) -> nn.Module:
        """The network of R."""
        return self.addition.decoder

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        return self.teacher.code_size + self.addition.code_size

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): the teacher's code and that of what its reconstruction lacks.

        Args:
            x: Images in the value range.
        """
        with torch.no_grad():
            known = self.teacher.encode(x)
            x_hat = self.teacher.decode(known)
        added = self.addition.encode(x - x_hat)
        return Code(torch.cat([known.y, added.y], dim=1), torch.cat([known.z, added.z], dim=1))

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z) = D_T(y, z_T) + amount g(y) R(z_R): images, trained to stay in the value range.

        Args:
            code: The code.
        """
        code = code.split(self.num_units)
        num_y = self.teacher.num_units
        num_z = self.teacher.code_size - num_y
        known = Code(code.y[:, :num_y], code.z[:, :num_z])
        added = Code(code.y[:, num_y:], code.z[:, num_z:])
        return self.teacher.decode(known) + self.config.amount * self.decode_addition(known.y, added)

    def decode_addition(self, y: Float[Tensor, "b k"], code: Code) -> Float[Tensor, "b c h w"]:
        """Return g(y) R(z), or R(z) without a gate.

        Args:
            y: The teacher's factors.
            code: The new part of the code.
        """
        images = self.addition.decode(code)
        if not self.config.gate:
            return images
        return images * torch.sigmoid(self.gate(y) + GATE_BIAS).unflatten(1, self.image_shape)
