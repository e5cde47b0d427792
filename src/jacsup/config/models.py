"""The autoencoders that recipes name: their settings, and the checks of these."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Base class of a recipe's model settings. Each backbone has a subclass; models.BACKBONES has its network.

    Attributes:
        value_range: Lowest and highest pixel value, within the tanh output's [-1, 1].
        supports_attributes: Whether the code can have a nuisance part z besides the attributes.
    """

    value_range: tuple[float, float] = (0.0, 1.0)
    supports_attributes: ClassVar[bool] = False

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        low, high = self.value_range
        if not -1 <= low < high <= 1:
            raise ValueError(f"model.value_range is {low}, {high}; it must be low < high within [-1, 1] (tanh output)")
        if supervised and not self.supports_attributes:
            raise ValueError("z_channels need a convolutional model; set model to Conv, or use num_units")


def _require_widths(name: str, widths: tuple[int, ...], unit: int = 1) -> None:
    if not widths or any(width < unit or width % unit for width in widths):
        allowed = "widths, each at least 1" if unit == 1 else f"multiples of {unit}"
        raise ValueError(f"model.{name} is {widths}; it must be one or more {allowed}")


@dataclass(frozen=True, kw_only=True)
class MLP(ModelConfig):
    """The paper's appendix A.1: encoder D-256-128-64-units with ReLU, mirrored decoder with tanh at its end.

    Attributes:
        hidden: Widths of the encoder's hidden layers.
        value_range: Lowest and highest pixel value.
    """

    hidden: tuple[int, ...] = (256, 128, 64)

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        super().require_valid(supervised=supervised)
        _require_widths("hidden", self.hidden)


@dataclass(frozen=True, kw_only=True)
class Conv(ModelConfig):
    """The paper's appendix A.2: convolutions of stride 2, then one to the code, and a mirrored decoder.

    Attributes:
        channels: Widths of the encoder's convolutions.
        code_block: End the encoder in batch normalisation and LeakyReLU, as A.2 can be read, instead of a bare
            convolution.
        layers_without_y: How many of the decoder's last layers do not see y; in the paper all layers see it.
        value_range: Lowest and highest pixel value.
    """

    channels: tuple[int, ...] = (16, 32, 64, 128)
    code_block: bool = False
    layers_without_y: int = 0
    value_range: tuple[float, float] = (-1.0, 1.0)
    supports_attributes: ClassVar[bool] = True

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        super().require_valid(supervised=supervised)
        _require_widths("channels", self.channels)
        if not 0 <= self.layers_without_y <= len(self.channels):
            raise ValueError(
                f"model.layers_without_y is {self.layers_without_y}; it must be between 0 and {len(self.channels)}, as "
                "the first layer must see y"
            )
        if self.code_block and not supervised:
            raise ValueError("model.code_block must be false with num_units, as units have no activation")


