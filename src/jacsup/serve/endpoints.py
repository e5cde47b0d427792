"""The endpoints for the page and for other programs, and their handlers."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from anyio import CapacityLimiter, fail_after
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from jacsup.edit import read_assignment
from jacsup.serve.api import Endpoint
from jacsup.serve.connections import Budget
from jacsup.serve.guard import RefusedError
from jacsup.serve.studio import AttributeStudio, UnitStudio

MOST_BYTES = 30 * 2**20
MOST_JSON_BYTES = 2**16
UPLOAD_SECONDS = 60
# The most bytes of uploads that are arriving or waiting. Photos are decoded one at a time, because 100 megapixels take
# nearly a gigabyte.
MOST_WAITING_BYTES = 16 * MOST_BYTES
NUM_PHOTOS = 1
NUM_CORES = os.cpu_count() or 1
SMALL_NUMBER = "[0-9]{1,5}"


@dataclass
class Limits:
    """Limits on the bytes of uploads, the opened photos and the other computations at the same time."""

    uploads: Budget = field(default_factory=lambda: Budget(MOST_WAITING_BYTES))
    photos: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_PHOTOS))
    cores: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_CORES))


def endpoints_of(studio: AttributeStudio | UnitStudio, description: dict[str, Any]) -> list[Endpoint]:
    """Return the endpoints for the page and for other programs.

    Args:
        studio: The studio of a model.
        description: Its `description()`.
    """
    limits = Limits()
    listed = [
        Endpoint(
            path="/model",
            handler=partial(json_answer, description),
            summary="Describes the model: its attributes or units, and the range of each.",
            answer="application/json",
            example="ADDRESS/model",
        )
    ]
    if isinstance(studio, UnitStudio):
        listed += [
            _of_json(
                "/decode",
                studio.decode,
                "image/png",
                limits,
                summary="Decodes an image from the values of all units.",
                body='{"units": [numbers]}, and "amount" from 0 to 1 if the model has one',
                example=f"-d '{{\"units\": {[0] * len(description['factors'])}}}' ADDRESS/decode -o decoded.png",
            ),
            Endpoint(
                path="/units/{number}",
                handler=partial(_strip, studio, limits),
                summary="Returns images side by side in which one unit goes from its lowest to its highest value.",
                answer="image/png",
                example="ADDRESS/units/0 -o unit.png",
            ),
        ]
        if len(description["factors"]) > 1:
            of_two = Endpoint(
                path="/map",
                handler=partial(_png, studio.map()),
                summary="Returns a grid of images: the first unit changes from left to right, the second upwards.",
                answer="image/png",
                example="ADDRESS/map -o map.png",
            )
            listed.append(of_two)
        return listed
    framing = {
        "align": "1 finds the face; 0, the default, takes the central square",
        "face": "which face to take if there are several; 1 is the largest",
        "start": "the number of a start image, instead of a photo in the body",
    }
    photo = "image/*", "the photo: JPEG, PNG, WebP, GIF, TIFF or BMP, at most 30 MiB"
    settings = '"strengths": {name: number}, "detail": number from 0 to 1'
    if description["amount"] is not None:
        settings += ', "amount": number from 0 (most control) to 1 (sharpest)'
    listed += [
        Endpoint(
            path="/photo",
            handler=partial(_open, studio, limits),
            summary="Opens a photo, which stays in memory for ten minutes. Returns the session (a token for other "
            "requests), the strengths of all attributes, small pictures of all faces, and warnings.",
            answer="application/json",
            method="POST",
            query=framing,
            body=photo,
            example="--data-binary @me.jpg 'ADDRESS/photo?align=1'",
        ),
        _of_json(
            "/edit",
            studio.edit,
            "image/jpeg",
            limits,
            summary="Edits an opened photo, and returns a preview of at most 384 pixels per side.",
            body=f'{{"session": token, {settings}}}',
            example="""-d '{"session": "TOKEN", "strengths": {"Smiling": 1.5}}' ADDRESS/edit -o edited.jpg""",
        ),
        _of_json(
            "/decoded",
            studio.decoded,
            "image/jpeg",
            limits,
            summary="Returns the face of an opened photo as decoded by the model, or by its teacher if there is one.",
            body='{"session": token, "strengths": {name: number}, "teacher": true or false}',
            example="""-d '{"session": "TOKEN", "strengths": {"Smiling": 1}}' ADDRESS/decoded -o decoded.jpg""",
        ),
        _of_json(
            "/sweep",
            studio.sweep,
            "image/jpeg",
            limits,
            summary="Returns an opened photo with one attribute at strengths from -3 to 3, side by side.",
            body=f'{{"session": token, "name": attribute, {settings}}}',
            example="""-d '{"session": "TOKEN", "name": "Smiling"}' ADDRESS/sweep -o sweep.jpg""",
        ),
        _of_json(
            "/animation",
            studio.animation,
            "image/gif",
            limits,
            summary="Returns an opened photo as an animation, in which one attribute goes from -3 to 3 and back.",
            body=f'{{"session": token, "name": attribute, {settings}}}',
            example="""-d '{"session": "TOKEN", "name": "Smiling"}' ADDRESS/animation -o moving.gif""",
        ),
        Endpoint(
            path="/full",
            handler=partial(_full, studio, limits),
            summary="Edits a photo at its own resolution in one request.",
            answer="image/png",
            method="POST",
            query=framing
            | {
                "set": "an attribute's strength, such as Smiling=1.5; may be given several times",
                "settings": f"JSON: {{{settings}}}",
            },
            body=photo,
            example="--data-binary @me.jpg 'ADDRESS/full?align=1&set=Smiling=1.5&set=Bald=-1' -o edited.png",
        ),
        Endpoint(
            path="/starts/{number}",
            handler=partial(_start, studio, limits),
            summary="Returns an image to start from, of 96 pixels.",
            answer="image/jpeg",
            query={"large": "if given, 256 pixels"},
            example="ADDRESS/starts/0 -o start.jpg",
        ),
    ]
    if description["morphs"]:
        listed += [
            _of_json(
                "/morph",
                studio.morph,
                "image/jpeg",
                limits,
                summary="Returns the decoded face between an opened photo and another, by interpolating their codes.",
                body='{"session": token, "other": token, "share": number from 0 to 1, "strengths": {name: number}}',
                example="""-d '{"session": "TOKEN", "other": "TOKEN", "share": 0.5}' ADDRESS/morph -o morph.jpg""",
            ),
            _of_json(
                "/morph-animation",
                studio.morph_animation,
                "image/gif",
                limits,
                summary="Returns an animation that morphs an opened photo into another and back.",
                body='{"session": token, "other": token, "strengths": {name: number}}',
                example="""-d '{"session": "TOKEN", "other": "TOKEN"}' ADDRESS/morph-animation -o morph.gif""",
            ),
        ]
    if description["drawn"]:
        truth = _of_json(
            "/truth",
            studio.truth,
            "image/jpeg",
            limits,
            summary="Draws a start image again with strengths, which is how an edit of it should look.",
            body='{"start": number, "strengths": {name: number}}',
            example="""-d '{"start": 0, "strengths": {"Smiling": 1}}' ADDRESS/truth -o truth.jpg""",
        )
        listed.append(truth)
    return listed


def _of_json(
    path: str,
    make: Callable[[dict[str, Any]], bytes],
    kind: str,
    limits: Limits,
    *,
    summary: str,
    body: str,
    example: str,
) -> Endpoint:
    """An endpoint that returns the picture requested by JSON."""
    return Endpoint(
        path=path,
        handler=partial(_picture, make, kind, limits),
        summary=summary,
        answer=kind,
        method="POST",
        body=("application/json", body),
        example=example,
    )


def text_answer(request: Request, content: bytes, kind: str) -> Response:
    """Return text, compressed if the client accepts this; on a slow network it would delay the first picture."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(content, media_type=kind)
    packed = gzip.compress(content, mtime=0)
    return Response(packed, media_type=kind, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})


