"""Downloads of public data sets, with known checksums and a progress bar."""

from __future__ import annotations

from pathlib import Path

from jacsup.data.files import MNIST_FILES, SVHN_FILES
from jacsup.jsonable import suggestion

SOURCES = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {f"{name}.gz": packed_md5 for name, (_, packed_md5) in MNIST_FILES.items()},
    ),
    "svhn": ("http://ufldl.stanford.edu/housenumbers/", SVHN_FILES),
}


def download(name: str, root: Path, *, base_url: str | None = None) -> None:
    """Fetches a data set's files into `root`; those already there with the right checksum are kept.

    name: "mnist" or "svhn". base_url: a mirror, ending in a slash.
    Raises ValueError for another name, and when the server does not answer or sends something else.
    """
    import pooch

    if name not in SOURCES:
        raise ValueError(f"there is no download called '{name}'; {suggestion(name, SOURCES)}")
    url, files = SOURCES[name]
    url = base_url or url
    for file, md5 in files.items():
        try:
            pooch.retrieve(url + file, known_hash=f"md5:{md5}", fname=file, path=root, progressbar=True)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"could not download {url}{file}: {str(error).rstrip('.')}; "
                f"put the file into {root} by hand, or pass the folder that has it as --data-root"
            ) from None
