# ruff: noqa: F811  (fixtures come by import)
"""What only hands can do on the upload page: paste a photo, drop one, draw a box on it, and move sliders by keys."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tests.e2e.test_browser import DESKTOP, OPENING, Visit, browser, server, visit  # noqa: F401

HAND_OVER = """([data, event]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "image.png", { type: "image/png" }));
    const target = document.querySelector("[data-testid=stFileUploaderDropzone]");
    const made = event === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
        : new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true });
    (event === "paste" ? document.body : target).dispatchEvent(made);
}"""


@pytest.fixture
def upload(visit, server) -> Visit:
    return visit(server, "upload", DESKTOP)


@pytest.fixture(scope="module")
def picture() -> str:
    """A PNG of blotches, in base64."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((400, 400), Image.Resampling.BICUBIC).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def answered(page) -> str:
    said = page.locator("[data-testid=stMain] h3").filter(has_text="look").first
    said.wait_for(timeout=OPENING)
    return said.inner_text()


def part(page) -> list[float]:
    """From left, to right, from top, to bottom, as the sliders say."""
    return [float(thumb.input_value()) for thumb in page.locator("[data-testid=stSlider] input").all()]


def first_thumb_at(page, least: float, most: float) -> None:
    """Wait until the left edge of the part lies there."""
    found = "Number(document.querySelector('[data-testid=stSlider] input').value)"
    page.wait_for_function(f"{least} <= {found} && {found} <= {most}", timeout=OPENING)


COPY = """async (data) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    await navigator.clipboard.write([new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })]);
}"""


def test_a_photo_in_the_clipboard_is_answered_on_control_v_and_nothing_leaves(upload, picture):
    upload.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    upload.page.evaluate(COPY, picture)
    upload.page.keyboard.press("ControlOrMeta+V")
    assert answered(upload.page)
    assert upload.page.get_by_text("image.png").first.is_visible()
    assert upload.strangers == []
    assert upload.errors == []


def test_pasting_text_does_nothing(upload):
    upload.page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.setData("text/plain", "no photo");
            const made = new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true });
            document.body.dispatchEvent(made);
        }"""
    )
    upload.settle()
    assert upload.page.locator("[data-testid=stFileUploaderFile]").count() == 0
    assert upload.errors == []


def test_a_dropped_photo_is_answered(upload, picture):
    for event in ("dragenter", "dragover", "drop"):
        upload.page.evaluate(HAND_OVER, [picture, event])
    assert answered(upload.page)


def test_a_box_drawn_on_the_photo_is_what_is_asked_about_and_the_keys_move_it(upload, picture):
    page = upload.page
    page.evaluate(HAND_OVER, [picture, "paste"])
    answered(page)
    page.get_by_text("Crop to one dog").click()
    page.locator("[data-testid=stSlider]").nth(1).wait_for(timeout=OPENING)
    upload.settle()
    assert part(page) == [0, 100, 0, 100]
    place = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    x, y = (place["x"], place["width"]), (place["y"], place["height"])
    page.mouse.move(x[0] + 0.25 * x[1], y[0] + 0.5 * y[1])
    page.mouse.down()
    page.mouse.move(x[0] + 0.5 * x[1], y[0] + 0.75 * y[1], steps=5)
    page.mouse.move(x[0] + 0.75 * x[1], y[0] + 0.9 * y[1], steps=5)
    page.mouse.up()
    first_thumb_at(page, 24, 26)
    upload.settle()
    np.testing.assert_allclose(part(page), [25, 75, 50, 90], atol=1)
    before = part(page)[0]
    page.locator("[data-testid=stSlider] input").first.focus()
    page.keyboard.press("ArrowRight")
    first_thumb_at(page, before + 1, before + 1)
    upload.settle()
    assert part(page)[0] == before + 1, "it stays when the answers have come"
    page.get_by_role("button", name="Whole photo").click()
    first_thumb_at(page, 0, 0)
    assert upload.errors == []