async def json_answer(content: Any, request: Request) -> Response:
    """Return content as JSON."""
    return text_answer(request, json.dumps(content).encode(), "application/json")


async def _png(content: bytes, _request: Request) -> Response:
    return Response(content, media_type="image/png")


async def _start(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    number = request.path_params["number"]
    if not re.fullmatch(SMALL_NUMBER, number):
        raise RefusedError(404, "there is no start image with this number")
    make = partial(studio.picture_of_start, int(number), large="large" in request.query_params)
    return Response(await run_sync(make, limiter=limits.cores), media_type="image/jpeg")


async def _strip(studio: UnitStudio, limits: Limits, request: Request) -> Response:
    number = _whole(request.path_params["number"], "unit")
    return await _png(await run_sync(studio.strip, number, limiter=limits.cores), request)


async def _open(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    return JSONResponse(await _with_photo(request, studio, limits, partial(studio.open, **_framing(request))))


async def _full(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    asked = _parsed(request.query_params.get("settings", "{}"))
    strengths = asked.get("strengths", {})
    if isinstance(strengths, dict):
        asked["strengths"] = strengths | dict(
            read_assignment(each, "set") for each in request.query_params.getlist("set")
        )
    work = partial(studio.full, asked=asked, **_framing(request))
    return await _png(await _with_photo(request, studio, limits, work), request)


async def _picture(make: Callable[[dict[str, Any]], bytes], kind: str, limits: Limits, request: Request) -> Response:
    asked = _parsed(await _body(request, MOST_JSON_BYTES, bytearray()))
    return Response(await run_sync(make, asked, limiter=limits.cores), media_type=kind)


async def _with_photo(request: Request, studio: AttributeStudio, limits: Limits, work: Callable[[bytes], Any]) -> Any:
    """Apply `work` to the photo that was sent, or to the start image that was named.

    The limits bound the photos in memory, including waiting ones; a slow upload only counts what has arrived.
    """
    start = request.query_params.get("start")
    if start is not None:
        number = _whole(start, "start")
        return await run_sync(lambda: work(studio.start(number)), limiter=limits.photos)
    arrived = bytearray()
    try:
        photo = await _body(request, MOST_BYTES, arrived, limits.uploads)
        return await run_sync(work, photo, limiter=limits.photos)
    finally:
        limits.uploads.give_back(len(arrived))


def _framing(request: Request) -> dict[str, Any]:
    """The options for opening a photo: whether to find the face, and which face."""
    asked = request.query_params
    return {"align": asked.get("align") == "1", "face": _whole(asked.get("face", "1"), "face")}


def _whole(text: str, name: str) -> int:
    if not re.fullmatch(SMALL_NUMBER, text):
        raise ValueError(f"{name} is {text!r:.40}; must be a whole number")
    return int(text)


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise ValueError(f"the settings are {text!r:.60}; must be a JSON object")
    return asked


async def _body(request: Request, most: int, arrived: bytearray, budget: Budget | None = None) -> bytes:
    """The request's body, collected in `arrived`. It is refused if its stated or actual length is too large."""
    too_long = RefusedError(413, f"the upload is larger than {most // 1024} KiB; send a smaller file")
    if int(request.headers.get("content-length") or 0) > most:
        raise too_long
    try:
        with fail_after(UPLOAD_SECONDS):
            async for chunk in request.stream():
                if budget:
                    await budget.take(len(chunk))
                arrived += chunk
                if len(arrived) > most:
                    raise too_long
    except (ClientDisconnect, TimeoutError):
        raise RefusedError(408, f"the upload did not arrive within {UPLOAD_SECONDS} seconds; send it again") from None
    return bytes(arrived)
