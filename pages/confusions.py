"""Confusions: which breed is taken for which, by both runs, and the photos behind each cell."""

from functools import partial

import numpy as np
import streamlit as st

from dogpoc import comparison, figures
from dogpoc.translation import _, percent
from pages import shared
from pages.shared import matrix, pairs

shared.through_app()

about = pairs.Subject({role: shared.answers(shared.dataset(), shared.run(role)) for role in shared.ROLE})
comparison.check_comparable(*(given.evaluation for given in about.runs.values()))

KINDS = {
    "rates": _("Share of photos"),
    "answers": _("Share of answers"),
    "counts": _("Photos"),
    "probability": _("Mean probability"),
}
MEANINGS = {
    "rates": _("A cell is the share of the true breed's photos that are taken for the other breed."),
    "answers": _("A cell is the share of the answers naming a breed that photos of the true breed get."),
    "counts": _("A cell is the number of photos of the true breed that are taken for the other breed."),
    "probability": _(
        "A cell is the mean probability that photos of the true breed give to the other breed; below 0.1 % it is blank."
    ),
}
VIEWS = {
    "both": _("Side by side"),
    "baseline": _("Baseline"),
    "new": _("New method"),
    "difference": _("Difference"),
}
ORDERS = {
    "similarity": _("Look-alikes together"),
    "name": _("Name"),
    "dataset": _("As in the dataset"),
    "recall": _("Recall"),
}
SCOPES = {"few": _("{n} most confused").format(n=matrix.FIRST)} if len(about.breeds) > matrix.FIRST else {}
SCOPES |= {"all": _("All {n}").format(n=len(about.breeds))}
SCOPES |= {"groups": _("Kennel groups")} if about.groups else {}


def click(key: str) -> None:
    """A click in figure `key`: a cell chooses its pair, a name its breed, and a group's name opens the group."""
    last = f"last click in {key}"  # a second click there takes the selection back: then too it is what is wanted
    points = st.session_state[key].selection.points[:1] or st.session_state.get(last, [])
    st.session_state[last] = [dict(point) for point in points]
    for point in points:
        names = [None if place is None else drawn.labels[shown[place]] for place in figures.clicked(point)]
        if None not in names:
            pairs.choose(*names)
        else:
            name = next(filter(None, names))
            if name in about.groups:
                st.query_params["open"] = name
            else:
                pairs.look_at(name)


st.title(_("Confusions"))
st.markdown(
    _(
        "Rows are true breeds, columns what they are taken for; right answers are left blank. **Click a cell to see "
        "its photos, or a name to look at that breed**; the boxes and tables do the same."
    )
)
one_of = partial(shared.choice, st.segmented_control, required=True)
find = partial(shared.choice, st.selectbox, usual=None, placeholder=_("Choose a breed"), width=230)
with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    kind = one_of("kind", _("Show"), KINDS, "rates")
    view = one_of("view", _("Runs"), VIEWS, "both")
    scope = one_of("breeds", _("Breeds"), SCOPES, next(iter(SCOPES)))
    order = one_of("order", _("Order"), ORDERS, "similarity")
    opened = None
    if scope == "groups":
        opened = find("open", _("Open a group"), {name: about.names()[name] for name in about.groups})
    else:
        st.query_params.pop("open", None)
with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    focus = find("focus", _("Look at one breed"), dict(zip(about.labels, about.labels, strict=True)))
    i, j = find("true", _("True breed"), about.names()), find("predicted", _("Taken for"), about.names())
    i, j = pairs.completed(about, i, j)
    st.button("⇄", help=_("Swap"), on_click=pairs.choose, args=(j, i))

drawn = matrix.matrices(about.runs, kind, grouped=scope == "groups", opened=opened)
shown = matrix.most_confused(drawn, [i, j, focus]) if scope == "few" else np.arange(len(drawn.labels))
shown = matrix.ordered(drawn, shown, order)
if opened:
    shown = matrix.side_by_side(shown, np.isin(drawn.labels, [about.labels[k] for k in about.groups[opened]]))
place = {drawn.labels[k]: at for at, k in enumerate(shown)}

matrices, ranking, severity = st.tabs([_("Matrices"), _("Most confused pairs"), _("How bad the mistakes are")])
with matrices:
    meaning = MEANINGS[kind]
    if scope == "few":
        inside = about.mistakes[np.ix_(shown, shown)].sum() / max(1, about.mistakes.sum())
        meaning += " " + _("Of all mistakes, {share} lie between two of these {n} breeds.").format(
            share=percent(inside, 0), n=len(shown)
        )
    st.caption(meaning)
    views = ["baseline", "new"] if view == "both" else [view]
    chosen = (place[i], place[j]) if {i, j} <= set(place) else None
    matrix.draw(drawn, shown, views, click, chosen=chosen, focus=place.get(focus))
with ranking:
    roles = {role: shared.role_name(role) for role in shared.ROLE}
    pairs.show_ranking(about, one_of("ranked", _("Pairs of"), roles, "new"))
with severity:
    pairs.show_severity(about)

with st.container(key="pair-photos"):
    pairs.show_photos(about, i, j)
if focus:
    with st.container(key="one-breed"):
        st.header(_("One breed: {breed}").format(breed=focus))
        pairs.show_breed(about, focus)
pairs.bring_into_view()
st.html(matrix.TOUCH, unsafe_allow_javascript=True)
