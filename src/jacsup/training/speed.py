"""How layers compute while they learn: precision and compilation, which no recipe says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from jacsup.config import Precision
from jacsup.models import Model


def speed_up(models: Sequence[Model], precision: Precision, *, compiled: bool) -> None:
    """Set how the layers of models compute from now on; weights, statistics and losses stay in float32.

    Args:
        models: The models.
        precision: What their layers compute in.
        compiled: Whether encoders and decoders are compiled by torch.compile.
    """
    if compiled:
        # Code compiled for earlier stages is useless now, and torch keeps a limited amount of it.
        torch.compiler.reset()
    for model in models:
        model.in_bfloat16 = precision == "bfloat16"
        if compiled:
            model.encoder.compile()
            model.decoder.compile()


@contextlib.contextmanager
def as_they_will_be_used(*models: Model | None, compiled: bool) -> Iterator[None]:
    """Run models in float32 and uncompiled, as users will run them.

    torch.compile keeps code for a limited number of shapes, on which tests would draw.
    """
    speeds = [(model, model.in_bfloat16) for model in models if model]
    for model, _ in speeds:
        model.in_bfloat16 = False
    with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
        yield
    for model, in_bfloat16 in speeds:
        model.in_bfloat16 = in_bfloat16
