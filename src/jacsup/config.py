"""Everything that changes a result, as frozen dataclasses that travel to JSON and back."""

from __future__ import annotations

import difflib
import json
import math
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Objective = Literal["reconstruction", "student"]


@dataclass(frozen=True, kw_only=True)
class MNIST:
    """60,000 + 10,000 handwritten digits, 1x28x28, from the four IDX files."""


@dataclass(frozen=True, kw_only=True)
class SVHN:
    """73,257 + 26,032 house-number digits, 3x32x32, from train_32x32.mat and test_32x32.mat."""


@dataclass(frozen=True, kw_only=True)
class Digits:
    """scikit-learn's 1,797 handwritten digits, 1x8x8, split 1,500 + 297; embedded in that package."""


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Images that the caller passed; the digest tells a resumed run whether they are the same."""

    sha256: str


DataConfig = MNIST | SVHN | Digits | Arrays


@dataclass(frozen=True, kw_only=True)
class MLP:
    """The paper's appendix A.1: encoder D-256-128-64-units, ReLU, mirrored decoder, tanh at its end."""

    hidden: tuple[int, ...] = (256, 128, 64)
    value_range: tuple[float, float] = (0.0, 1.0)


ModelConfig = MLP


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam with its L2 term; `one-cycle` warms up over 30 % of the stage, then falls to zero on a cosine."""

    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-6
    schedule: Literal["constant", "one-cycle"] = "constant"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of the loss terms; a term of weight 0 is not computed.

    `xcov_norm` takes the square root of eq. 10 (the author's code does).
    """

    rec: float = 1.0
    y: float = 0.1
    diff: float = 1.0
    xcov: float = 1e-3
    xcov_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a student's new decoder columns start: `zero` keeps the teacher's output, `random` is the author's way."""

    new: Literal["zero", "random"] = "zero"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One phase of a curriculum. Its teacher, and its starting point, is the stage before it.

    `reconstruction` trains on eq. 8; `student` on eq. 8, 9 and 10, with all units of the stage before as factors y.
    """

    name: str
    objective: Objective = "student"
    num_units: int
    epochs: int = 100
    batch_size: int = 128
    weights: Weights = Weights()
    adam: Adam = Adam()
    growth: Growth = Growth()


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named run: data, model, curriculum and seed. Two runs with equal recipes give equal weights.

    init: the SHA-256 of the model that the first stages were taken from, if any.
    """

    name: str
    data: DataConfig
    model: ModelConfig = MLP()
    stages: tuple[Stage, ...]
    seed: int = 0
    arm: str = ""
    init: str = ""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; allowed are 0 and more")
        if not self.stages:
            raise ValueError(f"recipe '{self.name}' has no stages; give it at least one")
        if self.stages[0].objective == "student":
            raise ValueError(f"recipe '{self.name}' starts with a student; its first stage has no teacher to follow")
        _check_model(self.model)
        for before, stage in zip((None, *self.stages), self.stages, strict=False):
            _check_stage(stage, before)
        names = [stage.name for stage in self.stages]
        for name in (self.name, self.arm or "plain", *names):
            if not re.fullmatch(r"[\w.-]+", name) or not name.strip("."):
                raise ValueError(f"'{name}' becomes a folder's name; allowed are letters, digits, '.', '_' and '-'")
        if len({*names}) < len(names):
            raise ValueError(f"recipe '{self.name}' has two stages of one name; give each its own")

    def prefix(self, num_stages: int) -> tuple[Any, ...]:
        """What decides the weights after `num_stages` stages: runs that agree in it may share them."""
        return (self.data, self.model, self.seed, self.init, self.stages[:num_stages])

    @property
    def run_name(self) -> str:
        """Folder name under runs/: RECIPE[-ARM][-sSEED]."""
        return self.name + (f"-{self.arm}" if self.arm else "") + (f"-s{self.seed}" if self.seed else "")


def _check_model(model: ModelConfig) -> None:
    low, high = model.value_range
    if not -1 <= low < high <= 1:
        raise ValueError(f"model.value_range is {low}, {high}; allowed is low < high inside [-1, 1] (tanh output)")
    if not model.hidden or min(model.hidden) < 1:
        raise ValueError(f"model.hidden is {model.hidden}; allowed are one or more layers of 1 and more units")


