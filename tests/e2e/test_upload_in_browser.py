# ruff: noqa: F811  (fixtures come by import)
"""Real files through the real upload page in a real browser: awkward ones, two tabs at once, and what is sent back."""

import base64
import csv
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dogpoc import artifacts
from dogpoc.dataset import photo_paths
from tests.e2e.test_browser import DESKTOP, OPENING, PHONE, Visit, browser, fresh_server, server, visit  # noqa: F401

HOSTILE = Path(os.environ.get("DOGPOC_BAD_IMAGES") or Path(__file__).parents[3] / "shared" / "bad-images")
ORIENTATION, DESCRIPTION, MAKE, GPS = 0x0112, 0x010E, 0x010F, 0x8825  # EXIF tags
MARKER = b"MarkerOfThePlaceWhereThisPhotoWasTaken"


# -- files --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dogs() -> list[Image.Image]:
    """Two photos of different breeds; generated ones where the photos are not on this machine."""
    table = artifacts.read_photos("dogs47")
    table = table[table["split"] == "test"].drop_duplicates("breed")
    found = photo_paths(table["sha256"], table["bytes"])
    paths = [found[sha256] for sha256 in table["sha256"] if sha256 in found]
    if len(paths) > 1:
        return [Image.open(path).convert("RGB") for path in (paths[0], paths[-1])]
    rng = np.random.default_rng(0)
    small = [Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)) for _dog in range(2)]
    return [image.resize((640, 480), Image.Resampling.BICUBIC) for image in small]


def file(image: Image.Image, name: str = "dog.jpg", kind: str = "JPEG", **options) -> dict:
    """A picture as playwright uploads it."""
    written = io.BytesIO()
    image.save(written, kind, **options)
    return {"name": name, "mimeType": "image/jpeg", "buffer": written.getvalue()}


def jpeg(image: Image.Image, exif: Image.Exif | None = None) -> dict:
    return file(image, quality=95, subsampling=0, exif=exif or Image.Exif())


# -- the page -----------------------------------------------------------------------------------------------------


def said(page):
    """The sentence about a photo."""
    return page.locator("[data-testid=stMain] h3").filter(has_text=re.compile("look(s)? like"))


def answer(page) -> list[str]:
    """The breeds that the answer names, once it stands."""
    said(page).wait_for(timeout=OPENING)
    return said(page).locator("strong").all_inner_texts()


def send(page, *files: dict) -> None:
    page.locator("input[type=file]").set_input_files(files)


def refusal(page) -> str:
    """The one line about a file that is no photo."""
    errors = page.locator("[data-testid=stAlertContentError]")
    errors.first.wait_for(timeout=OPENING)
    assert errors.count() == 1
    assert said(page).count() == 0
    line = errors.inner_text().removeprefix("broken_image").strip()  # the icon's name
    assert "\n" not in line
    return line


@pytest.fixture
def upload(visit, server) -> Visit:
    """The upload page, where nothing has been uploaded yet."""
    return visit(server, "upload", DESKTOP)


def refused_and_then_answered(upload: Visit, bad: dict, good: Image.Image) -> str:
    """What is said of a bad file; a good one is answered afterwards on the same page."""
    send(upload.page, bad)
    line = refusal(upload.page)
    send(upload.page, jpeg(good))
    assert answer(upload.page)
    assert upload.page.locator("[data-testid=stException]").count() == 0
    return line


# -- awkward files ------------------------------------------------------------------------------------------------


def test_a_photo_that_the_phone_rotated_gets_the_answer_of_the_upright_one_and_nothing_leaves(visit, server, dogs):
    turned = dogs[0].transpose(Image.Transpose.ROTATE_90)  # ... and the tag says how to turn it back
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    answers = []
    for sent in (jpeg(dogs[0]), jpeg(turned, exif)):
        visited = visit(server, "upload", PHONE)
        send(visited.page, sent)
        answers.append(answer(visited.page))
        assert visited.strangers == []
        assert visited.errors == []
    assert answers[0] == answers[1]


def test_a_heic_photo_gets_the_answer_of_the_same_photo_as_jpeg(visit, server, dogs):
    pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    turned = dogs[0].transpose(Image.Transpose.ROTATE_90)
    answers = []
    for sent in (jpeg(dogs[0]), file(turned, "IMG_0001.HEIC", "HEIF", quality=95, exif=exif.tobytes())):
        visited = visit(server, "upload", PHONE)
        send(visited.page, sent)
        answers.append(answer(visited.page))
    assert answers[0] == answers[1]


def test_a_broken_heic_photo_is_refused_with_one_line_and_the_page_lives(upload, dogs):
    heic = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(2000)
    refused_and_then_answered(upload, jpeg(dogs[0]) | {"name": "IMG_0001.HEIC", "buffer": heic}, dogs[0])


def test_a_png_of_60_megapixels_is_refused_with_one_line_and_the_page_lives(upload, dogs):
    bomb = file(Image.new("1", (10_000, 6_000)), "dog.png", "PNG")
    assert len(bomb["buffer"]) < 100_000
    assert "60" in refused_and_then_answered(upload, bomb, dogs[0])


def test_a_text_file_named_jpg_is_refused_with_one_line_and_the_page_lives(upload, dogs):
    refused_and_then_answered(upload, jpeg(dogs[0]) | {"buffer": b"Dear jury, this is no photo.\n" * 20}, dogs[0])


def names() -> list[str]:
    """Hostile names of good files: the folder's of hostile files, and a few that always serve."""
    listed = HOSTILE / "NAMES.tsv"
    if not listed.exists():
        return ["<img src=x onerror=\"document.title='XSS'\">.jpg", "![x](http://127.0.0.1:9/x.png).jpg", "=1+1.jpg"]
    lines = [line.split("\t", 1)[1] for line in listed.read_text().splitlines()[2:]]
    return [line.encode().decode("unicode_escape") if "'d'*240" not in line else "d" * 240 + ".jpg" for line in lines]


