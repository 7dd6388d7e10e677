"""The matrices of the confusions page: what their rows are, in which order, what they say, and how they are drawn."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dogpoc import comparison, figures, metrics, taxonomy
from dogpoc.translation import _, breed_label, number, percent
from pages import shared

FIRST = 20  # rows shown at first
TALLEST = 640  # pixels of a matrix on the page; a taller one scrolls
LEAST = 1e-3  # less of a mean probability is left blank
STYLE = """<style>
[class*="st-key-matrix-"] {{ overflow: auto; max-height: {height}px; gap: 0; }}
[class*="st-key-matrix-"] > div {{ min-width: {width}px; }}
</style>"""
FRAME = (
    '<div class="frame" style="position: absolute; pointer-events: none; left: {x:.3%}; width: {width:.3%}; '
    'top: {y:.1f}px; height: {height:.1f}px; outline: {thick}px solid #8A8A8A"></div>'
)
# A tap moves no mouse, and plotly selects what the mouse was last over: without this, the cell that was tapped before.
TOUCH = """<script>
window.dogpocTouch ??= document.addEventListener("touchstart", ({target, touches: [{clientX, clientY}]}) => {
    if (target.closest(".js-plotly-plot")) {
        target.dispatchEvent(new MouseEvent("mousemove", {clientX, clientY, bubbles: true}))
    }
}, {capture: true, passive: true}) ?? true
</script>"""


@dataclass(frozen=True)
class Matrices:
    """Both runs' matrices of one kind, whole.

    unit: (C,) the row of each breed.   labels: (U,) names of the rows, as the URL has them.
    kind: one of metrics.CELLS.   cells: by role, (U, U), see metrics.error_cells; 0 instead of nan.
    photos: by role, (U, U) photos in each cell.
    support: (U,) photos.
    """

    runs: dict[str, shared.Answers]
    unit: np.ndarray
    labels: list[str]
    kind: str
    cells: dict[str, np.ndarray]
    photos: dict[str, np.ndarray]
    support: np.ndarray

    @property
    def least(self) -> float:
        """What a cell must hold, or differ by, to be drawn."""
        return LEAST if self.kind == "probability" else np.finfo(float).tiny

    def change(self) -> np.ndarray:
        """(U, U) new minus baseline, 0 where that is too little to be drawn."""
        change = self.cells["new"] - self.cells["baseline"]
        return np.where(np.abs(change) < self.least, 0, change)

    @property
    def noise(self) -> np.ndarray:
        """(U, U) bool: cells in which the runs differ by no more than chance would give; see difference_takeaway."""
        baseline, new = self.runs["baseline"], self.runs["new"]
        if self.kind == "probability":
            q = _soft_q(baseline.key, new.key, self.unit.tobytes(), baseline, new, self.unit)
            return ~_is_real(q)
        q = comparison.compare_cells(new.evaluation.true, np.stack([baseline.predicted, new.predicted]), self.unit)
        share, count = (np.sign(both["new"] - both["baseline"]) for both in (self.cells, self.photos))
        return ~(_is_real(q) & (share == count))  # a share of the answers may fall where the number of photos rises


def _is_real(q: np.ndarray) -> np.ndarray:
    return np.nan_to_num(q, nan=1.0) < comparison.ALPHA


def matrices(runs: dict[str, shared.Answers], kind: str, *, grouped: bool, opened: str | None) -> Matrices:
    """The matrices with a row per breed; or, grouped, per FCI group, and per breed of the group that is opened."""
    breeds = runs["new"].evaluation.breeds
    unit, names = np.arange(len(breeds)), breeds
    if grouped:
        unit, names = taxonomy.collapse(breeds, taxonomy.group_number(opened) if opened else None)
    return Matrices(
        runs=runs,
        unit=unit,
        labels=[breed_label(name) for name in names],
        kind=kind,
        cells={role: _cells(given, kind, unit) for role, given in runs.items()},
        photos={role: metrics.collapsed(metrics.errors(given.counts), unit) for role, given in runs.items()},
        support=np.bincount(unit, weights=runs["new"].counts.sum(axis=1)).astype(int),
    )


def _cells(given: shared.Answers, kind: str, unit: np.ndarray) -> np.ndarray:
    return np.nan_to_num(metrics.error_cells(given.counts, given.mean_probs, kind, unit))


@st.cache_resource(max_entries=8, show_spinner=False)
def _soft_q(one: tuple, other: tuple, units: bytes, _baseline: shared.Answers, _new: shared.Answers, _unit: np.ndarray):
    return comparison.compare_soft_cells(_new.evaluation.true, _baseline.prob, _new.prob, _unit)


# -- rows and their order -----------------------------------------------------------------------------------------


def most_confused(drawn: Matrices, wanted: list[str | None]) -> np.ndarray:
    """Places of the FIRST rows with the most mistakes, and of those wanted, rising."""
    mistakes = sum(drawn.photos.values())
    most = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")[:FIRST]
    return np.union1d(most, [drawn.labels.index(label) for label in wanted if label in drawn.labels]).astype(int)


def ordered(drawn: Matrices, chosen: np.ndarray, order: str) -> np.ndarray:
    """The `chosen` rows by "name", as in the "dataset", by "recall" (lowest mean of both runs first), or by
    "similarity" (those that the runs take for each other side by side)."""
    if order == "name":
        return chosen[np.argsort([drawn.labels[k].casefold() for k in chosen], kind="stable")]
    if order == "recall":
        right = sum(np.bincount(drawn.unit, weights=given.counts.diagonal()) for given in drawn.runs.values())
        return chosen[np.argsort(right[chosen] / np.maximum(drawn.support[chosen], 1), kind="stable")]
    if order == "similarity":
        soft = sum(_cells(given, "probability", drawn.unit) for given in drawn.runs.values())
        return chosen[figures.similarity_order(soft[np.ix_(chosen, chosen)])]
    return chosen


def side_by_side(order: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """`order` with its rows for which `inside` (U,) holds moved up to the first of them.

    >>> side_by_side(np.array([3, 0, 2, 1]), np.array([True, True, False, False])).tolist()
    [3, 0, 1, 2]
    """
    first = np.flatnonzero(inside[order])[:1].sum()
    rest = order[first:]
    return np.concatenate([order[:first], rest[inside[rest]], rest[~inside[rest]]])


# -- what they say ------------------------------------------------------------------------------------------------


def takeaway(drawn: Matrices, role: str) -> str:
    """What stands out in a run's matrix."""
    by = drawn.cells[role] if drawn.kind == "probability" else drawn.photos[role]
    i, j = np.unravel_index(by.argmax(), by.shape)
    names = {"role": shared.role_name(role), "true": taxonomy.unit_label(drawn.labels[i])}
    names |= {"predicted": taxonomy.unit_label(drawn.labels[j])}
    if drawn.kind == "probability":
        return _(
            "{role}: among wrong breeds, {predicted} gets the largest mean probability, from photos of {true} ({p})."
        ).format(**names, p=percent(by[i, j]))
    if not by[i, j]:
        return _("{role}: no photo is named wrongly.").format(**names)
    sentence = (
        _("{role}: {wrong} of {photos} photos are wrong, most often inside {true} ({n} of {support}).")
        if i == j
        else _(
            "{role}: {wrong} of {photos} photos are wrong, most often {true} taken for {predicted} ({n} of {support})."
        )
    )
    return sentence.format(
        **names,
        wrong=number(by.sum()),
        photos=number(drawn.support.sum()),
        n=by[i, j],
        support=number(drawn.support[i]),
    )


