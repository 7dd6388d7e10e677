"""Confusions: which breed is taken for which, by both runs, and the photos behind each cell."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from dogpoc import figures, metrics
from dogpoc.translation import _, breed_label, number, percent
from pages import shared

shared.through_app()

FIRST = 20  # breeds shown at first
WIDE = 25  # breeds up to which two matrices fit side by side
PHOTOS = 12  # shown at first of a cell

runs = {role: shared.answers(shared.dataset(), shared.run(role)) for role in shared.ROLE}
result = shared.compared(shared.dataset(), shared.baseline(), shared.new())  # refuses runs on different photos
stored = runs["new"].evaluation
breeds, true = stored.breeds, stored.true
support = np.bincount(true, minlength=len(breeds))
mistakes = sum(given.counts * (1 - np.eye(len(breeds), dtype=int)) for given in runs.values())  # (C, C), of both runs


def values_of(given: shared.Answers, kind: str) -> np.ndarray:
    """The (C, C) matrix to draw."""
    return {"rates": metrics.rates(given.counts), "counts": given.counts, "probability": given.mean_probs}[kind]


def breeds_shown(everything: bool, order: str) -> np.ndarray:
    """Indices of the breeds to draw, in the order to draw them in."""
    involved = mistakes.sum(axis=0) + mistakes.sum(axis=1)
    chosen = np.arange(len(breeds)) if everything else np.sort(np.argsort(-involved, kind="stable")[:FIRST])
    if order == "name":
        return chosen[np.argsort([breeds[i].casefold() for i in chosen], kind="stable")]
    soft = np.nan_to_num(sum(given.mean_probs for given in runs.values()))[np.ix_(chosen, chosen)]
    return chosen[figures.similarity_order(soft)]


def choose_cell(key: str, shown: list[int]) -> None:
    """A click on a cell of figure `key` becomes the chosen pair."""
    points = st.session_state[key].selection.points
    if points:
        choose_pair(shown[int(points[0]["y"])], shown[int(points[0]["x"])])


def choose_pair(i: int, j: int) -> None:
    """Make breed i, taken for j, the chosen pair."""
    st.session_state["true"], st.session_state["predicted"] = breeds[i], breeds[j]


def pairs_table(given: shared.Answers) -> pd.DataFrame:
    """Every confusion that occurs, most photos first."""
    wrong = given.counts * (1 - np.eye(len(breeds), dtype=int))
    rows, columns = np.nonzero(wrong)
    table = pd.DataFrame(
        {
            "true_breed": [breeds[i] for i in rows],
            "predicted_breed": [breeds[j] for j in columns],
            "photos": wrong[rows, columns],
            "share": wrong[rows, columns] / support[rows],
            "mean_probability": given.mean_probs[rows, columns],
        }
    )
    return table.sort_values(["photos", "share"], ascending=False, ignore_index=True)


def takeaway(role: str) -> str:
    """What stands out in a run's matrix."""
    if kind == "probability":
        soft = np.nan_to_num(runs[role].mean_probs) * (1 - np.eye(len(breeds)))
        i, j = np.unravel_index(soft.argmax(), soft.shape)
        return _(
            "{role}: among wrong breeds, {predicted} gets the largest mean probability, from photos of {true} ({p})."
        ).format(
            role=shared.role_name(role),
            predicted=breed_label(breeds[j]),
            true=breed_label(breeds[i]),
            p=percent(soft[i, j]),
        )
    pairs = pairs_table(runs[role])
    if pairs.empty:
        return _("{role}: no photo is named wrongly.").format(role=shared.role_name(role))
    first = pairs.iloc[0]
    return _(
        "{role}: {wrong} of {photos} photos are wrong, most often {true} taken for {predicted} ({n} of {support})."
    ).format(
        role=shared.role_name(role),
        wrong=number(pairs["photos"].sum()),
        photos=number(len(true)),
        true=breed_label(first["true_breed"]),
        predicted=breed_label(first["predicted_breed"]),
        n=first["photos"],
        support=support[breeds.index(first["true_breed"])],
    )


def rows_behind(i: int, j: int) -> np.ndarray:
    """Photos of breed i that a run takes for j, likeliest first; where there are none, those of i that come closest."""
    of_breed = np.flatnonzero(true == i)
    likely = np.max([given.probs[of_breed, j] for given in runs.values()], axis=0)
    taken = np.any([given.predicted[of_breed] == j for given in runs.values()], axis=0)
    kept = taken if taken.any() else np.ones(len(of_breed), dtype=bool)
    return of_breed[kept][np.argsort(-likely[kept], kind="stable")]


def one_of(key: str, label: str, options: dict[str, str]) -> str:
    """A choice among a few, the first one at first. options: value -> text."""
    return st.segmented_control(
        label, list(options), default=next(iter(options)), required=True, format_func=options.get, key=key
    )


def choose_breed(key: str, label: str) -> int | None:
    """Index of the breed chosen for one side of the pair, kept in the URL; None while there is no choice."""
    shared.warn_of_bad_value(key, [breed_label(breed) for breed in breeds])
    chosen = st.selectbox(
        label, breeds, None, format_func=breed_label, key=key, placeholder=_("Choose a breed"), bind="query-params"
    )
    return None if chosen is None else breeds.index(chosen)


def completed(i: int | None, j: int | None) -> tuple[int, int]:
    """The chosen pair; what is not chosen is taken from the most frequent confusion that fits."""
    if i is None and j is None:
        i, j = np.unravel_index(mistakes.argmax(), mistakes.shape)
    elif i is None:
        i = mistakes[:, j].argmax()
    elif j is None:
        j = mistakes[i].argmax()
    return int(i), int(j)


