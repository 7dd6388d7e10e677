"""A map of photos on which the photo under the pointer is seen: arrays in, a Vega-Lite specification and its data out.

Vega-Lite and not Plotly, because its tooltip shows pictures (a column "image") and Plotly's does not
(plotly.js#1323). One dot a photo; few kinds of photos in colour and shape, all others grey: 47 colours could not be
told apart.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dogpoc.figures import BASELINE, GREY, NEW

BREED_COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe & Ito (2008), without those of the runs
WHO_COLOURS = (BASELINE, NEW, "#CC79A7")  # only the baseline is right, only the new method, none
SHAPES = ("circle", "diamond", "square", "triangle-up")
PICKED = "picked"  # name of the selection that a click makes: the photo's row


def points(
    places: np.ndarray,
    kinds: np.ndarray,
    names: Sequence[str],
    rest: str,
    pictures: dict[int, str],
    chosen: int | None = None,
    **texts: np.ndarray,
) -> pd.DataFrame:
    """The data of `spec`, grey dots first so that coloured ones lie on top, and the chosen one above all.

    places: (n, 2).   kinds: (n,) index into names, -1 for the rest.   names, rest: what the kinds are called.
    pictures: row -> data URI of a small photo.   texts: (n,) columns for the tooltip.
    Texts go as categories: a breed's name is sent once, not once a photo.
    """
    order = np.argsort((kinds >= 0) + 2 * (np.arange(len(kinds)) == chosen), kind="stable")
    table = pd.DataFrame(
        {
            "x": places[order, 0].astype(np.float32),
            "y": places[order, 1].astype(np.float32),
            "kind": pd.Categorical.from_codes(np.where(kinds < 0, len(names), kinds)[order], [*names, rest]),
            "row": order.astype(np.int32),
            "image": [pictures.get(int(row), "") for row in order],  # the tooltip would show a missing one as "null"
        }
    )
    return table.assign(**{name: pd.Categorical(np.asarray(column)[order]) for name, column in texts.items()})


def spec(
    names: Sequence[str], colours: Sequence[str], rest: str, titles: dict[str, str], chosen: int | None, height: int
) -> dict:
    """A Vega-Lite map of `points`: hover shows the photo and its texts, a click selects its row, `chosen` is ringed.

    names, colours: of the kinds, up to 4.   titles: text column -> its name in the tooltip.   height: pixels.
    """
    coloured, ringed = f"datum.kind !== {_quoted(rest)}", f"datum.row === {-1 if chosen is None else chosen}"
    scale = {"domain": [*names, rest]}
    legend = {"orient": "bottom", "title": None, "columns": 2, "symbolOpacity": 1, "labelLimit": 300}
    axis = {"type": "quantitative", "axis": None, "scale": {"zero": False, "nice": False, "padding": 20}}
    return {
        "height": height,
        "params": [{"name": PICKED, "select": {"type": "point", "fields": ["row"], "toggle": False, "nearest": True}}],
        "mark": {"type": "point", "filled": True},
        "encoding": {
            "x": {"field": "x", **axis},
            "y": {"field": "y", **axis},
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {**scale, "range": [*colours[: len(names)], GREY]},
                "legend": legend,
            },
            "shape": {
                "field": "kind",
                "type": "nominal",
                "scale": {**scale, "range": [*SHAPES[: len(names)], "circle"]},
                "legend": legend,
            },
            "opacity": {"condition": {"test": f"{coloured} || {ringed}", "value": 0.95}, "value": 0.3},
            "size": {"condition": [{"test": ringed, "value": 320}, {"test": coloured, "value": 60}], "value": 16},
            "stroke": {"condition": {"test": ringed, "value": GREY}, "value": None},
            "strokeWidth": {"condition": {"test": ringed, "value": 5}, "value": 0},
            "tooltip": [{"field": name, "title": title} for name, title in {"image": "image", **titles}.items()],
        },
    }


def _quoted(text: str) -> str:
    """A text as a string of Vega's expression language."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
