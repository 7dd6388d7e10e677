"""Photo map: the test photos as each run's features arrange them, and the photo behind a dot."""

import base64

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import artifacts, embedding, metrics, mistakes, photo_map
from dogpoc import dataset as photo_files
from dogpoc.translation import _, breed_label, number, percent
from pages import shared
from pages.shared import embedded

shared.through_app()

MOST_BREEDS = len(photo_map.BREED_COLOURS)
PICTURES, SIDE = 150, 72  # photos that are seen under the pointer at most, and their longer side in pixels
NEIGHBOURS = 4
HEIGHT = 480

dataset = shared.dataset()
runs = {role: shared.answers(dataset, shared.run(role)) for role in shared.ROLE}
result = shared.compared(dataset, shared.baseline(), shared.new())  # refuses runs on different photos
stored = runs["new"].evaluation
breeds, true, photos = stored.breeds, stored.true, stored.photos
PROJECTIONS = {"tsne": _("Neighbours (t-SNE)"), "pca": _("Main directions (PCA)")}
COLOURINGS = {"breed": _("Breed"), "who": _("Who is right")}
RUNS = {"both": _("Both"), **{role: shared.role_name(role) for role in shared.ROLE}}


def places_of(role: str) -> np.ndarray | None:
    """(n, 2) places of the test photos on a run's map; None where they are not stored."""
    info = runs[role].evaluation.info
    stored_map = artifacts.read_map(info) if projection == "tsne" else artifacts.read_features(info)
    return None if stored_map is None else stored_map[artifacts.table_rows(runs[role].evaluation), :2]


def most_confused() -> list[str]:
    """The two breeds that are taken for each other most, by both runs together."""
    counts = sum(given.counts for given in runs.values()) * (1 - np.eye(len(breeds), dtype=int))
    i, j = np.unravel_index((counts + counts.T).argmax(), counts.shape)
    return [breeds[i], breeds[j]] if counts.any() else breeds[:2]


def kinds() -> tuple[np.ndarray, list[str], str]:
    """The kind of each photo (-1 for the rest), what the kinds are called, and what the rest is."""
    if colouring == "who":
        right = np.stack([given.predicted == true for given in runs.values()])
        kind = np.full(len(true), -1)
        for k, who in enumerate(("only-baseline", "only-new", "both-wrong")):
            kind[mistakes.by_who(right, who)] = k
        return kind, [_("only baseline right"), _("only new right"), _("both wrong")], _("both right")
    kind = np.full(len(true), -1)
    for k, breed in enumerate(chosen_breeds):
        kind[true == breeds.index(breed)] = k
    return kind, [breed_label(breed) for breed in chosen_breeds], _("other breeds")


