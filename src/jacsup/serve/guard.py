"""The guard of all endpoints: it refuses pages of other sites, reports errors in one line, and handles a root path."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from jacsup.serve.api import Handler
from jacsup.serve.sessions import ForgottenError

EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 (compared with what the user asks for)
HOST_NAME = r"([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?"
ROOT_PATH = r"(/[A-Za-z0-9_~@+-][A-Za-z0-9._~@+-]*)*"
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RefusedError(Exception):
    """A request that is refused with a status and a message of one line."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Access:
    """The addresses at which browsers may reach the editor.

    Attributes:
        host: The address it listens on.
        allow_hosts: Other names, with the port that a browser shows, if any.
        root_path: The path under which a proxy serves it; empty for none.

    Raises:
        ValueError: A name or the path is not valid.
    """

    host: str = "127.0.0.1"
    allow_hosts: tuple[str, ...] = ()
    root_path: str = ""

    def __post_init__(self) -> None:
        for name in self.allow_hosts:
            if not re.fullmatch(HOST_NAME, name.lower()):
                raise ValueError(
                    f"--allow-host is '{name}'; must be a host name, such as example.org or example.org:8443"
                )
        if not re.fullmatch(ROOT_PATH, self.root_path):
            raise ValueError(f"--root-path is '{self.root_path}'; must be a path, such as /tools/faces")

    def is_own(self, name: str) -> bool:
        """Return whether the editor answers to this host name, in lower case and without a port."""
        host = self.host.lower()
        own = {"localhost", "127.0.0.1", "[::1]", host, f"[{host}]", *map(_without_port, self.origins)}
        return name in own or (host in EVERY_ADDRESS and (_is_address(name) or name == socket.gethostname().lower()))

    @property
    def origins(self) -> list[str]:
        """The allowed hosts, with ports, of its pages, independent of the Host header that a proxy sends."""
        return [name.lower() for name in self.allow_hosts]


def guarding(
    handlers: dict[str, tuple[str, Handler]],
    access: Access,
    headers: dict[str, str],
    lifespan: Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]] | None,
    mounts: Sequence[Mount] = (),
) -> Starlette:
    """Return an application that guards its handlers, and answers every other path with one line.

    Args:
        handlers: Method and handler of each path.
        access: Where browsers may reach it.
        headers: The headers of every answer.
        lifespan: A context that is entered while the application runs.
        mounts: Other applications, which guard themselves.

    Raises:
        ValueError: The root path is one of the application's own paths.
    """
    routes = [
        Route(path, partial(_guarded, partial(_of_method, method, handler), access, headers), methods=EVERY_METHOD)
        for path, (method, handler) in handlers.items()
    ]
    taken = {route.path.split("/")[1] for route in [*routes, *mounts]}
    first = access.root_path.partition("/")[2].partition("/")[0]
    if first and first in taken:
        raise ValueError(f"--root-path is '{access.root_path}'; the editor itself has a path /{first}; choose another")
    others = Route("/{path:path}", partial(_guarded, _nothing, access, headers), methods=EVERY_METHOD)
    below = [Middleware(_BelowPath, access.root_path)] if access.root_path else []
    return Starlette(lifespan=lifespan, routes=[*routes, *mounts, others], middleware=below)


class _BelowPath:
    """An application under a path, which a proxy may have removed from requests."""

    def __init__(self, app: ASGIApp, path: str):
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked: str = scope["path"]
            if asked == self._path:
                # Relative, because only the browser knows the name under which it has reached the editor.
                to_page = Response(status_code=307, headers=HEADERS | {"Location": f"{asked.rpartition('/')[2]}/"})
                await to_page(scope, receive, send)
                return
            path = asked if asked.startswith(f"{self._path}/") else self._path + asked
            scope = {**scope, "path": path, "root_path": self._path}
        await self._app(scope, receive, send)


async def _of_method(method: str, handler: Handler, request: Request) -> Response:
    if request.method not in (method, *(("HEAD",) if method == "GET" else ())):
        raise RefusedError(405, f"{request.url.path} does not accept {request.method}; use {method}")
    return await handler(request)


async def _guarded(handler: Handler, access: Access, headers: dict[str, str], request: Request) -> Response:
    """The handler's response, or an error of one line; requests from other sites' pages are refused."""
    try:
        _require_own_page(request, access)
        response = await handler(request)
    except RefusedError as error:
        response = _error(str(error), error.status)
    except ForgottenError as error:
        response = _error(str(error), 410)
    except ValueError as error:
        response = _error(str(error), 400)
    except Exception:
        logging.getLogger("jacsup").exception("a request failed")
        response = _error("internal error; see the terminal for details", 500)
    response.headers.update(headers)
    return response


def _error(message: str, status: int) -> Response:
    # A message may quote the request. JSON may contain half a character, which cannot be encoded.
    words = " ".join(message.encode("utf-8", "replace").decode().split())
    return JSONResponse({"error": words}, status)


def _require_own_page(request: Request, access: Access) -> None:
    """Refuse requests from other sites, by the Host, Origin and Sec-Fetch headers."""
    asked = request.headers.get("host", "").lower()
    name = _without_port(asked)
    if not access.is_own(name):
        answers = "open the address that it printed, or start it with --allow-host NAME to allow this name"
        raise RefusedError(421, f"this editor does not answer to '{name:.100}'; {answers}")
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() not in (asked, *access.origins):
        hint = "if this is the editor's own page behind a proxy, start the editor with --allow-host and the page's host"
        raise RefusedError(403, f"pages of other sites may not use this editor; {hint}")
    # Requests for images and scripts that another site embeds have no origin. A link to the page is harmless.
    fetched = request.headers.get("sec-fetch-site", "none"), request.headers.get("sec-fetch-mode")
    if fetched[0] not in ("none", "same-origin") and fetched[1] != "navigate":
        raise RefusedError(403, "pages of other sites may not use this editor")


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return name if port.isdigit() else host


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _nothing(request: Request) -> Response:
    raise RefusedError(404, f"not found; open the editor's page at {request.scope['root_path']}/")
