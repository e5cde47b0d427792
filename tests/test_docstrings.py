"""Every parameter of the public API is named in its docstring, so that the API's pages show tables."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

API = Path(__file__).parent.parent / "docs" / "api.md"
LISTED = [line.removeprefix(":::").strip() for line in API.read_text().splitlines() if line.startswith(":::")]


def resolved(path: str) -> Any:
    """The module or object of a dotted path."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        parent, _, name = path.rpartition(".")
        return getattr(resolved(parent), name)


def functions_of(item: Any, *, module: str = "") -> Iterator[Any]:
    """The public functions and methods that a page shows of a module, class or function."""
    if inspect.isfunction(item):
        yield item
    elif inspect.ismodule(item) or inspect.isclass(item):
        home = item.__name__ if inspect.ismodule(item) else item.__module__
        for name, member in vars(item).items():
            if not name.startswith("_") and getattr(member, "__module__", None) == home:
                yield from functions_of(getattr(member, "__func__", member))


@pytest.mark.parametrize("path", LISTED)
def test_every_parameter_is_named(path: str) -> None:
    for function in functions_of(resolved(path)):
        names = [name for name in inspect.signature(function).parameters if name not in ("self", "cls")]
        text = inspect.getdoc(function) or ""
        unnamed = [name for name in names if not re.search(rf"^\s*(\*\*)?{name}: ", text, re.MULTILINE)]
        assert unnamed == [], f"{function.__qualname__} lacks {', '.join(unnamed)} under Args"
