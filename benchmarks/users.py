"""Many people move sliders at once: how fast the editor answers, and whether its memory grows.

Usage: python benchmarks/users.py MODEL [--users 50] [--seconds 60] [--quick]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from statistics import median, quantiles

# Seconds between two moves of a slider, on average.
PAUSE = 0.2


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


def move(host: str, number: int, until: float) -> list[float]:
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
            time.sleep(PAUSE * rng.uniform(0.5, 1.5))
    return times


def crowd(host: str, users: int, seconds: float) -> list[float]:
    """Seconds for each answer to any user."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(users) as pool:
        everyones = list(pool.map(lambda number: move(host, number, until), range(users)))
    return [seconds for times in everyones for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="2 users for a second")
    given = parser.parse_args()
    users, seconds, warm_up = (2, 1, 0.5) if given.quick else (given.users, given.seconds, 5)
    command = [sys.executable, "-m", "jacsup", "serve", given.model, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            words = server.stdout.readline().split()
            if len(words) < 5:
                sys.exit("the editor did not start; its error is above")
            host = words[4].removeprefix("http://")
            crowd(host, users, warm_up)
            before = memory_mib(server.pid)
            times = crowd(host, users, seconds)
            after = memory_mib(server.pid)
        finally:
            server.terminate()
    print(
        f"{users} users, {seconds:.0f} s: {len(times)} moves, none failed; answered in "
        f"{1000 * median(times):.0f} ms (median), {1000 * quantiles(times, n=20)[-1]:.0f} ms (95 %), "
        f"{1000 * max(times):.0f} ms (longest); memory {before:.0f} -> {after:.0f} MiB"
    )


if __name__ == "__main__":
    main()