def test_no_name_of_a_file_changes_the_page_or_is_computed_by_a_spreadsheet(upload, dogs, tmp_path):
    page, title = upload.page, upload.page.title()
    sent = [file(dogs[0], name) for name in names()] + [file(dogs[1], "text.jpg") | {"buffer": b"no photo"}]
    sent += [one | {"buffer": b"no photo"} for one in sent[:5]]
    send(page, *sent)
    answer(page)
    page.get_by_role("heading", name=f"All {len(sent)} photos").wait_for(timeout=OPENING)
    upload.settle()
    main = page.locator("[data-testid=stMain]")
    assert main.locator("[data-testid=stAlertContentError]").count() == 6
    assert main.locator("img[src*='127.0.0.1:9'], a[href^='javascript'], img[src='x'], .katex").count() == 0
    assert page.title() == title
    assert upload.strangers == upload.errors == []
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    download.value.save_as(tmp_path / "photos.csv")
    with (tmp_path / "photos.csv").open(newline="", encoding="utf-8") as table:
        cells = [cell for row in csv.reader(table) for cell in row]
    assert len(cells) > 6 * len(sent)
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))] == []


# -- several at once ----------------------------------------------------------------------------------------------


def test_two_tabs_at_once_each_show_the_answer_to_their_own_photo(visit, server, dogs):
    alone = []
    for image in dogs:
        visited = visit(server, "upload", DESKTOP)
        send(visited.page, jpeg(image))
        alone.append(answer(visited.page))
    assert alone[0] != alone[1]
    first = visit(server, "upload", DESKTOP).page
    with first.expect_popup() as popup:
        first.evaluate("window.open(location.href)")
    second = popup.value
    second.locator("input[type=file]").wait_for(state="attached", timeout=OPENING)
    for page, image in zip((first, second), dogs, strict=True):
        send(page, jpeg(image))
    assert [answer(first), answer(second)] == alone


CLICKED = """
import time
from pathlib import Path

import streamlit as st
from pages.live import answering

def compute():
    with Path({log!r}).open("a") as log:
        log.write("begin ")
        log.flush()
        time.sleep(0.5)
        log.write("end ")

if st.button("Ask"):
    answering.in_turn(compute)
    st.write("answered")
"""


def test_six_quick_clicks_start_two_computations_at_most_and_never_two_at_once(browser, tmp_path):
    log = tmp_path / "log"
    (tmp_path / "clicked.py").write_text(CLICKED.format(log=str(log)))
    with fresh_server(str(tmp_path / "clicked.py")) as address:
        page = browser.new_page()
        page.goto(address)
        page.get_by_role("button", name="Ask").wait_for(timeout=OPENING)
        for _click in range(6):
            page.get_by_role("button", name="Ask").click()
        page.get_by_text("answered").wait_for(timeout=OPENING)
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=OPENING)
        page.close()
    assert log.read_text().split() in (["begin", "end"], ["begin", "end"] * 2)


# -- what is sent back --------------------------------------------------------------------------------------------


def spelled(marker: bytes) -> list[bytes]:
    """`marker` as it stands in a file, and as it does in base64, wherever it begins."""
    coded = [base64.b64encode(bytes(shift) + marker)[4:-4] for shift in range(3)]
    return [marker, marker.decode().encode("utf-16-le"), *coded]


def photographed(image: Image.Image) -> dict:
    """A JPEG that says where and with what it was taken."""
    exif = Image.Exif()
    exif[DESCRIPTION] = exif[MAKE] = MARKER.decode()
    exif.get_ifd(GPS).update({1: "N", 2: (48.0, 51.0, 30.0), 28: MARKER})  # 28: the area's name
    sent = file(image, quality=90, exif=exif, comment=MARKER, xmp=b"<x:xmpmeta>" + MARKER + b"</x:xmpmeta>")
    assert sent["buffer"].count(MARKER) == 5
    return sent


def test_no_byte_that_the_server_sends_back_tells_place_or_device(upload, dogs):
    page, responses, frames = upload.page, [], []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(frame)))
    page.reload()
    upload.settle()
    page.on("response", lambda response: responses.append(response))
    send(page, photographed(dogs[0]))
    answer(page)
    upload.settle()
    bodies = [response.body() for response in responses if response.status == 200]
    bodies += [frame if isinstance(frame, bytes) else frame.encode() for frame in frames]
    assert sum(body.startswith(b"\xff\xd8\xff") for body in bodies) >= 2, "the photo, and what a run sees of it"
    assert len(frames) > 10
    assert [body[:80] for body in bodies if any(form in body for form in spelled(MARKER))] == []
    assert upload.strangers == []


# -- the quiz -----------------------------------------------------------------------------------------------------


def test_the_quiz_is_played_by_the_keyboard_alone_and_the_score_stands_beside_both_runs(visit, server):
    page = visit(server, "quiz", PHONE).page
    if page.get_by_text("The photos are not on this machine").count():
        pytest.skip("no photos on this machine")
    for place in range(3):
        page.locator(f".st-key-guess-{place}-1 button").wait_for(timeout=OPENING)
        page.keyboard.press("2")
        page.locator(f".st-key-on-{place} button").wait_for(timeout=OPENING)
        page.keyboard.press("Enter")
    page.get_by_role("heading", name="Score after 3 photos").wait_for(timeout=OPENING)
    assert page.locator("[data-testid=stMarkdown] table tbody tr").count() == 3