def show(figure, name: str) -> None:
    """A matrix whose cells can be clicked, what stands out in it, and its table."""
    key = f"cells-{name}"
    clickable = {"key": key, "on_select": partial(choose_cell, key, shown), "selection_mode": "points"}
    if name == "difference":
        table = difference_table()
        shared.figure(figure, difference_takeaway(table), table, name, **clickable)
    else:
        shared.figure(figure, takeaway(name), pairs_table(runs[name]), f"confusions-{name}", **clickable)


def difference_table() -> pd.DataFrame:
    """Every confusion of either run, in photos, the largest changes first."""
    keys = ["true_breed", "predicted_breed"]
    both = [pairs_table(runs[role])[[*keys, "photos"]].rename(columns={"photos": role}) for role in shared.ROLE]
    table = both[0].merge(both[1], on=keys, how="outer").fillna({"baseline": 0, "new": 0})
    table = table.astype({"baseline": int, "new": int}).assign(difference=lambda t: t["new"] - t["baseline"])
    return table.sort_values("difference", key=abs, ascending=False, kind="stable", ignore_index=True)


def difference_takeaway(table: pd.DataFrame) -> str:
    """How many confusions shrink and grow."""
    return _(
        "Blue: the baseline makes the mistake more often; orange: the new method does. "
        "Of {n} confusions that occur, {fewer} become rarer with the new method and {more} more frequent."
    ).format(n=len(table), fewer=int((table["difference"] < 0).sum()), more=int((table["difference"] > 0).sum()))


st.title(_("Confusions"))
st.markdown(
    _(
        "Rows are true breeds, columns what they are taken for; the diagonal (right answers) is left blank and both "
        "runs share one colour scale. **Click a cell to see its photos**, or choose the pair below."
    )
)
KINDS = {"rates": _("Share of photos"), "counts": _("Photos"), "probability": _("Mean probability")}
VIEWS = {"both": _("Side by side"), "difference": _("Difference")}
ORDERS = {"similarity": _("Look-alikes together"), "name": _("Name")}
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    kind = one_of("kind", _("Show"), KINDS)
    view = one_of("view", _("Runs"), VIEWS)
    order = one_of("order", _("Order"), ORDERS)
    everything = len(breeds) <= FIRST or st.toggle(_("All {n} breeds").format(n=len(breeds)), key="everything")

shown = breeds_shown(everything, order).tolist()
names, square = [breeds[i] for i in shown], np.ix_(shown, shown)
unit = "" if kind == "counts" else "%"
drawn = {role: values_of(given, kind)[square] for role, given in runs.items()}
off_diagonal = ~np.eye(len(shown), dtype=bool)
top = float(np.nanmax([matrix[off_diagonal] for matrix in drawn.values()], initial=0)) or 1.0

matrices = st.container()
st.header(_("The photos behind a cell"))
left, right, swap = st.columns([5, 5, 1], vertical_alignment="bottom")
with left:
    i = choose_breed("true", _("True breed"))
with right:
    j = choose_breed("predicted", _("Taken for"))
i, j = completed(i, j)
swap.button("⇄", help=_("Swap"), on_click=choose_pair, args=(j, i))

with matrices:
    chosen = (shown.index(i), shown.index(j)) if i != j and {i, j} <= set(shown) else None
    common = {"top": top, "unit": unit, "chosen": chosen}
    if view == "difference":
        photos = None if kind == "probability" else runs["new"].counts[square] - runs["baseline"].counts[square]
        change = drawn["new"] - drawn["baseline"]
        top = float(np.nanmax(np.abs(change[off_diagonal]), initial=0)) or 1.0
        show(figures.difference_heatmap(change, photos, names, **{**common, "top": top}), "difference")
    else:
        cells = st.columns(2) if len(shown) <= WIDE else [st.container(), st.container()]
        for cell, (role, given) in zip(cells, runs.items(), strict=True):
            photos = None if kind == "probability" else given.counts[square]
            with cell:
                st.markdown(f"**{shared.MARK[role]} {shared.role_name(role)} · {given.evaluation.run}**")
                colour = shared.ROLE[role]
                heatmap = figures.confusion_heatmap(drawn[role], photos, names, colour=colour, **common)
                show(heatmap, role)
    if not everything:
        inside = mistakes[square].sum() / max(1, mistakes.sum())
        st.caption(
            _("The {n} breeds with the most mistakes; {share} of all mistakes lie between two of them.").format(
                n=len(shown), share=percent(inside, 0)
            )
        )

rows = rows_behind(i, j)
taken = {role: int(given.counts[i, j]) for role, given in runs.items()}
st.markdown(
    _("**{true} taken for {predicted}**: {counts}.").format(
        true=breed_label(breeds[i]),
        predicted=breed_label(breeds[j]),
        counts=", ".join(
            f"{shared.MARK[role]} "
            + _("{n} of {support} photos (mean probability {probability})").format(
                n=taken[role], support=support[i], probability=percent(np.nan_to_num(given.mean_probs[i, j]))
            )
            for role, given in runs.items()
        ),
    )
)
if i != j and not any(taken.values()) and len(rows):
    st.caption(_("Neither run takes one for the other; these photos come closest."))
limit = (
    len(rows) if len(rows) <= PHOTOS or st.toggle(_("Show all {n}").format(n=len(rows)), key="all-photos") else PHOTOS
)
shared.photo_grid(rows[:limit], runs, why=True)
shared.table_below(shared.answers_table(rows, runs), "cell")
