"""Decode, crop and resize images once, into a file that training maps into memory."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import warnings
from dataclasses import asdict, dataclass
from io import BufferedWriter
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from jacsup.atomic import write_atomically
from jacsup.data.attributes import learnable
from jacsup.data.crop import read_square
from jacsup.data.images import Images, open_images, state_of
from jacsup.data.prepared import (
    ATTRIBUTES,
    IMAGES,
    MANIFEST,
    NAMES,
    PARTITION,
    TEST,
    TRAIN,
    VERSION,
    Manifest,
    file_digest,
    read_manifest,
    tables_digest,
)
from jacsup.data.tables import read_partition, read_table, rows_of
from jacsup.models.fetch import HUB
from jacsup.progress import track

PROGRESS = "progress.json"
# A block of images is decoded, written and synced before the next, so that one block is all that is kept in memory.
BLOCK_IMAGES = 1024
BLOCK_BYTES = 64 * 2**20
# Decoding releases Python's lock for some 80 % of its time, so more threads would only wait.
MOST_THREADS = 8
LARGEST_TEST = 10_000


@dataclass(frozen=True)
class ImageSource:
    """Images, and what is known of them.

    Attributes:
        images: A folder, a .zip, a .parquet or a folder of those, or `hf:owner/name`.
        attributes: A CSV, or a file like CelebA's list_attr_celeba.txt. By default Parquet files have the attributes in
            their columns, and other images have none.
        partition: A file like CelebA's list_eval_partition.txt. By default Parquet files have their own splits, and of
            other images the last tenth of a fixed shuffle is the test set.
        drop: Names of attributes to leave out.
    """

    images: str | Path
    attributes: Path | None = None
    partition: Path | None = None
    drop: tuple[str, ...] = ()


def prepare_once(source: ImageSource, size: int, cache: Path, *, skip_bad: bool = False) -> Path:
    """Return the folder with prepared images, which are prepared if it does not exist.

    Args:
        source: The images.
        size: Side of the square images, in pixels.
        cache: Folder that prepared images are kept in.
        skip_bad: Leave damaged images out instead of refusing them.

    Returns:
        A folder under `cache`.

    Raises:
        ValueError: The images cannot be prepared; see `prepare`.
    """
    folder = prepared_folder(source, size, cache)
    if not (folder / MANIFEST).exists():
        prepare(source, folder, size=size, skip_bad=skip_bad)
    return folder


def prepared_folder(source: ImageSource, size: int, cache: Path) -> Path:
    """Return the folder where prepared images belong, which changes when a file of the source changes.

    Args:
        source: The images.
        size: Side of the square images, in pixels.
        cache: Folder that prepared images are kept in.

    Returns:
        A folder under `cache`, whether it exists or not.
    """
    where = str(source.images)
    name = where.removeprefix(HUB).replace("/", "-") if where.startswith(HUB) else Path(where).resolve().stem
    files = [path for path in (source.images, source.attributes, source.partition) if path is not None]
    facts = [(str(path) if str(path).startswith(HUB) else str(Path(path).resolve()), state_of(path)) for path in files]
    return cache / "prepared" / f"{name}-{size}-{_digest(repr((VERSION, facts, source.drop)).encode())[:12]}"


def prepare(source: ImageSource, folder: Path, *, size: int, skip_bad: bool = False) -> Manifest:
    """Write images as centred squares, uint8 RGB, with their attributes and partition.

    Training images come first, then validation and test images. An interrupted call is resumed by the next one.

    Args:
        source: The images.
        folder: Folder to write, created if it does not exist.
        size: Side of the square images, from 8 to 1024 pixels.
        skip_bad: Leave damaged images out. By default they are an error, once all others have been decoded.

    Returns:
        What the folder contains.

    Raises:
        ValueError: Images are damaged, a table does not match the images or cannot be learned, the disk is too small,
            or the folder has other images.
    """
    if not 8 <= size <= 1024:
        raise ValueError(f"size is {size}; must be between 8 and 1024")
    with open_images(source.images) as images:
        plan = _plan(source, images, size)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / IMAGES, "ab") as file:
            # A second process waits here until the images are prepared.
            fcntl.flock(file, fcntl.LOCK_EX)
            if not (folder / MANIFEST).exists():
                bad = _decode(images, plan, folder, file, size)
                if bad and not skip_bad:
                    raise _damaged(plan, bad)
                _finish(plan, bad, folder, size)
    manifest = read_manifest(folder)
    if manifest.source != plan.digest:
        raise ValueError(f"{folder} holds other images; choose another folder, or delete this one")
    return manifest


@dataclass(frozen=True)
class _Plan:
    """What is written, in this order: names, numbers among the source's images, attributes and partition."""

    names: list[str]
    numbers: Int64[np.ndarray, " n"]
    columns: tuple[str, ...]
    values: Float32[np.ndarray, "n k"]
    partition: UInt8[np.ndarray, " n"]
    digest: str


