"""Tell the official file of a data set from a damaged copy of it and from another file of the same format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

NUM_START_BYTES = 1000


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """The properties that identify a published file.

    Attributes:
        name: Name of the unpacked file.
        size: Number of bytes, unpacked.
        md5: MD5 of the unpacked bytes; the same content may be packed in many ways.
        start_md5: MD5 of the first NUM_START_BYTES unpacked bytes, for formats in which other data sets have files of
            the same size. Empty where the size alone identifies the file.
    """

    name: str
    size: int
    md5: str
    start_md5: str = ""


def note_if_unofficial(path: Path, content: bytes, official: OfficialFile, data: str) -> str:
    """Check whether a file is the official one.

    Args:
        path: The file, named in messages.
        content: Its unpacked bytes.
        official: The file that it may be a copy of.
        data: Name of the data set, for messages.

    Returns:
        A note for the user, empty if the file is the official one.

    Raises:
        ValueError: The file is a damaged copy of the official one.
    """
    found = _md5(content)
    if found == official.md5:
        return ""
    same_start = official.start_md5 in ("", _md5(content[:NUM_START_BYTES]))
    if len(content) == official.size and same_start:
        raise ValueError(f"{path} is damaged: its MD5 is {found}; must be {official.md5}; download it again")
    return f"{path.name} is not {data}'s official file (its MD5 is {found})"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
