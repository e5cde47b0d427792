"""The editor in a browser: from a moved slider to its picture, and until a face can be edited on a slow network.

Usage: python benchmarks/page.py MODEL [--moves 100] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from statistics import median, quantiles

from playwright.sync_api import Page, sync_playwright

# A slow mobile network: bytes a second each way, and milliseconds until an answer begins.
SLOW = {"downloadThroughput": 50_000, "uploadThroughput": 50_000, "latency": 400, "offline": False}
MOVE = """strength => new Promise(resolve => {
  const slider = document.querySelector('.row input[id^=factor-]'), result = document.getElementById('result');
  const started = performance.now();
  result.addEventListener('load', () => resolve(performance.now() - started), { once: true });
  slider.value = strength;
  slider.dispatchEvent(new Event('input')); })"""


def moved(page: Page, moves: int) -> list[float]:
    """Milliseconds from each move of a slider to its picture."""
    page.wait_for_timeout(1000)
    times = []
    for number in range(moves):
        times.append(page.evaluate(MOVE, 0.4 + 0.015 * (number % 100)))
        page.wait_for_timeout(60)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--moves", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="a few moves, to see that it works")
    options = parser.parse_args()
    command = [sys.executable, "-m", "jacsup", "serve", options.model, "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        assert server.stdout
        address = server.stdout.readline().split()[4]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(bypass_csp=True)
        page.goto(address)
        page.wait_for_selector("#stage.full")
        times = moved(page, 5 if options.quick else options.moves)
        print(f"slider to picture: median {median(times):.0f} ms, 95 % below {quantiles(times, n=20)[-1]:.0f} ms")
        page = browser.new_page()
        page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", SLOW)
        page.goto(address, wait_until="commit")
        page.wait_for_selector("#stage.full", timeout=60_000)
        ready = page.evaluate("performance.now()") / 1000
        print(f"ready at {SLOW['downloadThroughput'] // 1000} kB/s and {SLOW['latency']} ms: {ready:.1f} s")
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
