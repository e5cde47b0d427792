"""The editor in the browser: a page, a model, and photos that stay in memory for ten minutes.

The page sends a photo once. The server keeps its code and a preview; every move of a slider decodes the code anew. For
a result at full resolution the page sends the photo again, since the server does not keep it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import logging
import os
import re
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import torch
import uvicorn
from anyio import CapacityLimiter, create_task_group, fail_after, sleep
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from jacsup.models import Autoencoder, ModelInfo
from jacsup.serve.api import PREFIX, Endpoint, Handler, openapi, reference
from jacsup.serve.connections import BoundedProtocol, Budget, raise_file_limit
from jacsup.serve.sessions import ForgottenError
from jacsup.serve.studio import AttributeStudio, UnitStudio, open_studio

MOST_BYTES = 30 * 2**20
MOST_JSON_BYTES = 2**16
UPLOAD_SECONDS = 60
SECONDS_BETWEEN_FORGETTING = 30.0
# Of uploads that are on their way or wait; photos are decoded one at a time: 100 megapixels take nearly a gigabyte.
MOST_WAITING_BYTES = 16 * MOST_BYTES
NUM_PHOTOS = 1
NUM_CORES = os.cpu_count() or 1
SMALL_NUMBER = "[0-9]{1,5}"
EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
EVERY_ADDRESS = ("0.0.0.0", "::")
WEB = files("jacsup.serve") / "web"
KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
STYLE = "page.css"
PAGE = (STYLE, "camera.js", "heat.js", "page.js", "photos.js", "undo.js", "units.js", "view.js")
# The shipped models that `choice.html` offers.
OFFERED = ("photos", "faces")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Limits:
    """How many bytes of uploads, opened photos and other computations there are at once."""

    uploads: Budget = field(default_factory=lambda: Budget(MOST_WAITING_BYTES))
    photos: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_PHOTOS))
    cores: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(NUM_CORES))


class RefusedError(Exception):
    """A request that is refused with a status and one line."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def serve(
    model: str | Path | Autoencoder | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    browser: bool = True,
    device: str = "cpu",
    info: ModelInfo | None = None,
    page: bool = True,
) -> None:
    """Serve the editor of a model until interrupted.

    Args:
        model: what `jacsup.load` takes, or any model in eval mode; None offers the shipped models of faces.
        host: the address to listen on; 0.0.0.0 lets other machines in.
        port: the port to listen on; 0 picks a free one.
        browser: open the editor in a browser.
        device: where to run a model that is loaded here: auto, cpu, cuda or cuda:N.
        info: the model's factors; needed for a model that was not loaded from a file.
        page: serve the page; False serves the HTTP interface alone, and needs a model.

    Raises:
        ValueError: there is no such model, `info` is missing or does not fit, or the port is taken.
    """
    if not page and model is None:
        raise ValueError("the HTTP interface alone needs a model; pass one, such as photos")
    # One thread per request: requests share the cores, and no core idles while an image is encoded.
    torch.set_num_threads(1)
    app = choice(host, device) if model is None else application(model, host, device, info=info, page=page)
    with listening(host, port) as listener:
        name = "localhost" if host in EVERY_ADDRESS else f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listener.getsockname()[1]}"
        print(f"the editor is at {address if page else address + '/api'} (press Ctrl-C to stop)", flush=True)
        if browser and page:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        raise_file_limit()
        settings: dict[str, Any] = {"log_level": "warning", "server_header": False, "timeout_keep_alive": 30}
        config = uvicorn.Config(app, http=BoundedProtocol, **settings)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address: requests wait there until the server is ready.

    Args:
        host: the address to listen on.
        port: the port to listen on; 0 picks a free one.

    Raises:
        ValueError: the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only of a socket that names its protocol does asyncio send small answers at once (TCP_NODELAY).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        taken = f"port {port} on {host} cannot be used ({error.strerror})"
        raise ValueError(f"{taken}; choose another with --port") from None
    return listener


