"""Names that have changed since version 0.1. The old names work for one more release, with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

# Fields of a stage: the old dotted name and the new one.
_OPTIONS = ("xcov_norm", "cycle_z_norm", "cycle_predicted", "cycle_blurred", "balanced", "squared")
STAGE_FIELDS = {
    "weights.diff": "weights.jacobian",
    "taken": "swap_probability",
    **{f"weights.{name}": f"options.{name}" for name in _OPTIONS},
}


def current_field(path: str) -> str:
    """Return the current name of a recipe's field, such as `stages.weights.jacobian` for `stages.weights.diff`."""
    parts = path.split(".")
    within = 2 if parts[1:2] and parts[1].isdecimal() else 1
    old = ".".join(parts[within:])
    if parts[0] != "stages" or old not in STAGE_FIELDS:
        return path
    new = ".".join([*parts[:within], STAGE_FIELDS[old]])
    warnings.warn(f"the field '{path}' is now called '{new}'", FutureWarning, stacklevel=2)
    return new


def current_recipe(recipe: Any) -> Any:
    """Return the content of a recipe.json with each stage's fields under their current names."""
    if not isinstance(recipe, dict) or not isinstance(recipe.get("stages"), list):
        return recipe
    return {**recipe, "stages": [_current_stage(stage) for stage in recipe["stages"]]}


def _current_stage(stage: Any) -> Any:
    if not isinstance(stage, dict) or not isinstance(stage.get("weights", {}), dict):
        return stage
    stage = {name: dict(value) if isinstance(value, dict) else value for name, value in stage.items()}
    for old, new in STAGE_FIELDS.items():
        *old_parents, old_name = old.split(".")
        *new_parents, new_name = new.split(".")
        source = stage.get(old_parents[0], {}) if old_parents else stage
        if old_name in source:
            target = stage.setdefault(new_parents[0], {}) if new_parents else stage
            target[new_name] = source.pop(old_name)
    return stage


def accepts(**names: str) -> Callable[[Class], Class]:
    """Let a dataclass accept and return fields under their old names too: `accepts(old="new")`."""

    def decorate(cls: Class) -> Class:
        initialise = cls.__init__

        @wraps(initialise)
        def renaming(self: Any, *arguments: Any, **fields: Any) -> None:
            for old in names.keys() & fields.keys():
                _warn(cls, old, names[old])
                fields[names[old]] = fields.pop(old)
            initialise(self, *arguments, **fields)

        cls.__init__ = renaming
        for old, new in names.items():
            setattr(cls, old, property(_reader(cls, old, new)))
        return cls

    return decorate


def _reader(cls: type, old: str, new: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        _warn(cls, old, new)
        return getattr(self, new)

    return read


def _warn(cls: type, old: str, new: str) -> None:
    warnings.warn(f"{cls.__name__}.{old} is now called '{new}'", FutureWarning, stacklevel=3)
