"""Model files and runs that strangers have altered: each loads and works, or is refused in one line.

JACSUP_FUZZ=100 tries a hundred times as many.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import struct
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from crashes import stop_after
from known_models import attribute_model, residual_unit_model, unit_model
from safetensors.torch import load, save

import jacsup
from jacsup.config import CelebA, Faces
from jacsup.evaluate import current_metrics, evaluate
from jacsup.jsonable import set_field
from jacsup.models import load_info
from jacsup.recipes import RECIPES
from jacsup.run import Run
from jacsup.serve.studio import open_studio
from jacsup.training import state
from jacsup.training.loop import DivergedError

NUM_TRIES = 150 * int(os.environ.get("JACSUP_FUZZ", "1"))
JUNK: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 3, 10**6, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "x", "Conv", "\ud800"),
    *([], {}, [0], [-1], [1, 2, 3], [10**6] * 3, ["a"], {"kind": "MLP"}, {"a": {"b": {}}}, [[[[]]]], "9" * 400),
)


def parts_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container inside a value, with each of its keys."""
    if isinstance(value, dict):
        inner = [(value, key) for key in value]
    else:
        inner = [(value, index) for index in range(len(value))] if isinstance(value, list) else []
    return inner + [place for container, key in inner for place in places(container[key])]


def alter(value: Any, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        known = places(value)
        if not known:
            return
        container, key = rng.choice(known)
        if rng.random() < 0.2:
            del container[key]
        else:
            container[key] = deepcopy(rng.choice(JUNK))


def with_other_metadata(content: bytes, rng: random.Random) -> bytes:
    header, data = parts_of(content)
    metadata = json.loads(header["__metadata__"]["jacsup"])
    alter(metadata, rng)
    return joined({**header, "__metadata__": {"jacsup": json.dumps(metadata)}}, data)


def with_other_tensors(content: bytes, rng: random.Random) -> bytes:
    header, data = parts_of(content)
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    alter(tensors, rng)
    return joined({"__metadata__": header["__metadata__"], **tensors}, data)


def with_other_numbers(content: bytes, rng: random.Random) -> bytes:
    header, data = parts_of(content)
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 3))):
        place = rng.randrange(len(data) // 4) * 4
        spoilt[place : place + 4] = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38, -1e38)))
    return joined(header, bytes(spoilt))


