"""What the package must know about a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from jacsup.data.dataset import Dataset
from jacsup.data.download import Download


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """The loader of a data set and its properties; an entry of `jacsup.data.DATA_SETS`.

    Attributes:
        load: Returns the data of a config, on the CPU. Its second argument is the folder with the files, or None.
        description: Describes the data of a config in a model card: "Data: ... .".
        license: The licence that a model card states for models of these data, as the Hugging Face Hub names it.
        terms: What a model card says about the terms that the data set imposes on models trained on it, if any.
        limits: What a model card says about edits of these data's attributes.
        faces: Whether the images are faces.
        aligned: Whether the images are photographs of faces, aligned by the eyes like CelebA's. If so, the editor
            aligns photos.
        drawn: Whether the images are drawn faces. If so, the editor says so.
        counterfactual: Draws the first test images again with one attribute flipped. Takes the config, the number of
            the attribute and the number of images; returns images (n, c, h, w) as uint8 and where the attribute was set
            (n,). None if the true images of edits are unknown.
        download: The published files, if they can be downloaded.
    """

    load: Callable[[Any, Path | None], Dataset]
    description: Callable[[Any], str]
    license: str = "other"
    terms: str = ""
    limits: str = "Edits of rare attributes are the poorest."
    faces: bool = False
    aligned: bool = False
    drawn: bool = False
    counterfactual: Callable[[Any, int, int], tuple[Tensor, Tensor]] | None = None
    download: Download | None = None