def difference_takeaway(drawn: Matrices, noise: np.ndarray) -> str:
    """In how many cells the runs differ, and by which rule."""
    change = drawn.change()
    found = _(
        "Of {n} cells that differ, {fewer} are lower with the new method by more than chance (blue), {more} higher "
        "(orange)."
    ).format(
        n=number(np.count_nonzero(change)),
        fewer=number((change[~noise] < 0).sum()),
        more=number((change[~noise] > 0).sum()),
    )
    if drawn.kind == "probability":
        rule = _(
            "Grey cells are within noise: by a paired t-test over the row's photos, with at most 5 % false alarms "
            "among the coloured cells."
        )
    else:
        rule = _(
            "Grey cells are within noise: by an exact McNemar test on the photos that only one run puts in the cell, "
            "of which it needs at least {n}, with at most 5 % false alarms among the coloured cells."
        ).format(n=comparison.FEWEST)
    return f"{found} {rule}"


def table(drawn: Matrices, role: str) -> pd.DataFrame:
    """Every cell of a run's matrix that holds something, the largest first."""
    values, names = drawn.cells[role], np.array(drawn.labels, dtype=object)
    i, j = np.nonzero(values >= drawn.least)
    cells = pd.DataFrame({"true": names[i], "predicted": names[j], drawn.kind: values[i, j]})
    return cells.sort_values(drawn.kind, ascending=False, kind="stable", ignore_index=True)