def pictures() -> dict[int, str]:
    """Small pictures of coloured photos, for the pointer."""
    coloured = np.flatnonzero(kind >= 0)
    spread = coloured[np.linspace(0, len(coloured) - 1, min(PICTURES, len(coloured))).astype(int)]
    here = photo_files.photo_paths(photos["sha256"].iloc[spread], photos["bytes"])
    found = {row: shared.photo_bytes(photos, row, SIDE) for row in spread.tolist() if photos["sha256"][row] in here}
    return {row: f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" for row, data in found.items() if data}


def answer_texts(role: str) -> np.ndarray:
    """(n,) the breed that a run names in each photo, with a tick where it is right."""
    ticked = np.array([[breed_label(breed), f"{breed_label(breed)} ✓"] for breed in breeds])
    return ticked[runs[role].predicted, (runs[role].predicted == true).astype(int)]


@st.cache_data(max_entries=16, show_spinner=False)
def alike(dataset: str, run: str, sha256: str, _rows: np.ndarray, ids: str) -> int:
    """Of how many test photos the nearest other test photo is of the same breed, in the features of a run."""
    return int(embedding.neighbour_alike(embedded.features(dataset, run)[_rows], true).sum())


def takeaway(role: str) -> str:
    """What a run's map shows, and how far it can be trusted."""
    evaluation = runs[role].evaluation
    sha256, ids = evaluation.info["files"]["features.npy"], str(hash(tuple(photos["id"])))
    same = alike(dataset, evaluation.run, sha256, artifacts.table_rows(evaluation), ids)
    words = _("{role}: of {share} of the photos, the nearest other one is of the same breed ({interval}).").format(
        role=shared.role_name(role),
        share=percent(same / len(true)),
        interval=shared.interval(*metrics.wilson_interval(same, len(true))),
    )
    if projection == "tsne":
        return words
    spread = np.asarray(artifacts.read_features(evaluation.info), dtype=np.float64).var(axis=0)
    shown = spread[:2].sum() / spread.sum() * evaluation.info["embedding"]["kept_variance"]
    return words + " " + _("The two directions hold {share} of the variance.").format(share=percent(shown))


def pick(key: str) -> None:
    """A click on a dot of chart `key` opens its photo."""
    found = st.session_state[key].selection[photo_map.PICKED]
    if found:
        st.query_params["photo"] = photos["id"].iloc[found[0]["row"]]


def draw(role: str, places: np.ndarray) -> None:
    """A run's map."""
    st.markdown(f"**{shared.MARK[role]} {shared.role_name(role)} · {runs[role].evaluation.run}**")
    titles = {"true_breed": _("true breed")} | {name: shared.role_name(name) for name in shared.ROLE}
    texts = {"true_breed": np.array([breed_label(breed) for breed in breeds])[true]}
    texts |= {name: answer_texts(name) for name in shared.ROLE}
    data = photo_map.points(places, kind, names, rest, small, opened, **texts)
    key, words = f"map-{role}", takeaway(role)
    st.vega_lite_chart(
        data,
        photo_map.spec(names, colours, rest, titles, opened, HEIGHT),
        key=key,
        on_select=lambda: pick(key),
        selection_mode=photo_map.PICKED,
        alt=words,
    )
    st.caption(words)


def open_photo() -> int | None:
    """Row of the photo that is open, kept in the URL, with its choice for the keyboard; None at first."""
    asked = st.query_params.get("photo")
    ids = photos["id"].tolist()
    if asked is not None and asked not in ids:
        st.warning(_("There is no test photo {id}.").format(id=repr(asked[:100])))
        asked = None
    coloured = [ids[row] for row in np.flatnonzero(kind >= 0)[:PICTURES]]
    st.session_state["map-photo"] = asked
    st.selectbox(
        _("Open a coloured photo"),
        coloured if asked is None or asked in coloured else [asked, *coloured],
        index=None,
        key="map-photo",
        placeholder=_("Click a dot, or choose"),
        on_change=open_by_keyboard,
    )
    return None if asked is None else ids.index(asked)


def open_by_keyboard() -> None:
    """The photo chosen in the box becomes the open one."""
    chosen = st.session_state["map-photo"]
    if chosen is None:
        st.query_params.pop("photo", None)
    else:
        st.query_params["photo"] = chosen


def show_neighbours(role: str) -> None:
    """The test photos nearest to the open one in a run's features."""
    evaluation = runs[role].evaluation
    features = artifacts.read_features(evaluation.info)[artifacts.table_rows(evaluation)]
    near = embedding.nearest(features, features[opened][None], NEIGHBOURS + 1)[0]
    st.markdown(f"**{shared.MARK[role]} {shared.role_name(role)} · {evaluation.run}**")
    shared.photo_grid(near[near != opened][:NEIGHBOURS], runs, why=True, pair=True)


st.title(_("Photo map"))
st.markdown(
    _(
        "Each dot is a test photo; what looks alike to a run lies close. Point at a coloured dot to see its photo, "
        "click any dot to open it."
    )
)
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    projection = shared.choice(st.segmented_control, "projection", _("Arranged by"), PROJECTIONS, "tsne", required=True)
    colouring = shared.choice(st.segmented_control, "colour", _("Coloured by"), COLOURINGS, "breed", required=True)
    which = shared.choice(st.segmented_control, "run", _("Run"), RUNS, "both", required=True)
chosen_breeds = []
if colouring == "breed":
    chosen_breeds = st.multiselect(
        _("Breeds in colour"),
        breeds,
        most_confused(),
        format_func=breed_label,
        max_selections=MOST_BREEDS,
        key="breeds",
        bind="query-params",
        help=_("At first the two that are taken for each other most. More colours could not be told apart."),
    )
kind, names, rest = kinds()
colours = photo_map.BREED_COLOURS if colouring == "breed" else photo_map.WHO_COLOURS
drawn = {role: places_of(role) for role in shared.ROLE if which in ("both", role)}
drawn = {role: places for role, places in drawn.items() if places is not None}
embedded.warn_of_missing(dataset, [shared.run(role) for role in shared.ROLE], _("the map"))
if not drawn:
    st.stop()

small = pictures()
*cells, beside = st.columns([5] * len(drawn) + [2 * len(drawn)], gap="medium")
with beside:
    opened = open_photo()
    if opened is not None:
        shared.photo_grid(np.array([opened]), runs, why=True, pair=True)
for cell, (role, places) in zip(cells, drawn.items(), strict=True):
    with cell:
        draw(role, places)
if projection == "tsne":
    st.caption(_("Only neighbours count on these maps: the distance between groups, and their size, mean nothing."))
if opened is not None:
    st.header(_("What lies closest"))
    for role in drawn:
        show_neighbours(role)

coloured = np.flatnonzero(kind >= 0)
place_columns = {
    f"{role}_{axis}": np.asarray(places[coloured, k], dtype=float).round(2)
    for role, places in drawn.items()
    for k, axis in enumerate("xy")
}
shared.table_below(pd.concat([shared.answers_table(coloured, runs), pd.DataFrame(place_columns)], axis=1), "map")
words = _("{coloured} of {n} photos are in colour.").format(coloured=number(len(coloured)), n=number(len(true)))
if len(coloured) > PICTURES:
    words += " " + _("{pictures} of them show their photo under the pointer.").format(pictures=number(PICTURES))
st.caption(words)
