"""The base class of the backbones that this package trains, stores and grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from jacsup.code import Code
from jacsup.config import ModelConfig


class Model(nn.Module):
    """Base class of the backbones; each is listed in `jacsup.models.BACKBONES` under its config's class.

    A subclass takes the arguments of this class, builds `encoder` and `decoder`, and defines `code_size`, `encode` and
    `decode`. When a model grows, new entries come last in each dimension of the weights.

    Attributes:
        channels_last: Whether images are stored channels last in memory, which suits convolutions on a GPU.
        independent_factors: Whether to raise an attribute changes the image as if those that it excludes had been
            lowered, so that they must not be lowered as well.
        launch_bound: Whether a training step on a GPU mostly waits for Python to launch its kernels.
        encoder: The network of E.
        decoder: The network of D.
        code_layer: Name of the layer that computes the code.
        norm_layer: Name of the BatchNorm that follows it if `normalized`.
        passes_per_edit: How often the decoder's network runs to edit one image.
        in_bfloat16: Compute the layers in bfloat16; weights, statistics, codes and images keep their types.
        source: The file that the model was loaded from.
    """

    channels_last: ClassVar[bool] = False
    independent_factors: ClassVar[bool] = False
    launch_bound: ClassVar[bool] = False
    # Any: each subclass narrows these three.
    config: Any
    encoder: Any
    decoder: Any
    code_layer: str
    norm_layer: str
    passes_per_edit = 1
    in_bfloat16 = False
    source: Path | None = None

    def __init__(
        self,
        config: ModelConfig,
        image_shape: tuple[int, int, int],
        num_units: int,
        z_channels: int = 0,
        *,
        normalized: bool = False,
    ):
        """Store the arguments that the model is built from.

        Args:
            config: Layers and value range.
            image_shape: Channels, height and width.
            num_units: Number of factors y.
            z_channels: Channels of the nuisance part z; 0 for an ordered code.
            normalized: End y in a BatchNorm without affine part, as the first teacher of an ordered code does.
        """
        super().__init__()
        self.config = config
        self.image_shape = image_shape
        self.num_units = num_units
        self.z_channels = z_channels
        self.normalized = normalized
        self.register_load_state_dict_pre_hook(_fold_code_bias)

    def drop_code_bias(self) -> None:
        """Remove the bias of the layer before the BatchNorm, which would subtract it again.

        Its gradient is only rounding noise, which Adam turns into full steps, so that the bias and the running mean
        would drift. A subclass calls this last, so that the other weights are initialised as if the bias existed.
        """
        self.get_submodule(self.code_layer).register_parameter("bias", None)

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest pixel value of an image."""
        return self.config.value_range

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        raise NotImplementedError

    def encode(self, x: Float[Tensor, "b c h w"]) -> Code:
        """E(x): the code of images in the value range.

        Args:
            x: Images in the model's value range.

        Returns:
            The code, with y of shape (b, num_units).
        """
        raise NotImplementedError

    def decode(self, code: Code) -> Float[Tensor, "b c h w"]:
        """D(y, z): the images of a code.

        Args:
            code: The code.

        Returns:
            Images (b, c, h, w), trained to stay in the value range.
        """
        raise NotImplementedError


def _fold_code_bias(model: Model, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Fold the bias before the BatchNorm, which files and checkpoints of version 0.1 have, into its running mean."""
    if not model.normalized:
        return
    bias, mean = f"{prefix}{model.code_layer}.bias", f"{prefix}{model.norm_layer}.running_mean"
    if bias in state and mean in state and model.get_submodule(model.code_layer).bias is None:
        # In double precision: a file of 16-bit numbers would round the difference once more.
        state[mean] = state[mean].double() - state.pop(bias).double()
