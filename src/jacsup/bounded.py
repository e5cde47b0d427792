"""Read untrusted files within limits, so that devices and archive bombs cannot fill the memory and pipes not hang."""

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
# The errors that a damaged or hostile file may cause, and the most characters of their messages that are passed on.
UNFIT = ArithmeticError, AssertionError, AttributeError, LookupError, OSError, RuntimeError, SafetensorError, TypeError
MOST_WORDS = 400


@contextlib.contextmanager
def refusing(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Convert any error from reading an untrusted file to a ValueError of one line, except FileNotFoundError.

    Args:
        path: The file.
        what: What the message says about the file, such as "not a recipe".

    Raises:
        ValueError: Reading the file failed.
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
    """Check that a path, if it exists, is a file or a folder, because pipes would block and devices never end.

    Args:
        path: The path.

    Raises:
        ValueError: The path is a pipe, a device or another special file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        # Opening the file will raise the error.
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{os.fspath(path)} is not a regular file; pass a regular file")


def read_file(path: Path, most: int = MOST_IMAGE_BYTES) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        most: The largest number of bytes that it may have.

    Raises:
        ValueError: The file is not a regular file, or is larger.
        OSError: The file cannot be read.
    """
    require_regular(path)
    with open(path, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path} has more than {most // 2**20:,} MiB; use a smaller file")
    return content


def read_member(archive: zipfile.ZipFile, name: str, most: int = MOST_IMAGE_BYTES) -> bytes:
    """Return the bytes of a file in an archive, without relying on the size that the archive states.

    Args:
        archive: The archive.
        name: The file's name in it.
        most: The largest number of bytes that it may have.

    Raises:
        ValueError: The file is larger.
    """
    with archive.open(name) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most // 2**20:,} MiB")
    return content


def unpack_gzip(content: bytes, most: int = MOST_FILE_BYTES) -> bytes:
    """Return the unpacked content of a gzip file.

    Args:
        content: The file's bytes.
        most: The largest number of bytes that it may unpack to.

    Raises:
        ValueError: The file is truncated or damaged, or unpacks to more bytes.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(str(error)) from None
    if len(unpacked) > most:
        raise ValueError(f"it unpacks to more than {most:,} bytes")
    return unpacked
