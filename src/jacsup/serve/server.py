"""The editor in the browser: a page, a model, and photos that stay in memory for ten minutes.

The page sends a photo once. The server keeps its code and a preview, and decodes the code again for every move of a
slider. For a result at full resolution the page sends the photo again, because the server does not keep it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import webbrowser
from collections.abc import AsyncIterator, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import uvicorn
from anyio import create_task_group, sleep
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from jacsup.models import Autoencoder, ModelInfo
from jacsup.serve.api import PREFIX, Endpoint, Handler, openapi, reference
from jacsup.serve.connections import BoundedProtocol, raise_file_limit
from jacsup.serve.endpoints import endpoints_of, json_answer, text_answer
from jacsup.serve.guard import EVERY_ADDRESS, HEADERS, Access, guarding
from jacsup.serve.studio import AttributeStudio, open_studio

SECONDS_BETWEEN_FORGETTING = 30.0
WEB = files("jacsup.serve") / "web"
KINDS = {"css": "text/css", "html": "text/html", "js": "text/javascript"}
STYLE = "page.css"
PAGE = tuple(file.name for file in WEB.iterdir() if not file.name.endswith(".html"))
# The shipped models that `choice.html` offers.
OFFERED = ("photos", "faces")
# Addresses that are reserved for documentation.
ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


def serve(
    model: str | Path | Autoencoder | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    browser: bool = True,
    device: str = "cpu",
    info: ModelInfo | None = None,
    page: bool = True,
    allow_hosts: Sequence[str] = (),
    root_path: str = "",
) -> None:
    """Serve the editor of a model until interrupted.

    Args:
        model: What `jacsup.load` takes, or any model in eval mode; None offers the shipped models of faces.
        host: The address to listen on; 0.0.0.0 accepts connections from other machines.
        port: The port to listen on; 0 picks a free one.
        browser: Open the editor in a browser.
        device: Where to run a model that is loaded here: auto, cpu, cuda, cuda:N or mps.
        info: The model's factors; needed for a model that was not loaded from a file.
        page: Serve the page; False serves only the HTTP interface, and needs a model.
        allow_hosts: Other names under which browsers may reach it, such as that of a proxy.
        root_path: The path under which a proxy serves it, such as /tools/faces.

    Raises:
        ValueError: There is no such model, `info` is missing or describes another model, the port is taken, or
            `allow_hosts` or `root_path` is not valid.
    """
    if not page and model is None:
        raise ValueError("the HTTP interface without the page needs a model; pass one, such as photos")
    # One thread per request, so that requests share the cores and none is idle while an image is encoded.
    torch.set_num_threads(1)
    root_path = root_path.rstrip("/")
    where: dict[str, Any] = {"allow_hosts": allow_hosts, "root_path": root_path}
    app = (
        choice(host, device, **where)
        if model is None
        else application(model, host, device, info=info, page=page, **where)
    )
    with listening(host, port) as listener:
        everywhere, port = host in EVERY_ADDRESS, listener.getsockname()[1]
        path = f":{port}{root_path}"
        others = f"http://{_in_address(outside_address(listener.family) if everywhere else host)}{path}"
        print(f"the editor is at {others if page else others + '/api'} (press Ctrl-C to stop)", flush=True)
        if browser and page:
            # Without encryption, browsers allow the camera only on localhost.
            own = f"http://localhost{path}" if everywhere else others
            threading.Timer(0.5, webbrowser.open, [own]).start()
        raise_file_limit()
        settings: dict[str, Any] = {"log_level": "warning", "server_header": False, "timeout_keep_alive": 30}
        config = uvicorn.Config(app, http=BoundedProtocol, **settings)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run([listener])


def outside_address(family: socket.AddressFamily) -> str:
    """Return the address at which other machines reach this one, or its name if it has no network.

    Args:
        family: The kind of address.
    """
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # This sends nothing; it selects the address that the machine would use.
            probe.connect((ELSEWHERE[family], 9))
        except OSError:
            return socket.gethostname()
        return probe.getsockname()[0]


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; requests wait there until the server is ready.

    Args:
        host: The address to listen on.
        port: The port to listen on; 0 picks a free one.

    Raises:
        ValueError: The port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only for a socket that names its protocol does asyncio send small answers at once (TCP_NODELAY).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":
        # On other systems this would let two servers share a port.
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
    allow_hosts: Sequence[str] = (),
    root_path: str = "",
) -> Starlette:
    """Return the editor of a model as an ASGI application: its page, and its HTTP interface under /api.

    Args:
        model: What `jacsup.load` takes, or any model in eval mode.
        host: The name under which it may be reached, besides localhost; requests for other names are refused.
        device: Where to run a model that is loaded here: auto, cpu, cuda, cuda:N or mps.
        info: The model's factors; needed for a model that was not loaded from a file.
        page: Include the page; False gives only the HTTP interface.
        allow_hosts: Other such names, for example that of a proxy, with the port if the browser shows one.
        root_path: The path under which a proxy serves it, such as /tools/faces.

    Raises:
        ValueError: There is no such model, `info` is missing or describes another model, or `allow_hosts` or
            `root_path` is not valid.
    """
    access = Access(host, tuple(allow_hosts), root_path)
    studio = open_studio(model, device, info=info)
    description = studio.description()
    # With this, a page that was opened with another model notices the change.
    headers = HEADERS | {"X-Model": hashlib.sha256(json.dumps(description).encode()).hexdigest()[:16]}
    lifespan = partial(_forgetting, studio) if isinstance(studio, AttributeStudio) else None
    endpoints, name = endpoints_of(studio, description), description["name"]
    handlers = _files("page.html", PAGE) if page else _files(None, (STYLE,))
    handlers |= {f"{PREFIX}{each.path}": (each.method, each.handler) for each in endpoints}
    handlers["/api"] = "GET", partial(_reference, endpoints, name)
    handlers["/api/openapi.json"] = "GET", partial(json_answer, openapi(endpoints, name))
    return guarding(handlers, access, headers, lifespan)


def choice(
    host: str = "127.0.0.1", device: str = "cpu", *, allow_hosts: Sequence[str] = (), root_path: str = ""
) -> Starlette:
    """Return a page that offers the shipped models of faces, and their editors under it, as an ASGI application.

    Args:
        host: As for `application`.
        device: Where to run the models: auto, cpu, cuda, cuda:N or mps.
        allow_hosts: As for `application`.
        root_path: As for `application`.
    """
    access = Access(host, tuple(allow_hosts), root_path)
    editors = {name: application(name, host, device, allow_hosts=allow_hosts) for name in OFFERED}

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for editor in editors.values():
                await stack.enter_async_context(editor.router.lifespan_context(editor))
            yield

    mounts = [Mount(f"/{name}", editor) for name, editor in editors.items()]
    return guarding(_files("choice.html", (STYLE,)), access, HEADERS, lifespan, mounts)


def _files(page: str | None, others: Sequence[str]) -> dict[str, tuple[str, Handler]]:
    """The handlers for a page, if there is one, and for the files that it needs, by path."""
    paths = {f"/{name}": name for name in others} | ({"/": page} if page else {})
    return {path: ("GET", partial(_file, name)) for path, name in paths.items()}


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


async def _file(name: str, request: Request) -> Response:
    return text_answer(request, (WEB / name).read_bytes(), KINDS[name.rpartition(".")[2]])


async def _reference(endpoints: Sequence[Endpoint], name: str, request: Request) -> Response:
    address = f"{request.url.scheme}://{request.url.netloc}{request.scope['root_path']}"
    return Response(reference(endpoints, name, address), media_type="text/html")
