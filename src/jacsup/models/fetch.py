"""Model files by name: those that ship with the package, and those on the Hugging Face Hub."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

HUB = "hf:"
FILE = "model.safetensors"
SHIPPED = Path(str(files("jacsup") / "shipped"))
# Eileen Collins, photographed by NASA (public domain); the image `astronaut` of scikit-image.
PORTRAIT = SHIPPED / "portrait.jpg"


def shipped() -> dict[str, Path]:
    """Return the files of the shipped models by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.safetensors"))}


def download(name: str) -> Path:
    """Download a model file into the Hub's own cache and return its path. HF_ENDPOINT names another server.

    Args:
        name: hf:owner/name[@revision].

    Raises:
        ValueError: There is no such model or no connection, or huggingface_hub is missing.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ValueError("models from the Hub need huggingface_hub; run `pip install 'jacsup[hub]'`") from None
    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        # huggingface_hub reads HF_ENDPOINT only at import.
        return Path(
            hf_hub_download(repository, FILE, revision=revision or None, endpoint=os.environ.get("HF_ENDPOINT"))
        )
    except Exception as error:  # its transport raises errors of its own kind
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"{name} cannot be fetched from the Hub: {reason}; must be hf:owner/name[@revision], a repository "
            f"that contains a {FILE}"
        ) from None
