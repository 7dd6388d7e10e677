"""Arrays in, plotly Figure out. Shares come as 0..1 and are drawn in percent; one fixed colour per role.

Backgrounds are transparent and lines grey, so that a figure reads on a light and on a dark page. Numbers that plotly
formats (axes, hover) follow the language in use.
"""

import base64
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from dogpoc.metrics import Reliability, RiskCoverage
from dogpoc.translation import _, breed_label, language, percent

BASELINE, NEW = "#0072B2", "#D55E00"  # blue and vermilion of Okabe & Ito (2008): told apart in every colour vision
GREY = "#8A8A8A"
GRID = "rgba(128, 128, 128, 0.25)"
CLEAR = "rgba(0, 0, 0, 0)"
PERCENT = "\u00a0%"
STEPS = 120  # of a heatmap's colour, sent as 8-bit numbers: 19 kB for 120 x 120 breeds
BLANK = 0.5 / STEPS  # less than the first step is not drawn
CELLS = 8_000  # at most that can be clicked, the largest ones: 65 kB
MANY = 300  # breeds
LONGEST = 30  # letters of a name beside a matrix
COLOUR_BAR = 36  # pixels above a matrix
ROW_NAMES, COLUMN_NAMES = 0, 1  # places of these traces in a matrix


# -- what all figures share ---------------------------------------------------------------------------------------

AXIS = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}


def _finish(figure: go.Figure, height: int, **layout) -> go.Figure:
    figure.update_layout(_layout(height))
    figure.update_xaxes(AXIS)
    figure.update_yaxes(AXIS)
    return figure.update_layout(layout)


def _layout(height: int) -> dict:
    return {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "separators": ",\u202f" if language() == "fr" else ".,",
        "legend": {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "title": None},
        "hoverlabel": {"align": "left"},
        "dragmode": False,
    }


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def _labels(breeds: Sequence[str]) -> list[str]:
    return [breed_label(breed) for breed in breeds]


# -- probabilities ------------------------------------------------------------------------------------------------


