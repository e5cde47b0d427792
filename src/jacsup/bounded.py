"""Files of strangers, read within limits: neither a device nor a bomb fills the memory, and no pipe hangs."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

# The most bytes of an encoded image, and of a file of a data set.
MOST_IMAGE_BYTES = 2**28
MOST_FILE_BYTES = 2**30
# What a damaged or hostile file may lead to, and the most letters of it that are passed on.
UNFIT = ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, SafetensorError, TypeError
MOST_WORDS = 400


@contextlib.contextmanager
def refusing(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn whatever reading a stranger's file leads to into a ValueError of one line; a missing file stays one.

    Args:
        path: The file.
        what: What it is refused as, such as "not a recipe".

    Raises:
        ValueError: Something went wrong.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {what}: {' '.join(str(error).split())[:MOST_WORDS]}") from None
    except UNFIT as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{os.fspath(path)}: {what}: {words[:MOST_WORDS]}") from None


def require_regular(path: str | os.PathLike[str]) -> None:
    """Check that a path, if there is something, is a regular file: pipes would wait, and devices never end.

    Args:
        path: The path.

    Raises:
        ValueError: It is something else.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        # Whoever opens it says what is wrong.
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{os.fspath(path)} is no regular file; pass a file")


def read_file(path: Path, most: int = MOST_IMAGE_BYTES) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        most: The most bytes that it may have.

    Raises:
        ValueError: It is no regular file, or larger.
        OSError: It cannot be read.
    """
    require_regular(path)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} has more than {most // 2**20:,} MiB; use a smaller file")
    return content


def read_member(archive: zipfile.ZipFile, name: str, most: int = MOST_IMAGE_BYTES) -> bytes:
    """Return the bytes of a file in an archive, whatever size its directory states.

    Args:
        archive: The archive.
        name: The file's name in it.
        most: The most bytes that it may have.

    Raises:
        ValueError: It is larger.
    """
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most // 2**20:,} MiB")
    return content


def unpack_gzip(content: bytes, most: int = MOST_FILE_BYTES) -> bytes:
    """Return what a gzip file holds.

    Args:
        content: The file's bytes.
        most: The most bytes that it may unpack to.

    Raises:
        ValueError: It is truncated or damaged, or unpacks to more.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(str(error)) from None
    if len(unpacked) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return unpacked
