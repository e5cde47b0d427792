"""The editor's server: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import gzip
import html
import http.client
import io
import json
import re
import shlex
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from known_models import (
    ForeignFaces,
    ForeignUnits,
    attribute_info,
    attribute_model,
    attribute_run,
    exact_attribute_model,
    residual_unit_model,
    unit_info,
    unit_model,
)
from PIL import Image
from served import Served, running, started
from starlette.requests import Request

from jacsup import edit
from jacsup.align import Similarity
from jacsup.code import Code, to_float, to_uint8
from jacsup.config import MNIST, CelebA, DataConfig, Digits, Faces
from jacsup.data import load_dataset, mnist
from jacsup.detect import NoFaceError
from jacsup.edit import Editor, OpenedPhoto
from jacsup.models import load, load_info
from jacsup.models.residual import ResidualAutoencoder
from jacsup.run import Run
from jacsup.serve import application, connections, endpoints, guard, server, sessions
from jacsup.serve.sessions import ForgottenError, Sessions
from jacsup.serve.studio import UnitStudio, open_studio

FACES = Faces(size=32, num_images=100)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return attribute_model(tmp_path_factory.mktemp("model") / "drawn.safetensors", FACES)


@pytest.fixture(scope="module")
def editor(model: Path) -> Iterator[Served]:
    with running(model) as served:
        yield served


def photo(width: int = 200, height: int = 160, kind: str = "PNG", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(content, kind, **options)
    return content.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(int)


def test_the_page_is_whole_and_its_own(editor: Served) -> None:
    page = editor.ask("/")
    assert page.status == 200 and b"<!doctype html>" in page.content
    for name in ("page.css", "page.js", "view.js"):
        assert editor.ask(f"/{name}").status == 200 and name.encode() in page.content + editor.ask("/page.js").content
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert b"http://" not in page.content and b"https://" not in page.content


def test_the_model_is_described(editor: Served) -> None:
    model = editor.ask("/api/v1/model").json
    assert (model["kind"], model["name"], model["drawn"], model["align"], model["starts"]) == (
        "attributes",
        "drawn",
        True,
        True,
        8,
    )
    smiling, bald, _, blurry = model["factors"]
    assert [each["group"] for each in model["factors"]] == ["Mouth and nose", "Hair", "Hair", "Overall"]
    # m- is -1 and m+ .5: the 1st and 99th percentiles, -2 and 2 in y, are these strengths.
    assert (smiling["low"], smiling["high"]) == (pytest.approx(-2.33), pytest.approx(3))
    assert smiling["group"] == "Mouth and nose" and bald["mutually_exclusive"] == ["Blond_Hair", "Blurry"]
    assert not blurry["learned"] and "differ by less" in blurry["reason"]


def test_a_photo_is_edited_as_the_library_does_it(editor: Served, model: Path) -> None:
    opened = editor.ask("/api/v1/photo", photo()).json
    library = Editor(model)
    face = library.open(photo(), align=False)
    assert opened["strengths"] == pytest.approx(library.read(face), abs=1e-3)
    strengths = {"Smiling": 2, "Bald": -1.5}
    full = editor.ask(
        f"/api/v1/full?settings={json.dumps({'strengths': strengths, 'detail': 0.5}).replace(' ', '')}", photo()
    )
    assert np.array_equal(pixels(full.image), pixels(library.render(face, strengths, detail=0.5)))
    # The central square and what is around it: this photo is small enough to be shown as it is.
    small = editor.ask("/api/v1/edit", {"session": opened["session"], "strengths": strengths, "detail": 0.5})
    expected = io.BytesIO()
    full.image.save(expected, "JPEG", quality=90)
    assert small.headers["content-type"] == "image/jpeg" and small.content == expected.getvalue()


def test_several_faces_are_offered(editor: Served, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Similarity(60 + 0j, 0j), Similarity(40 + 0j, 20j)]
    monkeypatch.setattr(edit, "find_faces", lambda _photo: places)
    opened = [editor.ask(f"/api/v1/photo?align=1&face={face}", photo()).json for face in (1, 2)]
    for face, each in enumerate(opened, start=1):
        assert each["aligned"] and len(each["faces"]) == 2
        library = Editor(model)
        assert each["strengths"] == pytest.approx(library.read(library.open(photo(), face=face)), abs=1e-3)
    thumbnail = Image.open(io.BytesIO(base64.b64decode(opened[0]["faces"][1].partition(",")[2])))
    assert thumbnail.size == (64, 64)
    assert "and 2, the number of faces found" in editor.ask("/api/v1/photo?align=1&face=3", photo()).json["error"]


def test_a_photo_without_a_face_is_edited_in_its_middle_by_drawn_models_alone(
    editor: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_photo: Image.Image) -> list[Similarity]:
        raise NoFaceError("no face was found")

    monkeypatch.setattr(edit, "find_faces", nobody)
    opened = editor.ask("/api/v1/photo?align=1", photo()).json
    assert not opened["aligned"] and opened["strengths"] == editor.ask("/api/v1/photo", photo()).json["strengths"]
    assert opened["warnings"][0] == "no face was found, so the middle of the photo is edited"
    with running(attribute_model(tmp_path / "photos.safetensors", CelebA(size=32))) as other:
        assert other.ask("/api/v1/photo?align=1", photo()).json == {"error": "no face was found"}


@pytest.mark.parametrize("kind", ["attributes", "units"])
def test_the_examples_of_the_api_work(kind: str, editor: Served, tmp_path: Path) -> None:
    """As a shell would run them, with curl's options in Python's words."""
    with ExitStack() as stack:
        if kind == "units":
            editor = stack.enter_context(running(unit_model(tmp_path / "units.safetensors")))
        described = editor.ask("/api/openapi.json").json
        page = editor.ask("/api").content.decode()
        token = "" if kind == "units" else editor.ask("/api/v1/photo", photo()).json["session"]
        examples = [html.unescape(each) for each in re.findall("<pre><code>curl (.*)</code></pre>", page)]
        assert len(examples) == len(described["paths"]) >= 3
        for example, (path, operations) in zip(examples, described["paths"].items(), strict=True):
            arguments = shlex.split(example.replace("TOKEN", token).replace("align=1", "align=0"))
            address = next(argument for argument in arguments if argument.startswith(editor.address))
            body = None
            if "-d" in arguments:
                body = arguments[arguments.index("-d") + 1].encode()
            if "--data-binary" in arguments:
                body = photo()
            answer = editor.ask(address.removeprefix(editor.address), body)
            ((method, operation),) = operations.items()
            assert answer.status == 200, (example, answer.content)
            assert method == ("get" if body is None else "post")
            assert answer.headers["content-type"].partition(";")[0] in operation["responses"]["200"]["content"]
            assert address.removeprefix(f"{editor.address}/api/v1").startswith(path.partition("{")[0])


def test_strengths_may_be_given_one_by_one(editor: Served) -> None:
    settings = json.dumps({"strengths": {"Smiling": 2, "Bald": -1.5}}).replace(" ", "")
    at_once = editor.ask(f"/api/v1/full?settings={settings}", photo()).content
    assert editor.ask("/api/v1/full?set=Smiling=2&set=Bald=-1.5", photo()).content == at_once
    for wrong in ("Smiling", "Smiling=1_0", "Smiling=nan", "=1"):
        answer = editor.ask(f"/api/v1/full?set={wrong}", photo())
        assert answer.status == 400
        assert answer.json["error"] == f"set is '{wrong}'; use NAME=NUMBER, such as Smiling=1.5"
    both = editor.ask('/api/v1/full?settings={"strengths":[1]}&set=Smiling=1', photo())
    assert both.status == 400 and "must be an object" in both.json["error"]


def test_the_api_alone(model: Path) -> None:
    with started(model, "--api-only") as address:
        assert address.endswith("/api")
        served = Served(address.removesuffix("/api"))
        assert served.ask("/api").status == served.ask("/api/v1/model").status == 200
        assert served.ask("/").status == served.ask("/page.js").status == 404


def test_a_large_photo_is_kept_small(editor: Served) -> None:
    opened = editor.ask("/api/v1/photo", photo(2000, 1000, "JPEG")).json
    shown = editor.ask("/api/v1/edit", {"session": opened["session"], "strengths": {"Smiling": 1}}).image
    assert max(shown.size) == 384
    strip = editor.ask("/api/v1/sweep", {"session": opened["session"], "strengths": {}, "name": "Smiling"}).image
    assert strip.width / strip.height == pytest.approx(7 * shown.width / shown.height, rel=0.02)


def test_drawn_faces_to_start_from(editor: Served) -> None:
    faces = [editor.ask(f"/api/v1/starts/{number}") for number in range(8)]
    assert all(face.image.size == (96, 96) and len(face.content) < 10_000 for face in faces)
    assert not np.array_equal(pixels(faces[0].image), pixels(faces[1].image))
    large = editor.ask("/api/v1/starts/1?large")
    assert large.image.size == (256, 256) and large.headers["content-type"] == "image/jpeg"
    opened = editor.ask("/api/v1/photo?start=1", b"").json
    assert editor.ask("/api/v1/edit", {"session": opened["session"]}).image.size == (256, 256)
    assert opened["faces"] == [] and not opened["aligned"]
    assert editor.ask("/api/v1/full?start=1&settings={}", b"").image.format == "PNG"
    for wrong in ("start=10", "start=x", "start=-1", "face=x", "face=2"):
        assert editor.ask(f"/api/v1/photo?{wrong}", photo()).status == 400
    assert editor.ask("/api/v1/starts/9").status == 200 and editor.ask("/api/v1/starts/10").status == 400
    truth = editor.ask("/api/v1/truth", {"start": 1, "strengths": {"Smiling": 1}})
    assert truth.image.size == (256, 256) and truth.content != editor.ask("/api/v1/truth", {"start": 1}).content
    for asked in ({"start": 10}, {"start": "1"}, {}, {"start": 1, "strengths": {"Nobody": 1}}):
        assert editor.ask("/api/v1/truth", asked).status == 400
    assert editor.ask(f"/api/v1/starts/{'9' * 5000}").status == 404


def test_a_student_is_compared_with_its_teacher(tmp_path: Path) -> None:
    run = attribute_run(tmp_path / "run", FACES)
    student, teacher = (Run(run).stage_file(number) for number in (2, 1))
    (run / "model.safetensors").write_bytes(student.read_bytes())
    for served, size in ((run, 12), (student, 12), (run / "model.safetensors", 12), (teacher, None)):
        assert open_studio(served).description()["teacher"] == size
    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    alone.write_bytes(student.read_bytes())
    (alone.parent / "recipe.json").write_text("a cake")
    assert open_studio(alone).description()["teacher"] is None
    with running(run) as editor:
        start = editor.ask("/api/v1/edit", {"session": editor.ask("/api/v1/photo?start=1", b"").json["session"]}).image
        asked = {"session": editor.ask("/api/v1/photo?start=1", b"").json["session"], "strengths": {"Smiling": 2}}
        decoded = [editor.ask("/api/v1/decoded", asked | {"teacher": whose}) for whose in (False, True)]
    shown = [np.asarray(answer.image.resize((32, 32), Image.Resampling.BOX)) for answer in decoded]
    for file, own, other in ((student, *shown), (teacher, *shown[::-1])):
        own_editor = Editor(file)
        code = own_editor.changed(own_editor.open(start, align=False).code, {"Smiling": 2})
        expected = own_editor.decode(code)[0].permute(1, 2, 0).mul(255).numpy()
        assert np.abs(own - expected).mean() < 0.5 * np.abs(other - expected).mean()


def test_a_model_without_a_teacher_says_so(editor: Served) -> None:
    assert editor.ask("/api/v1/model").json["teacher"] is None
    session = editor.ask("/api/v1/photo?start=1", b"").json["session"]
    answer = editor.ask("/api/v1/decoded", {"session": session, "teacher": True})
    assert answer.status == 400 and "serve the run folder of a student" in answer.json["error"]


def test_a_photo_is_morphed_into_another(editor: Served) -> None:
    assert editor.ask("/api/v1/model").json["morphs"]
    tokens = [editor.ask(f"/api/v1/photo?start={number}", b"").json["session"] for number in (1, 2)]
    asked = {"session": tokens[0], "other": tokens[1], "strengths": {}}
    morphs = [editor.ask("/api/v1/morph", asked | {"share": share}).content for share in (0, 0.5, 1)]
    decoded = [editor.ask("/api/v1/decoded", {"session": token}).content for token in tokens]
    assert morphs[0] == decoded[0] and morphs[2] == decoded[1] and morphs[1] not in decoded
    moving = editor.ask("/api/v1/morph-animation", asked)
    assert moving.headers["content-type"] == "image/gif" and getattr(moving.image, "n_frames", 1) == 48
    assert editor.ask("/api/v1/morph", asked | {"share": 2}).status == 400
    assert editor.ask("/api/v1/morph", asked).status == 400
    assert editor.ask("/api/v1/morph", {**asked, "other": "x", "share": 0}).status == 410


def test_an_exact_student_trades_control_for_sharpness(tmp_path: Path) -> None:
    with running(exact_attribute_model(tmp_path / "exact.safetensors", FACES)) as editor:
        model = editor.ask("/api/v1/model").json
        assert (model["teacher"], model["code_size"], model["amount"]) == (12, 20, 1.0)
        asked = {"session": editor.ask("/api/v1/photo?start=1", b"").json["session"], "strengths": {"Smiling": 2}}
        for path, name in (("decoded", {}), ("edit", {}), ("sweep", {"name": "Bald"})):
            answers = [
                editor.ask(f"/api/v1/{path}", asked | name | amount).content
                for amount in ({}, {"amount": 1}, {"amount": 0})
            ]
            assert answers[0] == answers[1] != answers[2]
        teacher = editor.ask("/api/v1/decoded", asked | {"teacher": True})
        assert teacher.content == editor.ask("/api/v1/decoded", asked | {"amount": 0}).content
        # Without a change, the photo stays the photo.
        plain = [
            editor.ask("/api/v1/edit", {**asked, "strengths": {}, **amount}).content for amount in ({}, {"amount": 0})
        ]
        assert plain[0] == plain[1]
        assert editor.ask("/api/v1/edit", asked | {"amount": 2}).status == 400


def test_units_start_from_test_images_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starts(data: DataConfig) -> list[dict[str, Any]]:
        return open_studio(unit_model(tmp_path / "units.safetensors", data)).description()["starts"]

    test = load_dataset(Digits()).test
    assert test.labels is not None
    digits = starts(Digits())
    assert len(digits) == 10
    first = int((test.labels == 3).nonzero()[0])
    code = load(tmp_path / "units.safetensors").encode(to_float(test.images[[first]], (0.0, 1.0)))
    assert digits[3]["units"] == pytest.approx(code.units[0].tolist(), abs=1e-5)
    shown = Image.open(io.BytesIO(base64.b64decode(digits[3]["picture"].partition(",")[2])))
    assert np.abs(np.asarray(shown.convert("L")).astype(float) - test.images[first, 0].numpy()).mean() < 5
    # What is not there is not fetched.
    monkeypatch.setattr(mnist, "downloaded", lambda _source: pytest.fail("a download"))
    assert starts(MNIST()) == []


def test_a_model_with_an_ordered_code(tmp_path: Path) -> None:
    with running(unit_model(tmp_path / "units.safetensors")) as editor:
        units = editor.ask("/api/v1/model").json["factors"]
        assert units[0].items() >= {"name": "unit 0", "low": -2.0, "high": 2.0, "mean": 0.5}.items()
        assert sum(unit["effect"] for unit in units) == pytest.approx(1, abs=1e-3)
        strip = editor.ask("/api/v1/units/2").image
        assert strip.size == (9 * 8, 8)
        lowest = pixels(editor.ask("/api/v1/decode", {"units": [0.5, 0.5, -2]}).image)[::35, ::35]
        assert np.array_equal(pixels(strip)[:, :8], lowest)
        assert editor.ask("/api/v1/units/3").status == editor.ask("/api/v1/units/x").status == 400
        first, other = (editor.ask("/api/v1/decode", {"units": units}) for units in ([0, 0, 0], [2, 0, 0]))
        assert first.image.size == (280, 280) and first.content != other.content
        assert editor.ask("/api/v1/map").image.size == (12 * 8, 12 * 8)
        for units in ([0, 0], [0, 0, "a"], [0, 0, None], "abc", None, [0, 0, 1e9], [0, 0, True]):
            answer = editor.ask("/api/v1/decode", {"units": units})
            assert answer.status == 400 and "number" in answer.json["error"], units
        assert editor.ask("/api/v1/photo", photo()).status == 404


def test_how_much_a_residual_student_adds_is_chosen(tmp_path: Path) -> None:
    file = residual_unit_model(tmp_path / "residual.safetensors")
    model = load(file)
    assert isinstance(model, ResidualAutoencoder)
    with running(file) as editor:
        assert editor.ask("/api/v1/model").json["amount"] == 1
        whole, same, half, none = (
            pixels(editor.ask("/api/v1/decode", {"units": [1, -1, 2], **extra}).image)
            for extra in ({}, {"amount": 1}, {"amount": 0.5}, {"amount": 0})
        )
        for amount in (2, -1, "much", None):
            answer = editor.ask("/api/v1/decode", {"units": [1, -1, 2], "amount": amount})
            assert answer.status == 400 and "amount" in answer.json["error"], amount
    assert np.array_equal(whole, same)
    of_teacher = to_uint8(model.teacher.decode(Code.of_units(torch.tensor([[1.0, -1]]))), model.value_range)
    assert np.array_equal(none[::35, ::35, 0], of_teacher[0, 0].numpy())
    # Pixels beyond the range are clamped.
    inside = (whole > 0) & (whole < 255) & (none > 0) & (none < 255)
    assert inside.any() and np.abs(half - (whole + none) / 2)[inside].max() <= 1


def test_a_model_of_attributes_from_elsewhere() -> None:
    model = ForeignFaces().eval()
    with running(model, info=attribute_info(FACES)) as editor:
        assert (editor.ask("/api/v1/model").json["name"], editor.ask("/api/v1/model").json["starts"]) == (
            "ForeignFaces",
            8,
        )
        settings = json.dumps({"strengths": {"Smiling": 2}}).replace(" ", "")
        full = editor.ask(f"/api/v1/full?settings={settings}", photo()).image
    library = Editor(model, info=attribute_info())(photo(), align=False, Smiling=2)
    assert np.array_equal(pixels(full), pixels(library))


def test_a_model_of_units_from_elsewhere() -> None:
    with running(ForeignUnits().eval(), info=unit_info()) as editor:
        assert editor.ask("/api/v1/model").json["kind"] == "units"
        first, other = (editor.ask("/api/v1/decode", {"units": units}).content for units in ([0, 0, 0], [2, 0, 0]))
        assert first != other and editor.ask("/api/v1/map").status == 200
    with pytest.raises(ValueError, match=r"^ForeignUnits was not loaded from a file"):
        application(ForeignUnits())


def test_the_map_of_the_first_two_units(tmp_path: Path) -> None:
    loaded = load(unit_model(tmp_path / "units.safetensors"))
    studio = UnitStudio(loaded, load_info(loaded), "units")
    tiles = pixels(Image.open(io.BytesIO(studio.map())))
    for row, column in ((0, 0), (0, 11), (11, 0), (7, 4)):
        units = [-2 + 4 * (column + 0.5) / 12, 2 - 4 * (row + 0.5) / 12, 0.5]
        tile = pixels(Image.open(io.BytesIO(studio.decode({"units": units}))))[::35, ::35]
        assert np.abs(tiles[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] - tile).max() <= 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"no image at all", "cannot be read as a photo"),
        (b"", "cannot be read as a photo"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "cannot be read as a photo"),
        (photo()[:900], "cannot be read as a photo"),
        (photo(16, 8), "at least 16 pixels per side"),
    ],
)
def test_what_is_no_photo_is_refused_in_one_line(body: bytes, expected: str, editor: Served) -> None:
    answer = editor.ask("/api/v1/photo", body)
    assert answer.status == 400 and expected in answer.json["error"] and "\n" not in answer.json["error"]


def test_a_decompression_bomb_is_refused_by_its_header(editor: Served) -> None:
    side = 40_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )
    answer = editor.ask("/api/v1/photo", bomb)
    assert answer.status == 400 and "megapixels" in answer.json["error"]
    assert editor.ask("/api/v1/photo", photo()).status == 200


def test_animations_and_turned_photos(editor: Served) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:])
    assert editor.ask("/api/v1/photo", content.getvalue()).status == 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = editor.ask("/api/v1/photo", photo(160, 80, "JPEG", exif=exif)).json
    shown = editor.ask("/api/v1/edit", {"session": turned["session"], "strengths": {}}).image
    assert shown.height > shown.width


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"strengths": {"Smiling": float("nan")}}, "must be a number"),
        ({"strengths": {"Smiling": 1e9}}, "must be a number"),
        ({"strengths": {"Smiling": 101}}, "must be between -100 and 100"),
        ({"strengths": {"Smiling": "2"}}, "must be a number"),
        ({"strengths": {"Smilling": 2}}, "no attribute 'Smilling'"),
        ({"strengths": {"Blurry": 2}}, "has not learned 'Blurry'"),
        ({"strengths": [2]}, "must be an object that maps attributes to numbers"),
        ({"detail": 1.5, "strengths": {"Smiling": 2}}, "must be between 0 and 1"),
        ({"detail": "all"}, "must be a number"),
    ],
)
def test_odd_settings_are_refused(asked: dict[str, object], expected: str, editor: Served) -> None:
    session = editor.ask("/api/v1/photo", photo()).json["session"]
    answer = editor.ask("/api/v1/edit", {"session": session, **asked})
    assert answer.status == 400 and expected in answer.json["error"]


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b'"a"', b"[" * 60_000])
def test_settings_that_are_none(body: bytes, editor: Served) -> None:
    answer = editor.ask("/api/v1/edit", body)
    assert answer.status == 400 and "must be a JSON object" in answer.json["error"]


@pytest.mark.parametrize("session", [None, "x", 3, ["a"]])
def test_a_photo_that_is_not_kept(session: object, editor: Served) -> None:
    answer = editor.ask("/api/v1/edit", {"session": session, "strengths": {}})
    assert answer.status == 410 and "open it again" in answer.json["error"]


def test_large_uploads_are_refused_before_they_are_read(editor: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    host = editor.address.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
        connection.putrequest("POST", "/api/v1/photo")
        connection.putheader("Content-Length", str(100 * 2**20))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413 and b"larger than 30720 KiB" in answer.read()
    # Without a length it is cut off while it comes.
    monkeypatch.setattr(endpoints, "MOST_BYTES", 1000)
    with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
        connection.request(
            "POST",
            "/api/v1/photo",
            iter([bytes(600), bytes(600)]),
            encode_chunked=True,
            headers={
                "Transfer-Encoding": "chunked",
            },
        )
        assert connection.getresponse().status == 413
    assert editor.ask("/api/v1/edit", bytes(endpoints.MOST_JSON_BYTES + 1)).status == 413


def test_slow_senders_do_not_hold_up_the_others(editor: Served) -> None:
    host = editor.address.removeprefix("http://")
    with ExitStack() as slow:
        for _ in range(endpoints.NUM_PHOTOS + 1):
            connection = slow.enter_context(closing(http.client.HTTPConnection(host, timeout=20)))
            connection.putrequest("POST", "/api/v1/photo")
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"a beginning")
        assert editor.ask("/api/v1/photo", photo()).status == 200


@pytest.mark.parametrize(
    "path", ["/../secret", "/web/page.html", "/%2e%2e/edit.py", "/api/v1/starts/../model", "/api/v1/starts/x"]
)
def test_nothing_else_is_served(path: str, editor: Served) -> None:
    assert editor.ask(path).status == 404
    assert editor.ask(path, b"{}").status in (404, 405)
    assert editor.ask(path, host="evil.example").status == 421


def test_other_sites_are_kept_out(editor: Served) -> None:
    assert editor.ask("/api/v1/model", host="evil.example").status == 421
    assert editor.ask("/api/v1/model", host="evil.example:80").status == 421
    assert editor.ask("/api/v1/model", host="LOCALHOST:1").status == 200
    assert editor.ask("/api/v1/edit", b"{}", origin="http://evil.example").status == 403
    assert editor.ask("/api/v1/edit", b"{}", origin="null").status == 403
    assert editor.ask("/api/v1/edit", b"{}", origin=editor.address).status == 410


def test_other_sites_may_link_to_the_page_and_embed_nothing(editor: Served) -> None:
    def fetched(path: str, site: str, mode: str) -> int:
        return editor.ask(path, None, **{"sec-fetch-site": site, "sec-fetch-mode": mode}).status

    assert fetched("/api/v1/starts/0", "cross-site", "no-cors") == fetched("/api/v1/model", "same-site", "cors") == 403
    assert fetched("/api/v1/starts/0", "same-origin", "no-cors") == fetched("/", "cross-site", "navigate") == 200
    assert fetched("/", "none", "navigate") == 200


def test_photos_that_wait_are_few(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jacsup.serve.studio import AttributeStudio

    monkeypatch.setattr(endpoints, "MOST_WAITING_BYTES", 3999)
    go, received, read = threading.Event(), list[int](), endpoints._body

    async def body(request: Request, *arguments: Any) -> bytes:
        content = await read(request, *arguments)
        received.append(len(content))
        return content

    def opened(_studio: AttributeStudio, _content: bytes, **_framing: Any) -> dict[str, str]:
        assert go.wait(60)
        return {}

    monkeypatch.setattr(endpoints, "_body", body)
    monkeypatch.setattr(AttributeStudio, "open", opened)
    with running(model) as editor, ThreadPoolExecutor(6) as senders:
        answers = [senders.submit(editor.ask, "/api/v1/photo", bytes(1000)) for _ in range(6)]
        try:
            deadline = time.monotonic() + 30
            while len(received) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.5)
            # The others stay with their senders, not in memory.
            assert len(received) == 3
        finally:
            go.set()
        assert [answer.result().status for answer in answers] == [200] * 6
    assert received == [1000] * 6


def test_senders_that_stop_halfway_do_not_hold_up_the_others(editor: Served) -> None:
    host = editor.address.removeprefix("http://")
    with ExitStack() as slow:
        for _ in range(40):
            connection = slow.enter_context(closing(http.client.HTTPConnection(host, timeout=20)))
            connection.putrequest("POST", "/api/v1/photo")
            connection.putheader("Content-Length", "1000000")
            connection.endheaders(bytes(1000))
        assert editor.ask("/api/v1/photo", photo()).status == 200


def closed_by_the_other_side(connection: socket.socket) -> bool:
    connection.settimeout(20)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def address_of(editor: Served) -> tuple[str, int]:
    host, _, port = editor.address.removeprefix("http://").rpartition(":")
    return host, int(port)


def test_a_silent_connection_is_closed_and_another_is_not(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SECONDS_TO_REQUEST", 0.2)
    with ExitStack() as stack:
        editor = stack.enter_context(running(model))
        silent = stack.enter_context(socket.create_connection(address_of(editor)))
        talking = stack.enter_context(closing(http.client.HTTPConnection(*address_of(editor), timeout=20)))
        talking.request("GET", "/api/v1/model")
        assert talking.getresponse().read()
        assert closed_by_the_other_side(silent)
        talking.request("GET", "/api/v1/model")
        assert talking.getresponse().status == 200


def test_no_more_connections_than_there_are_sockets_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "most_connections", lambda: 8)
    with running(model) as editor, ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address_of(editor))) for _ in range(12)]
        # One address may have half of all.
        assert all(closed_by_the_other_side(each) for each in idle[4:])
        idle[0].close()
        time.sleep(0.2)
        assert editor.ask("/api/v1/model").status == 200


def test_the_process_may_have_as_many_files_as_the_machine_allows() -> None:
    code = """if True:
        import resource
        from jacsup.serve.connections import *
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert most_connections() == 256 - OTHER_FILES
        raise_file_limit()
        assert most_connections() == (min(hard, MOST_FILES) if hard > 0 else MOST_FILES) - OTHER_FILES
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_address_is_answered_to_if_asked_for(model: Path) -> None:
    with running(model, "0.0.0.0") as editor:
        assert editor.ask("/api/v1/model", host="192.168.0.7:8000").status == 200
        assert editor.ask("/api/v1/model", host=socket.gethostname()).status == 200
        assert editor.ask("/api/v1/model", host="evil.example").status == 421


