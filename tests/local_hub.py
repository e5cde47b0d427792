"""A server that answers as the Hugging Face Hub does to what this package asks, and keeps what it is sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class LocalHub:
    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    private: bool = False


@contextlib.contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def file(self, *, body: bool) -> None:
            hub.asked.append(self.path)
            # /owner/name/resolve/revision/path
            _, owner, name, _, _, path = self.path.split("/", 5)
            content = hub.files.get(f"{owner}/{name}/{path}")
            if content is None:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
                return
            etag = hashlib.sha256(content).hexdigest()
            self.answer(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, body=body)

        def do_HEAD(self) -> None:
            self.file(body=False)

        def do_GET(self) -> None:
            if self.path.startswith("/api/models/"):
                repository = {"id": self.path.removeprefix("/api/models/"), "private": hub.private}
                self.answer(200, json.dumps(repository).encode(), {"Content-Type": "application/json"})
                return
            self.file(body=True)

        def do_POST(self) -> None:
            hub.asked.append(self.path)
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            answer: dict[str, Any] = {}
            if self.path == "/api/repos/create":
                hub.created.append(json.loads(sent))
                made = hub.created[-1]
                answer = {"url": f"{hub.address}/{made['organization']}/{made['name']}"}
            elif "/preupload/" in self.path:
                asked = json.loads(sent)["files"]
                answer = {
                    "files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked]
                }
            elif "/commit/" in self.path:
                repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
                for line in map(json.loads, sent.splitlines()):
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.files[f"{repository}/{line['value']['path']}"] = content
                answer = {"commitUrl": f"{hub.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT}
            self.answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
