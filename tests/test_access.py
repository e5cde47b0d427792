"""Where browsers find the editor: names, proxies and paths, and what stays closed to other sites."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from known_models import unit_model
from served import Served, running, running_app, started

from jacsup.serve import application, server
from jacsup.serve.guard import Access
from jacsup.serve.server import choice, outside_address

ZEROS = {"units": [0, 0, 0]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unit_model(tmp_path_factory.mktemp("model") / "units.safetensors")


@pytest.fixture(scope="module")
def closed(model: Path) -> Iterator[Served]:
    with running(model) as served:
        yield served


@pytest.fixture(scope="module")
def editor(model: Path) -> Iterator[Served]:
    names = ("Example.org", "lab.example.net:8443")
    with running(model, allow_hosts=names, root_path="/tools/faces") as served:
        yield served


@pytest.mark.parametrize("host", ["example.org", "EXAMPLE.ORG:80", "lab.example.net", "localhost:8000", "127.0.0.1"])
def test_an_allowed_name_is_answered_to(host: str, editor: Served) -> None:
    assert editor.ask("/api/v1/model", host=host).status == 200
    assert editor.ask("/api/v1/decode", ZEROS, host=host, origin=f"http://{host}").status == 200


@pytest.mark.parametrize("host", ["evil.example", "example.org.evil.example", "sub.example.org", "192.168.0.7", "org"])
@pytest.mark.parametrize("path", ["/", "/tools/faces/", "/tools/faces/api/v1/model", "/nothing"])
def test_other_names_are_not_and_the_option_is_named(host: str, path: str, editor: Served) -> None:
    answer = editor.ask(path, host=host)
    assert answer.status == 421
    assert host in answer.json["error"] and "--allow-host" in answer.json["error"]


def test_no_name_is_allowed_by_itself(closed: Served) -> None:
    assert closed.ask("/", host="example.org").status == 421
    refused = closed.ask("/api/v1/decode", ZEROS, origin="https://example.org")
    assert refused.status == 403 and "--allow-host" in refused.json["error"]


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1:8000"])
def test_the_page_behind_a_proxy_may_use_the_editor(host: str, editor: Served) -> None:
    """A proxy may keep the Host header, or send its own name for the editor."""
    assert editor.ask("/api/v1/decode", ZEROS, host=host, origin="https://example.org").status == 200
    assert editor.ask("/api/v1/decode", ZEROS, host=host, origin="https://lab.example.net:8443").status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://example.org.evil.example",
        "https://example.org:8443",
        "https://lab.example.net",
        "http://localhost:3000",
        "http://127.0.0.1:1",
        "null",
        "",
    ],
)
@pytest.mark.parametrize("host", ["example.org", "127.0.0.1:8000"])
def test_other_pages_may_not(host: str, origin: str, editor: Served) -> None:
    answer = editor.ask("/api/v1/decode", ZEROS, host=host, origin=origin)
    assert answer.status == 403 and "--allow-host" in answer.json["error"]


def test_an_allowed_page_may_not_reach_past_its_proxy(editor: Served) -> None:
    fetched = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": "https://example.org"}
    assert editor.ask("/api/v1/decode", ZEROS, **fetched).status == 403


@pytest.mark.parametrize("prefix", ["", "/tools/faces"])
def test_below_a_path_which_the_proxy_may_remove(prefix: str, editor: Served) -> None:
    assert b"page.js" in editor.ask(f"{prefix}/").content
    assert editor.ask(f"{prefix}/page.js").status == editor.ask(f"{prefix}/api/v1/map").status == 200
    assert editor.ask(f"{prefix}/api/v1/decode", ZEROS).status == 200
    assert editor.ask(f"{prefix}/api/openapi.json").json["servers"] == [{"url": "v1"}]
    assert f"{editor.address}/tools/faces/api/v1/model" in editor.ask(f"{prefix}/api").content.decode()
    missing = editor.ask(f"{prefix}/nothing")
    assert missing.status == 404 and missing.json["error"].endswith("/tools/faces/")


def test_a_path_without_its_last_slash_leads_to_the_page(editor: Served) -> None:
    page = editor.ask("/tools/faces")
    assert page.content == editor.ask("/tools/faces/").content
    assert editor.ask("/tools/facesandmore").status == 404


def test_no_address_on_the_page_begins_at_the_root_or_names_a_host() -> None:
    for file in server.WEB.iterdir():
        text = file.read_text(encoding="utf-8")
        for quote in "\"'`(":
            assert not any(f"{quote}{start}" in text for start in ("/api", "/page", "http:", "https:")), file


def test_the_choice_of_models_below_a_path(monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
    monkeypatch.setattr(server, "application", lambda _name, *where, **options: application(model, *where, **options))
    with running_app(choice(root_path="/tools", allow_hosts=["example.org"])) as served:
        for prefix in ("", "/tools"):
            assert b"faces/" in served.ask(f"{prefix}/", host="example.org").content
            assert served.ask(f"{prefix}/faces/api/v1/model", host="example.org").json["kind"] == "units"
            assert f"{served.address}/tools/faces/api/v1/map" in served.ask(f"{prefix}/faces/api").content.decode()
        assert served.ask("/tools/faces/", host="evil.example").status == 421
    with pytest.raises(ValueError, match=r"^--root-path is '/faces'; the editor itself has a path /faces"):
        choice(root_path="/faces")


@pytest.mark.parametrize("name", ["https://example.org", "example.org/tools", "*", "*.org", "", "a b", "example.org:x"])
def test_what_is_no_host_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^--allow-host is '.*'; must be a host name, such as example.org"):
        Access(allow_hosts=(name,))


@pytest.mark.parametrize(
    "path", ["tools", "/tools?a", "/..", "/tools/../x", "/tools/", "//evil.example", "/a b", "https://example.org/x"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"^--root-path is '.*'; must be a path, such as /tools/faces"):
        Access(root_path=path)


def test_the_printed_address_is_one_that_others_can_use(model: Path) -> None:
    options = ("--host", "0.0.0.0", "--root-path", "/tools/faces/", "--allow-host", "a.example", "--no-browser")
    with started(*options, "--allow-host", "b.example", model) as address:
        host, _, path = address.removeprefix("http://").partition(":")
        assert host not in ("localhost", "0.0.0.0") and path.endswith("/tools/faces")
        served = Served(address)
        assert served.ask("/api/v1/model").status == 200
        for name, status in (("a.example", 200), ("b.example", 200), ("c.example", 421)):
            assert served.ask("/", host=name).status == status


def test_a_machine_without_a_network_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline(socket.socket):
        def connect(self, _address: object) -> None:
            raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", Offline)
    assert outside_address(socket.AF_INET) == socket.gethostname()
