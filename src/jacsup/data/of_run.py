"""The data set that a run or a model was trained on."""

from __future__ import annotations

from pathlib import Path

from jacsup.config import DataConfig
from jacsup.data import cache_folder, load_dataset, spec_of
from jacsup.data.dataset import Dataset
from jacsup.data.prepared import MANIFEST
from jacsup.jsonable import from_dict
from jacsup.models import load_metadata, model_file
from jacsup.run import Run


def find_data(path: Path, data_root: str | Path | None, *, fetch: bool = True) -> Dataset:
    """Load the data set that a run or a model was trained on.

    Args:
        path: A run folder, or a model file.
        data_root: Folder with the data set's files; by default the one that the run's last session used.
        fetch: Whether to download the data set if it is not in the user's cache.

    Returns:
        The data set, on the CPU.

    Raises:
        ValueError: The file is not a model, or the data are missing or damaged.
    """
    run = Run.around(path)
    config = run.recipe.data if run else from_dict(DataConfig, load_metadata(model_file(path))["data"], "data")
    session = run.sessions()[-1] if run and run.sessions() else {}
    if not data_root and (data_root := session.get("data_root")) and (command := session.get("prepared_by")):
        _require_prepared(Path(data_root), command)
    source = spec_of(config).download
    if source and not data_root and not fetch:
        data_root = cache_folder() / source.name
    return load_dataset(config, Path(data_root) if data_root else None)


def _require_prepared(folder: Path, command: str) -> None:
    if not (folder / MANIFEST).is_file():
        raise ValueError(
            f"the prepared images of this run are no longer in {folder}; prepare them again with `{command}`, and if "
            "it prints another folder, pass that as --data-root"
        )