@dataclass(frozen=True, kw_only=True)
class Diffusion(ModelConfig):
    """For photographs: a classifier predicts the attributes, and a diffusion model draws the edits. Not in the paper.

    The defaults are for images of 128x128; `curricula.diffusion_for` has those of other sizes.

    Attributes:
        patch: Side, in pixels, of the squares that become one position of the denoiser's finest feature map.
        channels: Widths of the denoiser's feature maps, finest first; each map has half the side of the one before.
        embedding: Width of the embedding of noise level and attributes.
        encoder_channels: Widths of the classifier's feature maps; the first map has half the side of the image, which
            is averaged down to 64x64 if it is larger.
        log_sigma: Mean and standard deviation of the logarithm of the noise levels in training.
        shown: Probability that the denoiser is given an attribute in training. Of one image in ten it is given none.
        noise_levels: Standard deviations of the noise at which an edit is drawn, in descending order, for pixels in
            [-1, 1].
        guidance: Factor by which the denoiser's change is multiplied while an attribute is added; to remove one, it is
            half as large. A share of it is used, which is largest at medium levels of noise.
        value_range: Lowest and highest pixel value.
    """

    patch: int = 4
    channels: tuple[int, ...] = (64, 96, 152, 176)
    embedding: int = 256
    encoder_channels: tuple[int, ...] = (32, 64, 96, 128)
    log_sigma: tuple[float, float] = (0.5, 1.1)
    shown: float = 0.9
    noise_levels: tuple[float, ...] = (32.0, 16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
    guidance: float = 10.0
    value_range: tuple[float, float] = (-1.0, 1.0)
    supports_attributes: ClassVar[bool] = True

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        super().require_valid(supervised=supervised)
        if not supervised:
            raise ValueError("model is Diffusion, which edits attributes; set z_channels, not num_units")
        _require_widths("channels", self.channels, 8)
        _require_widths("encoder_channels", self.encoder_channels, 8)
        for name in ("patch", "embedding"):
            if getattr(self, name) < 1:
                raise ValueError(f"model.{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.shown <= 1:
            raise ValueError(f"model.shown is {self.shown}; it must be above 0 and at most 1")
        if not math.isfinite(self.log_sigma[0]) or not 0 <= self.log_sigma[1] < math.inf:
            raise ValueError(f"model.log_sigma is {self.log_sigma}; it must be a mean and a deviation of at least 0")
        levels = self.noise_levels
        if not levels or levels[-1] <= 0 or any(low >= high for high, low in pairwise(levels)):
            raise ValueError(f"model.noise_levels is {levels}; must be positive numbers in descending order")
        if not 0 < self.guidance < math.inf:
            raise ValueError(f"model.guidance is {self.guidance}; it must be a positive number")


@dataclass(frozen=True, kw_only=True)
class Residual:
    """The new networks of a residual student, D_S(y, z) = D_T(y) + R(y, u).

    Attributes:
        model: The autoencoder of what the teacher's reconstruction lacks; u is its code.
        reads: Input of its encoder: `image`, x, or `rest`, x - D_T(y), which convolutions find hard to compute from x.
        sees_y: Whether its decoder sees y. Without y and moments, the Jacobian is exactly the teacher's.
        moments: Widths of the hidden layers that predict the mean and the standard deviation of u given y. The code
            then contains z = (u - mean) / deviation; if `moments` is empty, it contains u.
        grown: Whether R also sees the teacher's z and starts from its decoder, for attributes:
            R(z_T, u) = D_N(0, z_T, u) - D_T(0, z_T), where D_N is the teacher's decoder, grown.
    """

    model: ModelConfig = MLP(hidden=(512, 256, 128))
    reads: Literal["image", "rest"] = "image"
    sees_y: bool = True
    moments: tuple[int, ...] = (128, 128, 128)
    grown: bool = False


@dataclass(frozen=True, kw_only=True)
class ResidualStudent(ModelConfig):
    """A trained residual student. In a recipe, a stage with the objective `residual` trains one.

    Attributes:
        teacher: The teacher's config.
        teacher_units: Number of the teacher's factors.
        teacher_z_channels: Channels of the teacher's z.
        teacher_normalized: Whether the teacher's encoder ends in a BatchNorm.
        addition: The config of the autoencoder of the rest, x - D_T(y).
        reads: Input of its encoder, the image or the rest.
        sees_y: Whether its decoder sees y.
        moments: Widths of the hidden layers that predict the moments of u given y; empty for none.
        grown: Whether R is the difference of the grown decoder and the teacher's.
        amount: Share of the rest that is added, from 0 to 1. A smaller share gives more control and less sharpness.
    """

    supports_attributes: ClassVar[bool] = True
    teacher: ModelConfig = MLP()
    teacher_units: int = 2
    teacher_z_channels: int = 0
    teacher_normalized: bool = False
    addition: ModelConfig = MLP()
    reads: Literal["image", "rest"] = "image"
    sees_y: bool = False
    moments: tuple[int, ...] = ()
    grown: bool = False
    amount: float = 1.0

    def require_valid(self, *, supervised: bool) -> None:
        """Check the fields; see ModelConfig.

        Args:
            supervised: Whether the factors are the data's attributes.

        Raises:
            ValueError: A field has a value that cannot be built or trained.
        """
        super().require_valid(supervised=supervised)
        if not 0 <= self.amount <= 1:
            raise ValueError(f"amount is {self.amount}; it must be between 0 and 1")
        if self.teacher_units < 1:
            raise ValueError(f"teacher_units is {self.teacher_units}; it must be at least 1")
        if self.moments:
            _require_widths("moments", self.moments)
        for part in (self.teacher, self.addition):
            part.require_valid(supervised=supervised)
