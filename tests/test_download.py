from __future__ import annotations

import gc
import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from jacsup.config import MNIST
from jacsup.data import find_download, load_dataset, mnist, svhn
from jacsup.data.download import Download, download

# pooch leaves the connection of a failed download to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

# Two tiny files stand for a data set.
FILES = {"a.gz": b"first file", "b.mat": b"second file" * 1000}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@dataclass
class Server:
    """Serves `content` by path, and remembers which paths were asked for."""

    tiny: Download
    content: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    breaks_off: bool = False


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server(tiny=Download(name="tiny", url="", files={}), content=dict(FILES))
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(variable, "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            state.asked.append(name)
            if name not in state.content:
                self.send_error(404)
                return
            content = state.content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if state.breaks_off else content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        known = {name: md5(content) for name, content in FILES.items()}
        state.tiny = Download(name="tiny", url=f"http://127.0.0.1:{listening.server_port}/", files=known)
        yield state
        listening.shutdown()
        thread.join()
    gc.collect()


def refusal(server: Server, root: Path, **options: str) -> str:
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as caught:
        download(server.tiny, root, **options)
    message = str(caught.value)
    assert "could not download http://127.0.0.1:" in message
    assert f"put the file into {root} by hand, or pass the folder that has it as --data-root" in message
    return message


def found(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()} if root.exists() else {}


def test_files_are_fetched_into_a_new_folder_and_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "new" / "tiny"
    download(server.tiny, root)
    assert found(root) == FILES
    assert server.asked == list(FILES)
    download(server.tiny, root)
    assert server.asked == list(FILES)


def test_only_the_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(FILES["a.gz"])
    (tmp_path / "b.mat").write_bytes(b"damaged")
    download(server.tiny, tmp_path)
    assert found(tmp_path) == FILES
    assert server.asked == ["b.mat"]


def test_a_mirror_is_asked_instead(server: Server, tmp_path: Path) -> None:
    server.content = {f"mirror/{name}": content for name, content in FILES.items()}
    elsewhere = replace(server.tiny, url="http://127.0.0.1:9/nowhere/")
    download(elsewhere, tmp_path, base_url=f"{server.tiny.url}mirror/")
    assert found(tmp_path) == FILES


def test_other_content_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.content["b.mat"] = b"<html>please log in</html>"
    message = refusal(server, tmp_path)
    assert md5(FILES["b.mat"]) in message
    assert md5(server.content["b.mat"]) in message
    assert found(tmp_path) == {"a.gz": FILES["a.gz"]}


def test_a_transfer_that_breaks_off_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.breaks_off = True
    assert "a.gz" in refusal(server, tmp_path)
    assert found(tmp_path) == {}
    server.breaks_off = False
    download(server.tiny, tmp_path)
    assert found(tmp_path) == FILES


def test_a_file_that_the_server_lacks_is_named(server: Server, tmp_path: Path) -> None:
    del server.content["b.mat"]
    message = refusal(server, tmp_path)
    assert f"{server.tiny.url}b.mat" in message
    assert "404" in message
    assert found(tmp_path) == {"a.gz": FILES["a.gz"]}


def test_a_server_that_does_not_listen_is_named(server: Server, tmp_path: Path) -> None:
    with socket.socket() as bound_only:
        bound_only.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound_only.getsockname()[1]}/"
        assert f"could not download {url}a.gz" in refusal(server, tmp_path, base_url=url)
    assert found(tmp_path) == {}


def test_an_unknown_data_set_is_answered_with_the_closest_name() -> None:
    with pytest.raises(ValueError, match="no download called 'mnits'; did you mean 'mnist'"):
        find_download("mnits")


def test_public_sources_name_the_files_that_the_readers_look_for() -> None:
    for module, packing in ((mnist, ".gz"), (svhn, "")):
        source = module.DOWNLOAD
        assert find_download(source.name) is source
        assert list(source.files) == [f"{file.name}{packing}" for file in module.FILES]
        assert source.url.endswith("/")
        assert all(len(sum_) == 32 for sum_ in source.files.values())


def test_without_a_data_root_mnist_is_downloaded_once_into_the_cache(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = {}
    for number, file in enumerate(mnist.FILES):
        name = file.name
        shape = (3, 28, 28) if "images" in name else (3,)
        header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        unpacked[name] = header + np.full(shape, number, np.uint8).tobytes()
    server.content = {f"{name}.gz": gzip.compress(content) for name, content in unpacked.items()}
    packed = {name: md5(content) for name, content in server.content.items()}
    monkeypatch.setattr(mnist, "DOWNLOAD", Download(name="mnist", url=server.tiny.url, files=packed))
    monkeypatch.setenv("JACSUP_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        data = load_dataset(MNIST(), None)
        assert data.config == MNIST()
        assert data.image_shape == (1, 28, 28)
        assert [int(part.max()) for part in (data.train.images, data.test.images)] == [0, 2]
    assert server.asked == list(server.content)
    assert found(tmp_path / "cache" / "mnist") == server.content
