"""How layers compute during training: precision and compilation, which are not part of a recipe."""

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
        precision: The data type that their layers compute in.
        compiled: Whether encoders and decoders are compiled by torch.compile.
    """
    if compiled:
        # Code compiled for earlier stages is useless now, and torch keeps a limited amount of it.
        torch.compiler.reset()
    for part in _parts(models):
        part.in_bfloat16 = precision == "bfloat16"
    for model in models:
        if compiled:
            model.encoder.compile()
            model.decoder.compile()


@contextlib.contextmanager
def as_they_will_be_used(*models: Model | None, compiled: bool) -> Iterator[None]:
    """Run models in float32 and uncompiled, as users will run them.

    torch.compile keeps code for a limited number of shapes, which evaluation would use up.
    """
    speeds = [(part, part.in_bfloat16) for part in _parts([model for model in models if model])]
    for part, _ in speeds:
        part.in_bfloat16 = False
    with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
        yield
    for part, in_bfloat16 in speeds:
        part.in_bfloat16 = in_bfloat16


def _parts(models: Sequence[Model]) -> list[Model]:
    """The models and those inside them, such as the teacher of a residual student."""
    return [part for model in models for part in model.modules() if isinstance(part, Model)]
