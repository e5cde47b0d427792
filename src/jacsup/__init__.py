"""Jacobian supervision: autoencoders whose factors stay under control while reconstruction gets sharp."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from jacsup import code as code
    from jacsup import losses as losses
    from jacsup.code import Code as Code
    from jacsup.config import Recipe as Recipe
    from jacsup.data.dataset import Dataset as Dataset
    from jacsup.edit import Editor as Editor
    from jacsup.metrics.description import describe as describe
    from jacsup.models import load as load
    from jacsup.recipes import find as recipe
    from jacsup.training.loop import train as train

# Public name -> (module, attribute). Resolved at first use: importing jacsup must not import torch.
_PUBLIC = {
    "Code": ("jacsup.code", "Code"),
    "code": ("jacsup.code", ""),
    "describe": ("jacsup.metrics.description", "describe"),
    "Dataset": ("jacsup.data.dataset", "Dataset"),
    "Editor": ("jacsup.edit", "Editor"),
    "Recipe": ("jacsup.config", "Recipe"),
    "load": ("jacsup.models", "load"),
    "losses": ("jacsup.losses", ""),
    "recipe": ("jacsup.recipes", "find"),
    "train": ("jacsup.training.loop", "train"),
}

__all__ = ["Code", "Dataset", "Editor", "Recipe", "code", "describe", "load", "losses", "recipe", "train"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jacsup' has no attribute '{name}'")
    module_name, attribute = _PUBLIC[name]
    module = importlib.import_module(module_name)
    return getattr(module, attribute) if attribute else module


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
