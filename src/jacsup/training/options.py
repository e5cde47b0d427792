"""Where and how a run is trained: options that are not part of a recipe and should not change the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from jacsup.config import Precision


class TrainingOptions(TypedDict, total=False):
    """Where and how a run is trained. These options are not part of a recipe, and all have defaults.

    Attributes:
        data_root: Folder with the data set's files.
        num_stages: Stop after this many stages; defaults to all.
        init: RUN or RUN/STAGE whose finished stages a new run starts from.
        extend: Number of additional epochs for the last stage of the finished run `init`, in a new run.
        device: `auto` (default; a GPU if there is one), `cpu`, `cuda`, `cuda:N` or `mps`.
        deterministic: Give bit-identical results on a GPU too, which is slower.
        precision: The data type that layers compute in during training, `float32` (default) or `bfloat16`.
        compile: Use torch.compile, which takes minutes at first and needs a C++ compiler on a CPU. On a GPU, a step of
            an MLP becomes one CUDA graph.
        tensorboard: Also write TensorBoard event files into the run folder.
    """

    data_root: str | Path | None
    num_stages: int | None
    init: str | Path | None
    extend: int | None
    device: str
    deterministic: bool
    precision: Precision
    compile: bool
    tensorboard: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """TrainingOptions with their defaults."""

    data_root: str | Path | None = None
    num_stages: int | None = None
    init: str | Path | None = None
    extend: int | None = None
    device: str = "auto"
    deterministic: bool = False
    precision: Precision = "float32"
    compile: bool = False
    tensorboard: bool = False
