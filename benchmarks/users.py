"""Many people move sliders at once: how fast the editor answers, and whether its memory grows.

Usage: python benchmarks/users.py MODEL [--users 50] [--pause 0.2] [--seconds 60] [--idle 0] [--slow 0] [--quick]
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

# From where those connect that only burden the editor; it bounds what one address may have.
ELSEWHERE = "127.0.0.2"
UPLOAD = b"POST /api/v1/photo HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n"


def memory_mib(process: int) -> float:
    """Resident memory of a process."""
    fields = Path(f"/proc/{process}/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 2**10


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    """The content of the response; RuntimeError unless it is a success."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
    return content


@contextmanager
def burden(host: str, idle: int, slow: int) -> Iterator[None]:
    """Connections that say nothing, and uploads of a byte a second; those that the editor ends are made anew."""
    name, _, port = host.partition(":")
    ended = threading.Event()

    def hold(first: bytes, more: bytes) -> None:
        while not ended.is_set():
            with suppress(OSError), socket.create_connection((name, int(port)), 5, (ELSEWHERE, 0)) as connection:
                connection.sendall(first)
                connection.settimeout(1)
                while not ended.is_set():
                    connection.sendall(more)
                    with suppress(TimeoutError):
                        if not connection.recv(1024):
                            break
            ended.wait(1)

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(max(1, idle + slow)))
        stack.callback(ended.set)
        for number in range(idle + slow):
            pool.submit(hold, *((b"", b"") if number < idle else (UPLOAD, b"x")))
        yield


def move(host: str, number: int, until: float, pause: float) -> list[float]:
    """One user opens a face and moves one slider after the other; seconds for each answer."""
    rng, times = random.Random(number), []
    with closing(HTTPConnection(host, timeout=30)) as connection:
        factors = json.loads(ask(connection, "GET", "/api/v1/model"))["factors"]
        names = [factor["name"] for factor in factors if factor["learned"]]
        opened = ask(connection, "POST", f"/api/v1/photo?start={rng.randrange(8)}", b"")
        session = json.loads(opened)["session"]
        while time.monotonic() < until:
            asked = {"session": session, "strengths": {rng.choice(names): rng.uniform(-2, 2)}, "detail": 0.5}
            start = time.perf_counter()
            ask(connection, "POST", "/api/v1/edit", json.dumps(asked).encode())
            times.append(time.perf_counter() - start)
            time.sleep(pause * rng.uniform(0.5, 1.5))
    return times


def crowd(host: str, users: int, seconds: float, pause: float) -> list[float]:
    """Seconds for each answer to any user."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(users) as pool:
        everyones = list(pool.map(lambda number: move(host, number, until, pause), range(users)))
    return [seconds for times in everyones for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--pause", type=float, default=0.2, help="seconds between two moves of a user, on average")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--idle", type=int, default=0, help="connections beside them that say nothing")
    parser.add_argument("--slow", type=int, default=0, help="uploads beside them of a byte a second")
    parser.add_argument("--quick", action="store_true", help="2 users for a second")
    given = parser.parse_args()
    users, seconds, warm_up = (2, 1, 0.5) if given.quick else (given.users, given.seconds, 5 * given.pause + 5)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    command = [sys.executable, "-m", "jacsup", "serve", given.model, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            words = server.stdout.readline().split()
            if len(words) < 5:
                sys.exit("the editor did not start; its error is above")
            host = words[4].removeprefix("http://")
            with burden(host, given.idle, given.slow):
                # Once everyone has opened a photo.
                memory = list[float]()
                threading.Timer(warm_up, lambda: memory.append(memory_mib(server.pid))).start()
                times = crowd(host, users, seconds, given.pause)
                memory.append(memory_mib(server.pid))
        finally:
            server.terminate()
    shares = [1000 * share for share in quantiles(times, n=100, method="inclusive")]
    print(
        f"{users} users, {seconds:.0f} s: {len(times)} moves, none failed; answered in "
        f"{1000 * median(times):.0f} ms (median), {shares[94]:.0f} ms (95 %), {shares[98]:.0f} ms (99 %), "
        f"{1000 * max(times):.0f} ms (longest); memory {memory[0]:.0f} -> {memory[1]:.0f} MiB"
    )


if __name__ == "__main__":
    main()
