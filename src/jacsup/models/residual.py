"""A student whose decoder contains its frozen teacher: D_S(y, z) = D_T(y) + g(y) R(z), the exact student."""

from __future__ import annotations

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import ResidualStudent
from jacsup.models.backbone import Model
from jacsup.models.linear import Layers, lowered
from jacsup.models.mlp import dense_layers

# The gate starts near 1: sigmoid(2) = 0.88.
GATE_BIAS = 2.0


@final
class ResidualAutoencoder(Model):
    """A frozen teacher and what a longer code adds to its images.

    The factors y are the teacher's units, read by the teacher's encoder. z = E_R(x - D_T(y)) describes what the
    teacher's reconstruction lacks. Without a gate the Jacobian in y is the teacher's, exactly; with one it is the
    teacher's plus g'(y) R(z). The code is one row of units, the teacher's first.
    """

    launch_bound = True
    config: ResidualStudent

    def __init__(self, config: ResidualStudent, teacher: Model, num_units: int):
        """Build the new networks with weights from torch's global random state.

        Args:
            config: Widths of the new networks, and the teacher's config.
            teacher: The trained teacher; it is frozen.
            num_units: Units of the whole code, more than the teacher's.

        Raises:
            ValueError: There is no unit more than the teacher's, or the teacher's code has a nuisance part.
        """
        if teacher.z_channels or num_units <= teacher.num_units:
            raise ValueError(
                f"num_units is {num_units}; it must be above {teacher.num_units}, those of the teacher, and "
                "the teacher's code must be ordered"
            )
        super().__init__(config, teacher.image_shape, num_units)
        pixels, new_units = math.prod(self.image_shape), num_units - teacher.num_units
        self.teacher = teacher.requires_grad_(False).eval()
        self.encoder = Layers(*dense_layers((pixels, *config.networks.hidden, new_units)))
        self.decoder = nn.ModuleDict(
            {"residual": Layers(*dense_layers((new_units, *config.networks.hidden[::-1], pixels)))}
        )
        if config.networks.gate:
            self.decoder["gate"] = Layers(*dense_layers((teacher.num_units, *config.networks.gate, pixels)))

    def train(self, mode: bool = True) -> ResidualAutoencoder:
        """Switch the new networks between training and evaluation; the teacher stays in evaluation."""
        super().train(mode)
        self.teacher.eval()
        return self

    @property
    def code_size(self) -> int:
        """Number of units of a code."""
        return self.num_units

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): the teacher's units, then those of what its reconstruction lacks."""
        with torch.no_grad():
            y = self.teacher.encode(x).y
            x_hat = self.teacher.decode(Code.of_units(y))
        return Code.of_units(self.encode_residual(x, y, x_hat).units)

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z) = D_T(y) + amount g(y) R(z): images, trained to stay in the value range."""
        code = code.split(self.teacher.num_units)
        return self.teacher.decode(Code.of_units(code.y)) + self.config.amount * self.decode_residual(code)

    def encode_residual(
        self, x: Float[Tensor, "b c h w"], y: Float[Tensor, "b k"], x_hat: Float[Tensor, "b c h w"]
    ) -> Code:
        """Return y and z = E_R(x - x_hat).

        Args:
            x: Images in the value range.
            y: The teacher's units.
            x_hat: The teacher's reconstructions, D_T(y).

        Returns:
            The code, split into the teacher's units and the new ones.
        """
        with lowered(x, bfloat16=self.in_bfloat16):
            z = self.encoder((x - x_hat).flatten(1))
        return Code(y, z.to(x.dtype))

    def decode_residual(self, code: Code) -> Float[Tensor, "b c h w"]:
        """Return g(y) R(z), or R(z) without a gate.

        Args:
            code: The code, split into the teacher's units and the new ones.
        """
        with lowered(code.z, bfloat16=self.in_bfloat16):
            pixels = self.decoder["residual"](code.z)
            if self.config.networks.gate:
                pixels = pixels * torch.sigmoid(self.decoder["gate"](code.y) + GATE_BIAS)
        return pixels.to(code.z.dtype).unflatten(1, self.image_shape)
