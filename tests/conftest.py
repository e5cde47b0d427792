"""One torch thread, annotated shapes checked at every call, and a cache that the tests do not share with the user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("jacsup", "beartype.beartype")

REPOSITORY = Path(__file__).parent.parent
REAL_DATA = REPOSITORY.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JACSUP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """A test draws the same numbers alone as among the others."""
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = {
        "gpu": None if torch.cuda.is_available() else "no GPU on this machine",
        "data": None if REAL_DATA.is_dir() else f"no real data in {os.path.relpath(REAL_DATA, REPOSITORY)}",
        "browser": None if Path("/usr/bin/chromium").exists() else "Chromium is not installed",
    }
    for item in items:
        for marker, reason in missing.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
