"""The page in a real browser: Debian's chromium, without a window."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_web import Server

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium; apt-get install chromium")

COFFEE = Path(__file__).resolve().parents[1] / "assets/content/coffee.jpg"
SOON, LATER = 30_000, 120_000  # ms


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = Server(tmp_path_factory.mktemp("server"), "--precision", "float32")
    yield f"http://127.0.0.1:{server.port}/"
    server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    yield opened(context, address)
    context.close()


def opened(context: Any, address: str) -> Any:
    """A page that fails the test for whatever its console says."""
    made = context.new_page()
    said: list[str] = []
    made.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    made.on("pageerror", lambda error: said.append(str(error)))
    made.said = said
    made.goto(address)
    made.wait_for_selector("html[data-ready]", timeout=SOON)
    return made


def choose(page: Any) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#choose, #another").locator("visible=true").click()
    chooser.value.set_files(COFFEE)
    expect(page.locator("#status")).to_have_text("Now choose a style", timeout=SOON)


def style(page: Any, name: str) -> None:
    page.click(f"#gallery button[data-style={name}]")
    expect(page.locator("#after")).to_be_visible(timeout=SOON)


def set_to(page: Any, name: str, value: object) -> None:
    page.locator(f"#option-{name}").evaluate(
        "(e, value) => { e.value = value; e.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def begin_what_takes_long(page: Any, size: int) -> None:
    choose(page)
    style(page, "pen")
    set_to(page, "size", size)
    set_to(page, "iterations", 3000)
    set_to(page, "optimizer", "adam")
    page.click("#paint")


def paint(page: Any) -> None:
    count = page.locator("#jobs li").count()
    page.click("#paint")
    expect(page.locator("#jobs li")).to_have_count(count + 1, timeout=SOON)
    expect(page.locator("#status")).to_contain_text("Done", timeout=LATER)


def test_a_photograph_is_painted_compared_and_saved(page: Any, tmp_path: Path) -> None:
    expect(page.locator("#paint")).to_be_disabled()
    choose(page)
    style(page, "mosaic")
    shown = page.locator("#after").get_attribute("src")
    set_to(page, "stroke_size", 2)
    expect(page.locator("#after")).not_to_have_attribute("src", shown, timeout=SOON)
    set_to(page, "size", 128)
    paint(page)
    assert "/picture?n=" in page.locator("#after").get_attribute("src")
    page.focus("#curtain")
    for _ in range(3):
        page.keyboard.press("PageUp")
    left = page.locator("#divider").evaluate("e => parseFloat(e.style.left)")
    assert 0 < left < 100 and "inset(" in page.locator("#after").evaluate("e => e.style.clipPath")
    page.click("#zoom")
    expect(page.locator("#zoom")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#canvas")).to_have_css("width", "128px")
    page.select_option("#format", "webp")
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "coffee-styletx.webp"
    download.value.save_as(tmp_path / "x.webp")
    assert Image.open(tmp_path / "x.webp").size == (128, 85)
    page.click("#command")
    expect(page.locator("#command-line")).to_contain_text("styletx run coffee.jpg")
    expect(page.locator("#command-line")).to_contain_text("--size 128 --stroke-size 2.0")
    page.keyboard.press("Escape")
    expect(page.locator("#film")).to_be_hidden()
    page.check("#timelapse")
    paint(page)
    with page.expect_download() as download:
        page.click("#film")
    assert download.value.suggested_filename == "coffee-styletx.mp4"
    assert not page.said


def test_it_gets_finer_is_stopped_and_found_again(page: Any, browser: Any, address: str) -> None:
    begin_what_takes_long(page, 320)
    expect(page.locator("#bar")).to_be_visible(timeout=SOON)
    expect(page.locator("#after")).to_have_attribute("src", re.compile(r"/picture\?n=2$"), timeout=SOON)
    expect(page.locator("#after")).to_have_attribute("src", re.compile(r"/picture\?n=3$"), timeout=SOON)
    expect(page.locator("#left")).to_contain_text("left", timeout=SOON)
    page.reload()
    page.wait_for_selector("html[data-ready]", timeout=SOON)
    expect(page.locator("#bar")).to_be_visible(timeout=SOON)
    expect(page.locator("#option-iterations")).to_have_value("3000")
    other = opened(page.context, address)
    expect(other.locator("#bar")).to_be_visible(timeout=SOON)
    page.click("#stop")
    for one in (page, other):
        expect(one.locator("#status")).to_have_text("Stopped; this is the best so far", timeout=SOON)
        expect(one.locator("#save")).to_be_enabled()
        assert not one.said
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#jobs li.current").get_by_text("Remove").click()
    expect(page.locator("#jobs li.current")).to_have_count(0, timeout=SOON)
    other.locator("#jobs li.current .open").click()
    expect(other.locator("#message")).to_have_text("there is no such job; it may have been dropped", timeout=SOON)


def test_files_are_dropped_pasted_and_refused(page: Any, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (90, 60), "teal").save(stream, "PNG")
    give = """([kind, bytes, type, name]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, { type }));
        const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.getElementById("easel").dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(give, [kind, list(stream.getvalue()), "image/png", "a.png"])
        expect(page.locator("#status")).to_have_text("Now choose a style", timeout=SOON)
        expect(page.locator("#before")).to_be_visible()
    page.evaluate(give, ["drop", [60, 115, 118, 103, 62], "text/plain", "a.svg"])
    expect(page.locator("#message")).to_contain_text("a.svg", timeout=SOON)
    page.said[:] = [text for text in page.said if "415" not in text]  # what the browser says of that answer
    assert not page.said


