"""Where and how a run is trained: what no recipe says, and what must not change a result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from jacsup.config import Precision


class TrainingOptions(TypedDict, total=False):
    """Where and how a run is trained, which no recipe says; every option has a default.

    Attributes:
        data_root: Folder with the data set's files.
        num_stages: Stop after that many stages; defaults to all.
        init: RUN or RUN/STAGE whose finished stages a new run starts from.
        extend: Further epochs for the last stage of the finished run `init`, in a new run.
        device: `auto` (default), `cpu`, `cuda`, `cuda:N` or `mps`.
        deterministic: Be bit-exact on a GPU too, which is slower.
        precision: What the layers compute in while they learn, `float32` (default) or `bfloat16`.
        compile: Use torch.compile, which first takes minutes, and on a CPU a C++ compiler. On a GPU a step of an MLP
            becomes one CUDA graph.
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