def probability_bars(breeds: Sequence[str], probs: Sequence[float], colour: str) -> go.Figure:
    """Bars of the breeds' probabilities (0..1), first one on top, each with its number."""
    shares = np.asarray(probs, dtype=float) * 100
    bars = go.Bar(
        x=shares,
        y=_labels(breeds),
        orientation="h",
        marker_color=colour,
        text=[percent(share / 100) for share in shares],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    layout = {
        **_layout(34 * len(shares) + 16),
        "xaxis": {**AXIS, "range": [0, 118], "visible": False, "fixedrange": True},
        "yaxis": {**AXIS, "autorange": "reversed", "fixedrange": True, "showgrid": False, "ticksuffix": "  "},
        "bargap": 0.35,
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
    }
    return go.Figure(bars, layout)  # all at once: 1 ms instead of 10, while somebody waits for an answer


# -- confusions ---------------------------------------------------------------------------------------------------


def confusion_heatmap(
    values: np.ndarray, photos: np.ndarray | None, breeds: Sequence[str], *, colour: str, top: float, unit: str
) -> go.Figure:
    """A run's confusions: rows = true breed, columns = predicted breed; a cell of 0 or nan is left blank.

    values: (C, C) >= 0, shares (unit "%") or numbers of photos (unit ""), right answers as 0.
    photos: (C, C) numbers of photos, for the hover; None where values say it all.
    top: the value that gets the full colour; give both runs the same one.
    The colour grows with the square root of the value, so that single mistakes are seen beside the many.
    """
    scaled = np.sqrt(np.nan_to_num(values) / max(top, 1e-9)).clip(0, 1)
    figure = _matrix(breeds)
    scale = [[0, CLEAR], [BLANK, CLEAR], [BLANK, _rgba(colour, 0.12)], [1, colour]]
    _draw_cells(figure, scaled, scale, (0, 1), _ticks(top, unit))
    words = [_("{photos} photos").format(photos=_datum(1))] if photos is not None else []
    _add_clickable(figure, scaled, [values * _factor(unit), *([photos] if words else [])], [_value(unit), *words])
    return figure


def difference_heatmap(
    differences: np.ndarray,
    photos: tuple[np.ndarray, np.ndarray] | None,
    breeds: Sequence[str],
    *,
    noise: np.ndarray,
    top: float,
    unit: str,
) -> go.Figure:
    """New minus baseline; blue: the baseline makes the mistake more, vermilion: the new one, grey: within noise.

    differences: (C, C) of either sign, in the unit of `confusion_heatmap`.   noise: (C, C) bool.
    photos: (C, C) numbers of photos of the baseline and of the new run, or None.
    """
    scaled = np.nan_to_num(differences)
    scaled = (np.sign(scaled) * np.sqrt(np.abs(scaled) / max(top, 1e-9))).clip(-1, 1)
    figure = _matrix(breeds)
    scale = [
        *([0, BASELINE], [0.5 - BLANK / 2, _rgba(BASELINE, 0.12)], [0.5 - BLANK / 2, CLEAR]),
        *([0.5 + BLANK / 2, CLEAR], [0.5 + BLANK / 2, _rgba(NEW, 0.12)], [1, NEW]),
    ]
    right, texts = _ticks(top, unit)
    ticks = ([-x for x in right[:0:-1]] + right, [f"\u2212{text}" for text in texts[:0:-1]] + texts)
    real, noisy = np.where(noise, 0, scaled), np.where(noise, scaled, 0)
    words, numbers = [_value(unit, "+")], [differences * _factor(unit)]
    if photos is not None:
        words.append(_("baseline {baseline}, new {new} photos").format(baseline=_datum(1), new=_datum(2)))
        numbers += photos
    _draw_cells(figure, real, scale, (-1, 1), ticks)
    drawn = _add_clickable(figure, real, numbers, words)
    greys = [[0, CLEAR], [BLANK, CLEAR], [BLANK, _rgba(GREY, 0.2)], [1, _rgba(GREY, 0.9)]]
    _draw_cells(figure, np.abs(noisy), greys, (0, 1), None)
    _add_clickable(figure, noisy, numbers, [*words, _("within noise")], most=CELLS - drawn)
    return figure


def clicked(point: Mapping) -> tuple[int | None, int | None]:
    """What a selected point of a matrix stands for: row and column of a cell; None for the one that a click on a
    breed's name at the other side leaves open."""
    row = None if point["curve_number"] == COLUMN_NAMES else int(point["y"])
    column = None if point["curve_number"] == ROW_NAMES else int(point["x"])
    return row, column


def frame(matrix: go.Figure, rows: tuple[int, int], columns: tuple[int, int]) -> tuple[float, float, float, float]:
    """Where some cells of a matrix lie in the drawing: left, top, width, height, as shares of the drawing's.

    rows, columns: first and last of each. A frame is not part of the figure: with one, a click would draw it all anew.
    """
    (left, right), (bottom, top), n = (
        matrix.layout.xaxis.domain,
        matrix.layout.yaxis.domain,
        len(matrix.layout.xaxis.ticktext),
    )
    wide, high = (right - left) / n, (top - bottom) / n
    x, y = left + columns[0] * wide, 1 - top + rows[0] * high
    return x, y, (columns[1] - columns[0] + 1) * wide, (rows[1] - rows[0] + 1) * high


def similarity_order(confusions: np.ndarray) -> np.ndarray:
    """Order of breeds, (C,) int, that puts those which are taken for each other side by side.

    confusions: (C, C) >= 0, the diagonal ignored. Average linkage of what both directions share, leaves in optimal
    order (Bar-Joseph et al., 2001); beyond MANY breeds, where that takes minutes, in the order of the tree.
    """
    errors = np.where(np.eye(len(confusions), dtype=bool), 0, np.nan_to_num(confusions))
    if len(errors) < 3 or not errors.any():
        return np.arange(len(errors))
    alike = np.sqrt(errors + errors.T)
    distances = squareform(1 - alike / alike.max(), checks=False)
    return leaves_list(linkage(distances, "average", optimal_ordering=len(errors) <= MANY))


def _factor(unit: str) -> int:
    return 100 if unit else 1


def _value(unit: str, sign: str = "") -> str:
    """The first number of a cell, for the hover."""
    return _datum(0, f"{sign}.2~f") + PERCENT if unit else _("{photos} photos").format(photos=_datum(0, f"{sign}.0f"))


def _datum(place: int, form: str = ".0f") -> str:
    return f"%{{customdata[{place}]:{form}}}"


def _ticks(top: float, unit: str) -> tuple[list[float], list[str]]:
    """Places (on the square-root scale) and texts of a colour bar that ends at `top`."""
    values = np.unique(np.rint(np.array([0, 0.1, 0.4, 1]) * top)) if not unit else np.array([0, 0.1, 0.4, 1]) * top
    texts = [percent(value, 0 if top >= 0.1 else 1) if unit else f"{value:.0f}" for value in values]
    return np.sqrt(values / max(top, 1e-9)).tolist(), texts


def _matrix(breeds: Sequence[str]) -> go.Figure:
    """An empty matrix with the breeds' names, which can be clicked; layout.width is the least at which all are legible.

    The names are the ticks of the main axes; they stand outside of these, over a second pair of axes, whose invisible
    markers take the clicks: plotly's ticks cannot.
    """
    n, labels = len(breeds), [_shortened(breed_label(breed)) for breed in breeds]
    cell = 18 if n <= 25 else 14 if n <= 60 else 12 if n <= 150 else max(2, 1800 // n)
    size = 11 if n <= 25 else 10
    named = cell >= 10
    longest = max(map(len, labels), default=0)
    room = int(14 + 0.45 * size * longest) if named else 24  # pixels beside and above the cells
    width, height = room + min(cell, 13) * n, COLOUR_BAR + room + cell * n
    left, above = room / width, room / height
    axis = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True, "showticklabels": named}
    axis |= {"tickvals": np.arange(n), "ticktext": labels, "tickfont": {"size": size}}
    hidden = {"visible": False, "fixedrange": True}
    steps = max(1, round(room / 36))  # markers along a name: a click finds one that is at most 20 pixels away
    along = {"range": [-0.5, steps - 0.5]}
    cells_top = 1 - COLOUR_BAR / height - above
    figure = go.Figure()
    _finish(
        figure,
        height,
        width=width,
        clickmode="event+select",
        showlegend=False,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        plot_bgcolor=CLEAR,
        meta={"cell": cell},
        xaxis={**axis, "range": [-0.5, n - 0.5], "domain": [left, 1], "side": "top", "tickangle": -90},
        yaxis={**axis, "range": [n - 0.5, -0.5], "domain": [0, cells_top]},
        xaxis2={**hidden, **along, "domain": [0, left]},
        yaxis2={**hidden, **along, "domain": [cells_top, cells_top + above], "anchor": "x"},
    )
    figure.update_xaxes(automargin=False)
    figure.update_yaxes(automargin=False)
    index, place = np.repeat(np.arange(n), steps), np.tile(np.arange(steps), n)
    click = "<br>" + _("click to look at this breed") + "<extra></extra>"
    invisible = {"mode": "markers", "marker": {"size": cell, "color": CLEAR}, "showlegend": False}
    invisible |= {f"{state}selected": {"marker": {"opacity": 0}} for state in ("", "un")}
    places = {"x": _small(place), "y": _small(index), "xaxis": "x2", "yaxis": "y"}
    figure.add_scatter(**invisible, **places, name="rows", hovertemplate="<b>%{y}</b>" + click)
    places = {"x": _small(index), "y": _small(place), "xaxis": "x", "yaxis": "y2"}
    figure.add_scatter(**invisible, **places, name="columns", hovertemplate="<b>%{x}</b>" + click)
    background = {"fillcolor": _rgba(GREY, 0.08), "line": {"width": 0}, "layer": "below"}
    figure.add_shape(type="rect", x0=-0.5, x1=n - 0.5, y0=-0.5, y1=n - 0.5, **background)
    return figure


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST else label[: LONGEST - 1].rstrip(" ,") + "…"


def _small(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers >= 0 in as few bytes as they need on the wire."""
    return numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))


def _draw_cells(figure: go.Figure, scaled: np.ndarray, scale: list, span: tuple[int, int], ticks: tuple | None) -> None:
    """Colours of all cells, sent as 8-bit numbers. scaled: within span."""
    gap = 1 if figure.layout.meta["cell"] >= 10 else 0
    bar = {"orientation": "h", "thickness": 6, "outlinewidth": 0, "len": 220, "lenmode": "pixels"}
    bar |= {"x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "xpad": 8, "ypad": 2, "tickfont": {"size": 10}}
    if ticks:
        bar |= {"tickvals": [tick * STEPS for tick in ticks[0]], "ticktext": ticks[1]}
    figure.add_heatmap(
        z=np.rint(scaled * STEPS).astype(np.int8),
        zmin=span[0] * STEPS,
        zmax=span[1] * STEPS,
        colorscale=scale,
        xgap=gap,
        ygap=gap,
        hoverinfo="skip",
        showscale=ticks is not None,
        colorbar=bar,
    )


def _add_clickable(
    figure: go.Figure, scaled: np.ndarray, numbers: list[np.ndarray], words: list[str], most: int = CELLS
) -> int:
    """Invisible squares over the cells that are drawn, which report clicks and carry the hover: a heatmap never reports
    a click (streamlit#8760).

    numbers: (C, C) arrays, of which words speak as _datum(place).   Returns how many cells can be clicked, the `most`
    that hold most.
    """
    rows, columns = np.nonzero(np.rint(scaled * STEPS))
    if len(rows) > most:
        largest = np.sort(np.argpartition(-np.abs(scaled[rows, columns]), most)[:most])
        rows, columns = rows[largest], columns[largest]
    figure.add_scatter(
        x=_small(columns),
        y=_small(rows),
        customdata=np.stack([array[rows, columns] for array in numbers], axis=1).astype(np.float32),
        mode="markers",
        marker={"symbol": "square", "size": figure.layout.meta["cell"], "color": CLEAR},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        showlegend=False,
        name="cells",
        hovertemplate="<b>%{y}</b> → <b>%{x}</b><br>" + " · ".join(words) + "<extra></extra>",
    )
    return len(rows)


# -- breeds -------------------------------------------------------------------------------------------------------


def breed_dumbbells(
    breeds: Sequence[str], baseline: np.ndarray, new: np.ndarray, *, title: str, notes: Sequence[str] | None = None
) -> go.Figure:
    """For each breed a dot per run and the line between them, first breed on top.

    baseline, new: (C,) shares, nan left out.   title: what the shares are.   notes: (C,) texts for the hover.
    """
    labels, notes = _labels(breeds), list(notes or [""] * len(breeds))
    ends = np.stack([baseline, new, np.full(len(labels), np.nan)], axis=1).ravel() * 100
    figure = go.Figure(
        go.Scatter(
            x=ends,
            y=np.repeat(labels, 3),
            mode="lines",
            line={"color": GREY, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for name, values, colour, symbol, size in (
        (_("baseline"), baseline, BASELINE, "circle", 12),  # seen behind the other where both are equal
        (_("new"), new, NEW, "diamond", 9),
    ):
        figure.add_scatter(
            x=np.asarray(values, dtype=float) * 100,
            y=labels,
            customdata=notes,
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": size},
            hovertemplate="%{y}<br>" + name + ": %{x:.1f}" + PERCENT + "<br>%{customdata}<extra></extra>",
        )
    figure.update_xaxes(title=title, ticksuffix=PERCENT, fixedrange=True, showgrid=True)
    figure.update_yaxes(
        fixedrange=True,
        categoryorder="array",
        categoryarray=labels[::-1],
        range=[-0.7, len(labels) - 0.3],
        showgrid=False,
    )
    return _finish(figure, 90 + 20 * len(labels))


# -- calibration and training -------------------------------------------------------------------------------------


def reliability_diagram(baseline: Reliability, new: Reliability) -> go.Figure:
    """Accuracy against confidence for both runs (on the diagonal = honest), and below the photos in each bin."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.78, 0.22], vertical_spacing=0.05)
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", line={"color": GREY, "dash": "dot"}, showlegend=False, hoverinfo="skip"
    )
    for name, table, colour, symbol in (
        (_("baseline"), baseline, BASELINE, "circle"),
        (_("new"), new, NEW, "diamond"),
    ):
        figure.add_scatter(
            x=table.confidence * 100,
            y=table.accuracy * 100,
            customdata=table.count,
            mode="lines+markers",
            name=name,
            line={"color": colour},
            marker={"symbol": symbol, "size": 8},
            hovertemplate=name
            + "<br>"
            + _("confidence {confidence}, accuracy {accuracy}, {photos} photos").format(
                confidence="%{x:.1f}" + PERCENT, accuracy="%{y:.1f}" + PERCENT, photos="%{customdata}"
            )
            + "<extra></extra>",
        )
        figure.add_scatter(
            x=table.confidence * 100,
            y=table.count,
            mode="markers",
            showlegend=False,
            marker={"color": colour, "symbol": symbol, "size": 6},
            hovertemplate=_("{photos} photos").format(photos="%{y}") + "<extra>" + name + "</extra>",
            row=2,
            col=1,
        )
    figure.update_xaxes(range=[0, 102], fixedrange=True)
    figure.update_xaxes(title=_("confidence (probability of the predicted breed)"), ticksuffix=PERCENT, row=2)
    figure.update_yaxes(title=_("accuracy"), ticksuffix=PERCENT, range=[0, 104], fixedrange=True, row=1)
    figure.update_yaxes(title=_("photos"), rangemode="tozero", fixedrange=True, row=2)
    return _finish(figure, 440)


def training_curves(history: pd.DataFrame, colour: str) -> go.Figure:
    """Loss and accuracy by epoch, validation drawn through and training dotted; the best epoch is marked.

    history: columns epoch, phase ("probe" or "finetune"), train_loss, train_accuracy, validation_loss,
    validation_accuracy. The phases follow each other on one axis, with a line between them.
    """
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    steps = np.arange(1, len(history) + 1)
    for row, (column, factor, title, digits) in enumerate(
        (("loss", 1, _("log loss"), 3), ("accuracy", 100, _("accuracy"), 1)), start=1
    ):
        for part, name, dash in (("train", _("training"), "dot"), ("validation", _("validation"), "solid")):
            figure.add_scatter(
                x=steps,
                y=history[f"{part}_{column}"] * factor,
                customdata=history["phase"].map({"probe": _("head only"), "finetune": _("all weights")}),
                mode="lines+markers",
                name=name,
                legendgroup=part,
                showlegend=row == 1,
                line={"color": colour, "dash": dash},
                marker={"size": 5},
                hovertemplate="%{customdata}<br>" + name + f": %{{y:.{digits}f}}" + (PERCENT if factor > 1 else ""),
                row=row,
                col=1,
            )
        figure.update_yaxes(title=title, ticksuffix=PERCENT if factor > 1 else "", fixedrange=True, row=row)
    best = best_epoch(history)
    for row, column, factor in ((1, "validation_loss", 1), (2, "validation_accuracy", 100)):
        figure.add_scatter(
            x=[best + 1],
            y=[history[column].iloc[best] * factor],
            mode="markers",
            name=_("best epoch"),
            showlegend=row == 1,
            marker={"symbol": "star", "size": 14, "color": colour, "line": {"color": "white", "width": 1}},
            hoverinfo="skip",
            row=row,
            col=1,
        )
    for step in np.flatnonzero(history["phase"].to_numpy()[1:] != history["phase"].to_numpy()[:-1]) + 1:
        figure.add_vline(x=step + 0.5, line={"color": GREY, "dash": "dash", "width": 1})
    figure.update_xaxes(fixedrange=True, range=[0.5, len(history) + 0.5], dtick=max(1, len(history) // 10))
    figure.update_xaxes(title=_("epoch"), row=2)
    return _finish(figure, 420)


def best_epoch(history: pd.DataFrame) -> int:
    """Row of the epoch with the least validation loss in the last phase: the one whose weights are kept."""
    last = np.flatnonzero(history["phase"] == history["phase"].iloc[-1])
    return int(last[history["validation_loss"].to_numpy()[last].argmin()])


# -- many runs ----------------------------------------------------------------------------------------------------

ROLES = ("baseline", "new")
WIDE = 20  # largest over smallest, from which an axis is logarithmic
SYMBOLS = {"baseline": "circle", "new": "diamond", None: "square"}
COLOURS = {"baseline": BASELINE, "new": NEW, None: GREY}


def _role_name(role: str | None) -> str:
    return {"baseline": _("baseline"), "new": _("new"), None: _("other runs")}[role]


def runs_scatter(runs: pd.DataFrame, *, title: str) -> go.Figure:
    """Accuracy with its 95 % interval against a cost, one point a run.

    runs: columns run, role ("baseline", "new" or None), cost, accuracy, low, high (shares).   title: what the cost is.
    Costs that span more than WIDE are drawn on a logarithmic axis, without the runs that cost nothing.
    """
    paid = runs[runs["cost"] > 0]
    log = len(paid) > 0 and paid["cost"].max() > WIDE * paid["cost"].min()
    shown = paid if log else runs
    figure = go.Figure()
    for role in (None, *ROLES):
        part = shown[shown["role"].isna() if role is None else shown["role"] == role]
        if part.empty:
            continue
        figure.add_scatter(
            x=part["cost"],
            y=part["accuracy"] * 100,
            error_y={
                "array": (part["high"] - part["accuracy"]) * 100,
                "arrayminus": (part["accuracy"] - part["low"]) * 100,
                "color": COLOURS[role],
                "thickness": 1.5,
                "width": 3,
            },
            text=part["run"],
            mode="markers",
            name=_role_name(role),
            marker={"color": COLOURS[role], "symbol": SYMBOLS[role], "size": 11},
            hovertemplate="<b>%{text}</b><br>%{y:.1f}" + PERCENT + "<br>" + title + ": %{x:,.4~g}<extra></extra>",
        )
    figure.update_xaxes(title=title, fixedrange=True, showgrid=True, tickformat="~s")
    figure.update_xaxes(**({"type": "log", "dtick": 1} if log else {"rangemode": "tozero"}))
    figure.update_yaxes(title=_("top-1 accuracy"), ticksuffix=PERCENT, fixedrange=True)
    return _finish(figure, 360)


def seed_spread(rows: Sequence[tuple[str, str | None, Sequence[float], float, float]]) -> go.Figure:
    """The runs of each method side by side: a dot a seed, and the test set's 95 % interval of their mean as a bar.

    rows: (method, role, accuracies of its seeds, low, high), shares.
    """
    figure = go.Figure()
    for method, role, accuracies, low, high in rows:
        figure.add_scatter(
            x=[low * 100, high * 100],
            y=[method, method],
            mode="lines",
            line={"color": _rgba(COLOURS[role], 0.3), "width": 14},
            hovertemplate=_("test photos: {low} to {high}").format(low=percent(low), high=percent(high))
            + "<extra></extra>",
            showlegend=False,
        )
        figure.add_scatter(
            x=np.asarray(accuracies) * 100,
            y=[method] * len(accuracies),
            mode="markers",
            marker={
                "color": COLOURS[role],
                "symbol": SYMBOLS[role],
                "size": 11,
                "line": {"color": "white", "width": 1},
            },
            hovertemplate="%{x:.2f}" + PERCENT + "<extra></extra>",
            showlegend=False,
        )
    figure.update_xaxes(title=_("top-1 accuracy"), ticksuffix=PERCENT, fixedrange=True, showgrid=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False, categoryarray=[row[0] for row in rows])
    return _finish(figure, 110 + 44 * len(rows))


def accuracy_by_breeds(
    sizes: Sequence[int], tables: dict[str, np.ndarray], trained: pd.DataFrame | None = None
) -> go.Figure:
    """Accuracy as the number of breeds grows, for each role: mean and 95 % band of random subsets.

    tables: role -> (len(sizes), 3) of metrics.accuracy_by_breeds.   trained: runs that were trained on so many breeds
    only: columns role, breeds, accuracy, low, high.
    """
    figure = go.Figure()
    for role, table in tables.items():
        share = table * 100
        figure.add_scatter(
            x=[*sizes, *sizes[::-1]],
            y=[*share[:, 1], *share[::-1, 2]],
            mode="lines",
            fill="toself",
            fillcolor=_rgba(COLOURS[role], 0.12),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=sizes,
            y=share[:, 0],
            mode="lines+markers",
            name=_role_name(role),
            line={"color": COLOURS[role]},
            marker={"symbol": SYMBOLS[role], "size": 9},
            hovertemplate=_("{breeds} breeds").format(breeds="%{x}") + ": %{y:.1f}" + PERCENT + "<extra></extra>",
        )
        part = trained[trained["role"] == role] if trained is not None else pd.DataFrame()
        if len(part):
            figure.add_scatter(
                x=part["breeds"],
                y=part["accuracy"] * 100,
                error_y={
                    "array": (part["high"] - part["accuracy"]) * 100,
                    "arrayminus": (part["accuracy"] - part["low"]) * 100,
                    "thickness": 1.5,
                },
                mode="markers",
                name=_("{role}, trained on these breeds only").format(role=_role_name(role)),
                marker={"symbol": SYMBOLS[role] + "-open", "size": 13, "color": COLOURS[role], "line": {"width": 2}},
                hovertemplate="%{y:.1f}" + PERCENT + "<extra></extra>",
            )
    figure.update_xaxes(title=_("breeds to tell apart"), tickvals=list(sizes), fixedrange=True, showgrid=True)
    figure.update_yaxes(title=_("top-1 accuracy"), ticksuffix=PERCENT, fixedrange=True)
    return _finish(figure, 380)


def risk_coverage(curves: dict[str, RiskCoverage], chosen: dict[str, tuple[float, float]]) -> go.Figure:
    """Accuracy of the answers given against the share of photos answered, for each role.

    chosen: role -> (coverage, accuracy) at the threshold in use, marked; accuracy nan where nothing is answered.
    """
    figure = go.Figure()
    for role, curve in curves.items():
        thinned = np.unique(np.linspace(0, len(curve.coverage) - 1, 300).astype(int))
        figure.add_scatter(
            x=curve.coverage[thinned] * 100,
            y=curve.accuracy[thinned] * 100,
            customdata=curve.threshold[thinned] * 100,
            mode="lines",
            name=_role_name(role),
            line={"color": COLOURS[role], "shape": "hv"},
            hovertemplate=_("sure by at least {threshold}: answers {coverage}, {accuracy} of them right").format(
                threshold="%{customdata:.0f}" + PERCENT, coverage="%{x:.1f}" + PERCENT, accuracy="%{y:.1f}" + PERCENT
            )
            + "<extra></extra>",
        )
        coverage, accuracy = chosen[role]
        figure.add_scatter(
            x=[coverage * 100],
            y=[accuracy * 100],
            mode="markers",
            showlegend=False,
            marker={
                "symbol": SYMBOLS[role],
                "size": 14,
                "color": COLOURS[role],
                "line": {"color": "white", "width": 2},
            },
            hoverinfo="skip",
        )
    figure.update_xaxes(title=_("photos answered"), ticksuffix=PERCENT, fixedrange=True, range=[0, 101.5])
    lowest = min((curve.accuracy.min() for curve in curves.values()), default=0)
    figure.update_yaxes(
        title=_("of these, right"), ticksuffix=PERCENT, fixedrange=True, range=[max(0, lowest * 100 - 2), 100.6]
    )
    return _finish(figure, 380)


# -- the photos ---------------------------------------------------------------------------------------------------


def photos_per_breed(counts: pd.DataFrame) -> go.Figure:
    """Stacked bars of photos per breed, one colour a split. counts: rows = breeds (names), columns = splits."""
    names = {"train": _("training"), "validation": _("validation"), "test": _("test")}
    shades = {"train": 0.35, "validation": 0.65, "test": 1.0}
    figure = go.Figure()
    for split in counts.columns:
        figure.add_bar(
            x=_labels(counts.index),
            y=counts[split],
            name=names[split],
            marker_color=_rgba("#009E73", shades[split]),
            hovertemplate="%{x}<br>" + names[split] + ": %{y}<extra></extra>",
        )
    figure.update_xaxes(fixedrange=True, showticklabels=len(counts) <= 60, tickangle=-90, tickfont={"size": 9})
    figure.update_yaxes(title=_("photos"), fixedrange=True)
    return _finish(figure, 380, barmode="stack", bargap=0.15)


def photo_sizes(table: pd.DataFrame) -> go.Figure:
    """Photos by their shorter side in pixels. table: columns width, height."""
    shorter = table[["width", "height"]].min(axis=1)
    counts, edges = np.histogram(shorter, bins=30)
    figure = go.Figure(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=counts,
            width=np.diff(edges),
            customdata=np.stack([edges[:-1], edges[1:]], axis=1),
            marker_color="#009E73",
            hovertemplate="%{customdata[0]:.0f} – %{customdata[1]:.0f} px: %{y}<extra></extra>",
        )
    )
    figure.update_xaxes(title=_("shorter side, pixels"), fixedrange=True)
    figure.update_yaxes(title=_("photos"), fixedrange=True)
    return _finish(figure, 260, bargap=0.05)


def accuracy_by_source(rows: Sequence[tuple[str, str | None, str, float, float, float]]) -> go.Figure:
    """Accuracy of each run on photos from each source, with its 95 % interval; filled: the first source, open: others.

    rows: (run, role or None for a yardstick, source, accuracy, low, high), shares.
    """
    figure, sources = go.Figure(), list(dict.fromkeys(row[2] for row in rows))
    runs = list(dict.fromkeys(row[0] for row in rows))
    for run, role, source, accuracy, low, high in rows:
        place = sources.index(source)
        figure.add_scatter(
            x=[accuracy * 100],
            y=[runs.index(run) + 0.22 * (place - (len(sources) - 1) / 2)],
            error_x={"array": [(high - accuracy) * 100], "arrayminus": [(accuracy - low) * 100], "thickness": 1.5},
            mode="markers",
            marker={
                "color": COLOURS[role],
                "symbol": SYMBOLS[role] + ("-open" if place else ""),
                "size": 11,
                "line": {"width": 2},
            },
            showlegend=False,
            hovertemplate=f"<b>{run}</b><br>{source}: %{{x:.1f}}" + PERCENT + "<extra></extra>",
        )
    for place, source in enumerate(sources):  # the legend speaks of sources, in no run's colour
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=source,
            marker={"color": GREY, "symbol": "circle" + ("-open" if place else ""), "size": 10, "line": {"width": 2}},
        )
    figure.update_xaxes(title=_("top-1 accuracy"), ticksuffix=PERCENT, fixedrange=True, showgrid=True)
    figure.update_yaxes(
        tickvals=list(range(len(runs))), ticktext=runs, range=[len(runs) - 0.4, -0.6], fixedrange=True, showgrid=False
    )
    return _finish(figure, 120 + 56 * len(runs))


def search_history(losses: Sequence[float], pruned: Sequence[bool], usual: float | None) -> go.Figure:
    """Validation loss of each trial of a search in order, the best so far as a line; trials stopped early are hollow.

    losses: the least one of each trial.   usual: the loss of the run with the recipe as it stands.
    """
    order = np.arange(1, len(losses) + 1)
    symbols = np.where(pruned, "circle-open", "circle")
    figure = go.Figure()
    hover = "%{x}: %{y:.3f}<extra></extra>"
    marker = {"symbol": symbols, "size": 8, "color": GREY}
    figure.add_scatter(x=order, y=losses, mode="markers", marker=marker, name=_("trial"), hovertemplate=hover)
    best = np.minimum.accumulate(np.where(pruned, np.inf, losses))
    figure.add_scatter(
        x=order, y=best, mode="lines", line={"shape": "hv", "color": NEW}, name=_("best so far"), hovertemplate=hover
    )
    if usual is not None:
        ends, line, name = [order[0], order[-1]], {"dash": "dot", "color": BASELINE}, _("recipe as it stands")
        figure.add_scatter(x=ends, y=[usual] * 2, mode="lines", line=line, name=name, hovertemplate=hover)
    figure.update_xaxes(title=_("trial"), fixedrange=True)
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10]
    figure.update_yaxes(title=_("validation loss"), fixedrange=True, type="log", tickvals=ticks)
    return _finish(figure, 300)


def importances(shares: Mapping[str, float]) -> go.Figure:
    """How much each searched parameter mattered: shares of the variance of the loss, 0..1."""
    names, values = [*shares][::-1], [*shares.values()][::-1]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker={"color": NEW},
            text=[percent(value, 0) for value in values],
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True)
    return _finish(figure, 60 + 36 * len(names))


