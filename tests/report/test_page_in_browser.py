"""The page works in a browser: it opens from a file without a word of complaint, answers clicks and fits screens."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.report.run_folders import HOSTILE, NAMES, small_confusion, write_run
from triscale.report.page.write import FIRST_CLASSES, write_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PHONE, DESKTOP = 390, 1280


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        reason = "no Chromium is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=SWITCHES)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(write_run(tmp_path_factory.mktemp("runs") / "small"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 1,000 classes, each with one image taken for the next class."""
    counts = 4 * np.eye(1000, dtype=np.int64) + np.eye(1000, k=1, dtype=np.int64)
    names = (HOSTILE[0], *(f"species {number}" for number in range(1, 1000)))
    return write_page(write_run(tmp_path_factory.mktemp("runs") / "large", counts, names))


@dataclass
class Opened:
    """A page and all that it complained of."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def check_quiet(self, path: Path) -> None:
        """Nothing was complained of, nothing but the file was asked for, and no name from data ran as a script."""
        assert self.complaints == []
        assert {url for url in self.requests if not url.startswith("data:")} == {path.as_uri()}
        assert self.page.evaluate("window.ran") is None


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Any]:
    contexts = []

    def opened(path: Path, *, width: int = DESKTOP, scheme: Any = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        found = Opened(context.new_page())
        page = found.page
        page.set_default_timeout(20_000)
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("requestfailed", lambda request: found.complaints.append(f"failed: {request.url}"))
        page.on("dialog", lambda dialog: found.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: found.requests.append(request.url))
        page.goto(path.as_uri())
        return found

    yield opened
    for context in contexts:
        context.close()


def column(page: Page, table: str, number: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:not([hidden]) > :nth-child({number})")
    return [text.strip() for text in cells.all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("which", ["small", "large"])
def test_page_opens_in_silence_and_fits(
    open_page: Any, request: pytest.FixtureRequest, which: str, width: int, scheme: str
) -> None:
    path = request.getfixturevalue(which)
    opened = open_page(path, width=width, scheme=scheme)
    opened.page.locator(".pairs button").first.click()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    opened.check_quiet(path)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_background(open_page: Any, small: Path, scheme: str) -> None:
    page = open_page(small, scheme=scheme).page
    page.locator(".pairs button").first.click()
    # WCAG 2.2, success criterion 1.4.3: a ratio of luminances of at least 4.5.
    faint = page.evaluate(
        """() => {
          const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
          const over = ([r, g, b, a = 1], under) => [r, g, b].map((value, i) => a * value + (1 - a) * under[i]);
          const background = (element) => {
            if (element === null) return channels(getComputedStyle(document.body).backgroundColor).slice(0, 3);
            return over(channels(getComputedStyle(element).backgroundColor), background(element.parentElement));
          };
          const luminance = (colour) => colour.map((value) => value / 255)
            .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
            .reduce((sum, value, i) => sum + value * [0.2126, 0.7152, 0.0722][i], 0);
          const faint = [];
          for (const element of document.querySelectorAll("main *, header *, footer *")) {
            const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
            if (!own || element.closest("svg, [hidden], .sr, .skip")) continue;
            const under = background(element);
            const style = getComputedStyle(element);
            const pair = [luminance(over(channels(style.color), under)), luminance(under)].sort((a, b) => b - a);
            const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
            const name = `${element.tagName}.${element.className} ${ratio.toFixed(2)}`;
            if (ratio < 4.5) faint.push(`${name} ${element.textContent}`);
          }
          return faint;
        }"""
    )
    assert faint == []
    colours = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(colours) < 60) == (scheme == "dark")


def test_tables_sort_by_any_column(open_page: Any, small: Path) -> None:
    opened = open_page(small)
    page = opened.page
    assert column(page, "class-table", 1) == list(NAMES)
    for number, name in ((2, "Images"), (3, "Precision"), (4, "Recall")):
        head = page.locator("#class-table thead th").nth(number - 1)
        head.get_by_role("button", name=name).click()
        assert head.get_attribute("aria-sort") == "ascending"
        shown = column(page, "class-table", number)
        known = [float(text.rstrip("%")) for text in shown if text != "–"]
        assert known == sorted(known)
        assert shown[len(known) :] == ["–"] * (len(shown) - len(known))
        head.get_by_role("button", name=name).click()
        assert head.get_attribute("aria-sort") == "descending"
        again = [float(text.rstrip("%")) for text in column(page, "class-table", number) if text != "–"]
        assert again == sorted(known, reverse=True)
        assert page.locator("#class-table th[aria-sort=none]").count() == 4
    page.locator("#cost-table").get_by_role("button", name="MACs").press("Enter")
    assert column(page, "cost-table", 3)[0] == "3.75M"
    opened.check_quiet(small)


def test_classes_are_filtered_by_name(open_page: Any, small: Path) -> None:
    page = open_page(small).page
    page.get_by_role("searchbox").fill("OA")
    assert column(page, "class-table", 1) == ["oak"]
    assert page.get_by_role("status").inner_text() == "1 of 6 classes"
    page.get_by_role("searchbox").fill("<script>")
    assert column(page, "class-table", 1) == [HOSTILE[0]]
    page.get_by_role("searchbox").fill("")
    assert len(column(page, "class-table", 1)) == 6


def test_cell_shows_its_images(open_page: Any, small: Path) -> None:
    opened = open_page(small)
    page = opened.page
    page.locator(".matrix [data-cell='0,1']").click()
    panel = page.locator("#cell")
    assert panel.locator("h3").inner_text() == f"{NAMES[0]} taken for {NAMES[1]}"
    assert panel.locator(".path").all_inner_texts() == [f"val/0/1-{number}<i>.jpg" for number in range(3)]
    assert panel.locator("img").count() == 1
    assert panel.locator("img").evaluate("image => image.complete && image.naturalWidth") == 160
    assert page.locator(".matrix [data-cell='0,1']").get_attribute("aria-pressed") == "true"
    page.locator(".matrix [data-cell='3,3']").press("Enter")
    assert panel.locator("h3").inner_text() == "oak, recognised"
    assert len(panel.locator(".path").all_inner_texts()) == small_confusion()[3, 3]
    panel.get_by_role("button", name="Close").click()
    assert panel.is_hidden()
    opened.check_quiet(small)


def test_mistakes_show_their_maps(open_page: Any, small: Path) -> None:
    page = open_page(small).page
    first = page.locator(".picture").first
    assert page.locator(".picture .map").count() == 3
    first.click()
    assert first.get_attribute("aria-pressed") == "true"
    opacity = """async (map) => {
      await Promise.all(map.getAnimations().map((animation) => animation.finished));
      return getComputedStyle(map).opacity;
    }"""
    assert first.locator(".map").evaluate(opacity) == "1"
    assert page.locator(".picture .map").nth(1).evaluate(opacity) == "0"
    page.get_by_role("button", name="Show where it looked").click()
    assert page.locator(".picture[aria-pressed=true]").count() == 3
    page.get_by_role("button", name="Show pictures").click()
    assert page.locator(".picture[aria-pressed=true]").count() == 0


def test_curves_tell_their_values(open_page: Any, small: Path) -> None:
    opened = open_page(small)
    chart = opened.page.locator("[data-chart=score]")
    box = chart.locator("svg").bounding_box()
    assert box is not None
    chart.locator("svg").hover(position={"x": box["width"] * 0.97, "y": box["height"] / 2})
    assert chart.locator(".tip").inner_text().split("\n") == ["epoch 5", "training 75.00%", "held out 50.00%"]
    opened.check_quiet(small)


def test_copied_command_can_be_pasted(open_page: Any, small: Path) -> None:
    opened = open_page(small)
    page = opened.page
    command = page.locator(".command").first
    command.get_by_role("button").click()
    command.get_by_text("Copied").wait_for()
    page.get_by_role("searchbox").focus()
    page.keyboard.press("Control+V")
    assert page.get_by_role("searchbox").input_value() == command.locator("code").inner_text()
    opened.check_quiet(small)


def test_a_thousand_classes_stay_usable(open_page: Any, large: Path) -> None:
    opened = open_page(large)
    page = opened.page
    assert len(column(page, "class-table", 1)) == FIRST_CLASSES
    page.get_by_role("searchbox").fill("species 999")
    assert column(page, "class-table", 1) == ["species 999"]
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="Show all 1,000").click()
    assert len(column(page, "class-table", 1)) == 1000
    canvas = page.locator("#map")
    box = canvas.bounding_box()
    assert box is not None
    # The middle of the diagonal; a point of the screen is more than a class wide.
    canvas.click(position={"x": box["width"] * 0.5005, "y": box["height"] * 0.5005})
    assert page.locator("#cell h3").inner_text() in {f"species {number}, recognised" for number in (499, 500, 501)}
    opacities = canvas.evaluate(
        """map => {
          const { data } = map.getContext("2d").getImageData(0, 0, 1000, 1000);
          return [[500, 500], [500, 501], [100, 900]].map(([row, column]) => data[4 * (1000 * row + column) + 3]);
        }"""
    )
    assert opacities[0] > opacities[1] > opacities[2] == 0
    assert large.stat().st_size < 3_000_000
    opened.check_quiet(large)