def application(
    model: str | Path | Autoencoder,
    host: str = "127.0.0.1",
    device: str = "cpu",
    *,
    info: ModelInfo | None = None,
    page: bool = True,
) -> Starlette:
    """Return the editor of a model as an ASGI application: its page, and its HTTP interface below /api.

    Args:
        model: what `jacsup.load` takes, or any model in eval mode.
        host: the name under which it may be reached, besides localhost; requests for other names are refused.
        device: where to run a model that is loaded here: auto, cpu, cuda or cuda:N.
        info: the model's factors; needed for a model that was not loaded from a file.
        page: include the page; False leaves the HTTP interface alone.

    Raises:
        ValueError: there is no such model, or `info` is missing or does not fit.
    """
    studio = open_studio(model, device, info=info)
    description = studio.description()
    # A page opened with another model notices the change by this.
    headers = HEADERS | {"X-Model": hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]}
    lifespan = partial(_forgetting, studio) if isinstance(studio, AttributeStudio) else None
    endpoints, name = _endpoints(studio, description), description["name"]
    handlers = _files("page.html", PAGE) if page else _files(None, (STYLE,))
    handlers |= {f"{PREFIX}{each.path}": (each.method, each.handler) for each in endpoints}
    handlers["/api"] = "GET", partial(_reference, endpoints, name)
    handlers["/api/openapi.json"] = "GET", partial(_json, openapi(endpoints, name))
    return _guarding(handlers, host, headers, lifespan)


