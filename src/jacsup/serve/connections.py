"""Limits on the editor's connections and uploads, so that sockets and memory suffice."""

from __future__ import annotations

import asyncio
from typing import Any

from anyio import Event
from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ModuleNotFoundError:
    # Windows has none, and counts connections apart from files.
    resource = None

# Files that the process may have open if the machine allows it, and those of them that are not connections.
MOST_FILES = 8192
OTHER_FILES = 128
# A connection without a request within this time is closed.
SECONDS_TO_REQUEST = 10.0
# The share of all connections that one address may have.
SHARE_OF_AN_ADDRESS = 0.5


def raise_file_limit() -> None:
    """Allow as many open files as the machine does, up to MOST_FILES."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Return the number of connections for which the process has enough files."""
    allowed = MOST_FILES if resource is None else min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST_FILES)
    return max(1, allowed - OTHER_FILES)


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which refuses connections beyond the limits and closes silent ones."""

    _until_request: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it at once."""
        most, others = most_connections(), list[Any](self.connections)
        address = (transport.get_extra_info("peername") or ("",))[0]
        of_address = sum(bool(other.client) and other.client[0] == address for other in others)
        if len(others) >= most or of_address >= most * SHARE_OF_AN_ADDRESS:
            transport.abort()
            return
        super().connection_made(transport)
        self._until_request = self.loop.call_later(SECONDS_TO_REQUEST, self._close_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection, unless it was refused."""
        if self._until_request:
            self._until_request.cancel()
            super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        # The scope is set by the header of the first request.
        if self.scope is None:
            self.transport.abort()


class Budget:
    """A number of bytes for uploads in memory. A request for more waits until others have given theirs back."""

    def __init__(self, most: int):
        self._left, self._freed = most, Event()

    async def take(self, count: int) -> None:
        """Wait until `count` bytes are left, and take them."""
        while self._left < count:
            await self._freed.wait()
        self._left -= count

    def give_back(self, count: int) -> None:
        """Give back `count` bytes."""
        self._left += count
        self._freed.set()
        self._freed = Event()
