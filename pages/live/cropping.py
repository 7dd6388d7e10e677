"""The part of a photo that is asked about: chosen with sliders or drawn on the photo, kept for the session."""

import math

import streamlit as st
from PIL import Image

from dogpoc import figures
from dogpoc.translation import _, percent
from pages import shared

Part = tuple[int, int, int, int]  # left, right, top, bottom: percent of the photo
WHOLE: Part = (0, 100, 0, 100)
LEAST = 32  # pixels, both sides


def part_of(photo: str) -> Part:
    """The part of a photo, by its key, that the visitor has chosen."""
    return _parts().get(photo, WHOLE)


def _parts() -> dict[str, Part]:
    return st.session_state.setdefault("upload-parts", {})


def forget(photos: set[str]) -> None:
    """Keep the parts of these photos only."""
    st.session_state["upload-parts"] = {photo: part for photo, part in _parts().items() if photo in photos}


def cut(image: Image.Image, part: Part) -> Image.Image:
    """A part of an upright photo, at least LEAST pixels wide and high where the photo is."""
    left, right, top, bottom = part
    width, height = image.size
    box = (width * left // 100, height * top // 100, -(-width * right // 100), -(-height * bottom // 100))
    return image if part == WHOLE else image.crop(box)


def widen(low: float, high: float, side: int) -> tuple[int, int]:
    """Whole percent from `low` to `high` that are at least LEAST of `side` pixels, inside the photo.

    >>> widen(40.2, 40.4, 320), widen(99, 100, 320), widen(-3, 120, 320), widen(5, 6, 20)
    ((40, 50), (90, 100), (0, 100), (0, 100))
    """
    least = min(100, math.ceil(100 * LEAST / side))
    low, high = (round(min(100, max(0, share))) for share in sorted((low, high)))
    low = min(low, 100 - least)
    return low, max(high, low + least)


def show(photo: str, picture: bytes, size: tuple[int, int]) -> None:
    """The photo, and under it what crops it. picture: a JPEG of all of it.   size: of what was read, in pixels."""
    part = part_of(photo)
    toggle = f"crop-{photo}"
    st.session_state[toggle] = photo in _parts()
    if photo in _parts():
        _draw(photo, picture, size, part)
    else:
        st.image(picture, alt=_("Your photo"))
    st.toggle(_("Crop to one dog"), key=toggle, on_change=_switch, args=(photo, toggle))
    if photo not in _parts():
        return
    keys = {"x": f"crop-x-{photo}", "y": f"crop-y-{photo}"}
    st.session_state[keys["x"]], st.session_state[keys["y"]] = part[:2], part[2:]
    move = {"on_change": _slide, "args": (photo, keys, size), "format": "%d %%"}
    st.slider(_("From left to right"), 0, 100, key=keys["x"], **move)
    st.slider(_("From top to bottom"), 0, 100, key=keys["y"], **move)
    st.button(_("Whole photo"), key=f"crop-all-{photo}", on_click=_switch, args=(photo, None), disabled=part == WHOLE)
    st.caption(
        _("Draw a box around the dog, or move the sliders: the answers follow. The models see its middle square.")
    )


def _switch(photo: str, toggle: str | None) -> None:
    _parts().pop(photo, None)
    if toggle is None or st.session_state[toggle]:
        _parts()[photo] = WHOLE


def _slide(photo: str, keys: dict[str, str], size: tuple[int, int]) -> None:
    across, down = st.session_state[keys["x"]], st.session_state[keys["y"]]
    _parts()[photo] = (*widen(*across, size[0]), *widen(*down, size[1]))


def _draw(photo: str, picture: bytes, size: tuple[int, int], part: Part) -> None:
    """The photo as a figure in which a box can be drawn."""
    key = f"crop-box-{photo}"

    def choose() -> None:
        boxes = st.session_state[key]["selection"]["box"]
        if boxes:
            across, down = boxes[0]["x"], boxes[0]["y"]
            _parts()[photo] = (*widen(*across, size[0]), *widen(*down, size[1]))

    alt = _("Your photo; asked about are {left} to {right} of its width and {top} to {bottom} of its height")
    left, right, top, bottom = (percent(share / 100, 0) for share in part)
    words = alt.format(left=left, right=right, top=top, bottom=bottom)
    figure = figures.photo_with_part(picture, size, part)
    st.plotly_chart(figure, config=shared.CHART, key=key, on_select=choose, selection_mode="box", alt=words)