def with_other_bytes(content: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(content)
    for _ in range(rng.choice((1, 1, 8))):
        spoilt[rng.randrange(min(len(spoilt), rng.choice((16, 4000, len(spoilt)))))] = rng.randrange(256)
    return bytes(spoilt)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def nested(content: bytes, rng: random.Random) -> bytes:
    header, data = parts_of(content)
    deep = "[" * rng.choice((100, 100_000)) + "]" * 100
    return joined({**header, "__metadata__": {"jacsup": '{"format": "jacsup-model-1", "model": ' + deep + "}"}}, data)


MUTATIONS = (with_other_metadata, with_other_tensors, with_other_numbers, with_other_bytes, cut, nested)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("models")
    files = (
        attribute_model(folder / "drawn.safetensors", Faces(size=32, num_images=100)),
        attribute_model(folder / "photos.safetensors", CelebA(size=32)),
        unit_model(folder / "units.safetensors"),
        residual_unit_model(folder / "residual.safetensors"),
    )
    return [file.read_bytes() for file in files]


def use(path: Path) -> None:
    """What people do with a model file."""
    model, info = jacsup.load(path), load_info(path)
    with torch.no_grad():
        code = model.encode(torch.zeros(2, *model.image_shape))
        assert model.decode(code).shape == (2, *model.image_shape)
    assert len(info.factors) == model.num_units
    json.dumps(open_studio(path).description())


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_an_altered_model_works_or_is_refused_in_one_line(
    mutation: Callable[[bytes, random.Random], bytes], models: list[bytes], tmp_path: Path
) -> None:
    refused = 0
    for seed in range(NUM_TRIES if mutation is not nested else 4):
        rng = random.Random(seed)
        path = tmp_path / "m.safetensors"
        path.write_bytes(mutation(rng.choice(models), rng))
        refused += require_one_line(partial(use, path), seed)
    assert refused


def require_one_line(use: Callable[[], object], seed: int) -> bool:
    """Whether a file is refused, which must take one line."""
    line = refusal(use, seed)
    assert line is None or ("\n" not in line and len(line) < 800), f"seed {seed}: {line}"
    return line is not None


def refusal(use: Callable[[], object], seed: int) -> str | None:
    """Why a file is refused; None if it works."""
    try:
        use()
    except (ValueError, DivergedError) as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    return None


def altered_text(content: bytes, rng: random.Random) -> bytes:
    """JSON with other values, or damaged as a disk or an editor does it."""
    match rng.randrange(4):
        case 0:
            return cut(content, rng)
        case 1:
            return with_other_bytes(content, rng)
        case 2:
            return b"[" * 100_000 + content
    lines = [json.loads(line) for line in content.decode().splitlines()] if b"\n{" in content else [json.loads(content)]
    alter(lines, rng)
    return b"\n".join(json.dumps(line).encode() for line in lines)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = jacsup.train(set_field(RECIPES["debug"], "stages.epochs", 1), out=tmp_path_factory.mktemp("runs") / "run")
    evaluate(folder)
    return folder


@pytest.mark.parametrize("name", ["recipe.json", "run.json", "stats.jsonl", "metrics.json"])
def test_an_altered_file_of_a_run_is_read_or_refused_in_one_line(name: str, run: Path) -> None:
    file = run / name
    content = file.read_bytes()
    try:
        for seed in range(NUM_TRIES):
            file.write_bytes(altered_text(content, random.Random(seed)))
            for read in (lambda: Run(run).recipe, Run(run).stats, Run(run).sessions, lambda: current_metrics(Run(run))):
                require_one_line(read, seed)
    finally:
        file.write_bytes(content)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in the last step but two."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(96, RECIPES["debug"], folder, patch)
    (folder / "checkpoint.safetensors.prev").unlink()
    return folder


def as_if_whole(content: bytes, rng: random.Random) -> bytes:
    """Another position or other tensors, with the checksum that belongs to them."""
    header, _ = parts_of(content)
    position, tensors = json.loads(header["__metadata__"]["position"]), load(content)
    if rng.random() < 0.5:
        alter(position, rng)
    else:
        name = rng.choice([*tensors])
        value = tensors.pop(name)
        others = (value * math.nan, value[None], value[None][:0], value.double(), value + 1e30, value)
        tensors[rng.choice((name, name, name, "adam", "model."))] = rng.choice(others)
    text = json.dumps(position)
    return save(tensors, {"position": text, "sha256": state._digest(text, tensors)})


@pytest.mark.parametrize("mutation", [as_if_whole, with_other_tensors, with_other_numbers, with_other_bytes, cut])
def test_an_altered_checkpoint_is_read_or_left_out(
    mutation: Callable[[bytes, random.Random], bytes], stopped: Path, tmp_path: Path
) -> None:
    content, path = (stopped / "checkpoint.safetensors").read_bytes(), tmp_path / "checkpoint.safetensors"
    for seed in range(NUM_TRIES):
        path.write_bytes(mutation(content, random.Random(seed)))
        require_one_line(partial(state.load_checkpoint, path), seed)


def test_a_run_goes_on_from_an_altered_checkpoint_or_refuses_it_in_one_line(stopped: Path, tmp_path: Path) -> None:
    refused = 0
    for seed in range(NUM_TRIES // 5):
        run = tmp_path / str(seed)
        shutil.copytree(stopped, run)
        content = (run / "checkpoint.safetensors").read_bytes()
        (run / "checkpoint.safetensors").write_bytes(as_if_whole(content, random.Random(seed)))
        refused += require_one_line(partial(jacsup.train, RECIPES["debug"], out=run), seed)
        shutil.rmtree(run)
    assert refused
