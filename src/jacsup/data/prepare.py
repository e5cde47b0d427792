"""Decode, crop and resize images once and store them in a file that training maps into memory."""

from __future__ import annotations

import io
import json
import os
import shutil
import warnings
from dataclasses import asdict
from io import BufferedWriter
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from jacsup.atomic import write_atomically
from jacsup.data.cache import require_writable
from jacsup.data.crop import read_square
from jacsup.data.images import Images, open_images, state_of
from jacsup.data.plan import ImageSource, Plan, digest, make_plan, require_splits
from jacsup.data.prepared import (
    ATTRIBUTES,
    IMAGES,
    MANIFEST,
    NAMES,
    PARTITION,
    VERSION,
    Manifest,
    file_digest,
    read_manifest,
    tables_digest,
)
from jacsup.models.fetch import HUB
from jacsup.progress import track

PROGRESS = "progress.json"
# A block of images is decoded, written and synced before the next one, so that only one block is in memory.
BLOCK_IMAGES = 1024
BLOCK_BYTES = 64 * 2**20
# Decoding releases Python's lock for about 80 % of its time, so more threads would only wait.
MOST_THREADS = 8
# If no pixel is brighter than this, the images probably use only part of the range of their files.
DARK = 64


def prepare_once(source: ImageSource, size: int, cache: Path, *, skip_bad: bool = False) -> Path:
    """Return the folder with prepared images; prepare them if it does not exist.

    Args:
        source: The images.
        size: Side of the square images, in pixels.
        cache: Folder that prepared images are kept in.
        skip_bad: Skip damaged images instead of raising an error.

    Returns:
        A folder under `cache`.

    Raises:
        ValueError: The images cannot be prepared; see `prepare`.
    """
    folder = prepared_folder(source, size, cache)
    if not (folder / MANIFEST).exists():
        require_writable(folder.parent)
        prepare(source, folder, size=size, skip_bad=skip_bad)
    return folder


def prepared_folder(source: ImageSource, size: int, cache: Path) -> Path:
    """Return the folder for prepared images. It changes when a file of the source changes.

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
    options = source.columns, source.ignore_splits, source.scale
    return cache / "prepared" / f"{name}-{size}-{digest(repr((VERSION, facts, options)).encode())[:12]}"


def prepare(source: ImageSource, folder: Path, *, size: int, skip_bad: bool = False) -> Manifest:
    """Write images as centred squares, uint8 RGB, with their attributes and partition.

    Training images come first, then validation and test images. An interrupted call is resumed by the next one.

    Args:
        source: The images.
        folder: Folder to write, created if it does not exist.
        size: Side of the square images, from 8 to 1024 pixels.
        skip_bad: Skip damaged images, and images without a row in the table. By default both are errors; damaged images
            are reported after all others have been decoded.

    Returns:
        What the folder contains.

    Raises:
        ValueError: Images are damaged, a table does not match the images or cannot be learned, the disk is full, or the
            folder contains other images.
    """
    if not 8 <= size <= 1024:
        raise ValueError(f"size is {size}; must be between 8 and 1024")
    with open_images(source.images) as images:
        plan = make_plan(source, images, size, skip_bad=skip_bad)
        folder.mkdir(parents=True, exist_ok=True)
        # A second process waits here until the images are prepared.
        with FileLock(folder / ".lock"), open(folder / IMAGES, "ab") as file:
            if not (folder / MANIFEST).exists():
                bad = _decode(images, plan, folder, file, size, source.scale)
                if bad and not skip_bad:
                    raise _damaged(plan, bad, source.command(size, skip_bad=True))
                _finish(plan, bad, folder, size, source.command(size, skip_bad=skip_bad))
    manifest = read_manifest(folder)
    if manifest.source != plan.digest:
        raise ValueError(f"{folder} contains other images; choose another folder, or delete this one")
    return manifest


def _decode(images: Images, plan: Plan, folder: Path, file: BufferedWriter, size: int, scale: float) -> dict[int, str]:
    """Append the images that are not written yet, and return the position of each damaged one with the reason."""
    bytes_each = 3 * size * size
    done, bad, brightest = _progress(folder, plan.digest, bytes_each)
    file.truncate((done - len(bad)) * bytes_each)
    needed, free = (len(plan.names) - done) * bytes_each, shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"the images take {needed:,} bytes, but {folder} has only {free:,} left; free some space")

    def read(number: int) -> np.ndarray | str:
        try:
            return read_square(images.read(number), size, scale)
        # The reader of a damaged file may raise any error.
        except Exception as error:
            return " ".join(f"{error}".split()) or type(error).__name__

    block = max(1, min(BLOCK_IMAGES, BLOCK_BYTES // bytes_each))
    with ThreadPool(min(MOST_THREADS, os.cpu_count() or 1)) as pool, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in track(range(done, len(plan.names), block), "preparing images"):
            squares = pool.map(read, plan.numbers[start : start + block].tolist(), chunksize=16)
            bad |= {start + i: square for i, square in enumerate(squares) if isinstance(square, str)}
            good = [square for square in squares if not isinstance(square, str)]
            file.writelines(square.data for square in good)
            brightest = max([brightest, *(int(square.max()) for square in good)])
            file.flush()
            os.fsync(file.fileno())
            state = {"source": plan.digest, "done": start + len(squares), "bad": [*bad.items()], "brightest": brightest}
            write_atomically(folder / PROGRESS, json.dumps(state).encode())
    if 0 < brightest < DARK:
        warnings.warn(
            f"the brightest pixel of all images is {brightest} of 255, as in 12-bit images stored in 16-bit files; "
            f"pass --scale {256 // (brightest + 1)} to brighten them",
            stacklevel=3,
        )
    return bad


def _damaged(plan: Plan, bad: dict[int, str], command: str) -> ValueError:
    first, reason = next(iter(bad.items()))
    return ValueError(
        f"{len(bad):,} of {len(plan.names):,} images cannot be read (first: {plan.names[first]}: {reason}); "
        f"repair or remove them, or skip them with `{command or 'jacsup data prepare ... --skip-bad'}`"
    )


def _progress(folder: Path, source: str, bytes_each: int) -> tuple[int, dict[int, str], int]:
    """The number of images that an earlier call has read, the damaged ones among them, and the brightest pixel."""
    try:
        state = json.loads((folder / PROGRESS).read_bytes())
        done, bad, brightest = state["done"], dict(state["bad"]), state["brightest"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}, 0
    whole = (folder / IMAGES).stat().st_size >= (done - len(bad)) * bytes_each
    return (done, bad, brightest) if whole and state["source"] == source else (0, {}, 0)


def _finish(plan: Plan, bad: dict[int, str], folder: Path, size: int, command: str) -> None:
    good = np.array([position not in bad for position in range(len(plan.names))])
    require_splits(plan.splits[good])
    names = [name for name, is_good in zip(plan.names, good, strict=True) if is_good]
    write_atomically(folder / NAMES, "".join(f"{name}\n" for name in names).encode(errors="surrogateescape"))
    for name, array in ((ATTRIBUTES, plan.values), (PARTITION, plan.splits)):
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
        sha256=digest((images_sha256 + tables_sha256).encode()),
        command=command,
        skipped=(*(f"{plan.names[position]}: {reason}" for position, reason in bad.items()), *plan.skipped),
    )
    write_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
    (folder / PROGRESS).unlink()
