"""A student whose decoder contains its frozen teacher: D_S(y, z) = D_T(y) + R(y, u(y, z)), the residual student."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import Residual, ResidualStudent
from jacsup.models.backbone import Model
from jacsup.models.linear import Layers
from jacsup.models.mlp import dense_layers

# The smallest standard deviation that z divides by, for units that never change.
LEAST_DEVIATION = 1e-3


def addition_sizes(
    config: Residual | ResidualStudent, sizes: tuple[int, int], of_teacher: tuple[int, int]
) -> tuple[int, int]:
    """Return the numbers of units and of channels of z of the autoencoder of the rest.

    Args:
        config: The settings, with the part of the teacher's code that its decoder sees.
        sizes: Units and channels of the student.
        of_teacher: Units and channels of its teacher.
    """
    (units, channels), (teacher_units, teacher_channels) = sizes, of_teacher
    return (
        units if config.sees_y or config.grown else units - teacher_units,
        channels if config.grown else channels - teacher_channels,
    )


@final
class ResidualAutoencoder(Model):
    """A frozen teacher, and an autoencoder that adds what the teacher's reconstruction lacks.

    The factors y are those that the teacher's encoder predicts. `addition` has an encoder E_R, whose output u describes
    the rest of the image (its input is the image or the rest), and a decoder R, whose image is added to the teacher's.

    Without `sees_y`, at a fixed u, the Jacobian in y is exactly the teacher's. Besides y, the code contains u itself
    or, with `moments`, z = (u - m(y)) / s(y), where m and s are the mean and the standard deviation of u given y. In
    these two moments, z then does not depend on y, and an edit of y changes u with it, so that the old factors leave no
    traces in R's image. The Jacobian at a fixed z is the teacher's plus the effect of y on u.

    With `grown`, R(z_T, u) = D_N(0, z_T, u) - D_T(0, z_T), where D_N is the teacher's decoder, grown.

    An ordered code has the teacher's units first, then the new ones, rotated by `basis`. A code of attributes has the
    teacher's z first, then the new z.
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
            addition: The autoencoder of the rest. Its code begins with the part of the teacher's code that its decoder
                sees: the factors with `sees_y`, factors and z with `grown`; its encoder's values of these are not used.
                If the teacher's factors are attributes, it has no units of its own, only a z.
        """
        new_units = addition.num_units - (teacher.num_units if config.sees_y or config.grown else 0)
        z_channels = addition.z_channels + (0 if config.grown else teacher.z_channels)
        super().__init__(config, teacher.image_shape, teacher.num_units + new_units, z_channels)
        self.teacher = teacher.requires_grad_(False).eval()
        self.addition = addition
        self.num_seen = teacher.code_size if config.grown else teacher.num_units if config.sees_y else 0
        new_size = addition.code_size - self.num_seen
        sizes = (teacher.num_units, *config.moments, 2 * new_size)
        self.moments = Layers(*dense_layers(sizes)) if config.moments else nn.Identity()
        # The units of an ordered code are u or z times the basis; a code of attributes has no order.
        self.register_buffer("basis", torch.eye(new_units))
        self.register_buffer("inverse", torch.eye(new_units))

    def train(self, mode: bool = True) -> ResidualAutoencoder:
        """Switch the new networks between training and eval mode; the teacher stays in eval mode.

        Args:
            mode: Whether to train.

        Returns:
            The model itself.
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
    def num_new_units(self) -> int:
        """Number of units besides the teacher's; 0 for a code of attributes."""
        return self.num_units - self.teacher.num_units

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        return self.teacher.code_size + self.addition.code_size - self.num_seen

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): the teacher's code and the code of the rest.

        Args:
            x: Images in the value range.
        """
        with torch.no_grad():
            known = self.teacher.encode(x)
            x_hat = self.teacher.decode(known) if self.config.reads == "rest" else x
        z = self.rest_of(x, x_hat)
        if self.config.moments:
            mean, deviation = self.moments_of(known.y)
            z = (z - mean) / deviation
        if self.num_new_units:
            return Code(torch.cat([known.y, z @ self.basis], dim=1), known.z)
        return Code(known.y, torch.cat([known.z, z], dim=1))

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z) = D_T(y, z_T) + amount R(y, u): images, trained to stay in the value range.

        Args:
            code: The code.
        """
        code = code.split(self.num_units)
        num_y = self.teacher.num_units
        num_z = self.teacher.code_size - num_y
        known = Code(code.y[:, :num_y], code.z[:, :num_z])
        u = code.y[:, num_y:] @ self.inverse if self.num_new_units else code.z[:, num_z:]
        if self.config.moments:
            mean, deviation = self.moments_of(known.y)
            u = mean + deviation * u
        return self.teacher.decode(known) + self.config.amount * self.decode_rest(known, u)

    def rest_of(self, x: Float[Tensor, "b c h w"], x_hat: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Return u, which describes the rest of the images: E_R(x) or E_R(x - D_T(y)).

        Args:
            x: Images in the value range.
            x_hat: The teacher's reconstructions; not used if E_R reads the image.
        """
        return self.addition.encode(x - x_hat if self.config.reads == "rest" else x).units[:, self.num_seen :]

    def decode_rest(self, known: Code, u: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Return R, the image that is added to the teacher's.

        Args:
            known: The teacher's code; R sees the part of it that the config selects.
            u: The code of the rest, shape (b, d).
        """
        if self.config.grown:
            known = Code(torch.zeros_like(known.y), known.z)
        units = torch.cat([known.units[:, : self.num_seen], u], dim=1)
        added = self.addition.decode(Code(units[:, : self.addition.num_units], units[:, self.addition.num_units :]))
        return added - self.teacher.decode(known) if self.config.grown else added

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
            amount: From 0 to 1: 1 is sharpest, less gives more control, and 0 gives the teacher's image.

        Raises:
            ValueError: The amount is not between 0 and 1.
        """
        other = copy(self)
        other.config = replace(self.config, amount=amount)
        other.config.require_valid(supervised=bool(self.z_channels))
        return other

    def turn(self, basis: Float[Tensor, "u u"]) -> None:
        """Multiply the new units of an ordered code by a matrix; reconstructions do not change.

        Args:
            basis: An invertible matrix (u, u); each column gives one of the new units.
        """
        self.basis = self.basis @ basis
        self.inverse = torch.linalg.inv(self.basis)
