"""The file behind the name of a model: one that ships with the package, or one from the Hugging Face Hub."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

HUB = "hf:"
FILE = "model.safetensors"


def shipped() -> dict[str, Path]:
    """The models that come with the package, by name."""
    folder = Path(str(files("jacsup") / "shipped"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def download(name: str) -> Path:
    """The file of `hf:owner/name[@revision]`, kept in the Hub's own cache; HF_ENDPOINT names another server.

    Raises ValueError where there is no such model, no connection, or no huggingface_hub.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ValueError("models from the Hub need huggingface_hub; run `pip install 'jacsup[hub]'`") from None
    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        # The endpoint at hand, not the one at the time of the import.
        return Path(
            hf_hub_download(repository, FILE, revision=revision or None, endpoint=os.environ.get("HF_ENDPOINT"))
        )
    except Exception as error:  # its transport raises errors of its own kind
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} cannot be fetched from the Hub: {reason}; allowed is hf:owner/name[@revision] of a repository "
            f"with a {FILE}"
        ) from None
