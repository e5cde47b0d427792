"""Encoded images from a folder, a ZIP archive, Parquet files or the Hub."""

from __future__ import annotations

import importlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jacsup.bounded import read_file, read_member
from jacsup.data.attributes import signed
from jacsup.data.tables import IMAGE_SUFFIXES, Table
from jacsup.models.fetch import HUB

PARTITIONS = {"train": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2}


@dataclass(frozen=True)
class Images:
    """Encoded images that can be read from several threads.

    Attributes:
        names: Paths with slashes, in the order in which they are read fastest.
        read: Returns the bytes of image number i.
        state: Text that changes when the images change.
        table: Attributes that Parquet files have beside the images.
        partition: For each image of Parquet files, 0 (train), 1 (validation) or 2 (test).
    """

    names: list[str]
    read: Callable[[int], bytes]
    state: str
    table: Table | None = None
    partition: list[int] | None = None


@contextmanager
def open_images(where: str | Path) -> Iterator[Images]:
    """Open images for reading, as a context manager.

    Args:
        where: A folder, searched with its subfolders; a .zip; a .parquet or a folder of those; or `hf:owner/name`.

    Yields:
        The images.

    Raises:
        ValueError: There are no images, or they cannot be read.
    """
    path = Path(where)
    if str(where).startswith(HUB) or path.suffix == ".parquet" or (path.is_dir() and list_files(path, (".parquet",))):
        yield _hub_images(str(where))
    elif path.is_dir():
        files = list_files(path, IMAGE_SUFFIXES)
        names = [name for name, *_ in files]
        yield _checked(where, Images(names, lambda i: read_file(path / names[i]), repr(files)))
    else:
        with _open_zip(path) as archive:
            names = sorted(name for name in {*archive.namelist()} if _is_image(name))
            yield _checked(where, Images(names, lambda i: read_member(archive, names[i]), state_of(path)))


def state_of(where: str | Path) -> str:
    """Return text that changes when a file, or an image in a folder, changes.

    Args:
        where: A folder, a file, or `hf:owner/name`.

    Returns:
        Sizes and times of the files; empty for the Hub.

    Raises:
        ValueError: The file cannot be read.
    """
    if str(where).startswith(HUB):
        return ""
    if (path := Path(where)).is_dir():
        return repr(list_files(path, (*IMAGE_SUFFIXES, ".parquet")))
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); pass an existing folder or file") from None
    return f"{status.st_size} {status.st_mtime_ns}"


def list_files(folder: Path, suffixes: Sequence[str]) -> list[tuple[str, int, int]]:
    """List the files of a folder and its subfolders. Links are followed, each folder once.

    Args:
        folder: The folder.
        suffixes: What the files' names end in, in lower case.

    Returns:
        Path inside the folder, size and modification time of each file, or of what it links to, sorted.
    """
    found, visited = [], set[str]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        # A link to a folder above would never end.
        if (place := os.path.realpath(parent)) in visited:
            folders.clear()
            continue
        visited.add(place)
        inside = Path(parent).relative_to(folder)
        for file in files:
            if _is_image(file, suffixes):
                status = _status(os.path.join(parent, file))
                found.append(((inside / file).as_posix(), status.st_size, status.st_mtime_ns))
    return sorted(found)


def _status(path: str) -> os.stat_result:
    """Of a link, what it links to; of one to nothing, the link itself, which reading finds damaged."""
    try:
        return os.stat(path)
    except OSError:
        return os.lstat(path)


def _is_image(name: str, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> bool:
    # macOS adds a ._NAME to archives for each file.
    return name.lower().endswith(tuple(suffixes)) and not name.rpartition("/")[2].startswith(".")


def _checked(where: str | Path, images: Images) -> Images:
    if not images.names:
        raise ValueError(f"{where} has no images; the suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
    return images


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path} cannot be read ({reason}); pass a folder of images or an intact .zip") from None


def _hub_images(where: str) -> Images:
    splits = _load_splits(where)
    first = next(iter(splits.values()))
    column = next((name for name, kind in first.features.items() if _holds_images(kind)), None)
    if column is None:
        raise ValueError(f"{where} has no column of images; its columns are {', '.join(first.features)}")
    chunks = [chunk for split in splits.values() for chunk in split.data.column(column).chunks]
    contents, paths = (
        importlib.import_module("pyarrow").chunked_array([chunk.field(part) for chunk in chunks])
        for part in ("bytes", "path")
    )
    names = paths.to_pylist()
    if None in names or len({*names}) < len(names):
        names = [f"{split}-{row:07d}" for split, rows in splits.items() for row in range(len(rows))]

    def read(number: int) -> bytes:
        return contents[number].as_py() or read_file(_beside(where, paths[number].as_py()))

    partition = [PARTITIONS.get(split, 0) for split, rows in splits.items() for _ in range(len(rows))]
    # A single split is no partition. If there is no test split, the validation split replaces it.
    if 2 not in partition:
        partition = [2 if part else 0 for part in partition]
    table = _hub_table(where, names, list(splits.values()))
    state = state_of(where) or where
    return _checked(where, Images(names, read, state, table, partition if {0, 2} <= {*partition} else None))


def _beside(where: str, name: str) -> Path:
    """The image that a row names in place of holding it: beside the Parquet files, not elsewhere on this machine."""
    if where.startswith(HUB):
        raise ValueError("its row holds no image; the Hub's data must hold their images")
    folder = Path(where) if Path(where).is_dir() else Path(where).parent
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ValueError(f"its row names '{name}', which lies outside of {folder}; put the image there")
    return file


def _load_splits(where: str) -> dict[str, Any]:
    try:
        hub = importlib.import_module("datasets")
    except ImportError:
        raise ValueError(
            f"{where}: Parquet files and the Hub need the package datasets; run `pip install 'jacsup[hub]'`"
        ) from None
    try:
        if where.startswith(HUB):
            return dict(hub.load_dataset(where.removeprefix(HUB)))
        path = Path(where)
        files = {"data_dir": str(path)} if path.is_dir() else {"data_files": str(path)}
        return dict(hub.load_dataset("parquet", **files))
    # datasets passes on any error of its readers, its cache and the network.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{where} cannot be read ({reason[:300]}); pass Parquet files or hf:owner/name") from None


def _holds_images(kind: Any) -> bool:
    return type(kind).__name__ == "Image" or (isinstance(kind, dict) and {*kind} == {"bytes", "path"})


def _hub_table(where: str, names: list[str], splits: list[Any]) -> Table | None:
    columns = tuple(name for name, kind in splits[0].features.items() if _is_attribute(kind))
    cells = [[split.data.column(name).cast("float64", safe=False).to_numpy() for split in splits] for name in columns]
    values = np.array([np.concatenate(parts) for parts in cells], np.float32).reshape(len(columns), len(names)).T
    # On the Hub, -1 in a column of classes is a missing label.
    classes = [type(splits[0].features[name]).__name__ == "ClassLabel" for name in columns]
    values[(values < 0) & np.array(classes, bool)] = np.nan
    return Table(where, names, columns, signed(values)) if columns else None


def _is_attribute(kind: Any) -> bool:
    if type(kind).__name__ == "ClassLabel":
        return kind.num_classes == 2
    return getattr(kind, "dtype", "").startswith(("bool", "int", "uint", "float"))
