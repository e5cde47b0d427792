"""Pictures of the editor and of drawn faces for the documents: python docs/screenshots.py [FACES UNITS RUN].

RUN is a run of drawn faces with a teacher and a student, as `jacsup train faces-mini` makes it.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from served import Served, running, slide

from jacsup.data.drawn.faces import render, sample
from jacsup.serve.answers import image_of

IMAGES = Path(__file__).parent / "images"
# Attribute -> the drawn face on which it is swept.
SWEEPS = {"Smiling": 3, "Eyeglasses": 0, "Blond_Hair": 2, "Wearing_Hat": 7}
DESK, PHONE = {"width": 1200, "height": 820}, {"width": 390, "height": 844}


@contextmanager
def opened(browser: Browser, address: str, ready: str, **options: Any) -> Iterator[Page]:
    page = browser.new_context(**{"viewport": DESK, "bypass_csp": True, **options}).new_page()
    page.goto(address)
    page.wait_for_selector(f"{ready}[aria-busy=false]")
    yield page
    page.context.close()


def move(page: Page, **strengths: float) -> None:
    for name, value in strengths.items():
        slide(page, f"#factor-{name}", value)


def take(page: Page, name: str) -> None:
    page.wait_for_timeout(700)
    page.screenshot(path=IMAGES / f"{name}.png")


def take_photos(browser: Browser, address: str) -> None:
    with opened(browser, address, "#stage") as page:
        move(page, Mouth_Slightly_Open=-1)
        page.wait_for_timeout(700)
        move(page, Blond_Hair=1)
        slide(page, "#compare", 50)
        take(page, "editor-photos")


def take_faces(browser: Browser, address: str) -> None:
    stage = "#stage"
    with opened(browser, f"{address}/#*start=3", stage) as page:
        move(page, Black_Hair=1.5)
        slide(page, "#compare", 50)
        take(page, "editor")
        page.click("[aria-label='Sweep Smiling']")
        page.wait_for_selector("#strip:visible")
        slide(page, "#compare", 0)
        take(page, "editor-sweep")
    with opened(browser, f"{address}/#*start=2", stage, color_scheme="dark") as page:
        page.fill("#search", "hair")
        move(page, Blond_Hair=1.5)
        take(page, "editor-dark")
    with opened(browser, f"{address}/#*start=6", stage, viewport=PHONE, device_scale_factor=1.5) as page:
        move(page, Eyeglasses=1.5, Black_Hair=1.5)
        page.locator(".row[data-name=Bangs]").scroll_into_view_if_needed()
        take(page, "editor-phone")
    with opened(browser, address, stage) as page, tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "noise.png"
        pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((400, 400), Image.Resampling.NEAREST).save(noise)
        page.set_input_files("#file", noise)
        page.wait_for_function("document.getElementById('warnings').textContent !== ''")
        take(page, "editor-unlike")


def take_comparison(browser: Browser, address: str) -> None:
    with opened(browser, f"{address}/#*start=3", "#stage") as page:
        page.check("#beside")
        move(page, Blond_Hair=1.5)
        page.wait_for_selector("#views[aria-busy=false]")
        take(page, "editor-truth")


def take_sweeps(served: Served) -> None:
    for name, start in SWEEPS.items():
        session = served.ask(f"/api/v1/photo?start={start}", b"").json["session"]
        moving = served.ask("/api/v1/animation", {"session": session, "name": name}).content
        (IMAGES / f"sweep-{name}.gif").write_bytes(moving)


def draw_faces() -> None:
    """64 faces in 8 rows."""
    faces = render(*sample(64, seed=0), 96)
    image_of(faces.unflatten(0, (8, 8)).permute(2, 0, 3, 1, 4).reshape(3, 768, 768)).save(IMAGES / "faces.png")


def main(faces: str = "faces", units: str = "mnist", run: str = "runs/faces-mini") -> None:
    draw_faces()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with running(Path("photos")) as served:
            take_photos(browser, served.address)
        with running(Path(faces)) as served:
            take_faces(browser, served.address)
            take_sweeps(served)
        with running(Path(run)) as served:
            take_comparison(browser, served.address)
        with running(Path(units)) as served, opened(browser, served.address, "#decoded") as page:
            page.click("#pad", position={"x": 70, "y": 200})
            take(page, "editor-units")
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
