"""Models on the Hugging Face Hub: the model file and its model card."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from jacsup.data import spec_of
from jacsup.models import Model, ModelInfo, load, load_info, model_file, num_parameters
from jacsup.models.diffusion import DiffusionEditor
from jacsup.models.fetch import FILE

PAPER = "https://openreview.net/forum?id=Hkg4W2AcFm"


def push(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload a model and its card to the Hugging Face Hub and return the repository's address.

    This needs a login (`hf auth login`, or HF_TOKEN). HF_ENDPOINT selects another server.

    Args:
        model: What `jacsup.load` takes.
        repository: `owner/name`; created if it does not exist.
        private: Create it as a private repository.

    Returns:
        The repository's address.

    Raises:
        ValueError: There is no such model, the repository cannot be written to, it exists and is public although
            `private` is set, or huggingface_hub or a login is missing.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError("the Hub needs huggingface_hub; run `pip install 'jacsup[hub]'`") from None
    file = model_file(model)
    content, text = file.read_bytes(), card(file, repository)
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(content)
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            # An existing repository keeps its own setting.
            if private and not api.repo_info(repository).private:
                raise RuntimeError("it exists and is public (omit --private, or choose another name)")
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Model and card")
        except Exception as error:  # its transport raises errors of its own kind
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"cannot write to {repository}: {reason}; pass an OWNER/NAME of yours, and run `hf auth login`"
            ) from None
    return f"{api.endpoint}/{repository}"


def card(model: str | Path, name: str) -> str:
    """Return the model card in Markdown.

    Args:
        model: What `jacsup.load` takes.
        name: `owner/name` on the Hub, or the name of a shipped model.

    Raises:
        ValueError: There is no such model.
    """
    loaded = load(model)
    info = load_info(loaded)
    data_set = spec_of(info.data)
    subject = "faces" if data_set.faces else "images"
    kind = f"edits attributes of {subject}" if info.has_attributes else "has an ordered code"
    extras, use = ("hub,serve", f"hf:{name}") if "/" in name else ("serve", name)
    sections = [
        _front_matter(info),
        f"# {name.rpartition('/')[2]}",
        f"{_made_of(loaded, subject, kind)} Images of {' x '.join(map(str, loaded.image_shape))}; code of "
        f"{loaded.code_size} numbers; {num_parameters(loaded):,} parameters.",
        f"    pip install 'jacsup[{extras}]'\n    jacsup serve {use}",
        "## Training",
        f"Data: {data_set.description(info.data)}. Recipe: `jacsup train {info.recipe}`.",
        *(["## Terms", data_set.terms] if data_set.terms else []),
        "## Scores",
        _scores(info.metrics),
        "## Factors",
        _factors(info),
        "## Limits",
        " ".join(_limits(info)),
    ]
    return "\n\n".join(sections) + "\n"


def _made_of(model: Model, subject: str, kind: str) -> str:
    if isinstance(model, DiffusionEditor):
        return (
            f"A model that edits attributes of {subject}, by `jacsup`: a classifier predicts them, and a diffusion "
            "model draws the edits. The rest of a photo does not change."
        )
    return f"An image autoencoder that {kind}, trained with [Jacobian supervision]({PAPER}) by `jacsup`."


def _front_matter(info: ModelInfo) -> str:
    licence = spec_of(info.data).license
    lines = ["library_name: jacsup", f"license: {licence}", "tags: [autoencoder, disentanglement, image-editing]"]
    return "\n".join(["---", *lines, "---"])


def _scores(metrics: dict[str, Any]) -> str:
    rows = [(name, value) for name, value in metrics.items() if isinstance(value, int | float)]
    if not rows:
        return "None are stored with this model; run `jacsup evaluate` to compute them."
    return "\n".join(
        ["| score | test images |", "|---|---|", *(f"| {name} | {_shown(value)} |" for name, value in rows)]
    )


def _shown(value: int | float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _factors(info: ModelInfo) -> str:
    learned = [factor.name for factor in info.factors if factor.learned]
    others = [factor.name for factor in info.factors if not factor.learned]
    if not learned:
        return f"{len(info.factors)} units, the most important first."
    return f"{', '.join(learned)}." + (f" Not learned: {', '.join(others)}." if others else "")


def _limits(info: ModelInfo) -> list[str]:
    if not any(factor.learned for factor in info.factors):
        return [
            "Images unlike the training images are reconstructed poorly. The meaning of a unit was learned, not chosen."
        ]
    return [
        "A photo unlike the training images is edited poorly; the editor warns about it.",
        spec_of(info.data).limits,
    ]