def test_an_error_of_ours_is_told_and_survived(
    editor: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Editor, "open", lambda *arguments, **options: 1 / 0)
        answer = editor.ask("/api/v1/photo", photo())
    assert answer.status == 500 and "terminal" in answer.json["error"]
    assert "ZeroDivisionError" in caplog.text
    assert editor.ask("/api/v1/photo", photo()).status == 200


def test_sessions_are_few_and_short(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    face, kept = Editor(model).open(photo(), align=False), Sessions()
    tokens = [kept.add(face) for _ in range(sessions.MOST_SESSIONS)]
    assert len(set(tokens)) == len(tokens) and kept.get(tokens[0]) is face
    kept.add(face)
    # The second one is now the one that was asked for the longest ago.
    kept.get(tokens[0])
    with pytest.raises(ForgottenError):
        kept.get(tokens[1])
    now = time.monotonic()
    # Not in the module `time`: a server of other tests tells the time too.
    monkeypatch.setattr(sessions, "time", SimpleNamespace(monotonic=lambda: now + sessions.SESSION_SECONDS + 60))
    with pytest.raises(ForgottenError):
        kept.get(tokens[0])


def test_photos_go_also_when_nobody_comes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SECONDS_BETWEEN_FORGETTING", 0.01)
    monkeypatch.setattr(sessions, "SESSION_SECONDS", 0.05)
    kept: list[Sessions] = []
    original = Sessions.add

    def add(self: Sessions, face: OpenedPhoto) -> str:
        kept.append(self)
        return original(self, face)

    monkeypatch.setattr(Sessions, "add", add)
    with running(model) as editor:
        editor.ask("/api/v1/photo", photo())
        waited = time.monotonic() + 20
        while kept[0]._photos and time.monotonic() < waited:  # pyright: ignore[reportPrivateUsage]
            time.sleep(0.02)
        assert not kept[0]._photos  # pyright: ignore[reportPrivateUsage]


def test_large_colour_profiles_stay_out_of_the_pictures(editor: Served) -> None:
    profile = bytearray(2**20)
    profile[16:20] = b"RGB "
    file = photo(200, 160, "JPEG", icc_profile=bytes(profile))
    opened = editor.ask("/api/v1/photo", file).json
    assert len(editor.ask("/api/v1/edit", {"session": opened["session"], "strengths": {}}).content) < 2**17
    # The result has it, and can be opened again.
    assert editor.ask("/api/v1/photo", editor.ask("/api/v1/full", file).content).status == 200
    profile += b"x"
    answer = editor.ask("/api/v1/photo", photo(200, 160, "JPEG", icc_profile=bytes(profile)))
    assert answer.status == 400 and "colour profile" in answer.json["error"]


def test_any_device_will_do_for_units(tmp_path: Path) -> None:
    studio = open_studio(unit_model(tmp_path / "units.safetensors"), "auto")
    assert isinstance(studio, UnitStudio) and studio.map()


def test_the_command(model: Path) -> None:
    with started(model, "--no-browser") as address:
        assert Served(address).ask("/api/v1/model").json["name"] == "drawn"


@pytest.mark.parametrize(
    ("options", "expected"), [(["--port", "70000"], "--port is 70000"), (["--port", "{taken}"], "cannot be used")]
)
def test_wrong_options(options: list[str], expected: str, model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "jacsup", "serve", str(model), *options, "--no-browser"]
        command = [part.replace("{taken}", port) for part in command]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1


def test_without_a_model_the_page_offers_photos_and_drawn_faces() -> None:
    with started("--no-browser") as address:
        served = Served(address)
        page = served.ask("/").content.decode()
        for name, title in (("photos", "A photograph"), ("faces", "A drawn face")):
            assert title in page and f'href="{name}/"' in page
            assert b'src="page.js"' in served.ask(f"/{name}/").content
            assert served.ask(f"/{name}/api/v1/model").json["name"] == name
            (shown,) = re.findall(f'src="({name}/api/v1/starts/[0-9][?]large)"', page)
            assert served.ask(f"/{shown}").image.size == (256, 256)
            opened = served.ask(f"/{name}/api/v1/photo?start=0", b"").json
            asked = {"session": opened["session"], "strengths": {"Smiling": -1.0}}
            assert served.ask(f"/{name}/api/v1/edit", asked).image.size == (256, 256)
        assert f"{address}/faces/api/v1/model" in served.ask("/faces/api").content.decode()
        assert served.ask("/nothing").json["error"].startswith("not found")
        assert served.ask("/", host="evil.example").status == 421


def test_small_answers_are_sent_at_once() -> None:
    """Else each waits until the browser has acknowledged the one before, 40 ms later."""

    async def no_delay() -> int:
        done = asyncio.get_running_loop().create_future()

        def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            done.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with server.listening("127.0.0.1", 0) as listener:
            async with await asyncio.start_server(connected, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.close()
                return await done

    assert asyncio.run(no_delay())


def test_text_is_compressed_for_those_who_take_it_so(editor: Served) -> None:
    for path in ("/", "/page.js", "/api/v1/model"):
        plain, packed = editor.ask(path), editor.ask(path, accept_encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
        assert gzip.decompress(packed.content) == plain.content and len(packed.content) < len(plain.content)


def test_the_page_asks_early_for_all_that_it_needs(editor: Served) -> None:
    """Else one file after the other would wait for the network."""
    asked = set(re.findall(r'(?:src|href)="([a-z]+\.(?:js|css))"', editor.ask("/").content.decode()))
    needed, found = {"page.css"}, ["page.js", "photos.js"]
    while found:
        needed.add(name := found.pop())
        # What is imported in a function comes when it is needed.
        found += re.findall(r'^import .* from "\./(.*?)";$', editor.ask(f"/{name}").content.decode(), re.MULTILINE)
    assert asked == needed and needed < {*server.PAGE}


def test_sessions_are_bounded_by_their_bytes(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    face, kept = Editor(model).open(photo(), align=False), Sessions()
    monkeypatch.setattr(sessions, "MOST_BYTES", 3 * sessions.size_of(face))
    tokens = [kept.add(face) for _ in range(5)]
    for token in tokens[:2]:
        with pytest.raises(ForgottenError):
            kept.get(token)
    assert all(kept.get(token) is face for token in tokens[2:])
    # 200 x 160 pixels in three colours, and what the model reads and decodes at 32 x 32.
    assert sessions.size_of(face) > 200 * 160 * 3


@pytest.mark.parametrize(
    ("path", "body"), [("/api/v1/edit", None), ("/", b"{}"), ("/api/v1/model", b"{}"), ("/page.js", b"x")]
)
def test_a_wrong_method_is_one_line_with_the_same_headers(path: str, body: bytes | None, editor: Served) -> None:
    answer = editor.ask(path, body)
    assert answer.status == 405 and "does not accept" in answer.json["error"]
    assert answer.headers["content-security-policy"] == guard.HEADERS["Content-Security-Policy"]


def test_half_a_character_is_answered_in_a_line(editor: Served) -> None:
    session = editor.ask("/api/v1/photo", photo()).json["session"]
    asked = b'{"session": "%s", "strengths": {"\\ud800": 1}}' % session.encode()
    answer = editor.ask("/api/v1/edit", asked)
    assert answer.status == 400 and "the model has no attribute '?'" in answer.json["error"]