def size_grid(shares: np.ndarray, trained_at: Sequence[str], tested_at: Sequence[str]) -> go.Figure:
    """Accuracy by the size at which a head was trained (rows) and tested (columns).

    shares: (rows, columns), 0..1.   trained_at, tested_at: names of the rows, broken at a comma, and of the columns.
    """
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            text=[[percent(share) for share in row] for row in shares.tolist()],
            texttemplate="%{text}",
            colorscale="Cividis",
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{text}<extra></extra>",
        )
    )
    axis = {"fixedrange": True, "showgrid": False, "ticks": ""}
    figure.update_xaxes(
        title=_("tested at, pixels"), tickvals=list(range(len(tested_at))), ticktext=list(tested_at), side="top", **axis
    )
    figure.update_yaxes(
        title=_("trained at, pixels"),
        tickvals=list(range(len(trained_at))),
        ticktext=[name.replace(", ", ",<br>") for name in trained_at],
        autorange="reversed",
        **axis,
    )
    return _finish(figure, 90 + 34 * len(trained_at), margin={"l": 8, "r": 8, "t": 56, "b": 8})


# -- explanations -------------------------------------------------------------------------------------------------


def picture_cells(
    picture: bytes,
    words: Sequence[Sequence[str]],
    *,
    height: int,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    chosen: tuple[int, int] | None = None,
    rings: Sequence[tuple[int, int]] = (),
) -> go.Figure:
    """A picture under a grid of cells that can be clicked (points in row-major order) and tell their words on hover.

    picture: JPEG, square cells.   words: a text for each cell.   rows, columns: names at the sides.   chosen: a cell
    (row, column) to frame.   rings: cells to mark.
    """
    n, m = len(words), len(words[0])
    source = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    figure = go.Figure()
    figure.add_layout_image(
        source=source, xref="x", yref="y", x=-0.5, y=-0.5, sizex=m, sizey=n, sizing="stretch", layer="below"
    )
    index = np.arange(n * m)
    figure.add_scatter(
        x=_small(index % m),
        y=_small(index // m),
        text=[text for line in words for text in line],
        mode="markers",
        marker={"symbol": "square", "size": max(6, int(0.9 * height / n)), "color": CLEAR},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        showlegend=False,
        hovertemplate="%{text}<extra></extra>",
    )
    for row, column in rings:
        figure.add_shape(
            type="circle",
            x0=column - 0.3,
            x1=column + 0.3,
            y0=row - 0.3,
            y1=row + 0.3,
            line={"color": "#56B4E9", "width": 2},
        )
    if chosen is not None:
        row, column = chosen
        box = {"x0": column - 0.5, "x1": column + 0.5, "y0": row - 0.5, "y1": row + 0.5}
        figure.add_shape(type="rect", line={"color": "#009E73", "width": 3}, **box)
    axis = {"fixedrange": True, "showgrid": False, "zeroline": False, "ticks": ""}
    _finish(figure, height, margin={"l": 0, "r": 0, "t": 0, "b": 0}, clickmode="event+select", hovermode="closest")
    figure.update_xaxes(
        range=[-0.5, m - 0.5], tickvals=list(range(m)), ticktext=columns, showticklabels=columns is not None, **axis
    )
    figure.update_yaxes(
        range=[n - 0.5, -0.5], tickvals=list(range(n)), ticktext=rows, showticklabels=rows is not None, **axis
    )
    figure.update_xaxes(constrain="domain", constraintoward="left", side="top")
    return figure.update_yaxes(scaleanchor="x", constrain="domain", constraintoward="top")


def faithfulness_curves(
    own: np.ndarray, random: np.ndarray, blob: np.ndarray, *, colour: str, name: str, title: str
) -> go.Figure:
    """Insertion (left) and deletion (right) of a map, of random maps (their mean) and of a centred blob.

    own, random, blob: (2, steps + 1) probabilities.   name: the map's.   title: what the probability is of.
    """
    figure = make_subplots(
        rows=1,
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.1,
        column_titles=[_("share of the photo shown"), _("share hidden")],
    )
    figure.update_annotations(font_size=12)
    kinds = (
        (name, own, {"color": colour, "width": 3}),
        (_("random maps"), random, {"color": GREY, "width": 2, "dash": "dot"}),
        (_("centred blob"), blob, {"color": GREY, "width": 2, "dash": "dash"}),
    )
    share = np.linspace(0, 100, own.shape[-1])
    for label, curves, line in kinds:
        for place in range(2):
            figure.add_scatter(
                x=share,
                y=curves[place] * 100,
                mode="lines",
                name=label,
                legendgroup=label,
                showlegend=place == 0,
                line=line,
                hovertemplate=label + ": %{y:.0f}" + PERCENT + "<extra></extra>",
                row=1,
                col=place + 1,
            )
    figure.update_xaxes(range=[0, 100], fixedrange=True, ticksuffix=PERCENT, tickvals=[0, 50, 100])
    figure.update_yaxes(range=[0, 103], fixedrange=True, ticksuffix=PERCENT)
    figure.update_yaxes(title=title, col=1)
    return _finish(figure, 300, legend={"orientation": "h", "y": -0.12, "yanchor": "top", "x": 0, "title": None})


# -- a part of a photo --------------------------------------------------------------------------------------------


def photo_with_part(picture: bytes, size: tuple[int, int], part: tuple[int, int, int, int]) -> go.Figure:
    """A photo on which a box can be drawn; what lies outside the part that is chosen is darker.

    picture: JPEG.   size: width and height, for the shape.   part: left, right, top, bottom in percent, as on the axes.
    """
    left, right, top, bottom = part
    source = "data:image/jpeg;base64," + base64.b64encode(picture).decode()
    figure = go.Figure()
    figure.add_layout_image(
        source=source, xref="x", yref="y", x=0, y=0, sizex=100, sizey=100, sizing="stretch", layer="below"
    )
    ticks = np.arange(0, 101, 10)
    figure.add_scatter(  # plotly reports a box only where there could be points in it
        x=np.tile(ticks, len(ticks)),
        y=np.repeat(ticks, len(ticks)),
        mode="markers",
        marker={"color": CLEAR, "size": 1},
        selected={"marker": {"opacity": 0}},
        unselected={"marker": {"opacity": 0}},
        hoverinfo="skip",
        showlegend=False,
    )
    for box in ((0, left, 0, 100), (right, 100, 0, 100), (left, right, 0, top), (left, right, bottom, 100)):
        places = dict(zip(("x0", "x1", "y0", "y1"), box, strict=True))
        figure.add_shape(type="rect", fillcolor="rgba(0, 0, 0, 0.6)", line={"width": 0}, **places)
    frame = {"x0": left, "x1": right, "y0": top, "y1": bottom}
    figure.add_shape(type="rect", line={"color": "#56B4E9", "width": 3}, **frame)
    height = round(min(360, max(120, 280 * size[1] / size[0])))
    _finish(figure, height, margin={"l": 2, "r": 2, "t": 2, "b": 2}, dragmode="select", hovermode=False)
    axis = {"visible": False, "fixedrange": True, "constrain": "domain"}
    figure.update_xaxes(range=[0, 100], constraintoward="left", **axis)
    figure.update_yaxes(range=[100, 0], constraintoward="top", **axis)
    return figure.update_yaxes(scaleanchor="x", scaleratio=size[1] / size[0])
