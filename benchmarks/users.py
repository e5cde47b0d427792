"""Many people move sliders at once: how fast the editor answers, and whether its memory grows.

Usage: python benchmarks/users.py MODEL [--users 50] [--seconds 60]
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

# A hand that moves a slider waits as long for each picture.
PAUSE = 0.2


def memory_mib(process: int) -> float:
    """What a process holds in memory."""
    fields = Path(f"/proc/{process}/status").read_text().split()
    return int(fields[fields.index("VmRSS:") + 1]) / 2**10


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    """The answer's content; anything but success is an error."""
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {content[:200]!r}")
    return content


def move(host: str, number: int, until: float) -> list[float]:
    """One user: a face, then one slider after the other; seconds for each answer."""
    rng, times = random.Random(number), []
    with closing(HTTPConnection(host, timeout=30)) as connection:
        factors = json.loads(ask(connection, "GET", "/model"))["factors"]
        names = [factor["name"] for factor in factors if factor["learned"]]
        face = ask(connection, "GET", f"/starts/{rng.randrange(8)}")
        session = json.loads(ask(connection, "POST", "/photo", face))["session"]
        while time.monotonic() < until:
            asked = {"session": session, "strengths": {rng.choice(names): rng.uniform(-2, 2)}, "detail": 0.5}
            start = time.perf_counter()
            ask(connection, "POST", "/edit", json.dumps(asked).encode())
            times.append(time.perf_counter() - start)
            time.sleep(PAUSE * rng.uniform(0.5, 1.5))
    return times


def crowd(host: str, users: int, seconds: float) -> list[float]:
    """All users' times."""
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(users) as pool:
        everyones = list(pool.map(lambda number: move(host, number, until), range(users)))
    return [seconds for times in everyones for seconds in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    command = [sys.executable, "-m", "jacsup", "serve", given.model, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        try:
            host = server.stdout.readline().split()[4].removeprefix("http://")
            crowd(host, given.users, 5)
            before = memory_mib(server.pid)
            times = crowd(host, given.users, given.seconds)
            after = memory_mib(server.pid)
        finally:
            server.terminate()
    print(
        f"{given.users} users, {given.seconds:.0f} s: {len(times)} moves, none failed; answered in "
        f"{1000 * median(times):.0f} ms (median), {1000 * quantiles(times, n=20)[-1]:.0f} ms (95 %), "
        f"{1000 * max(times):.0f} ms (longest); memory {before:.0f} -> {after:.0f} MiB"
    )


if __name__ == "__main__":
    main()
