"""Encoded images from a folder, a ZIP archive, Parquet files or the Hub."""

from __future__ import annotations

import importlib
import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jacsup.bounded import read_file, read_member
from jacsup.data.columns import MOST_WORDS
from jacsup.data.splits import WORDS, by_folders, by_words
from jacsup.data.tables import IMAGE_SUFFIXES, Table
from jacsup.models.fetch import HUB
from jacsup.photo import FORMATS, earlier_results, is_image

# Files that are often kept beside images; no message says that they are left out.
DOCUMENTS = (".csv", ".db", ".ini", ".json", ".jsonl", ".md", ".parquet", ".tsv", ".txt", ".yaml", ".yml")


@dataclass(frozen=True)
class Images:
    """Encoded images that can be read from several threads.

    Attributes:
        names: Paths with slashes, in the order in which they are read fastest.
        read: Returns the bytes of image number i.
        state: Text that changes when the images change.
        table: Attributes that Parquet files have beside the images.
        splits: For each image 0 (train), 1 (validation) or 2 (test), from the names of folders or the splits of
            Parquet files; None if these define no splits.
        left_out: The number of files that are not images, by kind.
    """

    names: list[str]
    read: Callable[[int], bytes]
    state: str
    table: Table | None = None
    splits: list[int] | None = None
    left_out: Counter[str] = field(default_factory=Counter)


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
    files = _files_in(path) if path.is_dir() else []
    if str(where).startswith(HUB) or path.suffix == ".parquet" or _tables_among(files):
        yield _hub_images(str(where))
    elif path.is_dir():
        names, left_out = _images_among(files, path.joinpath)
        yield _of_files(where, names, lambda i: read_file(path / names[i]), _state_of_files(path, names), left_out)
    else:
        with _open_zip(path) as archive:
            members = sorted({name for name in archive.namelist() if not name.endswith("/")})
            names, left_out = _images_among(members, lambda name: io.BytesIO(_start_of(archive, name)))
            yield _of_files(where, names, lambda i: read_member(archive, names[i]), state_of(path), left_out)


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
        files = _files_in(path)
        return _state_of_files(path, _tables_among(files) or _images_among(files, path.joinpath)[0])
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); pass an existing folder or file") from None
    return f"{status.st_size} {status.st_mtime_ns}"


def _files_in(folder: Path) -> list[str]:
    """The files of a folder and its subfolders, as sorted relative paths. Links are followed, each folder once."""
    found, visited = list[str](), set[str]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders.sort()
        # A link to a parent folder would cause an endless loop.
        if (place := os.path.realpath(parent)) in visited:
            folders.clear()
            continue
        visited.add(place)
        inside = Path(parent).relative_to(folder)
        found += [(inside / file).as_posix() for file in files]
    return sorted(found)


def _images_among(names: Sequence[str], opened: Callable[[str], Any]) -> tuple[list[str], Counter[str]]:
    """The files that are images, and the number of the others by kind. `opened` opens the file of a name."""
    # Hidden files and folders are caches and the like; macOS adds a ._NAME to archives for each file.
    shown = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))]
    images = [name for name in shown if name.lower().endswith(IMAGE_SUFFIXES) or _is_unnamed_image(name, opened)]
    results, found = earlier_results(images), {*images}
    left_out = Counter(
        os.path.splitext(name)[1].lower() or "without an extension"
        for name in shown
        if name not in found and not name.lower().endswith(DOCUMENTS)
    )
    if results:
        left_out["results of edits (-edited, -sweep, -morph)"] = len(results)
    return [name for name in images if name not in results], left_out


def _is_unnamed_image(name: str, opened: Callable[[str], Any]) -> bool:
    """Whether a file without an image's extension is an image."""
    return not name.lower().endswith(DOCUMENTS) and is_image(opened(name))


def _start_of(archive: zipfile.ZipFile, name: str) -> bytes:
    """The first bytes of a file, which identify its format; empty for a damaged file."""
    try:
        with archive.open(name) as file:
            return file.read(2**16)
    except (OSError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return b""


def _tables_among(files: Sequence[str]) -> list[str]:
    return [name for name in files if name.endswith(".parquet")]


def _state_of_files(folder: Path, names: Sequence[str]) -> str:
    return repr([(name, status.st_size, status.st_mtime_ns) for name in names for status in [_status(folder / name)]])


def _status(path: Path) -> os.stat_result:
    """The status of a link's target; of a broken link, that of the link itself, whose reading will fail."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()


def _of_files(
    where: str | Path, names: list[str], read: Callable[[int], bytes], state: str, left_out: Counter[str]
) -> Images:
    return _checked(where, Images(names, read, state, None, by_folders(names), left_out))


def _checked(where: str | Path, images: Images) -> Images:
    if not images.names:
        raise ValueError(f"{where} has no images; must contain files in the formats {', '.join(FORMATS)}")
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

    told = {split: split if split in WORDS else "train" for split in splits}
    splits_of_rows = by_words([told[split] for split, rows in splits.items() for _ in range(len(rows))])
    table = _hub_table(where, names, list(splits.values()))
    return _checked(where, Images(names, read, state_of(where) or where, table, splits_of_rows))


def _beside(where: str, name: str) -> Path:
    """The image that a row names instead of containing it. It must be beside the Parquet files, not elsewhere."""
    if where.startswith(HUB):
        raise ValueError("its row contains no image; data sets on the Hub must contain their images")
    folder = Path(where) if Path(where).is_dir() else Path(where).parent
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise ValueError(f"its row names '{name}', which is outside {folder}; move the image into this folder")
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
    # datasets passes on all errors of its readers, its cache and the network.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{where} cannot be read ({reason[:300]}); pass Parquet files or hf:owner/name") from None


def _holds_images(kind: Any) -> bool:
    return type(kind).__name__ == "Image" or (isinstance(kind, dict) and {*kind} == {"bytes", "path"})


def _hub_table(where: str, names: list[str], splits: list[Any]) -> Table | None:
    columns, values, words = list[str](), list[np.ndarray](), dict[int, dict[int, tuple[int, str]]]()
    for name, kind in splits[0].features.items():
        cells = [cell for split in splits for cell in split.data.column(name).chunks]
        told = _words(kind, cells)
        if told is None and not getattr(kind, "dtype", "").startswith(("bool", "int", "uint", "float")):
            continue
        if told is not None:
            words[len(columns)] = {row: (row + 1, word) for row, word in enumerate(told) if word is not None}
        columns.append(name)
        values.append(
            np.full(len(names), np.nan)
            if told is not None
            else np.concatenate([chunk.cast("float64", safe=False).to_numpy(zero_copy_only=False) for chunk in cells])
        )
    return Table(where, names, tuple(columns), np.stack(values, 1).astype(np.float32), words) if columns else None


def _words(kind: Any, cells: list[Any]) -> list[str | None] | None:
    """The words in a column of classes or of few different texts; None for other columns, such as captions."""
    if type(kind).__name__ == "ClassLabel":
        # On the Hub, -1 in a column of classes is a missing label.
        names = dict(enumerate(kind.names))
        return [names.get(label) for chunk in cells for label in chunk.to_pylist()]
    if getattr(kind, "dtype", "") != "string" or len({text for chunk in cells for text in chunk.unique()}) > MOST_WORDS:
        return None
    return [text or None for chunk in cells for text in chunk.to_pylist()]
