"""Downloads of public data sets, with known checksums and a progress bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jacsup.data.cache import cache_folder, require_writable


@dataclass(frozen=True, kw_only=True)
class Download:
    """The published files of a data set.

    Attributes:
        name: What `jacsup data download` calls it.
        url: Address of the folder with the files, ending in a slash.
        files: MD5 of each file as the server sends it, by name.
    """

    name: str
    url: str
    files: Mapping[str, str]


def download(source: Download, root: Path, *, base_url: str | None = None) -> None:
    """Fetch the files of a data set; existing files with the right checksum are kept.

    Args:
        source: The published files.
        root: Folder to put them in, created if it does not exist.
        base_url: Address of a mirror, ending in a slash; the data set's own address by default.

    Raises:
        ValueError: The server does not answer, or the file it sends has another checksum.
    """
    import pooch

    url = base_url or source.url
    for file, md5 in source.files.items():
        try:
            pooch.retrieve(url + file, known_hash=f"md5:{md5}", fname=file, path=root, progressbar=True)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"could not download {url}{file}: {str(error).rstrip('.')}; "
                f"put the file into {root} by hand, or pass the folder that has it as --data-root"
            ) from None


def downloaded(source: Download) -> Path:
    """Return the folder in the user's cache with the files of a data set, fetched at the first call."""
    root = cache_folder() / source.name
    if not all((root / file).is_file() for file in source.files):
        require_writable(root)
    download(source, root)
    return root


def find_file(root: Path, names: tuple[str, ...], source: Download) -> Path:
    """Return the first of some files that exists.

    Args:
        root: Folder of the files.
        names: Names that the file may have.
        source: The published files, named in the error message.

    Returns:
        The path of the file.

    Raises:
        ValueError: The folder has none of them.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    command = f"jacsup data download {source.name} --data-root {root}"
    raise ValueError(f"{root} has no {' or '.join(names)}; get the files with `{command}`")
