"""A real browser on a real server with the results that come with the repository: deep links, clicks, keys, a phone."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from dogpoc import artifacts
from dogpoc.translation import breed_label

CHECKOUT = Path(__file__).parents[2]
HEADINGS = {
    "": "Which classifier knows its dogs?",
    "metrics": "Metrics",
    "confusions": "Confusions",
    "worst-breeds": "Worst breeds",
    "attention": None,
    "upload": None,
}
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
OPENING = 60_000  # ms: the live pages load torch
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Chromium; without it the tests are skipped, or fail if DOGPOC_REQUIRE_BROWSER is 1."""
    give_up = pytest.fail if os.environ.get("DOGPOC_REQUIRE_BROWSER") == "1" else pytest.skip
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        give_up("no Chromium on this machine")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        give_up("playwright is not installed: pip install -r requirements-dev.txt")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield chromium
        chromium.close()


@contextmanager
def fresh_server() -> Iterator[str]:
    """The address of a server that no one has visited."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen) -> None:
    for _attempt in range(300):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server did not start within 30 s")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that several tests share."""
    with fresh_server() as address:
        yield address


class Visit:
    """A page in the browser, with what it complained about and whom it called."""

    def __init__(self, browser, address: str, path: str, viewport: dict, **options):
        self.page = browser.new_page(viewport=viewport, locale="en-GB", **options)
        self.errors, self.strangers = [], []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._watch(request.url, address))
        self.page.goto(f"{address}/{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until the script has run and its figures stand."""
        self.page.locator("h1").first.wait_for(timeout=OPENING)
        self.page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')", timeout=OPENING)
        self.page.wait_for_timeout(500)

    def _hear(self, message) -> None:
        # Streamlit looks for its server below a deep link's path before it looks at the root: two 404s, harmless.
        probe = re.search(r"/[\w-]+/_stcore/(health|host-config)$", message.location["url"])
        if message.type == "error" and not probe:
            self.errors.append(f"{message.text} {message.location['url']}")

    def _watch(self, url: str, address: str) -> None:
        if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:")):
            self.strangers.append(url)

    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.page.url).query).items()}

    def pair_shown(self) -> str:
        return self.page.locator("strong", has_text=" taken for ").first.inner_text()


@pytest.fixture
def visit(browser) -> Iterator:
    """visit(address, path, viewport) -> Visit; its pages are closed after the test."""
    visits = []

    def go(*where, **options) -> Visit:
        visits.append(Visit(browser, *where, **options))
        return visits[-1]

    yield go
    for visited in visits:
        visited.page.close()


@pytest.mark.parametrize("path", HEADINGS)
def test_a_deep_link_opens_its_page_on_a_fresh_server(visit, path):
    with fresh_server() as address:
        visited = visit(address, path, DESKTOP)
        heading = visited.page.locator("h1").first.inner_text()
        assert heading == (HEADINGS[path] or heading)
        assert urlsplit(visited.page.url).path == f"/{path}"
        assert visited.page.locator("[data-testid=stException]").count() == 0
        assert visited.page.get_by_role("dialog").count() == 0  # "Page not found"
        assert visited.errors == []
        assert visited.strangers == []


@pytest.mark.parametrize("path", HEADINGS)
def test_a_phone_shows_every_page_without_sideways_scrolling(visit, server, path):
    visited = visit(server, path, PHONE)
    assert visited.page.locator("[data-testid=stException]").count() == 0
    for part in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert visited.page.evaluate(f"{part}.scrollWidth - {part}.clientWidth") <= 0


def click_first_cell(visited: Visit) -> tuple[str, str]:
    """Click the first cell with something in it of the last matrix; returns its true and predicted breed."""
    matrix = visited.page.locator(".js-plotly-plot").last
    matrix.scroll_into_view_if_needed()
    cell = matrix.evaluate(
        """plot => {
            const cells = plot._fullData[1], {xaxis, yaxis} = plot._fullLayout
            return {x: xaxis._offset + xaxis.l2p(cells.x[0]), y: yaxis._offset + yaxis.l2p(cells.y[0]),
                    names: [yaxis.ticktext[cells.y[0]], xaxis.ticktext[cells.x[0]]]}
        }"""
    )
    box = matrix.bounding_box()
    visited.page.mouse.move(box["x"] + cell["x"] + 1, box["y"] + cell["y"] + 1)
    visited.page.mouse.click(box["x"] + cell["x"], box["y"] + cell["y"])
    return tuple(cell["names"])


def test_a_click_on_a_cell_shows_its_photos_and_its_link_restores_them(visit, server):
    visited = visit(server, "confusions", DESKTOP)
    true, predicted = click_first_cell(visited)
    visited.page.wait_for_url(re.compile("true=.*predicted="), timeout=10_000)
    visited.settle()
    assert (visited.query()["true"], visited.query()["predicted"]) == (true, predicted)
    assert visited.pair_shown() == f"{true} taken for {predicted}"
    shown = visited.page.locator("[data-testid=stImage], [data-testid=stDataFrame]")
    assert shown.count() > 0  # photos, or their ids where there are no photos
    assert visited.errors == []

    again = visit(server, visited.page.url.removeprefix(f"{server}/"), DESKTOP)
    assert again.pair_shown() == f"{true} taken for {predicted}"
    assert again.page.locator("[data-testid=stAlertContentWarning]").count() == 0


def test_a_second_click_after_the_figure_has_changed_chooses_again(visit, server):
    visited = visit(server, "confusions", DESKTOP)
    click_first_cell(visited)
    visited.page.wait_for_url(re.compile("true=.*predicted="), timeout=10_000)
    visited.settle()
    visited.page.get_by_text("Difference", exact=True).click()
    visited.page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 1", timeout=OPENING)
    visited.settle()
    true, predicted = click_first_cell(visited)
    visited.page.locator("strong", has_text=f"{true} taken for {predicted}").wait_for(timeout=10_000)


def test_a_pair_is_chosen_with_the_keyboard_alone(visit, server):
    dataset = artifacts.datasets()[0]
    true, predicted = map(breed_label, artifacts.read_run(dataset, artifacts.runs(dataset)[0])["scored_breeds"][:2])
    visited = visit(server, f"confusions?dataset={dataset}", DESKTOP)
    for label, breed in (("True breed", true), ("Taken for", predicted)):
        visited.page.get_by_role("combobox", name=label).focus()
        visited.page.keyboard.type(breed)
        visited.page.keyboard.press("Enter")
        visited.settle()
    visited.page.locator("strong", has_text=f"{true} taken for {predicted}").wait_for(timeout=10_000)


def test_the_choice_of_runs_and_language_stays_in_the_url_from_page_to_page(visit, server):
    dataset = artifacts.datasets()[0]
    run = artifacts.runs(dataset)[-1]
    asked = {"baseline": run, "lang": "fr"} | ({"dataset": dataset} if dataset != "dogs47" else {})
    usual = artifacts.default_pair(dataset)[0]
    visited = visit(server, "metrics?" + "&".join(f"{key}={value}" for key, value in asked.items()), DESKTOP)
    kept = {key: value for key, value in asked.items() if value != usual}  # the usual choice needs no place in the URL
    for link in visited.page.locator("[data-testid=stSidebarNavLink]").all()[:4]:
        link.click()
        visited.settle()
        assert visited.query() == kept
