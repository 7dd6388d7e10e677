"""Arrays in, plotly Figure out. Shares come as 0..1 and are drawn in percent; one fixed colour per role.

Backgrounds are transparent and lines grey, so that a figure reads on a light and on a dark page. Numbers that plotly
formats (axes, hover) follow the language in use.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from dogpoc.metrics import Reliability
from dogpoc.translation import _, breed_label, language, percent

BASELINE, NEW = "#0072B2", "#D55E00"  # blue and vermilion of Okabe & Ito (2008): told apart in every colour vision
GREY = "#8A8A8A"
GRID = "rgba(128, 128, 128, 0.25)"
CLEAR = "rgba(0, 0, 0, 0)"
PERCENT = "\u00a0%"
STEPS = 120  # of a heatmap's colour, sent as 8-bit numbers: 19 kB for 120 x 120 breeds
BLANK = 0.5 / STEPS  # less than the first step is not drawn
CELLS = 10_000  # at most that can be clicked, the largest ones: 80 kB


# -- what all figures share ---------------------------------------------------------------------------------------


def _finish(figure: go.Figure, height: int, **layout) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 28, "b": 8},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        separators=",\u202f" if language() == "fr" else ".,",
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "title": None},
        hoverlabel={"align": "left"},
        dragmode=False,
    )
    figure.update_xaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zerolinecolor=GRID, automargin=True)
    return figure.update_layout(layout)


def _rgba(colour: str, alpha: float) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {alpha})"


def _labels(breeds: Sequence[str]) -> list[str]:
    return [breed_label(breed) for breed in breeds]


# -- probabilities ------------------------------------------------------------------------------------------------


def probability_bars(breeds: Sequence[str], probs: Sequence[float], colour: str) -> go.Figure:
    """Bars of the breeds' probabilities (0..1), first one on top, each with its number."""
    shares = np.asarray(probs, dtype=float) * 100
    figure = go.Figure(
        go.Bar(
            x=shares,
            y=_labels(breeds),
            orientation="h",
            marker_color=colour,
            text=[percent(share / 100) for share in shares],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    figure.update_xaxes(range=[0, 118], visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, showgrid=False, ticksuffix="  ")
    return _finish(figure, 34 * len(shares) + 16, bargap=0.35, margin={"l": 8, "r": 8, "t": 8, "b": 8})


# -- confusions ---------------------------------------------------------------------------------------------------


def confusion_heatmap(
    values: np.ndarray,
    photos: np.ndarray | None,
    breeds: Sequence[str],
    *,
    colour: str,
    top: float,
    unit: str,
    chosen: tuple[int, int] | None = None,
) -> go.Figure:
    """A run's confusions: rows = true breed, columns = predicted breed, the diagonal left blank.

    values: (C, C) >= 0, shares (unit "%") or numbers of photos (unit "").   photos: (C, C) numbers of photos, for the
    hover; None where values say it all.   top: the value that gets the full colour; give both runs the same one.
    chosen: a cell to frame.
    The colour grows with the square root of the value, so that single mistakes are seen beside the many.
    """
    scaled = np.sqrt(_errors(values) / max(top, 1e-9)).clip(0, 1)
    scale = [[0, CLEAR], [BLANK, CLEAR], [BLANK, _rgba(colour, 0.12)], [1, colour]]
    return _matrix(scaled, values, photos, breeds, scale, (0, 1), _ticks(top, unit), chosen, unit)


def difference_heatmap(
    differences: np.ndarray,
    photos: np.ndarray | None,
    breeds: Sequence[str],
    *,
    top: float,
    unit: str,
    chosen: tuple[int, int] | None = None,
) -> go.Figure:
    """New minus baseline, the diagonal left blank; blue: the baseline makes the mistake more, vermilion: the new one.

    differences: (C, C) of either sign, in the unit of `confusion_heatmap`.
    photos: (C, C) differences in photos, or None.
    """
    errors = _errors(differences)
    scaled = (np.sign(errors) * np.sqrt(np.abs(errors) / max(top, 1e-9))).clip(-1, 1)
    scale = [
        *([0, BASELINE], [0.5 - BLANK / 2, _rgba(BASELINE, 0.12)], [0.5 - BLANK / 2, CLEAR]),
        *([0.5 + BLANK / 2, CLEAR], [0.5 + BLANK / 2, _rgba(NEW, 0.12)], [1, NEW]),
    ]
    right, texts = _ticks(top, unit)
    ticks = ([-x for x in right[:0:-1]] + right, [f"\u2212{text}" for text in texts[:0:-1]] + texts)
    return _matrix(scaled, differences, photos, breeds, scale, (-1, 1), ticks, chosen, unit)


def similarity_order(confusions: np.ndarray) -> np.ndarray:
    """Order of breeds, (C,) int, that puts those which are taken for each other side by side.

    confusions: (C, C) >= 0. Average linkage of what both directions share, leaves in optimal order (Bar-Joseph et al.,
    2001).
    """
    errors = _errors(confusions)
    if len(errors) < 3 or not errors.any():
        return np.arange(len(errors))
    alike = np.sqrt(errors + errors.T)
    distances = squareform(1 - alike / alike.max(), checks=False)
    return leaves_list(linkage(distances, "average", optimal_ordering=True))


def _errors(values: np.ndarray) -> np.ndarray:
    errors = np.nan_to_num(np.asarray(values, dtype=float))
    np.fill_diagonal(errors, 0)
    return errors


def _ticks(top: float, unit: str) -> tuple[list[float], list[str]]:
    """Places (on the square-root scale) and texts of a colour bar that ends at `top`."""
    values = np.unique(np.rint(np.array([0, 0.1, 0.4, 1]) * top)) if not unit else np.array([0, 0.1, 0.4, 1]) * top
    texts = [percent(value, 0 if top >= 0.1 else 1) if unit else f"{value:.0f}" for value in values]
    return np.sqrt(values / max(top, 1e-9)).tolist(), texts


def _matrix(scaled, values, photos, breeds, scale, span, ticks, chosen, unit) -> go.Figure:
    n = len(breeds)
    z = np.rint(scaled * STEPS).astype(np.int8)
    rows, columns = np.nonzero(z)
    if len(rows) > CELLS:
        largest = np.sort(np.argpartition(-np.abs(scaled[rows, columns]), CELLS)[:CELLS])
        rows, columns = rows[largest], columns[largest]
    figure = go.Figure(
        go.Heatmap(
            z=z,
            zmin=span[0] * STEPS,
            zmax=span[1] * STEPS,
            colorscale=scale,
            xgap=1 if n <= 60 else 0,
            ygap=1 if n <= 60 else 0,
            hoverinfo="skip",
            colorbar={
                "tickvals": [tick * STEPS for tick in ticks[0]],
                "ticktext": ticks[1],
                "orientation": "h",
                "thickness": 6,
                "len": 0.5,
                "x": 0,
                "xanchor": "left",
                "y": 1,
                "yanchor": "bottom",
                "outlinewidth": 0,
            },
        )
    )
    # A heatmap never reports a click (streamlit#8760); invisible squares over its cells do, and carry the hover.
    value = values[rows, columns] * (100 if unit else 1)
    numbers, words = [value], ["%{customdata[0]:.2~f}" + PERCENT] if unit else []
    if photos is not None:
        numbers.append(photos[rows, columns])
        words.append(_("{photos} photos").format(photos=f"%{{customdata[{len(numbers) - 1}]:.0f}}"))
    figure.add_scatter(
        x=columns.astype(np.min_scalar_type(n)),
        y=rows.astype(np.min_scalar_type(n)),
        customdata=np.stack(numbers, axis=1).astype(np.float32),
        mode="markers",
        marker={"symbol": "square", "size": max(6, min(24, 560 / n)), "color": CLEAR},
        unselected={"marker": {"opacity": 0}},
        selected={"marker": {"opacity": 0}},
        showlegend=False,
        hovertemplate="<b>%{y}</b> → <b>%{x}</b><br>" + " · ".join(words) + "<extra></extra>",
    )
    if chosen is not None:
        i, j = chosen
        figure.add_shape(
            type="rect",
            x0=j - 0.5,
            x1=j + 0.5,
            y0=i - 0.5,
            y1=i + 0.5,
            line={"color": GREY, "width": 2.5},
            name="chosen",
        )
    size = 11 if n <= 25 else 9 if n <= 60 else 6
    axis = {"showgrid": False, "zeroline": False, "ticks": "", "fixedrange": True, "tickfont": {"size": size}}
    axis |= {"tickvals": np.arange(n), "ticktext": _labels(breeds)}
    figure.update_xaxes(**axis, range=[-0.5, n - 0.5], tickangle=-90)
    figure.update_yaxes(**axis, range=[n - 0.5, -0.5])
    return _finish(
        figure,
        170 + max(12, min(16, 1000 // n)) * n,
        clickmode="event+select",
        showlegend=False,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        plot_bgcolor=_rgba(GREY, 0.08),
    )


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
    for name, values, colour, symbol in (
        (_("baseline"), baseline, BASELINE, "circle"),
        (_("new"), new, NEW, "diamond"),
    ):
        figure.add_scatter(
            x=np.asarray(values, dtype=float) * 100,
            y=labels,
            customdata=notes,
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 10},
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
