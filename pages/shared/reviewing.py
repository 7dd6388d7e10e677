"""The session's reviewed list: what a visitor says about labels, and the photos that every page leaves out for it."""

import streamlit as st

from dogpoc.translation import _, ngettext, number

LISTS, ALL_PHOTOS = "reviewed labels", "reviewed photos are used"  # places in the session, not of widgets


def verdicts(dataset: str) -> dict[str, str]:
    """The session's verdicts (dogpoc.labels.VERDICTS) on labels of `dataset`, by photo id; the list itself."""
    return st.session_state.setdefault(LISTS, {}).setdefault(dataset, {})


def wrong(dataset: str) -> tuple[str, ...]:
    """Ids of the photos whose label is reviewed as wrong, sorted."""
    reviewed = st.session_state.get(LISTS, {}).get(dataset, {})
    return tuple(sorted(photo for photo, verdict in reviewed.items() if verdict == "wrong"))


def left_out(dataset: str) -> tuple[str, ...]:
    """Ids of the photos that pages leave out: those of `wrong`, unless the visitor wants all photos."""
    return () if st.session_state.get(ALL_PHOTOS) else wrong(dataset)


def leave_out(yes: bool) -> None:
    """Leave photos with a wrong label out of every page, or use them all; the list stays."""
    st.session_state[ALL_PHOTOS] = not yes


def clear(dataset: str) -> None:
    """Forget the list of `dataset`."""
    verdicts(dataset).clear()


def announce(dataset: str) -> None:
    """On top of every page: how many photos are left out, which ones, and all photos again with one click."""
    n = len(left_out(dataset))
    if n:
        with st.container(horizontal=True, vertical_alignment="center", border=True, key="left-out"):
            st.markdown(
                ":material/filter_alt: "
                + ngettext(
                    "{n} photo whose label was reviewed as wrong is left out everywhere.",
                    "{n} photos whose labels were reviewed as wrong are left out everywhere.",
                    n,
                ).format(n=number(n)),
                width="content",
            )
            st.page_link("pages/labels.py", label=_("Show"))
            st.button(_("Use all photos"), on_click=leave_out, args=(False,), key="all-photos-again")