def difference_table(drawn: Matrices, noise: np.ndarray) -> pd.DataFrame:
    """Every cell in which the runs differ, the largest changes first."""
    names, (i, j) = np.array(drawn.labels, dtype=object), np.nonzero(drawn.change())
    cells = pd.DataFrame({"true": names[i], "predicted": names[j]})
    cells = cells.assign(**{role: drawn.cells[role][i, j] for role in shared.ROLE})
    cells = cells.assign(difference=cells["new"] - cells["baseline"], within_noise=noise[i, j])
    return cells.sort_values("difference", key=abs, ascending=False, kind="stable", ignore_index=True)


# -- drawing ------------------------------------------------------------------------------------------------------


def draw(
    drawn: Matrices,
    shown: np.ndarray,
    views: list[str],
    on_click: Callable[[str], None],
    *,
    chosen: tuple[int, int] | None,
    focus: int | None,
) -> None:
    """The rows `shown` of the matrices in `views` (roles, or "difference"), with words and table; two side by side.

    One that is wider or taller than its place scrolls there, so that all names stay legible and the photos near.
    on_click: called with the key of the figure that was clicked.   chosen: the cell to frame, as places in shown.
    focus: the row to frame, with its column.
    """
    places = st.columns(2) if len(views) == 2 else [st.container()]
    for place, view in zip(places, views, strict=True):
        key = f"cells-{view}"
        if view in shared.ROLE:
            title = f"{shared.MARK[view]} {shared.role_name(view)} · {shared.run(view)}"
            figure, words, cells = _run_figure(drawn, shown, view), takeaway(drawn, view), table(drawn, view)
        else:
            title, noise = _("New method − baseline"), drawn.noise
            figure = _difference_figure(drawn, shown, noise)
            words, cells = difference_takeaway(drawn, noise), difference_table(drawn, noise)
        with place:
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.markdown(f"**{title}**", width="content")
                shared.table_below(cells, f"confusions-{view}")
            st.html(STYLE.format(width=figure.layout.width, height=TALLEST))
            with st.container(key=f"matrix-{view}"):
                clicks = {"on_select": partial(on_click, key), "selection_mode": "points"}
                st.plotly_chart(figure, key=key, config=shared.CHART, alt=words, **clicks)
                st.html("".join(_frames(figure, chosen, focus)) or "<i></i>")
            st.caption(words)


def _run_figure(drawn: Matrices, shown: np.ndarray, role: str) -> go.Figure:
    square = np.ix_(shown, shown)
    return figures.confusion_heatmap(
        np.where(drawn.cells[role] < drawn.least, 0, drawn.cells[role])[square],
        drawn.photos[role][square] if drawn.kind in ("rates", "answers") else None,
        _names(drawn, shown),
        colour=shared.ROLE[role],
        top=max(float(cells[square].max(initial=0)) for cells in drawn.cells.values()) or 1.0,
        unit="" if drawn.kind == "counts" else "%",
    )


def _difference_figure(drawn: Matrices, shown: np.ndarray, noise: np.ndarray) -> go.Figure:
    square = np.ix_(shown, shown)
    change = drawn.change()[square]
    return figures.difference_heatmap(
        change,
        None if drawn.kind == "probability" else tuple(drawn.photos[role][square] for role in shared.ROLE),
        _names(drawn, shown),
        noise=noise[square],
        top=float(np.abs(change).max(initial=0)) or 1.0,
        unit="" if drawn.kind == "counts" else "%",
    )


def _frames(figure: go.Figure, chosen: tuple[int, int] | None, focus: int | None) -> Iterator[str]:
    """HTML, to stand below the figure, of frames around the chosen cell and around the row and column of a breed."""
    everywhere, tall = (0, len(figure.layout.xaxis.ticktext) - 1), figure.layout.height
    bands = [] if focus is None else [((focus, focus), everywhere, 1), (everywhere, (focus, focus), 1)]
    cells = [] if chosen is None else [((chosen[0], chosen[0]), (chosen[1], chosen[1]), 2)]
    for rows, columns, thick in bands + cells:
        x, y, width, height = figures.frame(figure, rows, columns)
        yield FRAME.format(x=x, y=(y - 1) * tall, width=width, height=height * tall, thick=thick)


def _names(drawn: Matrices, shown: np.ndarray) -> list[str]:
    return [taxonomy.unit_label(drawn.labels[k]) for k in shown]