def test_masks_and_blends_reach_the_server(page: Any) -> None:
    choose(page)
    style(page, "mosaic")
    page.select_option("#option-method", "one-pass")
    expect(page.locator("#option-iterations")).to_be_hidden()
    set_to(page, "size", 96)
    page.click("#brush summary")
    page.select_option("#brush-use", "region-1")
    box = page.locator("#mask").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    expect(page.locator("#message")).to_contain_text("Choose a second style")
    expect(page.locator("#paint")).to_be_disabled()
    page.select_option("#blend-with", "pen")
    paint(page)
    page.click("#command")
    expect(page.locator("#command-line")).to_contain_text("mosaic+mask.png=pen")
    expect(page.locator("#command-needs")).to_contain_text("coffee.jpg, mask.png")
    page.click("#command-close")
    page.click("#brush-undo")
    page.locator("#mask").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    page.select_option("#brush-use", "keep")
    paint(page)
    page.click("#command")
    expect(page.locator("#command-line")).to_contain_text("--keep mask.png")
    assert not page.said


def test_a_painting_of_ones_own_is_there_again(page: Any) -> None:
    choose(page)
    with page.expect_file_chooser() as chooser:
        page.click("#own")
    chooser.value.set_files(COFFEE.parents[1] / "styles/impasto.jpg")
    expect(page.locator("#after")).to_be_visible(timeout=SOON)
    page.reload()
    page.wait_for_selector("html[data-ready]", timeout=SOON)
    expect(page.locator("#gallery button").get_by_text("impasto.jpg")).to_be_visible()
    assert not page.said


def test_settings_are_compared_and_chosen(page: Any) -> None:
    choose(page)
    expect(page.locator("#compare")).to_be_disabled()
    style(page, "mosaic")
    page.click("#compare")
    cells = page.locator("#sheet-grid button")
    expect(page.locator("#sheet-grid button.awaited")).to_have_count(0, timeout=LATER)
    assert cells.count() == page.locator("#gallery button").count()
    shown = cells.locator("img").evaluate_all("all => all.map((one) => one.naturalWidth)")
    assert min(shown) > 100
    page.select_option("#sheet-of", "stroke_size")
    cells.get_by_text("2", exact=True).click()
    expect(page.locator("#sheet")).to_be_hidden()
    expect(page.locator("#option-stroke_size")).to_have_value("2")
    page.click("#compare")
    page.select_option("#sheet-of", "style")
    cells.get_by_text("pen", exact=True).click()
    expect(page.locator("#gallery button[data-style=pen]")).to_have_attribute("aria-pressed", "true")
    assert not page.said


