"""/story: the presentation itself, one slide after the other, every number from the stored runs."""

import streamlit as st

from dogpoc.translation import _
from pages import shared
from pages.sections import slides

shared.through_app()

# Everything but the slide goes; what the browser itself shows around the page goes with its own key (F11).
FULL = """<style>
[data-testid=stSidebar], [data-testid=stHeader], [data-testid=stExpandSidebarButton] { display: none; }
[data-testid=stMainBlockContainer] { padding-top: 1.5rem; max-width: 76rem; margin: 0 auto; }
[data-testid=stMainBlockContainer] p, [data-testid=stMainBlockContainer] li { font-size: 1.15rem; }
[data-testid=stMainBlockContainer] [data-testid=stMetricValue] p { font-size: inherit; }
</style>"""

titles = slides.titles()
names = list(titles)
asked = st.query_params.get("slide", names[0])
if asked not in titles:
    shared.warn_of_bad_value("slide", names)
    asked = names[0]
place = names.index(asked)
full = st.query_params.get("full") == "1"


def turn(to: int) -> None:
    """Show another slide; the address follows."""
    st.query_params["slide"] = names[to]


def resize() -> None:
    """Into full screen or out of it; the address follows."""
    st.query_params.from_dict({**st.query_params.to_dict(), "full": "0" if full else "1"})


if full:
    st.html(FULL)
with st.container(horizontal=True, gap="small", vertical_alignment="center", key="turn"):
    back, on = max(place - 1, 0), min(place + 1, len(names) - 1)
    st.button(_("Previous"), on_click=turn, args=(back,), disabled=place == 0, shortcut="Left", key="previous")
    st.button(
        _("Next"),
        on_click=turn,
        args=(on,),
        disabled=place == len(names) - 1,
        shortcut="Right",
        type="primary",
        key="next",
    )
    st.caption(_("{n} of {slides}").format(n=place + 1, slides=len(names)))
    st.button(
        _("Leave full screen") if full else _("Full screen"),
        on_click=resize,
        shortcut="F",
        type="tertiary",
        help=_("F11 takes the browser's own frame away too."),
        key="full",
    )
st.title(titles[asked])
slides.show(asked, shared.dataset())
