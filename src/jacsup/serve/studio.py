"""The work behind the editor's page, for models of attributes and for ordered codes."""

from __future__ import annotations

from pathlib import Path

from jacsup.edit import Editor
from jacsup.models import Autoencoder, ModelInfo, load, load_info, name_of
from jacsup.serve.attributes import AttributeStudio
from jacsup.serve.units import UnitStudio

Studio = AttributeStudio | UnitStudio


def open_studio(model: str | Path | Autoencoder, device: str = "cpu", *, info: ModelInfo | None = None) -> Studio:
    """Return the studio that fits a model: sliders for its attributes, or for its units.

    Args:
        model: What `jacsup.load` takes, or any model in eval mode.
        device: Where to run a model that is loaded here: auto, cpu, cuda, cuda:N or mps.
        info: The model's factors; needed for a model that was not loaded from a file.

    Raises:
        ValueError: There is no such model, or `info` is missing or describes another model.
    """
    loaded = load(model, device) if isinstance(model, str | Path) else model
    info = info or load_info(loaded)
    shown = Path(model) if isinstance(model, str | Path) else Path(name_of(model))
    name = shown.resolve().name.removesuffix(".safetensors")
    return AttributeStudio(Editor(loaded, info=info), name) if info.has_attributes else UnitStudio(loaded, info, name)