def _plan(source: ImageSource, images: Images, size: int) -> _Plan:
    table = read_table(source.attributes) if source.attributes else images.table
    columns, values = (), np.empty((len(images.names), 0), np.float32)
    if table:
        rows = rows_of(table, images.names)
        table = table.without(source.drop)
        columns, values = table.columns, table.values[rows]
    elif source.drop:
        raise ValueError(f"there are no attributes, so {', '.join(source.drop)} cannot be dropped; pass a table")
    if source.partition:
        parts = read_partition(source.partition)
        numbers, partition = _in_order(parts.values[rows_of(parts, images.names), 0])
    elif images.partition:
        numbers, partition = _in_order(np.array(images.partition))
    else:
        numbers, partition = _held_out(len(images.names))
    _require_parts(partition)
    values = values[numbers]
    learnable(columns, values, int(np.count_nonzero(partition == TRAIN)))
    names = [images.names[number] for number in numbers]
    facts = repr((VERSION, size, images.state, columns, names)).encode()
    return _Plan(names, numbers, columns, values, partition, _digest(facts, values.tobytes(), partition.tobytes()))


def _in_order(partition: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(partition, kind="stable")
    return order, partition[order].astype(np.uint8)


def _held_out(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold out the last tenth of a fixed shuffle. It stays shuffled, since reports show its first images."""
    shuffled = np.random.default_rng(0).permutation(count)
    num_test = max(1, min(count // 10, LARGEST_TEST))
    order = np.concatenate([np.sort(shuffled[:-num_test]), shuffled[-num_test:]])
    return order, np.repeat(np.array([TRAIN, TEST], np.uint8), [count - num_test, num_test])


def _require_parts(partition: np.ndarray) -> None:
    for part, name in ((TRAIN, "training"), (TEST, "test")):
        if part not in partition:
            raise ValueError(f"none of the {len(partition):,} readable images is a {name} image; add more images")


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _decode(images: Images, plan: _Plan, folder: Path, file: BufferedWriter, size: int) -> dict[int, str]:
    """Append the images that are not written yet, and return the position of each damaged one with the reason."""
    bytes_each = 3 * size * size
    done, bad = _progress(folder, plan.digest, bytes_each)
    file.truncate((done - len(bad)) * bytes_each)
    needed, free = (len(plan.names) - done) * bytes_each, shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"the images take {needed:,} bytes, but {folder} has only {free:,} left; free some space")

    def read(number: int) -> np.ndarray | str:
        try:
            return read_square(images.read(number), size)
        # A damaged file makes its reader raise any error.
        except Exception as error:
            return " ".join(f"{error}".split()) or type(error).__name__

    block = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // bytes_each))
    with ThreadPool(min(MOST_THREADS, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in track(range(done, len(plan.names), block), "Preparing images"):
            squares = pool.map(read, plan.numbers[start : start + block].tolist(), chunksize=16)
            bad |= {start + i: square for i, square in enumerate(squares) if isinstance(square, str)}
            file.writelines(square.data for square in squares if not isinstance(square, str))
            file.flush()
            os.fsync(file.fileno())
            state = {"source": plan.digest, "done": start + len(squares), "bad": [*bad.items()]}
            write_atomically(folder / PROGRESS, json.dumps(state).encode())
    return bad


def _damaged(plan: _Plan, bad: dict[int, str]) -> ValueError:
    first, reason = next(iter(bad.items()))
    return ValueError(
        f"{len(bad):,} of {len(plan.names):,} images cannot be read (first: {plan.names[first]}: {reason}); "
        "repair or remove them, or leave them out with `jacsup data prepare ... --skip-bad`"
    )


def _progress(folder: Path, digest: str, bytes_each: int) -> tuple[int, dict[int, str]]:
    """How many images an earlier call has read, and which of them were damaged."""
    try:
        state = json.loads((folder / PROGRESS).read_bytes())
        done, bad = state["done"], dict(state["bad"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}
    whole = (folder / IMAGES).stat().st_size >= (done - len(bad)) * bytes_each
    return (done, bad) if whole and state["source"] == digest else (0, {})


def _finish(plan: _Plan, bad: dict[int, str], folder: Path, size: int) -> None:
    good = np.array([position not in bad for position in range(len(plan.names))])
    _require_parts(plan.partition[good])
    names = [name for name, is_good in zip(plan.names, good, strict=True) if is_good]
    write_atomically(folder / NAMES, "".join(f"{name}\n" for name in names).encode(errors="surrogateescape"))
    for name, array in ((ATTRIBUTES, plan.values), (PARTITION, plan.partition)):
        content = io.BytesIO()
        np.save(content, array[good], allow_pickle=False)
        write_atomically(folder / name, content.getvalue())
    images_sha256, tables_sha256 = file_digest(folder / IMAGES), tables_digest(folder)
    manifest = Manifest(
        version=VERSION,
        count=len(names),
        size=size,
        crop="centred square",
        attributes=plan.columns,
        source=plan.digest,
        images_sha256=images_sha256,
        tables_sha256=tables_sha256,
        sha256=_digest((images_sha256 + tables_sha256).encode()),
        skipped=tuple(f"{plan.names[position]}: {reason}" for position, reason in bad.items()),
    )
    write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
    (folder / PROGRESS).unlink()
