"""The data set that a run or a model was trained on."""

from __future__ import annotations

from pathlib import Path

from jacsup.config import DataConfig
from jacsup.data import load_dataset
from jacsup.data.dataset import Dataset
from jacsup.jsonable import from_dict
from jacsup.models import load_metadata, model_file
from jacsup.run import Run


def find_data(path: Path, data_root: str | Path | None) -> Dataset:
    """Load the data set that a run or a model was trained on.

    Args:
        path: A run folder, or a model file.
        data_root: Folder with the data set's files; by default the one that the run's last session used.

    Returns:
        The data set, on the CPU.

    Raises:
        ValueError: The file is not a model, or the data are missing or damaged.
    """
    run = next((Run(folder) for folder in (path, *path.parents[:3]) if (folder / "recipe.json").is_file()), None)
    config = run.recipe.data if run else from_dict(DataConfig, load_metadata(model_file(path))["data"], "data")
    if run and run.sessions():
        data_root = data_root or run.sessions()[-1]["data_root"]
    return load_dataset(config, Path(data_root) if data_root else None)
