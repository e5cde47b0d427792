"""Convert frozen dataclasses to plain JSON values and back, change one field, and compare two."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_UNIONS = (Union, types.UnionType)


def to_dict(value: Any, kind: Any = None) -> Any:
    """Return a config as plain JSON values.

    Args:
        value: A dataclass, or a value that one may hold.
        kind: The declared type of the value. Where it allows several classes, the dataclass carries the name of its
            class as `type`.

    Returns:
        Dicts, lists, strings, numbers and booleans.
    """
    if is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        values = {field.name: to_dict(getattr(value, field.name), hints[field.name]) for field in fields(value)}
        return {"type": type(value).__name__, **values} if _alternatives(kind) else values
    if isinstance(value, tuple | list):
        return [to_dict(item, (get_args(kind) or (None,))[0]) for item in value]
    return value


def from_dict(kind: Any, value: Any, path: str = "recipe") -> Any:
    """Return the value that `to_dict` turned into plain JSON values.

    Args:
        kind: The declared type: a dataclass, a Literal, a tuple, a plain type, or a union of dataclasses. A dataclass
            with subclasses stands for the union of its subclasses.
        value: Plain JSON values.
        path: Name of the value in error messages.

    Returns:
        A value of the declared type.

    Raises:
        ValueError: A value does not fit; the message has its path.
    """
    origin = get_origin(kind)
    if alternatives := _alternatives(kind):
        return _from_alternatives(alternatives, value, path)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{path} is {value!r}; must be one of {', '.join(map(repr, get_args(kind)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} is {value!r}; must be a list such as [1, 2]")
        kinds = get_args(kind)
        item_kinds = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
        if len(item_kinds) != len(value):
            raise ValueError(f"{path} has {len(value)} values; must have {len(item_kinds)}")
        return tuple(
            from_dict(k, item, f"{path}.{i}") for i, (k, item) in enumerate(zip(item_kinds, value, strict=True))
        )
    if is_dataclass(kind):
        return _from_mapping(kind, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{path} is {value!r}; must be of type {kind.__name__}")
    return value


def _alternatives(kind: Any) -> tuple[type, ...]:
    """The classes that a declared type allows: a union's members, or all subclasses of a dataclass that has any."""
    if get_origin(kind) in _UNIONS:
        return get_args(kind)
    if not is_dataclass(kind) or not isinstance(kind, type):
        return ()
    return tuple(each for subclass in kind.__subclasses__() for each in (subclass, *_alternatives(subclass)))


def _from_alternatives(kinds: Sequence[type], value: Any, path: str) -> Any:
    names = {kind.__name__: kind for kind in kinds}
    tag = value.get("type") if isinstance(value, dict) else None
    if tag not in names:
        raise ValueError(f"{path}.type is {tag!r}; must be one of {', '.join(names)}")
    return _from_mapping(names[tag], value, path)


def _from_mapping(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict) or value.get("type", kind.__name__) != kind.__name__:
        raise ValueError(f"{path} is {value!r}; must be an object with the fields of {kind.__name__}")
    hints, known = get_type_hints(kind), [field.name for field in fields(kind)]
    given = {name: item for name, item in value.items() if name != "type"}
    for name in given:
        if name not in known:
            raise ValueError(f"{path} has no field '{name}'; {suggestion(name, known)}")
    missing = [f.name for f in fields(kind) if f.name not in given and f.default is f.default_factory]
    if missing:
        raise ValueError(f"{path} lacks the field '{missing[0]}'; add it")
    return kind(**{name: from_dict(hints[name], item, f"{path}.{name}") for name, item in given.items()})


def set_field(config: Any, path: str, value: Any) -> Any:
    """Return the config with one field changed, checked like any other config.

    Args:
        config: A dataclass.
        path: Names of fields, separated by dots. In a list a number picks one item (`stages.3.epochs`); without a
            number the change applies to all items (`stages.epochs`).
        value: The new value, as plain JSON values.

    Returns:
        The changed config.

    Raises:
        ValueError: There is no such field, or the value does not fit.
    """
    changed = to_dict(config)
    _assign(changed, path.split("."), value, path)
    return from_dict(type(config), changed)


def _assign(node: Any, keys: list[str], value: Any, path: str) -> None:
    key, rest = keys[0], keys[1:]
    if isinstance(node, list) and not key.isdecimal():
        for item in node:
            _assign(item, keys, value, path)
        return
    if isinstance(node, list):
        if int(key) >= len(node):
            raise ValueError(f"'{path}': item {key} does not exist; the index must be between 0 and {len(node) - 1}")
    elif not isinstance(node, dict) or key not in node or key == "type":
        known = [name for name in node if name != "type"] if isinstance(node, dict) else []
        raise ValueError(f"a recipe has no field '{path}'; {suggestion(key, known)}")
    place: Any = int(key) if isinstance(node, list) else key
    if rest:
        _assign(node[place], rest, value, path)
    else:
        node[place] = value


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the fields in which two configs differ.

    Args:
        old: A config, or its plain JSON values.
        new: The config to compare with, or its plain JSON values.
        path: Prefix of the names of the fields.

    Returns:
        One line per field: `path: old -> new`.
    """
    old, new = to_dict(old), to_dict(new)
    if isinstance(old, dict) and isinstance(new, dict):
        pairs = [(str(key), old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list):
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(old, new, strict=False))]
        if len(old) != len(new):
            pairs.append(("length", len(old), len(new)))
    else:
        return [] if old == new else [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]
    return [line for key, a, b in pairs for line in differences(a, b, f"{path}.{key}".lstrip("."))]


def suggestion(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    """Return the closing clause of an error about an unknown name.

    Args:
        name: The unknown name.
        known: The names that exist.

    Returns:
        A question with the closest known name, or all of them where none is close.
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"it must be one of {', '.join(known)}" if known else "a field in this path is a single value"


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a user means. Case is ignored, and spaces may replace underscores.

    Args:
        name: What the user has written.
        known: The names that exist.

    Returns:
        The name, or None if no known name or more than one matches.
    """
    known = [*known]
    if name in known:
        return name
    plain = "_".join(name.casefold().split())
    alike = [each for each in known if "_".join(each.casefold().split()) == plain]
    return alike[0] if len(alike) == 1 else None