def test_a_wrong_size_is_told_at_once_and_a_picture_can_begin_it(page: Any) -> None:
    choose(page)
    style(page, "mosaic")
    for wrong in ("0", "-5", "big", "1.5", "10", "99999"):
        set_to(page, "size", wrong)
        expect(page.locator("#message")).to_have_text(
            "Size, px: give a number of pixels from 16 to 65536, or “original”"
        )
        expect(page.locator("#paint")).to_be_disabled()
    set_to(page, "size", "96")
    expect(page.locator("#message")).to_be_hidden()
    page.locator("summary").get_by_text("Picture and file").click()
    with page.expect_file_chooser() as chooser:
        page.select_option("#option-init", label="a picture …")
    chooser.value.set_files(COFFEE)
    expect(page.locator("#option-init option:checked")).to_have_text("coffee.jpg", timeout=SOON)
    set_to(page, "iterations", 2)
    paint(page)
    page.click("#command")
    expect(page.locator("#command-line")).to_contain_text("coffee.jpg mosaic.jpg --size 96")
    expect(page.locator("#command-line")).to_contain_text("--init coffee.jpg")
    assert not page.said


def test_what_others_paint_is_stopped_by_its_card(page: Any, browser: Any, address: str) -> None:
    begin_what_takes_long(page, 200)
    expect(page.locator("#status")).to_contain_text("Painting", timeout=SOON)
    context = browser.new_context()
    other = opened(context, address)
    card = other.locator("#jobs li[data-state=painting]")
    card.get_by_text("Stop").click()
    expect(card).to_have_count(0, timeout=SOON)
    page.focus("#curtain")
    before = page.locator("#divider").evaluate("e => parseFloat(e.style.left)")
    page.keyboard.press("ArrowRight")
    assert page.locator("#divider").evaluate("e => parseFloat(e.style.left)") == pytest.approx(before + 2)
    expect(page.locator("#status")).to_have_text("Stopped; this is the best so far", timeout=SOON)
    assert not page.said and not other.said
    context.close()


def test_a_phone_shows_the_picture_while_a_mask_is_drawn(browser: Any, address: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = opened(context, address)
    choose(page)
    style(page, "mosaic")
    page.click("#brush summary")
    page.locator("#brush-save").scroll_into_view_if_needed()
    picture, button = page.locator("#mask").bounding_box(), page.locator("#brush-save").bounding_box()
    assert picture["y"] >= 0 and picture["y"] + picture["height"] < button["y"] < 740
    page.touchscreen.tap(picture["x"] + 60, picture["y"] + 60)
    expect(page.locator("#brush summary")).to_have_text("Mask: paint only there")
    context.close()


def test_the_keyboard_alone_is_enough(page: Any) -> None:
    choose(page)
    page.keyboard.press("Tab")
    for _ in range(80):
        if page.evaluate("() => document.activeElement.dataset.style") == "poster":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#after")).to_be_visible(timeout=SOON)
    for _ in range(80):
        if page.evaluate("() => document.activeElement.id") == "option-method":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#option-method")).to_have_value("one-pass")
    set_to(page, "size", 96)
    for _ in range(80):
        if page.evaluate("() => document.activeElement.id") == "paint":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("Done", timeout=LATER)
    assert not page.said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows_and_everything_has_a_name(browser: Any, address: str, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 760}, color_scheme=scheme)
    page = opened(context, address)
    choose(page)
    style(page, "mosaic")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input:not([hidden]), select, canvas[tabindex]")]
        .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim())).map((e) => e.id)"""
    )
    assert not nameless
    for group in page.locator("details").all():
        group.evaluate("e => { e.open = true; }")
    page.evaluate(resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    faults = page.evaluate("async () => (await axe.run()).violations.map((one) => [one.id, one.impact])")
    assert not [one for one in faults if one[1] in ("serious", "critical")]
    assert not page.said
    context.close()


def test_the_page_is_small(page: Any, address: str) -> None:
    sizes = page.evaluate(
        """() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
        .filter((e) => !/picture/.test(e.name)).map((e) => e.transferSize)"""
    )
    assert 10_000 < sum(sizes) < 150_000
