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
    "story": "Is the new method better at naming dogs?",
    "metrics": "Metrics",
    "confusions": "Confusions",
    "worst-breeds": "Worst breeds",
    "mistakes": "Mistakes",
    "labels": "Suspect labels",
    "map": "Photo map",
    "attention": None,
    "upload": None,
    "quiz": "Beat the model",
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
def fresh_server(script: str = "streamlit_app.py") -> Iterator[str]:
    """The address of a server, of the dashboard or of another script under its settings, that no one has visited."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true"]
    command += ["--server.address", "127.0.0.1", "--server.port", str(port)]
    settings = {"cwd": CHECKOUT, "env": os.environ | {"PYTHONPATH": str(CHECKOUT)}}
    server = subprocess.Popen(command, **settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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
        for pause in (200, 300):  # a run may follow upon another
            self.page.wait_for_timeout(pause)
            self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=OPENING)

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

    def wait_for_pair(self, true: str, predicted: str) -> None:
        """Wait until the page shows the photos of this pair, and of none before it."""
        from playwright.sync_api import expect

        shown = self.page.locator("strong", has_text=" taken for ").first
        expect(shown).to_have_text(f"{true} taken for {predicted}", timeout=OPENING)


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
    return click_matrix(visited, "cells")


def click_matrix(visited: Visit, trace: str, *, tap: bool = False) -> tuple[str, str]:
    """Click (or tap) the first point of a layer of the last matrix: "cells", or the names beside ("rows") or above it
    ("columns"). Returns the names of its row and column."""
    matrix = visited.page.locator(".js-plotly-plot").last
    matrix.locator(".ytick").first.wait_for(timeout=OPENING)
    matrix.scroll_into_view_if_needed()
    point = matrix.evaluate(
        """(plot, name) => {
            const layer = plot._fullData.find(d => d.name === name && d.x.length), {xaxis, yaxis} = plot._fullLayout
            const across = plot._fullLayout[layer.xaxis.replace("x", "xaxis")]
            const down = plot._fullLayout[layer.yaxis.replace("y", "yaxis")]
            return {x: across._offset + across.l2p(layer.x[0]), y: down._offset + down.l2p(layer.y[0]),
                    names: [yaxis.ticktext[layer.y[0]], xaxis.ticktext[layer.x[0]]]}
        }""",
        trace,
    )
    box = matrix.bounding_box()
    if tap:
        visited.page.touchscreen.tap(box["x"] + point["x"], box["y"] + point["y"])
    else:
        visited.page.mouse.move(box["x"] + point["x"] + 1, box["y"] + point["y"] + 1)
        visited.page.mouse.click(box["x"] + point["x"], box["y"] + point["y"])
    return tuple(point["names"])


def test_a_click_on_a_cell_shows_its_photos_and_its_link_restores_them(visit, server):
    visited = visit(server, "confusions", DESKTOP)
    true, predicted = click_first_cell(visited)
    visited.page.wait_for_url(re.compile("true=.*predicted="), timeout=10_000)
    visited.settle()
    assert (visited.query()["true"], visited.query()["predicted"]) == (true, predicted)
    visited.wait_for_pair(true, predicted)
    shown = visited.page.locator("[data-testid=stImage], [data-testid=stDataFrame]")
    assert shown.count() > 0  # photos, or their ids where there are no photos
    assert visited.errors == []

    again = visit(server, visited.page.url.removeprefix(f"{server}/"), DESKTOP)
    again.wait_for_pair(true, predicted)
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


def test_a_click_on_a_patch_shows_what_it_attends_to_and_once_more_the_answer_s(visit, server):
    visited = visit(server, "attention", DESKTOP)
    if visited.page.get_by_text("The photos are not on this machine").count():
        pytest.skip("no photos on this machine")
    patch = visited.page.get_by_role("combobox", name="Attention of")
    shown = visited.page.locator(".js-plotly-plot:has(.cartesianlayer)").nth(1)
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    for wanted in (re.compile("row .*, column"), re.compile("the answer")):
        visited.page.mouse.move(box["x"] + box["width"] / 2 + 1, box["y"] + box["height"] / 3 + 1)
        visited.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
        visited.page.wait_for_timeout(1_000)
        visited.settle()
        assert wanted.search(patch.input_value() or patch.inner_text())
    assert visited.errors == []


def test_a_link_to_why_shows_both_runs_maps_with_their_licence(visit, server):
    visited = visit(server, "attention?view=why", DESKTOP)
    if visited.page.get_by_text("The photos are not on this machine").count():
        pytest.skip("no photos on this machine")
    assert visited.page.get_by_text("Area under the curve").count() == 2
    assert visited.page.get_by_role("button", name="Map (NumPy)").count() == 2
    visited.page.get_by_role("combobox", name="and not").focus()
    visited.page.keyboard.type("basenji")
    visited.page.keyboard.press("Enter")
    visited.page.wait_for_url(re.compile("against="), timeout=OPENING)
    visited.settle()
    assert visited.page.get_by_text("and not basenji").count() == 2
    assert visited.errors == []
    assert visited.strangers == []


def test_the_story_is_told_with_the_arrow_keys_and_fills_the_screen(visit, server):
    visited = visit(server, "story", DESKTOP)
    keyboard, page = visited.page.keyboard, visited.page
    for key, slide in (("ArrowRight", "photos"), ("ArrowRight", "baseline"), ("ArrowLeft", "photos")):
        keyboard.press(key)
        page.wait_for_url(re.compile(f"slide={slide}"), timeout=10_000)
        visited.settle()
    assert page.locator("h1").first.inner_text() == "The photos"
    keyboard.press("f")
    page.locator("[data-testid=stSidebar]").first.wait_for(state="hidden", timeout=10_000)
    visited.settle()
    assert visited.query()["slide"] == "photos"
    keyboard.press("f")
    page.locator("[data-testid=stSidebar]").first.wait_for(state="visible", timeout=10_000)
    assert visited.errors == []


def test_a_click_on_a_name_looks_at_that_breed_and_its_link_restores_it(visit, server):
    visited = visit(server, "confusions", DESKTOP)
    for trace, place in (("rows", 0), ("columns", 1)):
        breed = click_matrix(visited, trace)[place]
        visited.page.get_by_role("heading", name=f"One breed: {breed}").wait_for(timeout=10_000)
        visited.settle()
        assert visited.query()["focus"] == breed
    assert visited.errors == []
    again = visit(server, visited.page.url.removeprefix(f"{server}/"), DESKTOP)
    again.page.get_by_role("heading", name=f"One breed: {breed}").wait_for(timeout=10_000)


def test_a_click_on_a_group_opens_it_and_the_browser_goes_back(visit, server):
    visited = visit(server, "confusions?breeds=groups&view=new&order=dataset", DESKTOP)
    names = visited.page.locator(".js-plotly-plot .ytick")
    names.first.wait_for(timeout=OPENING)
    closed = names.count()
    assert click_matrix(visited, "rows")[0].startswith("FCI ")
    visited.page.wait_for_url(re.compile("open=FCI"), timeout=10_000)
    visited.settle()
    assert names.count() > closed
    visited.page.go_back()
    visited.settle()
    assert "open" not in visited.query()
    assert names.count() == closed


def test_every_choice_of_the_confusions_is_in_the_link_whatever_the_language(visit, server):
    visited = visit(server, "confusions?lang=fr", DESKTOP)
    for key, value, place in (("kind", "answers", 1), ("view", "difference", 3), ("order", "name", 1)):
        visited.page.locator(f".st-key-{key} button").nth(place).click()
        visited.page.wait_for_url(re.compile(f"{key}={value}"), timeout=10_000)
        visited.settle()
    asked = visited.query()
    english = visit(
        server, "confusions?" + "&".join(f"{key}={asked[key]}" for key in ("kind", "view", "order")), DESKTOP
    )
    english.page.locator(".js-plotly-plot .ytick").first.wait_for(timeout=OPENING)
    assert english.page.locator("[data-testid=stAlertContentWarning]").count() == 0
    assert english.page.locator(".js-plotly-plot").count() == 1


def test_the_arrow_keys_walk_through_the_most_confused_pairs(visit, server):
    visited = visit(server, "confusions", DESKTOP)
    keyboard = visited.page.keyboard
    visited.page.get_by_role("tab", name="Most confused pairs").focus()
    keyboard.press("Enter")
    visited.page.locator("[data-testid=stDataFrame] canvas").first.wait_for(timeout=OPENING)
    for _step in range(20):
        keyboard.press("Tab")
        if visited.page.evaluate("document.activeElement.matches('[data-testid=stDataFrame] canvas')"):
            break
    pairs = []
    for _step in range(2):
        before = visited.page.url
        keyboard.press("ArrowDown")
        visited.page.wait_for_function("url => location.href !== url", arg=before, timeout=10_000)
        visited.settle()
        pairs.append((visited.query()["true"], visited.query()["predicted"]))
        visited.wait_for_pair(*pairs[-1])
    assert pairs[0] != pairs[1]


def test_a_tap_on_a_phone_shows_the_photos_of_both_directions(visit, server):
    visited = visit(server, "confusions?view=new", PHONE, has_touch=True, is_mobile=True)
    true, predicted = click_matrix(visited, "cells", tap=True)
    visited.page.wait_for_url(re.compile("true=.*predicted="), timeout=10_000)
    visited.settle()
    shown = visited.page.locator(".st-key-pair-photos")
    for title in (f"{true} taken for {predicted}", f"{predicted} taken for {true}"):
        assert shown.locator("strong", has_text=title).count() == 1
    assert (
        visited.page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('[data-testid=stMain]'))")
        <= 0
    )


def test_all_names_of_a_large_matrix_are_legible_and_the_page_does_not_scroll_sideways(visit, server):
    for viewport in (DESKTOP, PHONE):
        visited = visit(server, "confusions?dataset=dogs47&breeds=all&view=new", viewport)
        matrix = visited.page.locator(".js-plotly-plot").last
        matrix.locator(".ytick").first.wait_for(timeout=OPENING)
        boxes = matrix.evaluate(
            "plot => [...plot.querySelectorAll('.ytick text, .xtick text')].map(text => text.getBoundingClientRect())"
            ".map(({left, top, width, height}) => ({left, top, width, height}))"
        )
        assert len(boxes) == 2 * 47
        outline = matrix.bounding_box()
        assert min(min(box["height"], box["width"]) for box in boxes) >= 10  # pixels
        assert min(box["left"] for box in boxes) >= outline["x"] - 1  # none is cut off
        page = "document.querySelector('[data-testid=stMain]')"
        assert visited.page.evaluate(f"{page}.scrollWidth - {page}.clientWidth") <= 0


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


# -- metrics ------------------------------------------------------------------------------------------------------


def test_the_threshold_moves_with_the_keyboard_and_the_answers_with_it(visit, server):
    visited = visit(server, "metrics", DESKTOP)
    answers = visited.page.get_by_text(re.compile("answers .* of the photos")).last
    before = answers.inner_text()
    visited.page.get_by_role("slider").last.focus()
    for _step in range(5):
        visited.page.keyboard.press("ArrowRight")
    visited.page.wait_for_url(re.compile("threshold=85"), timeout=10_000)
    visited.page.wait_for_function("text => !document.body.innerText.includes(text)", arg=before, timeout=10_000)
    assert visited.errors == []


def test_a_count_of_the_verdict_leads_to_its_photos(visit, server):
    visited = visit(server, "metrics", DESKTOP)
    visited.page.get_by_text("only the new method right").first.click()
    visited.page.wait_for_url(re.compile("mistakes.*who=only-new"), timeout=10_000)
    visited.settle()
    assert visited.page.locator("h1").first.inner_text() == "Mistakes"
    assert visited.errors == []


def test_a_section_of_the_metrics_page_is_one_click_away(visit, server):
    visited = visit(server, "metrics", DESKTOP)
    visited.page.get_by_role("link", name="The luck of training").first.click()
    visited.page.wait_for_function(
        """() => {
            const {top} = document.getElementById("seeds").getBoundingClientRect()
            return top >= 0 && top < innerHeight
        }""",
        timeout=10_000,
    )


# -- mistakes, labels and the map -----------------------------------------------------------------------------------


def test_what_a_gallery_shows_is_in_its_address(visit, server):
    visited = visit(server, "mistakes?who=all", DESKTOP)
    visited.page.get_by_role("combobox", name="Sort by").focus()
    visited.page.keyboard.type("Largest")
    visited.page.keyboard.press("Enter")
    visited.page.wait_for_url(re.compile("sort=disagreement"), timeout=10_000)
    visited.settle()
    visited.page.get_by_role("button", name="Page 2", exact=False).first.click()
    visited.page.wait_for_url(re.compile("page=2"), timeout=10_000)
    visited.settle()
    first = visited.page.locator("[data-testid=stImage] img, [data-testid=stDataFrame]").first.get_attribute("alt")
    assert visited.errors == []
    again = visit(server, visited.page.url.removeprefix(f"{server}/"), DESKTOP)
    assert again.query() == {"who": "all", "sort": "disagreement", "page": "2"}
    assert (
        again.page.locator("[data-testid=stImage] img, [data-testid=stDataFrame]").first.get_attribute("alt") == first
    )


def test_a_photo_of_the_gallery_leads_to_its_explanation_and_its_confusion(visit, server):
    visited = visit(server, "mistakes", DESKTOP)
    visited.page.locator("[data-testid=stMain] [data-testid=stImage], [data-testid=stDataFrame]").first.wait_for()
    if visited.page.get_by_text("The photos are not on this machine").count():
        pytest.skip("no photos on this machine")
    links = visited.page.locator("[data-testid=stMain] [data-testid=stPageLink] a")
    links.nth(1).wait_for()
    targets = [links.nth(k).get_attribute("href") for k in range(2)]
    assert "attention?photo=" in targets[0]
    assert re.search("confusions[?]true=.*predicted=", targets[1])


def test_a_label_judged_wrong_is_left_out_of_every_page_until_all_photos_are_wanted(visit, server, tmp_path):
    visited = visit(server, "labels", DESKTOP)
    announced = visited.page.get_by_text("left out everywhere.")
    visited.page.get_by_role("radio", name="wrong").first.click()
    announced.wait_for(timeout=10_000)
    visited.settle()
    with visited.page.expect_download() as download:
        visited.page.get_by_role("button", name="Export as CSV").click()
    reviewed = tmp_path / "reviewed.csv"
    download.value.save_as(reviewed)
    rows = reviewed.read_text().splitlines()
    assert rows[0] == "photo,label,suggested,verdict"
    assert sum(row.endswith(",wrong") for row in rows) == 1
    visited.page.locator("[data-testid=stSidebarNavLink]", has_text="Mistakes").click()
    visited.page.locator("h1", has_text="Mistakes").wait_for(timeout=10_000)
    assert announced.count() == 1
    visited.page.get_by_role("button", name="Use all photos").click()
    announced.wait_for(state="detached", timeout=10_000)

    other = visit(server, "labels", DESKTOP)  # another visitor, who has the list in a file
    assert other.page.get_by_text("left out everywhere.").count() == 0
    other.page.locator("input[type=file]").set_input_files(reviewed)
    other.page.get_by_text("1 verdict was read.").wait_for(timeout=10_000)
    other.page.get_by_text("left out everywhere.").wait_for(timeout=10_000)
    assert visited.errors == other.errors == []


MAP = "map?baseline=mobilenetv2-frozen&new=mobilenetv2-finetuned&run=new"


def coloured_dot(visited: Visit, place: int = 0) -> tuple[float, float]:
    """Where on the screen a coloured dot of the first map is."""
    dots = visited.page.locator("[data-testid=stVegaLiteChart] path[fill='#009E73'][aria-label]")
    dots.first.wait_for(timeout=OPENING)
    dots.nth(place).scroll_into_view_if_needed()
    box = dots.nth(place).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_dot_of_the_map_shows_its_photo_and_a_click_opens_it(visit, server):
    visited = visit(server, MAP, DESKTOP)
    for place in (0, 7):
        x, y = coloured_dot(visited, place)
        visited.page.mouse.move(x - 2, y)
        visited.page.mouse.move(x, y)
        tooltip = visited.page.locator("#vg-tooltip-element")
        tooltip.get_by_text("true breed").wait_for(timeout=10_000)
        if visited.page.locator("[data-testid=stAlertContentInfo]").count() == 0:  # the photos are here
            tooltip.locator("img").wait_for(timeout=10_000)
            assert tooltip.locator("img").evaluate("image => image.naturalWidth") > 0
        before = visited.page.url
        visited.page.mouse.click(x, y)
        visited.page.wait_for_function("url => location.href !== url", arg=before, timeout=10_000)
        assert "photo" in visited.query()
        visited.page.get_by_role("heading", name="What lies closest").wait_for(timeout=10_000)
        visited.settle()
    assert visited.errors == []
    assert visited.strangers == []


def test_a_tap_on_the_map_opens_a_photo_on_a_phone(visit, server):
    visited = visit(server, MAP, PHONE, has_touch=True)
    visited.page.touchscreen.tap(*coloured_dot(visited))
    visited.page.wait_for_url(re.compile("photo="), timeout=10_000)
    visited.page.get_by_role("heading", name="What lies closest").wait_for(timeout=10_000)
    assert visited.errors == []
