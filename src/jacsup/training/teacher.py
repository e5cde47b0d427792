"""The teacher's outputs, computed once per image and stage if they fit into memory."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from jacsup import distributed as dist
from jacsup.code import Code, to_float
from jacsup.models import Model

# Constants rather than a share of free memory: the same run must do the same arithmetic on every machine.
CACHE_BYTES = 2 * 2**30
CHUNK = 500


class TeacherOutputs:
    """A teacher's outputs for the training images: computed once if they fit into CACHE_BYTES, else for each batch.

    Args:
        teacher: The teacher.
        images: All training images.
        flips: Whether images are sometimes mirrored, so that outputs cannot be kept.
        swaps: Whether images of the partners' factors are needed.
        cache_bytes: Largest size of outputs that are kept, in bytes.
    """

    def __init__(
        self,
        teacher: Model,
        images: UInt8[Tensor, "n c h w"],
        *,
        flips: bool = False,
        swaps: bool = True,
        cache_bytes: int = CACHE_BYTES,
    ):
        self._teacher, self._swaps = teacher, swaps
        self._cache: tuple[Tensor, ...] | None = None
        if not flips and 4 * (images.numel() + len(images) * teacher.code_size) <= cache_bytes:
            parts = [self._compute(to_float(part, teacher.value_range)) for part in images.split(CHUNK)]
            self._cache = tuple(torch.cat(part) for part in zip(*parts, strict=True))

    @torch.no_grad()
    def of(
        self, index: Int[Tensor, " b"], x: Float[Tensor, "b c h w"], swap_mask: Bool[Tensor, "b k"] | None = None
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b d"], Float[Tensor, "b c h w"], Float[Tensor, "b c h w"] | None]:
        """Return y_T, z_T, D_T(y_T, z_T) and D_T(y_T', z_T) of a batch.

        Args:
            index: Numbers of the images, shape (b,).
            x: These images, in the model's value range.
            swap_mask: Which factors come from the partner; all by default.

        Returns:
            Factors (b, k), nuisance part (b, d), reconstructions (b, c, h, w), and reconstructions with the partners'
            factors, None where they are not needed.
        """
        y, z, x_hat = (_rows(part, index) for part in self._cache) if self._cache else self._compute(x)
        # Without a z, D_T(y_T') is the partner's reconstruction.
        swapped = None
        if self._swaps:
            swapped = self._teacher.decode(Code(dist.partners(y, swap_mask), z)) if z.shape[1] else dist.partners(x_hat)
        return y, z, x_hat, swapped

    @torch.no_grad()
    def _compute(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        code = self._teacher.encode(x)
        return code.y, code.z, self._teacher.decode(code)


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """values[index]; index_select is three times as fast for contiguous rows."""
    return values.index_select(0, index) if values.is_contiguous() else values[index]
