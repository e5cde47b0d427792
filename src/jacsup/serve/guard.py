"""What stands before every endpoint: other sites' pages are refused, and errors become one line."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_address

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from jacsup.serve.api import Handler
from jacsup.serve.sessions import ForgottenError

EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
EVERY_ADDRESS = ("0.0.0.0", "::")
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class RefusedError(Exception):
    """A request that is refused with a status and one line."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


def guarding(
    handlers: dict[str, tuple[str, Handler]],
    host: str,
    headers: dict[str, str],
    lifespan: Callable[[Starlette], contextlib.AbstractAsyncContextManager[None]] | None,
    mounts: Sequence[Mount] = (),
) -> Starlette:
    """Return an application that guards its handlers, and answers every other path with one line.

    Args:
        handlers: method and handler of each path.
        host: the address it listens on.
        headers: the headers of every answer.
        lifespan: what runs beside it.
        mounts: further applications, which guard themselves.
    """
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


async def _nothing(_request: Request) -> Response:
    raise RefusedError(404, "not found; open the editor's page at /")
