"""An editor that runs while a test asks it things."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from PIL import Image
from starlette.applications import Starlette

from jacsup.models import Autoencoder
from jacsup.serve import application
from jacsup.serve.connections import BoundedProtocol

if TYPE_CHECKING:
    from playwright.sync_api import Page


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.content)

    @property
    def image(self) -> Image.Image:
        return Image.open(io.BytesIO(self.content))


@dataclass(frozen=True)
class Served:
    address: str

    def ask(self, path: str, body: bytes | dict[str, Any] | None = None, **headers: str) -> Answer:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        request = urllib.request.Request(
            self.address + path, content, {name.replace("_", "-").title(): headers[name] for name in headers}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())


def slide(page: Page, slider: str, value: float) -> None:
    """A hand that moves a slider."""
    page.locator(slider).evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value
    )


@contextlib.contextmanager
def running(model: Path | Autoencoder, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Served]:
    with running_app(application(model, host, **options), port) as served:
        yield served


@contextlib.contextmanager
def running_app(app: Starlette, port: int = 0) -> Iterator[Served]:
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", http=BoundedProtocol)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def started(*arguments: str | Path) -> Iterator[str]:
    """The address that `jacsup serve` prints; Ctrl-C, which is no failure, ends it."""
    command = [sys.executable, "-m", "jacsup", "serve", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        try:
            yield process.stdout.readline().split()[4]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0 and process.stderr.read() == ""
