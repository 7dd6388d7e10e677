"""Mistakes: every photo that a run gets wrong, filtered and sorted."""

import numpy as np
import streamlit as st

from dogpoc import metrics, mistakes
from dogpoc.translation import _, breed_label, ngettext, number, percent
from pages import shared

shared.through_app()

PHOTOS = 24  # on a page
LISTED = 1000  # photos in the table; the browser is sent all of them
SURE = 5  # step of the confidence range, percent

dataset = shared.dataset()
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())  # refuses runs on different photos
stored = runs["new"].evaluation
breeds, true = stored.breeds, stored.true
every = np.arange(len(true))
predicted = np.stack([given.predicted for given in runs.values()])  # (2, n)
confidence = np.stack([given.prob(every, given.predicted) for given in runs.values()])
belief = np.stack([given.prob(every, true) for given in runs.values()])

WHO = {
    "any-wrong": _("At least one run is wrong"),
    "only-new": _("Only the new method is right"),
    "only-baseline": _("Only the baseline is right"),
    "both-wrong": _("Both are wrong"),
    "both-right": _("Both are right"),
    "all": _("All photos"),
}
SORTS = {
    "least-probable": _("Least probable true breed"),
    "confident": _("Surest wrong answer"),
    "disagreement": _("Largest disagreement"),
}
ANSWERS = {"either": _("Either run"), **{role: shared.role_name(role) for role in shared.ROLE}}
UNFILTERED = {"who": "any-wrong", "true": None, "predicted": None, "by": "either", "sure": (0, 100), "page": 1}


def first_page() -> None:
    """What other filters leave starts at its first page."""
    st.session_state["page"] = 1


def clear_filters() -> None:
    """Back to all mistakes."""
    st.session_state.update(UNFILTERED)


def choose_breed(key: str, label: str) -> int | None:
    """Index of a breed to keep, kept in the URL; None for all."""
    shared.warn_of_bad_value(key, [breed_label(breed) for breed in breeds])
    chosen = st.selectbox(
        label,
        breeds,
        None,
        format_func=breed_label,
        key=key,
        placeholder=_("Any breed"),
        bind="query-params",
        on_change=first_page,
    )
    return None if chosen is None else breeds.index(chosen)


def in_order(rows: np.ndarray, by: str) -> np.ndarray:
    """The photos in `rows`, worst first."""
    if by == "disagreement":
        apart = mistakes.disagreement(runs["baseline"].prob, runs["new"].prob, rows)
        return rows[np.argsort(-apart, kind="stable")]
    return rows[mistakes.order(by, true[rows], predicted[:, rows], confidence[:, rows], belief[:, rows])]


def share_sentence(left: int, breed: int | None) -> str:
    """How many photos the filters leave, and of how many."""
    among = len(true) if breed is None else int((true == breed).sum())
    of = (
        ngettext("of {n} test photo", "of {n} test photos", among)
        if breed is None
        else ngettext("of {n} photo of this breed", "of {n} photos of this breed", among)
    )
    return _("**{left}** {of}: {share} ({interval}).").format(
        left=number(left),
        of=of.format(n=number(among)),
        share=percent(left / among if among else 0),
        interval=shared.interval(*metrics.wilson_interval(left, among)),
    )


st.title(_("Mistakes"))
st.markdown(_("The photos behind the numbers: filter them by breed and by who is right, worst first."))
left, middle, right = st.columns(3)
with left:
    who = shared.choice(st.selectbox, "who", _("Who is right"), WHO, UNFILTERED["who"], on_change=first_page)
with middle:
    breed = choose_breed("true", _("True breed"))
with right:
    taken_for = choose_breed("predicted", _("Taken for"))
left, middle, right = st.columns(3)
with left:
    by = shared.choice(st.selectbox, "by", _("By which run"), ANSWERS, UNFILTERED["by"], on_change=first_page)
with middle:
    low, high = st.slider(
        _("How sure it is of its answer, %"),
        *(0, 100, UNFILTERED["sure"], SURE),
        key="sure",
        bind="query-params",
        on_change=first_page,
    )
with right:
    sort = shared.choice(st.selectbox, "sort", _("Sort by"), SORTS, "least-probable", on_change=first_page)

kept = mistakes.select(
    true,
    predicted,
    confidence,
    who=who,
    breed=breed,
    taken_for=taken_for,
    runs=(0, 1) if by == "either" else (list(shared.ROLE).index(by),),
    low=low / 100,
    high=high / 100,
)
rows = in_order(np.flatnonzero(kept), sort)
if not len(rows):
    st.info(_("No photo passes these filters."))
    st.button(_("Clear the filters"), on_click=clear_filters)
    st.stop()

pages = -(-len(rows) // PHOTOS)
with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
    st.markdown(share_sentence(len(rows), breed), width="content")
    page = st.pagination(pages, key="page", bind="query-params") if pages > 1 else 1
shown = rows[(page - 1) * PHOTOS : page * PHOTOS]
shared.photo_grid(shown, runs, why=True, pair=True)
with st.popover(_("Table"), icon=":material/table:", type="tertiary"):
    table = shared.answers_table(rows, runs)
    st.dataframe(table[:LISTED], hide_index=True, key="table-mistakes")
    if len(rows) > LISTED:
        st.caption(_("The first {n}; the CSV file has all.").format(n=number(LISTED)))
    shared.download(table, "mistakes")