def _check_stage(stage: Stage, before: Stage | None) -> None:
    if stage.epochs < 1:
        raise ValueError(f"stage '{stage.name}': epochs is {stage.epochs}; allowed are 1 and more")
    if stage.batch_size < 2:
        raise ValueError(f"stage '{stage.name}': batch_size is {stage.batch_size}; allowed are 2 and more (partners)")
    adam, weights = stage.adam, stage.weights
    if not 0 < adam.lr < math.inf:
        raise ValueError(f"stage '{stage.name}': adam.lr is {adam.lr}; allowed are positive numbers")
    if not all(0 <= beta < 1 for beta in adam.betas):
        raise ValueError(f"stage '{stage.name}': adam.betas are {adam.betas}; allowed are numbers from 0 to below 1")
    for name, value in {"adam.weight_decay": adam.weight_decay, **vars(weights)}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"stage '{stage.name}': {name} is {value}; allowed are 0 and more")
    needed = ("rec",) if stage.objective == "reconstruction" else ("rec", "diff")
    if not any(getattr(weights, name) for name in needed):
        raise ValueError(f"stage '{stage.name}': weights.{' and weights.'.join(needed)} is 0; set one above 0")
    smallest = before.num_units + 1 if before else 1
    if stage.num_units < smallest:
        raise ValueError(f"stage '{stage.name}': num_units is {stage.num_units}; allowed are {smallest} and more")


def to_dict(config: Any) -> Any:
    """A config as plain JSON values; dataclasses that a union may hold carry their class name under `type`."""
    if is_dataclass(config) and not isinstance(config, type):
        values = {field.name: to_dict(getattr(config, field.name)) for field in fields(config)}
        tagged = isinstance(config, DataConfig | ModelConfig)
        return {"type": type(config).__name__, **values} if tagged else values
    if isinstance(config, tuple | list):
        return [to_dict(item) for item in config]
    return config


def from_dict(kind: Any, value: Any, path: str = "recipe") -> Any:
    """The inverse of to_dict. Raises ValueError with the field's path for anything that does not fit."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _from_union(get_args(kind), value, path)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{path} is {value!r}; allowed are {', '.join(map(repr, get_args(kind)))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{path} is {value!r}; allowed is a list")
        kinds = get_args(kind)
        item_kinds = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else list(kinds)
        if len(item_kinds) != len(value):
            raise ValueError(f"{path} has {len(value)} values; allowed are {len(item_kinds)}")
        return tuple(
            from_dict(k, item, f"{path}.{i}") for i, (k, item) in enumerate(zip(item_kinds, value, strict=True))
        )
    if is_dataclass(kind):
        return _from_mapping(kind, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"{path} is {value!r}; allowed is one {kind.__name__}")
    return value


def _from_union(kinds: Sequence[type], value: Any, path: str) -> Any:
    names = {kind.__name__: kind for kind in kinds}
    tag = value.get("type") if isinstance(value, dict) else None
    if tag not in names:
        raise ValueError(f"{path}.type is {tag!r}; allowed are {', '.join(names)}")
    return from_dict(names[tag], value, path)


def _from_mapping(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict) or value.get("type", kind.__name__) != kind.__name__:
        raise ValueError(f"{path} is {value!r}; allowed is an object with the fields of {kind.__name__}")
    hints = get_type_hints(kind)
    given = {name: item for name, item in value.items() if name != "type"}
    for name in given:
        if name not in hints:
            raise ValueError(f"{path} has no field '{name}'; {suggestion(name, hints)}")
    missing = [f.name for f in fields(kind) if f.name not in given and f.default is f.default_factory]
    if missing:
        raise ValueError(f"{path} lacks the field '{missing[0]}'")
    return kind(**{name: from_dict(hints[name], item, f"{path}.{name}") for name, item in given.items()})


def read_recipe(path: Path) -> Recipe:
    """A recipe from a recipe.json; ValueError when the file is missing or does not hold one."""
    try:
        return from_dict(Recipe, json.loads(path.read_text()))
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file; give the path of a recipe.json") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a recipe: {error}") from None


def set_field(recipe: Recipe, path: str, value: Any) -> Recipe:
    """A recipe with one field changed, such as ("stages.adam.lr", 1e-3).

    Inside `stages` a number picks one stage (`stages.3.epochs`); without one the change applies to all.
    """
    changed = to_dict(recipe)
    _assign(changed, path.split("."), value, path)
    return from_dict(Recipe, changed)


def _assign(node: Any, keys: list[str], value: Any, path: str) -> None:
    key, rest = keys[0], keys[1:]
    if isinstance(node, list) and not key.isdecimal():
        for item in node:
            _assign(item, keys, value, path)
        return
    if isinstance(node, list):
        if int(key) >= len(node):
            raise ValueError(f"'{path}': there is no number {key}; allowed are 0 to {len(node) - 1}")
    elif not isinstance(node, dict) or key not in node or key == "type":
        known = [name for name in node if name != "type"] if isinstance(node, dict) else []
        raise ValueError(f"a recipe has no field '{path}'; {suggestion(key, known)}")
    place: Any = int(key) if isinstance(node, list) else key
    if rest:
        _assign(node[place], rest, value, path)
    else:
        node[place] = value


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The fields in which two configs (or their dicts) differ, as `path: old -> new`."""
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
    """A closing clause for an error: the closest known name, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"allowed are {', '.join(known)}" if known else "it is a single value"
