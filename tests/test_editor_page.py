"""The editor's page as people use it, in a real browser."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from known_models import attribute_model, attribute_run, exact_attribute_model, residual_unit_model, unit_model
from PIL import Image
from served import Served, running, slide

from jacsup import edit
from jacsup.align import Similarity
from jacsup.config import Digits, Faces

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
# What an image shows, whatever its address.
DIGEST = """async id => { const bytes = await (await fetch(document.getElementById(id).src)).arrayBuffer();
  return [...new Uint8Array(bytes)].reduce((sum, byte) => (sum * 31 + byte) % 1000003, 7); }"""


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    model = attribute_model(tmp_path_factory.mktemp("model") / "drawn.safetensors", Faces(size=32, num_images=100))
    with running(model) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", *camera]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, editor: Served) -> Iterator[Page]:
    """The editor with the first drawn face opened; every error on the page fails the test."""
    yield from opened(browser, editor.address)


def opened(browser: Browser, address: str, ready: str = "#stage.full", **options: Any) -> Iterator[Page]:
    # wait_for_function evaluates strings, which the page's own policy forbids.
    context = browser.new_context(bypass_csp=True, **options)
    page, wrong, hosts = context.new_page(), list[str](), set[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: hosts.add(request.url.partition("://")[2].partition("/")[0]))
    page.goto(address)
    page.wait_for_selector(ready)
    page.wait_for_function("document.images.length && [...document.images].every(image => image.complete)")
    yield page
    assert not wrong
    assert {host for host in hosts if ":" in host} == {address.partition("://")[2].partition("/")[0]}
    context.close()


def photo(folder: Path, name: str = "photo.png", seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((200, 150)).save(folder / name)
    return folder / name


def settled(page: Page, area: str = "stage", image: str = "result") -> int:
    """What the result shows once nothing is on its way any more."""
    page.wait_for_selector(f"#{area}[aria-busy=false]")
    return page.evaluate(DIGEST, image)


def wait_for_another(page: Page, own: int) -> None:
    """Until the result is another picture; wait_for_function takes a promise for an answer."""
    for _ in range(100):
        if page.evaluate(DIGEST, "result") != own:
            return
        page.wait_for_timeout(100)
    raise AssertionError("the picture did not change")


def move(page: Page, name: str, value: float) -> None:
    slide(page, f"#factor-{name}", value)


def test_the_page_keeps_its_own_policy(browser: Browser, editor: Served) -> None:
    page, told = browser.new_page(), list[str]()
    page.on("console", lambda message: told.append(message.text))
    page.goto(editor.address)
    page.wait_for_selector("#stage.full")
    move(page, "Smiling", 2)
    page.click("[aria-label='Sweep Smiling']")
    page.wait_for_selector("#strip:visible")
    page.close()
    assert not told


@pytest.mark.parametrize("removed", [True, False])
def test_it_works_below_a_path_which_the_proxy_may_remove(removed: bool, browser: Browser, tmp_path: Path) -> None:
    model = attribute_model(tmp_path / "drawn.safetensors", Faces(size=32, num_images=100))
    with running(model, root_path="/tools/faces") as served:
        context = browser.new_context(bypass_csp=True)
        if removed:
            below = "**/tools/faces/**"
            context.route(below, lambda route: route.continue_(url=route.request.url.replace("/tools/faces/", "/")))
        page, failed = context.new_page(), list[str]()
        page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
        page.on("request", lambda request: failed.append(request.url) if "/tools/faces/" not in request.url else None)
        page.goto(f"{served.address}/tools/faces/")
        page.wait_for_selector("#stage.full")
        own = settled(page)
        move(page, "Smiling", 2)
        assert settled(page) != own
        context.close()
    assert [url for url in failed if url.startswith("http")] == []


def test_it_opens_on_a_drawn_face_and_says_what_it_knows(page: Page) -> None:
    assert "drawn faces only" in page.inner_text("#note")
    assert page.locator("#starts button").count() == 8
    assert "Not learned" in page.inner_text(".row[data-name=Blurry]")
    assert page.locator(".row[data-name=Smiling] .mark.own").count() == 1
    assert page.locator("input:not([id]):not([aria-label])").count() == 0


def test_sliders_change_the_picture_and_reset_brings_it_back(page: Page) -> None:
    own = settled(page)
    move(page, "Smiling", 2)
    smiling = settled(page)
    assert smiling != own and page.locator(".row.changed").all_inner_texts()[0].startswith("Smiling")
    move(page, "Bald", 2)
    assert settled(page) != smiling
    # What Bald excludes is switched off, and says so.
    assert float(page.input_value("#factor-Blond_Hair")) == pytest.approx(-1, abs=0.03)
    assert "excluded by Bald" in str(page.get_attribute("#factor-Blond_Hair", "aria-valuetext"))
    assert page.get_attribute("label[for=factor-Blond_Hair]", "data-why") == "excluded by Bald"
    page.dblclick("#factor-Bald")
    assert settled(page) == smiling and page.get_attribute("label[for=factor-Blond_Hair]", "data-why") == ""
    move(page, "Bald", 2)
    page.click("[aria-label='Reset Bald']")
    assert settled(page) == smiling and page.is_disabled("[aria-label='Reset Bald']")
    page.click("#reset")
    assert settled(page) == own and page.locator(".row.changed").count() == 0


def test_a_photo_is_opened_edited_and_downloaded(page: Page, tmp_path: Path) -> None:
    page.set_input_files("#file", photo(tmp_path))
    page.wait_for_function("document.getElementById('status').textContent === ''")
    own = settled(page)
    move(page, "Smiling", 2)
    assert settled(page) != own
    with page.expect_download() as download:
        page.click("#download")
    result = Image.open(download.value.path())
    assert download.value.suggested_filename == "photo-edited.png" and result.size == (200, 150)
    assert not np.array_equal(np.asarray(result), np.asarray(Image.open(photo(tmp_path))))
    with page.expect_download() as download:
        page.click("#settings")
    settings = json.loads(Path(download.value.path()).read_text())
    assert settings == {"model": "drawn", "strengths": {"Smiling": pytest.approx(2, abs=0.03)}, "detail": 0.8}
    smiling = settled(page)
    page.click("#reset")
    settled(page)
    kept, broken = tmp_path / "kept.json", tmp_path / "broken.json"
    kept.write_text(json.dumps(settings | {"strengths": settings["strengths"] | {"Nobody": 1, "Bald": "x"}}))
    page.set_input_files("#file", kept)
    wait_for_another(page, own)
    assert settled(page) == smiling and page.locator(".row.changed").count() == 1
    broken.write_text("[]")
    page.set_input_files("#file", broken)
    page.wait_for_selector("#status.error")
    assert "contains no settings" in page.inner_text("#status") and settled(page) == smiling


def test_wrong_files_are_met_with_a_line_and_change_nothing(page: Page, tmp_path: Path) -> None:
    own = settled(page)
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no photo")
    page.set_input_files("#file", wrong)
    page.wait_for_selector("#status.error")
    assert "cannot be read as a photo" in page.inner_text("#status")
    assert settled(page) == own
    move(page, "Smiling", 2)
    assert settled(page) != own


def test_a_photo_can_be_dropped(page: Page, tmp_path: Path) -> None:
    own = settled(page)
    content = list(photo(tmp_path).read_bytes())
    page.evaluate(
        """content => { const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], 'dropped.png', {type: 'image/png'}));
        document.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})); }""",
        content,
    )
    wait_for_another(page, own)


def test_a_photo_is_taken_or_not(page: Page) -> None:
    own = settled(page)
    for leave in (lambda: page.click("#camera-cancel"), lambda: page.press("#camera", "Escape")):
        page.click("#camera")
        page.wait_for_selector("#video:visible")
        leave()
        assert page.evaluate("document.activeElement.id") == "camera"
        assert page.is_hidden("#video") and page.inner_text("#camera") == "Take a photo"
        assert page.evaluate("document.getElementById('video').srcObject") is None
    assert settled(page) == own
    page.click("#camera")
    page.wait_for_function("document.getElementById('video').videoWidth > 0")
    page.click("#camera")
    wait_for_another(page, own)
    assert page.is_hidden("#video") and page.inner_text("#status") == ""
    page.click("#camera")
    page.wait_for_selector("#video:visible")
    height = page.evaluate("document.getElementById('video').clientHeight")
    page.wait_for_function("document.getElementById('video').videoWidth > 0")
    assert page.evaluate("document.getElementById('video').clientHeight") == height > 0
    page.click("#starts button >> nth=1")
    page.wait_for_selector("#video", state="hidden")
    assert page.evaluate("document.getElementById('video').srcObject") is None


def test_one_camera_at_a_time(page: Page) -> None:
    page.evaluate("""() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      window.streams = [];
      navigator.mediaDevices.getUserMedia = async wanted => {
        await new Promise(done => setTimeout(done, 300));
        const stream = await ask(wanted); window.streams.push(stream); return stream; }; }""")
    page.evaluate("() => { document.getElementById('camera').click(); document.getElementById('camera').click(); }")
    page.wait_for_selector("#video:visible")
    page.click("#camera-cancel")
    page.wait_for_timeout(500)
    states = page.evaluate("window.streams.map(stream => stream.getTracks()[0].readyState)")
    assert states == ["ended"]


def test_the_photo_that_was_opened_last_stays(page: Page, tmp_path: Path) -> None:
    slow, quick = photo(tmp_path, "slow.png", seed=1), photo(tmp_path, "quick.png", seed=2)
    held = list[Any]()

    def hold(route: Any) -> None:
        if not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/v1/photo*", hold)
    page.set_input_files("#file", slow)
    page.wait_for_function("document.getElementById('status').textContent.startsWith('Opening')")
    page.set_input_files("#file", quick)
    page.wait_for_function("document.getElementById('status').textContent === ''")
    shown, own = settled(page), page.evaluate(DIGEST, "original")
    held[0].continue_()
    page.wait_for_timeout(500)
    assert settled(page) == shown and page.evaluate(DIGEST, "original") == own
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "quick-edited.png"


def test_the_face_that_was_clicked_last_is_opened(page: Page) -> None:
    page.route("**/starts/*", lambda route: (page.wait_for_timeout(100), route.continue_()))
    own = settled(page)
    page.click("#starts button >> nth=2")
    page.click("#starts button >> nth=5")
    wait_for_another(page, own)
    # The other one may come yet.
    page.wait_for_timeout(600)
    page.click("#link")
    page.wait_for_function("location.hash.length > 1")
    assert "start=5" in page.url


def test_a_camera_that_comes_too_late_is_not_shown(page: Page) -> None:
    page.evaluate("""() => { const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async wanted => {
        await new Promise(done => window.letIt = done);
        return window.stream = await ask(wanted); }; }""")
    own = settled(page)
    page.click("#camera")
    page.click("#starts button >> nth=1")
    wait_for_another(page, own)
    page.evaluate("window.letIt()")
    page.wait_for_function("window.stream")
    page.wait_for_timeout(200)
    assert page.is_hidden("#video") and page.is_enabled("#camera")
    assert page.evaluate("window.stream.getTracks()[0].readyState") == "ended"


def test_a_sweep_that_comes_too_late_is_not_shown(page: Page) -> None:
    held = list[Any]()
    page.route("**/sweep", lambda route: held.append(route))
    with page.expect_request("**/sweep"):
        page.click("[aria-label='Sweep Smiling']")
    page.wait_for_timeout(200)
    page.click("#reset")
    held[0].continue_()
    page.wait_for_timeout(300)
    assert page.inner_text("#status") == "" and page.is_hidden("#sweep")


def test_a_morph_that_comes_too_late_is_not_shown(page: Page, tmp_path: Path) -> None:
    held = list[Any]()
    page.route("**/morph.js", lambda route: held.append(route))
    with page.expect_request("**/morph.js"):
        page.set_input_files("#morph-photo", photo(tmp_path, seed=5))
    page.click("#reset")
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url))
    held[0].continue_()
    page.evaluate("import('./morph.js')")
    page.wait_for_timeout(100)
    assert not [url for url in asked if "/photo" in url] and page.is_hidden("#morph")


def clip_of(page: Page) -> str:
    return page.locator("#result").evaluate("image => getComputedStyle(image).clipPath")


def test_compare_shows_the_original(page: Page) -> None:
    move(page, "Smiling", 3)
    settled(page)
    page.focus("#compare")
    page.keyboard.press("End")
    assert "100%" in clip_of(page)
    # Neither a reset nor another face leaves half of the original there.
    page.click("#reset")
    assert "100%" not in clip_of(page) and page.input_value("#compare") == "0"
    page.focus("#compare")
    page.keyboard.press("End")
    own = settled(page)
    page.click("#starts button >> nth=2")
    wait_for_another(page, own)
    assert "100%" not in clip_of(page) and page.input_value("#compare") == "0"


def test_the_divider_on_the_picture_is_dragged_and_pressing_shows_the_original(page: Page) -> None:
    move(page, "Smiling", 3)
    settled(page)
    stage, divider = page.locator("#stage").bounding_box(), page.locator("#divider").bounding_box()
    assert stage and divider
    middle = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    page.mouse.move(divider["x"] + divider["width"] / 2, middle[1])
    page.mouse.down()
    page.mouse.move(*middle)
    assert page.input_value("#compare") == "50" and "50%" in clip_of(page)
    page.mouse.up()
    page.mouse.move(middle[0] + 50, middle[1])
    assert page.input_value("#compare") == "50"
    visible = "image => getComputedStyle(image).visibility"
    page.mouse.down()
    assert page.locator("#result").evaluate(visible) == "hidden"
    page.mouse.up()
    assert page.locator("#result").evaluate(visible) == "visible"


def test_a_map_shows_what_changed(page: Page) -> None:
    def opaque() -> list[float]:
        """How opaque the map is, on average and at most."""
        return page.evaluate(
            """() => { const canvas = document.getElementById('heat');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const alpha = data.filter((_, place) => place % 4 === 3);
            return [alpha.reduce((sum, each) => sum + each, 0) / alpha.length, Math.max(...alpha)]; }"""
        )

    own = settled(page)
    assert page.is_hidden("#heat")
    page.check("#show-heat")
    page.wait_for_selector("#heat:visible")
    assert opaque()[0] < 10
    move(page, "Smiling", 3)
    wait_for_another(page, own)
    page.wait_for_timeout(200)
    mean, most = opaque()
    assert mean > 10 and most == 255
    page.uncheck("#show-heat")
    assert page.is_hidden("#heat")


def views(page: Page) -> dict[str, int]:
    """What is shown beside the edit, by caption, once nothing is on its way any more."""
    page.wait_for_selector("#views[aria-busy=false]")
    captions = page.locator("#views figcaption").all_inner_texts()
    pictures = [
        page.evaluate(DIGEST.replace("document.getElementById(id)", "document.images[id]"), number)
        for number in page.evaluate(
            "[...document.querySelectorAll('#views img')].map(image => [...document.images].indexOf(image))"
        )
    ]
    return {caption.replace("\u00a0", " "): picture for caption, picture in zip(captions, pictures, strict=True)}


def test_an_edit_of_a_drawn_face_is_compared_with_the_truth(page: Page, tmp_path: Path) -> None:
    settled(page)
    assert page.inner_text("#beside-label").strip() == "Compare with the true drawing"
    page.check("#beside")
    before = views(page)
    assert [*before] == ["model, 20 numbers", "the true drawing"]
    move(page, "Smiling", 1)
    after = views(page)
    assert after.keys() == before.keys() and all(after[caption] != before[caption] for caption in before)
    page.uncheck("#beside")
    assert page.is_hidden("#views")
    # Nobody knows the truth of a photo.
    page.check("#beside")
    page.set_input_files("#file", photo(tmp_path))
    page.wait_for_selector("#beside-label", state="hidden")
    assert page.is_hidden("#views")


def test_a_student_is_compared_with_its_teacher(browser: Browser, tmp_path: Path) -> None:
    with running(attribute_run(tmp_path / "run", Faces(size=32, num_images=100))) as editor:
        for page in opened(browser, editor.address, viewport={"width": 360, "height": 640}):
            page.check("#beside")
            before = views(page)
            assert [*before] == ["teacher, 12 numbers", "student, 20 numbers", "the true drawing"]
            assert len({*before.values()}) == 3
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
            move(page, "Smiling", 2)
            after = views(page)
            assert all(after[caption] != before[caption] for caption in before)
            # They stay in view on the way to the sliders.
            page.locator(".row[data-name=Blond_Hair]").scroll_into_view_if_needed()
            box = page.locator("#views").bounding_box()
            assert box and box["y"] >= 0 and box["height"] < 320
            page.set_input_files("#file", photo(tmp_path))
            page.wait_for_selector("#views figure >> nth=2", state="detached")
            assert [*views(page)] == ["teacher, 12 numbers", "student, 20 numbers"]
            assert page.inner_text("#beside-label").strip() == "Compare with the teacher"


def test_the_sharpness_of_an_exact_student_is_a_slider(browser: Browser, tmp_path: Path) -> None:
    with running(exact_attribute_model(tmp_path / "exact.safetensors", Faces(size=32, num_images=100))) as editor:
        for page in opened(browser, f"{editor.address}/#*amount=0.5&Smiling=2"):
            half = settled(page)
            assert page.input_value("#amount") == "0.5"
            slide(page, "#amount", 0)
            wait_for_another(page, half)
            page.wait_for_timeout(500)
            assert page.locator("#steps button").all_inner_texts() == ["start", "sharpness 0"]
            page.click("#undo")
            assert settled(page) == half and page.input_value("#amount") == "0.5"
            page.click("#reset")
            assert page.input_value("#amount") == "1"


def test_models_without_it_have_no_sharpness(page: Page) -> None:
    assert page.is_hidden("#amount-row")


def test_another_face_is_drawn(page: Page) -> None:
    own = settled(page)
    page.click("#random")
    wait_for_another(page, own)
    page.wait_for_function("/start=[89]&/.test(location.hash)")


def test_steps_are_undone_and_redone(page: Page) -> None:
    def steps() -> list[str]:
        page.wait_for_timeout(500)
        return page.locator("#steps button").all_inner_texts()

    own = settled(page)
    assert page.is_disabled("#undo") and page.is_disabled("#redo") and page.is_hidden("#steps")
    # A drag is one step.
    for value in (1.0, 1.5, 2.0):
        move(page, "Smiling", value)
    assert steps() == ["start", "Smiling 2"]
    smiling = settled(page)
    move(page, "Bald", 2)
    assert steps() == ["start", "Smiling 2", "Bald 2"]
    bald = settled(page)
    page.keyboard.press("Control+z")
    assert settled(page) == smiling and page.locator(".row.changed").count() == 1
    page.keyboard.press("Control+Shift+z")
    assert settled(page) == bald
    page.click("#reset")
    assert settled(page) == own and steps()[-1] == "reset"
    page.click("#undo")
    assert settled(page) == bald
    page.click("#steps button >> nth=0")
    assert settled(page) == own
    page.click("#redo")
    assert settled(page) == smiling
    # A step from here on leaves out those that were undone.
    page.fill(".row[data-name=Bald] .value", "1.5")
    page.press(".row[data-name=Bald] .value", "Enter")
    assert steps() == ["start", "Smiling 2", "Bald 1.5"] and page.is_disabled("#redo")


def test_a_locked_attribute_keeps_its_value(page: Page, tmp_path: Path) -> None:
    def value(name: str) -> str:
        return page.input_value(f".row[data-name={name}] .value")

    own = settled(page)
    lock, bald = page.locator("[aria-label='Lock Smiling']"), value("Bald")
    assert lock.get_attribute("aria-pressed") == "false"
    move(page, "Smiling", 2)
    lock.click()
    # Also one that is not set: on the next face it is still what it was on this one.
    page.click("[aria-label='Lock Bald']")
    assert lock.get_attribute("aria-pressed") == "true"
    assert page.is_disabled("#factor-Smiling") and page.is_disabled("[aria-label='Reset Smiling']")
    move(page, "Blond_Hair", 1)
    page.click("#reset")
    locked = settled(page)
    assert locked != own and (value("Smiling"), value("Bald")) == ("2", bald)
    assert page.locator(".row.changed").count() == 2
    page.click("#starts button >> nth=1")
    wait_for_another(page, locked)
    assert (value("Smiling"), value("Bald")) == ("2", bald)
    page.set_input_files("#like", photo(tmp_path, seed=5))
    page.wait_for_selector(".mark.theirs")
    slide(page, "#like-amount", 0.5)
    assert (value("Smiling"), value("Bald")) == ("2", bald) and "All unlocked" in page.inner_text("#status")
    assert page.locator(".row.changed").count() == 3
    page.click("[aria-label='Sweep Smiling']")
    page.wait_for_selector("#strip:visible")
    page.click("#strip", position={"x": 5, "y": 5})
    assert value("Smiling") == "2"
    settings = tmp_path / "kept.json"
    settings.write_text(json.dumps({"strengths": {"Smiling": -1, "Blond_Hair": 1}, "detail": 0.5}))
    page.set_input_files("#file", settings)
    page.wait_for_function("document.querySelector('.row[data-name=Blond_Hair] .value').value === '1'")
    assert (value("Smiling"), value("Bald")) == ("2", bald)
    lock.click()
    page.click("#reset")
    assert value("Smiling") != "2" and value("Bald") == bald and page.locator(".row.changed").count() == 1


def test_a_link_keeps_locks(page: Page) -> None:
    move(page, "Smiling", 2)
    page.click("[aria-label='Lock Smiling']")
    page.wait_for_function("location.hash.includes('*locked=Smiling') || location.hash.includes('%2Alocked=Smiling')")
    page.reload()
    page.wait_for_selector("#stage.full")
    assert page.input_value(".row[data-name=Smiling] .value") == "2" and page.is_disabled("#factor-Smiling")
    page.click("#reset")
    assert page.input_value(".row[data-name=Smiling] .value") == "2"


def test_locks_are_steps(page: Page) -> None:
    def steps() -> list[str]:
        page.wait_for_timeout(500)
        return page.locator("#steps button").all_inner_texts()

    for value in (1, 2):
        move(page, "Smiling", value)
        steps()
    page.focus("[aria-label='Lock Smiling']")
    page.keyboard.press("Enter")
    assert steps() == ["start", "Smiling 1", "Smiling 2", "Smiling locked"]
    move(page, "Bald", 2)
    move(page, "Blond_Hair", 2)
    steps()
    page.click("#reset")
    assert steps()[-2:] == ["2 attributes", "reset"]
    # Undone as any other step: what is older than the lock is not locked.
    page.click("#steps button >> nth=1")
    assert page.input_value(".row[data-name=Smiling] .value") == "1" and page.is_enabled("#factor-Smiling")
    assert page.get_attribute("[aria-label='Lock Smiling']", "aria-pressed") == "false"
    for _ in range(2):
        page.keyboard.press("Control+Shift+z")
    assert page.input_value(".row[data-name=Smiling] .value") == "2" and page.is_disabled("#factor-Smiling")
    page.click("[aria-label='Lock Smiling']")
    assert steps()[-1] == "Smiling unlocked" and page.is_enabled("#factor-Smiling")


def test_locks_do_not_crowd_the_rows(browser: Browser, editor: Served) -> None:
    opacity = "lock => getComputedStyle(lock).opacity"
    for page in opened(browser, editor.address, viewport={"width": 360, "height": 640}):
        lock, label = page.locator("[aria-label='Lock Smiling']"), page.locator("label[for=factor-Smiling]")
        assert lock.evaluate(opacity) == "0"
        lock.focus()
        assert lock.evaluate(opacity) == "1"
        boxes = lock.bounding_box(), label.bounding_box(), page.locator("#factor-Smiling").bounding_box()
        assert all(boxes)
        # Beside the name, above the slider.
        assert abs(boxes[0]["y"] - boxes[1]["y"]) < 5 < boxes[2]["y"] - boxes[0]["y"]  # pyright: ignore
        lock.press("Space")
        page.locator("#search").focus()
        assert lock.evaluate(opacity) == "1"
    for page in opened(browser, editor.address, viewport=PHONE, has_touch=True, is_mobile=True):
        assert page.locator("[aria-label='Lock Smiling']").evaluate(opacity) == "1"


def test_a_value_is_typed(page: Page) -> None:
    own = settled(page)
    typed = ".row[data-name=Smiling] .value"
    page.fill(typed, "4.5")
    page.press(typed, "Enter")
    assert settled(page) != own
    # Beyond the slider, whose end it shows; within what the model takes.
    assert page.input_value(typed) == "4.5" and page.input_value("#factor-Smiling") == "3"
    page.fill(typed, "1000")
    page.press(typed, "Enter")
    assert page.input_value(typed) == "100"
    page.fill(typed, "")
    page.press(typed, "Enter")
    assert settled(page) == own


def test_the_faces_of_a_photo_are_offered(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit, "find_faces", lambda _photo: [Similarity(80 + 0j, 0j), Similarity(50 + 0j, 40 + 30j)])
    page.set_input_files("#file", photo(tmp_path))
    page.wait_for_selector("#faces button >> nth=1")
    assert page.inner_text("#found") == "2 faces were found; choose one:"
    first = settled(page)
    assert page.locator("#faces [aria-pressed=true] img").get_attribute("alt") == "Face 1 of the photo"
    page.click("#faces button >> nth=1")
    wait_for_another(page, first)
    assert page.locator("#faces [aria-pressed=true] img").get_attribute("alt") == "Face 2 of the photo"
    with page.expect_request("**/full*") as asked, page.expect_download():
        page.click("#download")
    assert "face=2" in asked.value.url and "align=1" in asked.value.url
    page.click("#starts button >> nth=1")
    page.wait_for_selector("#faces button", state="detached")


def test_a_link_brings_the_settings_back(page: Page, browser: Browser) -> None:
    own = settled(page)
    page.click("#starts button >> nth=2")
    wait_for_another(page, own)
    move(page, "Smiling", 1.5)
    expected = settled(page)
    page.click("#link")
    page.wait_for_function("location.hash.length > 1")
    for other in opened(browser, page.url):
        assert settled(other) == expected
        assert other.locator(".row.changed").count() == 1


def test_the_address_keeps_up(page: Page) -> None:
    own = settled(page)
    page.click("#starts button >> nth=2")
    wait_for_another(page, own)
    move(page, "Smiling", 2)
    expected = settled(page)
    page.wait_for_function("location.hash.includes('Smiling=2')")
    page.reload()
    page.wait_for_selector("#stage.full")
    page.wait_for_selector(".row.changed")
    wait_for_another(page, own)
    assert settled(page) == expected and "start=2" in page.url


def test_a_link_made_with_a_photo_asks_for_it(page: Page, browser: Browser, tmp_path: Path) -> None:
    own = settled(page)
    page.set_input_files("#file", photo(tmp_path))
    wait_for_another(page, own)
    move(page, "Smiling", 2)
    expected = settled(page)
    page.wait_for_function("location.hash.includes('Smiling=2')")
    for other in opened(browser, page.url, ready="#attributes:not([hidden])"):
        assert "Open your photo" in other.inner_text("#empty") and other.is_hidden("#result")
        other.set_input_files("#file", photo(tmp_path))
        other.wait_for_selector("#stage.full")
        assert settled(other) == expected


def test_a_link_with_nonsense_is_not_obeyed(browser: Browser, editor: Served) -> None:
    for page in opened(browser, f"{editor.address}/#Smiling=abc&*start=-3&*detail=x&*align=7&Nobody=2&Bald=1.5"):
        settled(page)
        assert page.locator(".row.changed").count() == 1 and page.inner_text("#status") == ""


def test_search_and_sweep(page: Page) -> None:
    def visible() -> list[str]:
        shown = "rows => rows.filter(row => row.offsetParent).map(row => row.dataset.name)"
        return page.eval_on_selector_all(".row[data-name]", shown)

    page.fill("#search", "blond h")
    assert visible() == ["Blond_Hair"]
    for word in ("smile", "Happy", "laugh"):
        page.fill("#search", word)
        assert visible() == ["Smiling"]
    page.fill("#search", "xyz")
    assert visible() == [] and "No attribute is called “xyz”." in page.inner_text("#none")
    page.click("#show-all")
    assert len(visible()) == 4 and page.is_hidden("#none")
    page.check("#changed")
    assert visible() == [] and "No attribute is changed." in page.inner_text("#none")
    page.click("#show-all")
    page.click("[aria-label='Sweep Smiling']")
    page.wait_for_selector("#strip:visible")
    page.wait_for_function("document.getElementById('strip').naturalWidth > 500")
    assert page.locator(".row[data-name=Smiling] + #sweep").count() == 1
    # The strip goes and comes with its row.
    page.fill("#search", "bald")
    assert page.is_hidden("#strip")
    page.fill("#search", "")
    assert page.is_visible("#strip")
    box = page.locator("#strip").bounding_box()
    assert box
    page.click("#strip", position={"x": box["width"] * 5.5 / 7, "y": 5})
    assert page.input_value(".row[data-name=Smiling] .value") == "2"
    page.check("#changed")
    assert visible() == ["Smiling"]
    page.uncheck("#changed")
    page.click("[aria-label='Sweep Bald']")
    page.wait_for_selector(".row[data-name=Bald] + #sweep #strip:visible")
    page.click("[aria-label='Sweep Bald']")
    assert page.is_hidden("#sweep")


def test_another_photos_attributes(page: Page, editor: Served, tmp_path: Path) -> None:
    move(page, "Smiling", 3)
    other = photo(tmp_path, seed=5)
    page.set_input_files("#like", other)
    page.wait_for_selector(".mark.theirs")
    for name, value in editor.ask("/api/v1/photo", other.read_bytes()).json["strengths"].items():
        assert float(page.input_value(f"#factor-{name}")) == pytest.approx(value, abs=0.03)


def test_a_photo_that_has_changed_on_the_disk_is_opened_again(page: Page, tmp_path: Path) -> None:
    file = photo(tmp_path)
    page.set_input_files("#file", file)
    page.wait_for_function("document.getElementById('status').textContent === ''")
    settled(page)
    Image.new("RGB", (300, 200)).save(file)
    page.click("#download")
    page.wait_for_selector("#status.error")
    assert page.inner_text("#status") == "The photo has changed on disk since it was opened; open it again."


def test_less_is_copied_from_another_photo(page: Page, editor: Served, tmp_path: Path) -> None:
    other = photo(tmp_path, seed=5)
    own = float(page.input_value(".row[data-name=Smiling] .value"))
    assert page.is_hidden("#like-row")
    page.set_input_files("#like", other)
    page.wait_for_selector("#like-row:visible")
    page.click("[aria-label='Reset Bald']")
    slide(page, "#like-amount", 0.5)
    theirs = editor.ask("/api/v1/photo", other.read_bytes()).json["strengths"]["Smiling"]
    assert float(page.input_value(".row[data-name=Smiling] .value")) == pytest.approx((own + theirs) / 2, abs=0.02)
    # What was reset stays as it is.
    assert page.locator(".row.changed[data-name=Bald]").count() == 0
    page.click("#reset")
    assert page.is_hidden("#like-row")


def test_a_photo_is_morphed_into_another(
    page: Page, editor: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jacsup.serve import sessions

    def shows() -> int:
        return settled(page, "morph", "morphed")

    other = photo(tmp_path, seed=5)
    page.set_input_files("#morph-photo", other)
    page.wait_for_selector("#morph:visible")
    half = shows()
    slide(page, "#share", 1)
    end = shows()
    assert end != half
    assert page.get_attribute("#morphed", "alt") == "The decoded face, 100 % of the way to the other"
    token = editor.ask("/api/v1/photo", other.read_bytes()).json["session"]
    decoded = editor.ask("/api/v1/decoded", {"session": token}).content
    assert end == functools.reduce(lambda total, byte: (total * 31 + byte) % 1000003, decoded, 7)
    with page.expect_download() as download:
        page.click("#morph-animate")
    assert download.value.suggested_filename == "face-3-morph.gif"
    with Image.open(download.value.path()) as moving:
        assert moving.format == "GIF" and getattr(moving, "n_frames", 1) == 48
    # The settings hold on all of the way, and photos that the server has forgotten are sent again.
    monkeypatch.setattr(sessions, "SESSION_SECONDS", -1)
    editor.ask("/api/v1/edit", {"session": "none"})
    monkeypatch.undo()
    move(page, "Smiling", 2)
    settled(page)
    now = shows()
    assert page.inner_text("#status") == "" and now != end
    page.click("#morph-end")
    assert page.is_hidden("#morph")
    page.click("#morph-face")
    page.wait_for_selector("#morph:visible")
    page.click("#reset")
    assert page.is_hidden("#morph")
    wrong = tmp_path / "notes.txt"
    wrong.write_text("no photo")
    page.set_input_files("#morph-photo", wrong)
    page.wait_for_selector("#status.error")
    assert page.is_hidden("#morph")


def test_a_sweep_is_saved_as_an_animation(page: Page) -> None:
    page.click("[aria-label='Sweep Smiling']")
    page.wait_for_selector("#strip:visible")
    with page.expect_download() as download:
        page.click("#animate")
    assert download.value.suggested_filename == "face-3-Smiling.gif"
    with Image.open(download.value.path()) as moving:
        assert moving.format == "GIF" and getattr(moving, "n_frames", 1) == 48


def test_more_photos_are_edited_alike(page: Page, editor: Served, tmp_path: Path) -> None:
    move(page, "Smiling", 2)
    settled(page)
    saved = list[Any]()
    page.on("download", lambda each: saved.append(each))
    broken = tmp_path / "broken.png"
    broken.write_text("no photo")
    files = [photo(tmp_path, "a.png", seed=1), photo(tmp_path, "b.png", seed=2), broken]
    page.set_input_files("#more", files)
    page.wait_for_function("document.getElementById('status').textContent.startsWith('2 of 3 photos were edited')")
    assert "broken.png: the photo cannot be read as a photo" in page.inner_text("#status")
    page.wait_for_timeout(300)
    assert [each.suggested_filename for each in saved] == ["a-edited.png", "b-edited.png"]
    full = editor.ask("/api/v1/full?set=Smiling=2&align=0", files[1].read_bytes())
    assert np.array_equal(np.asarray(Image.open(saved[1].path())), np.asarray(full.image))


def test_the_keyboard_is_enough(page: Page) -> None:
    own = settled(page)
    page.focus("#search")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "factor-Smiling":
            break
    page.keyboard.press("End")
    assert settled(page) != own and page.input_value("#factor-Smiling") == page.get_attribute("#factor-Smiling", "max")
    page.keyboard.press("Delete")
    assert settled(page) == own
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    assert float(page.input_value("#factor-Smiling")) == pytest.approx(3 - 0.1 - 0.5, abs=0.02)
    # The value, then the button.
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert settled(page) == own and page.evaluate("document.activeElement.id") == "factor-Smiling"
    assert page.locator("[role=status], output").count() == 3
    page.focus("#starts button >> nth=1")
    page.keyboard.press("Enter")
    wait_for_another(page, own)


def test_the_server_forgets_and_the_page_does_not(page: Page, editor: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from jacsup.serve import sessions

    own = settled(page)
    monkeypatch.setattr(sessions, "SESSION_SECONDS", -1)
    editor.ask("/api/v1/edit", {"session": "none"})
    monkeypatch.undo()
    move(page, "Smiling", 2)
    wait_for_another(page, own)


def test_on_a_phone(browser: Browser, editor: Served) -> None:
    for page in opened(browser, editor.address, viewport=PHONE, has_touch=True, is_mobile=True):
        page.locator(".row[data-name=Blond_Hair]").scroll_into_view_if_needed()
        box = page.locator("#stage").bounding_box()
        assert box and 0 <= box["y"] < box["y"] + box["height"] < PHONE["height"]
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.locator("#stage").bounding_box()["width"] > 250  # pyright: ignore[reportOptionalSubscript]


# The last two: a window of 1280 pixels at 200 %, and a low one.
@pytest.mark.parametrize(
    ("width", "height"),
    [
        (360, 640),
        (500, 900),
        (640, 960),
        (768, 1024),
        (834, 1112),
        (900, 700),
        (1024, 768),
        (1280, 800),
        (640, 400),
        (700, 320),
    ],
)
def test_every_slider_can_be_reached(width: int, height: int, browser: Browser, editor: Served) -> None:
    for page in opened(browser, editor.address, viewport={"width": width, "height": height}):
        tracks = page.evaluate(
            """() => [...document.querySelectorAll('.controls .row:not([hidden]) input[type=range]')].map(slider => {
            slider.scrollIntoView({block: 'center'});
            const box = slider.getBoundingClientRect();
            const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            return [box.width, top === slider]; })"""
        )
        assert len(tracks) == 4
        assert all(length >= 120 and uncovered for length, uncovered in tracks)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(scheme: Any, browser: Browser, editor: Served) -> None:
    for page in opened(browser, editor.address, color_scheme=scheme):
        colours = page.evaluate(
            "['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))"
        )
        ink, paper = (0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue, *_ in colours)
        assert abs(ink - paper) > 180 and (paper > ink) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_assistive_technology_finds_no_fault(scheme: Any, browser: Browser, editor: Served, tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def faults(address: str, ready: str, *clicks: str) -> list[str]:
        page = browser.new_page(bypass_csp=True, color_scheme=scheme)
        page.goto(address)
        page.wait_for_selector(ready)
        for click in clicks:
            page.click(click)
        found = [fault["id"] for fault in axe.run(page).response["violations"]]
        page.close()
        return found

    assert faults(f"{editor.address}/#*start=0&Smiling=2", ".row.changed .mark.own") == []
    clicks = "[aria-label='Lock Smiling']", "#beside", "#morph-face", "#morph"
    assert faults(f"{editor.address}/#*start=0&Smiling=2", ".row.changed .mark.own", *clicks) == []
    assert faults(f"{editor.address}/api", "pre") == []
    with running(unit_model(tmp_path / "units.safetensors", Digits())) as units:
        assert faults(units.address, "#unit-rows .row") == []


def test_units_are_moved_by_sliders_and_by_the_pad(browser: Browser, tmp_path: Path) -> None:
    def shows(page: Page) -> int:
        return settled(page, "decoded", "decoded")

    with running(unit_model(tmp_path / "units.safetensors")) as editor:
        for page in opened(browser, editor.address, ready="#unit-rows .row"):
            page.wait_for_function("document.getElementById('decoded').naturalWidth > 0")
            own = shows(page)
            page.click("#pad", position={"x": 10, "y": 10})
            moved = shows(page)
            assert moved != own
            assert float(str(page.get_attribute("#pad", "aria-valuenow"))) < -1.5
            assert float(page.input_value("#factor-unit-0")) < -1.5 < 1.5 < float(page.input_value("#factor-unit-1"))
            page.focus("#pad")
            page.keyboard.press("ArrowRight")
            assert shows(page) != moved
            page.click("#units-reset")
            assert shows(page) == own
            page.click("#units-random")
            random = shows(page)
            assert random != own and page.locator(".row.changed").count() == 3
            assert page.locator(".unit-strip").count() == 3
            strip = page.locator(".unit-strip").nth(2)
            width = (strip.bounding_box() or {})["width"]
            strip.click(position={"x": width * 0.75, "y": 3})
            assert float(page.input_value("#factor-unit-2")) == pytest.approx(1, abs=0.05)


def test_a_single_unit_has_no_pad(browser: Browser, tmp_path: Path) -> None:
    with running(unit_model(tmp_path / "unit.safetensors", count=1)) as editor:
        assert editor.ask("/api/v1/map").status == 404
        for page in opened(browser, editor.address, ready="#unit-rows .row"):
            own = settled(page, "decoded", "decoded")
            assert page.is_hidden("#pad") and page.is_visible("#decoded")
            slide(page, "#factor-unit-0", 2)
            assert settled(page, "decoded", "decoded") != own


def test_units_start_from_a_test_image(browser: Browser, tmp_path: Path) -> None:
    with running(unit_model(tmp_path / "units.safetensors", Digits())) as editor:
        units = [start["units"] for start in editor.ask("/api/v1/model").json["starts"]]
        for page in opened(browser, editor.address, ready="#unit-rows .row"):
            first = settled(page, "decoded", "decoded")
            pressed = page.locator("#unit-starts [aria-pressed=true] img")
            assert page.locator("#unit-starts button").count() == 10 and pressed.get_attribute("alt") == "Test image 1"
            page.click("#unit-starts button >> nth=3")
            third = settled(page, "decoded", "decoded")
            assert third != first and pressed.get_attribute("alt") == "Test image 4"
            values = [float(page.input_value(f"[aria-label='unit {number}, value']")) for number in range(3)]
            assert values == pytest.approx(units[3], abs=0.006)
            page.click("#units-reset")
            assert settled(page, "decoded", "decoded") != third and pressed.count() == 0
            page.click("#units-link")
            page.wait_for_function("location.hash.length > 1")
            means = settled(page, "decoded", "decoded")
            for other in opened(browser, page.url, ready="#unit-rows .row"):
                assert settled(other, "decoded", "decoded") == means


def test_the_sharpness_of_a_residual_student_is_a_slider(browser: Browser, tmp_path: Path) -> None:
    with running(residual_unit_model(tmp_path / "residual.safetensors")) as editor:
        for page in opened(browser, f"{editor.address}/#Sharpness=0.5", ready="#unit-rows .row"):
            half = settled(page, "decoded", "decoded")
            assert page.locator("#unit-rows .row").count() == 4 and page.input_value("#factor-Sharpness") == "0.5"
            page.click("#units-reset")
            assert page.input_value("#factor-Sharpness") == "1"
            assert settled(page, "decoded", "decoded") != half


def test_a_link_to_units_stays_in_their_ranges(browser: Browser, tmp_path: Path) -> None:
    with running(unit_model(tmp_path / "units.safetensors")) as editor:
        for page in opened(browser, f"{editor.address}/#unit+0=1e300&unit+1=-50&unit+2=x", ready="#unit-rows .row"):
            settled(page, "decoded", "decoded")
            now, most = (float(str(page.get_attribute("#pad", f"aria-value{name}"))) for name in ("now", "max"))
            assert now == most and page.inner_text("#status") == ""
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_page_of_another_model_says_so(browser: Browser, tmp_path: Path) -> None:
    with running(unit_model(tmp_path / "units.safetensors")) as editor:
        pages = opened(browser, editor.address, ready="#unit-rows .row")
        page = next(pages)
        settled(page, "decoded", "decoded")
    other = attribute_model(tmp_path / "other.safetensors", Faces(size=32, num_images=100))
    with running(other, port=int(editor.address.rpartition(":")[2])):
        page.click("#units-reset")
        page.wait_for_selector("#status.error")
        assert "now serves another model; reload" in page.inner_text("#status")
        page.reload()
        page.wait_for_selector("#stage.full")
    with pytest.raises(StopIteration):
        next(pages)
