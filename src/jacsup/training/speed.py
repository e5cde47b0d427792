"""What makes steps faster and leaves the recipe alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from jacsup.config import Precision
from jacsup.models import Model


def speed_up(models: Sequence[Model], precision: Precision, *, compiled: bool) -> None:
    """Sets how the models' layers are computed from now on; weights, statistics and losses stay in float32."""
    if compiled:
        # What earlier stages compiled is of no use, and only so much is kept.
        torch.compiler.reset()
    for model in models:
        model.in_bfloat16 = precision == "bfloat16"
        if compiled:
            model.encoder.compile()
            model.decoder.compile()


@contextlib.contextmanager
def as_they_will_be_used(*models: Model | None, compiled: bool) -> Iterator[None]:
    """In float32 and uncompiled: torch.compile would count each shape of a test against the few that it keeps."""
    speeds = [(model, model.in_bfloat16) for model in models if model]
    for model, _ in speeds:
        model.in_bfloat16 = False
    with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
        yield
    for model, in_bfloat16 in speeds:
        model.in_bfloat16 = in_bfloat16
