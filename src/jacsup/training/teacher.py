"""One teacher pass per image and stage."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from jacsup.code import to_float
from jacsup.models import Model

# Constants, never a look at free memory: the same run must do the same arithmetic on every machine.
CACHE_BYTES = 2 * 2**30
CHUNK = 2000


class TeacherOutputs:
    """What a teacher makes of each training image: computed once if it fits CACHE_BYTES, else per batch."""

    def __init__(self, teacher: Model, images: UInt8[Tensor, "n c h w"], *, cache_bytes: int = CACHE_BYTES):
        self._teacher, self._images = teacher, images
        self._cache: tuple[Tensor, Tensor] | None = None
        if 4 * (images.numel() + len(images) * teacher.num_units) <= cache_bytes:
            parts = [self._compute(part) for part in images.split(CHUNK)]
            y, x_hat = zip(*parts, strict=True)
            self._cache = torch.cat(y), torch.cat(x_hat)

    def __getitem__(self, index: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b c h w"]]:
        """The factors that the teacher reads in the images numbered `index`, and its reconstructions of them."""
        if self._cache is None:
            return self._compute(self._images[index])
        y, x_hat = self._cache
        return y[index], x_hat[index]

    @torch.no_grad()
    def _compute(self, images: Tensor) -> tuple[Tensor, Tensor]:
        code = self._teacher.encode(to_float(images, self._teacher.config.value_range))
        return code.units, self._teacher.decode(code)
