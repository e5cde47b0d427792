"""A student whose decoder contains its frozen teacher: D_S(y, z) = D_T(y) + R(u(y, z)), the exact student."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import ResidualStudent
from jacsup.models.backbone import Model
from jacsup.models.linear import Layers
from jacsup.models.mlp import dense_layers

# Of a unit that never changes, which z divides by it.
LEAST_DEVIATION = 1e-3


@final
class ResidualAutoencoder(Model):
    """A frozen teacher, and an autoencoder of what the teacher's reconstruction lacks.

    The factors y are those that the teacher's encoder predicts. With E_R and R the networks of `addition`,
    u = E_R(x - D_T(E_T(x))) describes the rest, and its image R(u) is added to the teacher's: at a fixed u the Jacobian
    in y is exactly the teacher's. What the code holds besides y is u itself or, with `moments`, z = (u - m(y)) / s(y),
    m and s being the mean and the standard deviation of u given y. z then says nothing of y in these two moments, and
    an edit of y takes u along, so that the old factors leave no traces in R(u); the Jacobian at a fixed z is the
    teacher's plus what R adds on the way.

    An ordered code has the teacher's units first, and the new ones are turned by `basis`; a code of attributes has the
    teacher's z before the new one.
    """

    config: ResidualStudent
    addition: Any
    moments: Any
    basis: Tensor
    inverse: Tensor

    def __init__(self, config: ResidualStudent, teacher: Model, addition: Model):
        """Put the networks together; the network of the moments gets weights from torch's global random state.

        Args:
            config: What the networks are built from.
            teacher: The trained teacher; it is frozen.
            addition: The autoencoder of the rest. Of a teacher of attributes it has no units, only a z.
        """
        units, z_channels = teacher.num_units + addition.num_units, teacher.z_channels + addition.z_channels
        super().__init__(config, teacher.image_shape, units, z_channels)
        self.teacher = teacher.requires_grad_(False).eval()
        self.addition = addition
        sizes = (teacher.num_units, *config.moments, 2 * addition.code_size)
        self.moments = Layers(*dense_layers(sizes)) if config.moments else nn.Identity()
        # The units of the code are u or z times the basis; a code of attributes has no order.
        self.register_buffer("basis", torch.eye(addition.num_units))
        self.register_buffer("inverse", torch.eye(addition.num_units))

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
        added = self._code_of(self.addition.encode(x - x_hat), known.y)
        return Code(torch.cat([known.y, added.y], dim=1), torch.cat([known.z, added.z], dim=1))

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z) = D_T(y, z_T) + amount R(u(y, z_R)): images, trained to stay in the value range.

        Args:
            code: The code.
        """
        code = code.split(self.num_units)
        num_y = self.teacher.num_units
        num_z = self.teacher.code_size - num_y
        known = Code(code.y[:, :num_y], code.z[:, :num_z])
        rest = self._rest_of(Code(code.y[:, num_y:], code.z[:, num_z:]), known.y)
        return self.teacher.decode(known) + self.config.amount * self.addition.decode(rest)

    def moments_of(self, y: Float[Tensor, "b k"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        """Return m(y) and s(y), the mean and the standard deviation of u given y.

        Args:
            y: The teacher's factors.
        """
        mean, log_deviation = self.moments(y).chunk(2, dim=1)
        return mean, log_deviation.exp() + LEAST_DEVIATION

    def with_amount(self, amount: float) -> ResidualAutoencoder:
        """Return a model of the same networks that adds another amount of R(u).

        Args:
            amount: 1 is sharpest, less gives more control; 0 shows the teacher's image.

        Raises:
            ValueError: The amount is not between 0 and 1.
        """
        other = copy(self)
        other.config = replace(self.config, amount=amount)
        other.config.require_valid(supervised=bool(self.z_channels))
        return other

    def turn(self, basis: Float[Tensor, "u u"]) -> None:
        """Multiply the new units of an ordered code by a matrix; the images stay as they are.

        Args:
            basis: An invertible matrix, of which each column makes one of the new units.
        """
        self.basis = self.basis @ basis
        self.inverse = torch.linalg.inv(self.basis)

    def _code_of(self, rest: Code, y: Tensor) -> Code:
        """What the code holds of u: z, in the turned basis if it is ordered."""
        u = rest.units
        if self.config.moments:
            mean, deviation = self.moments_of(y)
            u = (u - mean) / deviation
        return Code(u @ self.basis, rest.z) if self.addition.num_units else Code(rest.y, u)

    def _rest_of(self, added: Code, y: Tensor) -> Code:
        """u again: the inverse of `_code_of`."""
        u = added.y @ self.inverse if self.addition.num_units else added.z
        if self.config.moments:
            mean, deviation = self.moments_of(y)
            u = mean + deviation * u
        return Code(u[:, : self.addition.num_units], u[:, self.addition.num_units :])
