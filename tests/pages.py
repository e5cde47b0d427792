"""What a report's page shows, as its text has it and as a browser does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PHONE = {"width": 390, "height": 844}


def images_of(page: Path) -> set[str]:
    """Names of the images that are described."""
    return set(re.findall(r'<img src="([^"]+)" alt="[^"]{20,}"', page.read_text()))


def check_on_a_phone(page_file: Path) -> None:
    """Every image is shown, nothing is wider than the screen, and nothing comes from elsewhere."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    requests: list[str] = []
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        page = browser.new_page(viewport=PHONE)
        page.on("request", lambda request: requests.append(request.url))
        page.goto(page_file.as_uri())
        widths = page.evaluate("Array.from(document.images, image => image.naturalWidth)")
        overflow = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert len(widths) == len(images_of(page_file))
    assert min(widths) > 0
    assert overflow <= PHONE["width"]
    assert len(requests) > len(widths)
    assert all(url.startswith("file://") for url in requests)