def _endpoints(studio: AttributeStudio | UnitStudio, description: dict[str, Any]) -> list[Endpoint]:
    """What the page and other programs ask of the studio."""
    limits = Limits()
    listed = [
        Endpoint(
            path="/model",
            handler=partial(_json, description),
            summary="Describes the model: its attributes or units, and the range of each.",
            answer="application/json",
            example="ADDRESS/model",
        )
    ]
    if isinstance(studio, UnitStudio):
        return [
            *listed,
            _of_json(
                "/decode",
                studio.decode,
                "image/png",
                limits,
                summary="Decodes an image from the values of all units.",
                body='{"units": [numbers]}; "amount" from 0 to 1 where the model has one',
                example=f"-d '{{\"units\": {[0] * len(description['factors'])}}}' ADDRESS/decode -o decoded.png",
            ),
            Endpoint(
                path="/units/{number}",
                handler=partial(_strip, studio, limits),
                summary="Returns images side by side in which one unit goes from its lowest to its highest value.",
                answer="image/png",
                example="ADDRESS/units/0 -o unit.png",
            ),
            Endpoint(
                path="/map",
                handler=partial(_png, studio.map()),
                summary="Returns a grid of images: the first unit changes from left to right, the second upwards.",
                answer="image/png",
                example="ADDRESS/map -o map.png",
            ),
        ]
    framing = {
        "align": "1 finds the face; 0, the default, takes the central square",
        "face": "which of several faces to take, counted from 1, the largest",
        "start": "the number of a start image, in place of a photo in the body",
    }
    photo = "image/*", "the photo: JPEG, PNG, WebP, GIF, TIFF or BMP, at most 30 MiB"
    settings = '"strengths": {name: number}, "detail": number from 0 to 1'
    listed += [
        Endpoint(
            path="/photo",
            handler=partial(_open, studio, limits),
            summary="Opens a photo, which stays in memory for ten minutes. Answers with the session, a token for other "
            "requests, the strengths of all attributes, small pictures of all faces, and warnings.",
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
            summary="Edits a photo in its own resolution, in one request.",
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
    if description["drawn"]:
        truth = _of_json(
            "/truth",
            studio.truth,
            "image/jpeg",
            limits,
            summary="Draws a start image with strengths, as an edit of it should look.",
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
    """An endpoint that makes a picture of what JSON asks for."""
    return Endpoint(
        path=path,
        handler=partial(_picture, make, kind, limits),
        summary=summary,
        answer=kind,
        method="POST",
        body=("application/json", body),
        example=example,
    )


def choice(host: str = "127.0.0.1", device: str = "cpu") -> Starlette:
    """Return a page that offers the shipped models of faces, and their editors below it, as an ASGI application.

    Args:
        host: as for `application`.
        device: where to run the models: auto, cpu, cuda or cuda:N.
    """
    editors = {name: application(name, host, device) for name in OFFERED}

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for editor in editors.values():
                await stack.enter_async_context(editor.router.lifespan_context(editor))
            yield

    mounts = [Mount(f"/{name}", editor) for name, editor in editors.items()]
    return _guarding(_files("choice.html", (STYLE,)), host, HEADERS, lifespan, mounts)


def _files(page: str | None, others: Sequence[str]) -> dict[str, tuple[str, Handler]]:
    """What answers requests for a page, if there is one, and for the files that it needs, by path."""
    paths = {f"/{name}": name for name in others} | ({"/": page} if page else {})
    return {path: ("GET", partial(_file, name)) for path, name in paths.items()}


def _guarding(
    handlers: dict[str, tuple[str, Handler]],
    host: str,
    headers: dict[str, str],
    lifespan: Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]] | None,
    mounts: Sequence[Mount] = (),
) -> Starlette:
    """An application that guards its handlers, and answers every other path with one line."""
    routes = [
        Route(path, partial(_guarded, partial(_of_method, method, handler), host, headers), methods=EVERY_METHOD)
        for path, (method, handler) in handlers.items()
    ]
    others = Route("/{path:path}", partial(_guarded, _nothing, host, headers), methods=EVERY_METHOD)
    return Starlette(lifespan=lifespan, routes=[*routes, *mounts, others])


async def _of_method(method: str, handler: Handler, request: Request) -> Response:
    if request.method not in (method, *(("HEAD",) if method == "GET" else ())):
        raise RefusedError(405, f"{request.url.path} does not take {request.method}; use {method}")
    return await handler(request)


@contextlib.asynccontextmanager
async def _forgetting(studio: AttributeStudio, _app: Starlette) -> AsyncIterator[None]:
    """Drop old photos regularly, even when no requests come."""

    async def forget() -> None:
        while True:
            await sleep(SECONDS_BETWEEN_FORGETTING)
            studio.forget()

    async with create_task_group() as tasks:
        tasks.start_soon(forget)
        yield
        tasks.cancel_scope.cancel()


async def _guarded(handler: Handler, host: str, headers: dict[str, str], request: Request) -> Response:
    """The handler's response, or an error of one line; requests from other sites' pages are refused."""
    try:
        _require_own_page(request, host)
        response = await handler(request)
    except RefusedError as error:
        response = _error(str(error), error.status)
    except ForgottenError as error:
        response = _error(str(error), 410)
    except ValueError as error:
        response = _error(str(error), 400)
    except (ClientDisconnect, TimeoutError):
        response = _error(f"the photo did not arrive within {UPLOAD_SECONDS} seconds", 408)
    except Exception:
        logging.getLogger("jacsup").exception("a request failed")
        response = _error("internal error; see the terminal for details", 500)
    response.headers.update(headers)
    return response


def _error(message: str, status: int) -> Response:
    # A message may name what was sent; half a character, as JSON can hold it, cannot be sent back.
    words = " ".join(message.encode("utf-8", "replace").decode().split())
    return JSONResponse({"error": words}, status)


def _require_own_page(request: Request, host: str) -> None:
    """Refuse requests from other sites, by the Host, Origin and Sec-Fetch headers."""
    asked = request.headers.get("host", "").lower()
    name = asked.rpartition(":")[0] if asked.rpartition(":")[2].isdigit() else asked
    own = {"localhost", "127.0.0.1", "[::1]", host.lower(), f"[{host.lower()}]"}
    if name not in own and not (host in EVERY_ADDRESS and (_is_address(name) or name == socket.gethostname().lower())):
        raise RefusedError(421, f"this editor is not at '{name:.100}'; open the address that it printed")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != asked:
        raise RefusedError(403, "pages of other sites may not use this editor")
    # Images and scripts embedded by another site come without an origin; a link to the page is harmless.
    fetched = request.headers.get("sec-fetch-site", "none"), request.headers.get("sec-fetch-mode")
    if fetched[0] not in ("none", "same-origin") and fetched[1] != "navigate":
        raise RefusedError(403, "pages of other sites may not use this editor")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _file(name: str, request: Request) -> Response:
    return _packed(request, (WEB / name).read_bytes(), KINDS[name.rpartition(".")[2]])


def _packed(request: Request, content: bytes, kind: str) -> Response:
    """Text, compressed for those who take it so: on a slow network it would hold up the first picture."""
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(content, media_type=kind)
    packed = gzip.compress(content, mtime=0)
    return Response(packed, media_type=kind, headers={"Content-Encoding": "gzip", "Vary": "Accept-Encoding"})


async def _nothing(_request: Request) -> Response:
    raise RefusedError(404, "not found; open the editor's page at /")


async def _json(content: Any, request: Request) -> Response:
    return _packed(request, json.dumps(content).encode(), "application/json")


async def _reference(endpoints: Sequence[Endpoint], name: str, request: Request) -> Response:
    address = str(request.base_url).rstrip("/")
    return Response(reference(endpoints, name, address), media_type="text/html")


async def _png(content: bytes, _request: Request) -> Response:
    return Response(content, media_type="image/png")


async def _start(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    number = request.path_params["number"]
    if not re.fullmatch(SMALL_NUMBER, number):
        raise RefusedError(404, "there is no start image of this number")
    make = partial(studio.picture_of_start, int(number), large="large" in request.query_params)
    return Response(await run_sync(make, limiter=limits.cores), media_type="image/jpeg")


async def _strip(studio: UnitStudio, limits: Limits, request: Request) -> Response:
    number = _whole(request.path_params["number"], "unit")
    return await _png(await run_sync(studio.strip, number, limiter=limits.cores), request)


async def _open(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    return JSONResponse(await _with_photo(request, studio, limits, partial(studio.open, **_framing(request))))


async def _full(studio: AttributeStudio, limits: Limits, request: Request) -> Response:
    asked = _parsed(request.query_params.get("settings", "{}"))
    for assignment in request.query_params.getlist("set"):
        name, _, value = assignment.rpartition("=")
        asked["strengths"] = {**asked.get("strengths", {}), name: _parsed_number(value, assignment)}
    work = partial(studio.full, asked=asked, **_framing(request))
    return await _png(await _with_photo(request, studio, limits, work), request)


async def _picture(make: Callable[[dict[str, Any]], bytes], kind: str, limits: Limits, request: Request) -> Response:
    asked = _parsed(await _body(request, MOST_JSON_BYTES, bytearray()))
    return Response(await run_sync(make, asked, limiter=limits.cores), media_type=kind)


async def _with_photo(request: Request, studio: AttributeStudio, limits: Limits, work: Callable[[bytes], Any]) -> Any:
    """Apply `work` to the photo that is sent, or to the start image that is named.

    The limits bound the photos in memory, waiting ones included; a slow sender holds what has arrived.
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
    """Whether a photo's face is to be found, and which."""
    asked = request.query_params
    return {"align": asked.get("align") == "1", "face": _whole(asked.get("face", "1"), "face")}


def _parsed_number(text: str, assignment: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"set is '{assignment:.60}'; use NAME=NUMBER, such as Smiling=1.5") from None


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
    """The request's body, collected in `arrived`; refused by its announced length, or as soon as it is too long."""
    too_long = RefusedError(413, f"the upload is larger than {most // 1024} KiB; send a smaller file")
    if int(request.headers.get("content-length") or 0) > most:
        raise too_long
    with fail_after(UPLOAD_SECONDS):
        async for chunk in request.stream():
            if budget:
                await budget.take(len(chunk))
            arrived += chunk
            if len(arrived) > most:
                raise too_long
    return bytes(arrived)
