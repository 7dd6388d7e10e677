"""Figures: what is drawn is what was given, readable on light and dark, and small on the wire."""

import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dogpoc import figures
from dogpoc.metrics import Reliability, RiskCoverage
from dogpoc.translation import percent, use_language

BREEDS = ["Afghan_hound", "beagle", "pug"]
RATES = np.array([[0.0, 0.1, 0.0], [0.04, 0.0, 0.0], [0.0, 0.0, 0.0]])  # of errors
COUNTS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
NOISE = np.array([[True, True, True], [False, True, True], [True, True, True]])


def heatmap(**changed) -> go.Figure:
    given = {"colour": figures.BASELINE, "top": 0.1, "unit": "%"} | changed
    return figures.confusion_heatmap(RATES, COUNTS, BREEDS, **given)


def duel(**changed) -> go.Figure:
    """The baseline takes Afghan hounds for beagles more often, within noise; the new run beagles for Afghan hounds."""
    change = np.array([[0.0, -0.1, 0.0], [0.025, 0.0, 0.0], [0.0, 0.0, 0.0]])
    photos = (np.array([[0, 5, 0], [1, 0, 0], [0, 0, 0]]), np.array([[0, 1, 0], [2, 0, 0], [0, 0, 0]]))
    return figures.difference_heatmap(change, photos, BREEDS, **({"noise": NOISE, "top": 0.1, "unit": "%"} | changed))


def traces(figure: go.Figure, kind: str) -> list:
    """The heatmaps ("heatmap") of a matrix, or its layers of clickable cells ("cells")."""
    return [trace for trace in figure.data if kind in (trace.type, trace.name)]


def history() -> pd.DataFrame:
    """Two epochs of the head, three of everything; the second of these has the least validation loss."""
    return pd.DataFrame(
        {
            "epoch": [1, 2, 1, 2, 3],
            "phase": ["probe", "probe", "finetune", "finetune", "finetune"],
            "train_loss": [1.0, 0.5, 0.4, 0.2, 0.1],
            "train_accuracy": [0.5, 0.8, 0.9, 0.95, 0.99],
            "validation_loss": [0.9, 0.1, 0.4, 0.3, 0.5],
            "validation_accuracy": [0.6, 0.8, 0.9, 0.92, 0.91],
        }
    )


def every_figure() -> list[go.Figure]:
    table = Reliability(np.array([0.4, 0.9]), np.array([0.5, 0.8]), np.array([10, 12]))
    return [
        figures.probability_bars(BREEDS, [0.7, 0.2, 0.1], figures.NEW),
        heatmap(),
        duel(),
        figures.breed_dumbbells(BREEDS, np.array([0.5, 0.9, np.nan]), np.array([0.6, 0.8, 1.0]), title="recall"),
        figures.reliability_diagram(table, table),
        figures.training_curves(history(), figures.NEW),
    ]


def test_every_figure_leaves_the_page_behind_it_visible_and_bars_no_text_colour():
    for figure in every_figure():
        assert figure.layout.paper_bgcolor == figures.CLEAR
        assert figure.layout.plot_bgcolor.endswith((" 0)", " 0.08)"))
        assert figure.layout.font.color is None  # the page's own, light or dark


def test_bars_show_percentages_with_the_first_breed_on_top():
    figure = figures.probability_bars(BREEDS, [0.7, 0.25, 0.05], figures.NEW)
    assert list(figure.data[0].x) == pytest.approx([70, 25, 5])
    assert list(figure.data[0].y) == ["Afghan hound", "beagle", "pug"]
    assert list(figure.data[0].text) == ["70.0\xa0%", "25.0\xa0%", "5.0\xa0%"]
    assert figure.layout.yaxis.autorange == "reversed"


def test_a_heatmap_grows_with_the_square_root():
    z = np.array(traces(heatmap(), "heatmap")[0].z) / figures.STEPS
    assert z == pytest.approx(np.sqrt([[0, 1, 0], [0.4, 0, 0], [0, 0, 0]]), abs=0.5 / figures.STEPS)


def test_only_cells_with_something_in_them_can_be_clicked_and_they_carry_their_numbers():
    cells = traces(heatmap(), "cells")[0]
    assert list(zip(cells.y.tolist(), cells.x.tolist(), strict=True)) == [(0, 1), (1, 0)]  # (true, predicted)
    assert np.array(cells.customdata) == pytest.approx(np.array([[10, 1], [4, 1]]))


def test_a_breed_without_photos_is_blank():
    values = np.array([[np.nan, np.nan], [0.5, 0.0]])
    figure = figures.confusion_heatmap(values, np.zeros((2, 2)), BREEDS[:2], colour=figures.NEW, top=0.5, unit="%")
    assert np.array(traces(figure, "heatmap")[0].z).tolist() == [[0, 0], [figures.STEPS, 0]]


def test_errors_inside_a_group_are_drawn_on_the_diagonal():
    figure = figures.confusion_heatmap(
        np.array([[2.0, 0.0], [0.0, 0.0]]), None, ["FCI 3", "pug"], colour=figures.NEW, top=2, unit=""
    )
    cells = traces(figure, "cells")[0]
    assert (cells.x.tolist(), cells.y.tolist()) == ([0], [0])


def test_two_runs_with_the_same_top_give_the_same_colour_to_the_same_value():
    figure = figures.confusion_heatmap(RATES * 1, COUNTS, BREEDS, colour=figures.NEW, top=0.4, unit="%")
    strong = traces(figure, "heatmap")[0]
    assert np.array(strong.z)[0, 1] == round(np.sqrt(0.1 / 0.4) * figures.STEPS)
    assert (strong.zmin, strong.zmax) == (0, figures.STEPS)


def test_a_difference_is_blue_where_the_baseline_errs_more_and_vermilion_where_the_new_one_does():
    drawn = traces(duel(noise=np.zeros((3, 3), dtype=bool)), "heatmap")[0]
    assert np.array(drawn.z).tolist() == [[0, -figures.STEPS, 0], [figures.STEPS // 2, 0, 0], [0, 0, 0]]
    assert drawn.colorscale[0] == (0, figures.BASELINE)
    assert drawn.colorscale[-1] == (1, figures.NEW)


def test_a_difference_within_noise_is_grey_says_so_and_can_be_clicked():
    coloured, grey = traces(duel(), "heatmap")
    assert np.array(coloured.z).tolist() == [[0, 0, 0], [figures.STEPS // 2, 0, 0], [0, 0, 0]]
    assert np.array(grey.z).tolist() == [[0, figures.STEPS, 0], [0, 0, 0], [0, 0, 0]]
    assert (coloured.showscale, grey.showscale) == (True, False)
    real, noisy = traces(duel(), "cells")
    assert [(cells.y.tolist(), cells.x.tolist()) for cells in (real, noisy)] == [([1], [0]), ([0], [1])]
    assert np.array(noisy.customdata) == pytest.approx(np.array([[-10, 5, 1]]))
    assert "within noise" in noisy.hovertemplate
    assert "within noise" not in real.hovertemplate


def test_a_frame_lies_around_its_cells():
    figure = heatmap()
    x, y, width, height = figures.frame(figure, (1, 1), (2, 2))  # of 3
    (left, right), (bottom, top) = figure.layout.xaxis.domain, figure.layout.yaxis.domain
    assert (right, bottom) == (1, 0)
    assert (x, x + width) == pytest.approx((left + (1 - left) * 2 / 3, 1))
    assert (y, y + height) == pytest.approx((1 - top + top / 3, 1 - top + top * 2 / 3))
    assert figures.frame(figure, (0, 2), (0, 2)) == pytest.approx((left, 1 - top, 1 - left, top))


@pytest.mark.parametrize("figure", [heatmap, duel])
def test_a_click_on_a_cell_or_on_a_name_says_which(figure):
    drawn = figure()
    heard = [
        [figures.clicked({"curve_number": k, "x": x, "y": y}) for x, y in zip(trace.x, trace.y, strict=True)]
        for k, trace in enumerate(drawn.data)
        if trace.type == "scatter"
    ]
    rows, columns, *cells = heard
    assert set(rows) == {(0, None), (1, None), (2, None)}
    assert set(columns) == {(None, 0), (None, 1), (None, 2)}
    assert sorted(cell for layer in cells for cell in layer) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("n", [3, 20, 47, 120])
def test_names_have_room_at_a_readable_size_and_cells_never_shrink_below_what_they_need(n):
    figure = figures.confusion_heatmap(
        np.zeros((n, n)),
        None,
        [f"American_Staffordshire_terrier {k}" for k in range(n)],
        colour=figures.NEW,
        top=1,
        unit="",
    )
    layout = figure.layout
    for axis, size in ((layout.xaxis, layout.width), (layout.yaxis, layout.height)):
        assert axis.tickfont.size >= 10
        assert (axis.domain[1] - axis.domain[0]) * size / n >= 12 - 1e-6  # pixels a name
        assert len(axis.ticktext) == n
        assert max(map(len, axis.ticktext)) <= figures.LONGEST
    assert layout.xaxis.domain[0] * layout.width >= 0.45 * layout.yaxis.tickfont.size * figures.LONGEST


def test_a_thousand_breeds_are_drawn_without_names():
    figure = figures.confusion_heatmap(np.zeros((1000, 1000)), None, ["x"] * 1000, colour=figures.NEW, top=1, unit="")
    assert not figure.layout.xaxis.showticklabels
    assert figure.layout.width < 2500


@pytest.mark.parametrize("kind", ["counts", "probability", "difference of counts", "difference of probability"])
def test_a_matrix_of_120_breeds_stays_under_150_kilobytes(kind):
    rng, names = np.random.default_rng(0), [f"a_breed_with_a_long_name_{i}" for i in range(120)]
    soft = rng.dirichlet(np.ones(120), size=(2, 120))  # every cell holds something
    hard = rng.poisson(0.08, (2, 120, 120)).astype(float)  # 1,152 wrong answers of 8,580
    values, unit = (soft, "%") if "probability" in kind else (hard, "")
    if "difference" in kind:
        photos, noise = None if unit else tuple(hard), rng.random((120, 120)) < 0.5
        figure = figures.difference_heatmap(values[1] - values[0], photos, names, noise=noise, top=1, unit=unit)
    else:
        figure = figures.confusion_heatmap(values[0], None, names, colour=figures.NEW, top=values.max(), unit=unit)
    assert len(figure.to_json()) < 150_000


def test_look_alikes_stand_side_by_side():
    confusions = np.zeros((5, 5))
    confusions[0, 3] = confusions[4, 1] = 5
    confusions[2, 0] = confusions[3, 0] = 1
    place = np.argsort(figures.similarity_order(confusions))
    assert abs(place[0] - place[3]) == 1
    assert abs(place[1] - place[4]) == 1


@pytest.mark.parametrize("n", [1, 2, 5])
def test_without_confusions_breeds_keep_their_order(n):
    assert figures.similarity_order(np.zeros((n, n))).tolist() == list(range(n))


def test_a_dot_per_run_and_breed_keeps_the_order_given():
    figure = figures.breed_dumbbells(BREEDS, np.array([0.5, 0.9, np.nan]), np.array([0.6, 0.8, 1.0]), title="recall")
    assert list(figure.data[1].x) == pytest.approx([50, 90, np.nan], nan_ok=True)
    assert list(figure.data[2].x) == pytest.approx([60, 80, 100])
    assert figure.layout.yaxis.categoryarray == ("pug", "beagle", "Afghan hound")  # plotly draws from below
    assert [figure.data[1].marker.color, figure.data[2].marker.color] == [figures.BASELINE, figures.NEW]


def test_the_best_epoch_is_the_one_of_the_last_phase_with_the_least_validation_loss():
    assert figures.best_epoch(history()) == 3  # the probe's second has less, and is not what is kept
    star = figures.training_curves(history(), figures.NEW).data[4]
    assert (star.name, list(star.x), list(star.y)) == ("best epoch", [4], [0.3])


def test_numbers_follow_the_language():
    assert heatmap().layout.separators == ".,"
    use_language("fr")
    assert heatmap().layout.separators == ",\u202f"


def test_figures_need_neither_streamlit_nor_torch():
    code = "import sys, dogpoc.figures; print([m for m in ('streamlit', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


# -- many runs ----------------------------------------------------------------------------------------------------


def costs(*values: float) -> pd.DataFrame:
    roles = ["baseline", "new", *[None] * (len(values) - 2)]
    return pd.DataFrame(
        {
            "run": [f"run-{k}" for k in range(len(values))],
            "role": roles,
            "cost": values,
            "accuracy": 0.9,
            "low": 0.88,
            "high": 0.91,
        }
    )


def test_costs_that_span_much_are_logarithmic_and_those_of_nothing_are_left_out_then():
    figure = figures.runs_scatter(costs(1, 100, 0), title="s")
    assert figure.layout.xaxis.type == "log"
    assert sum(len(trace.x) for trace in figure.data) == 2
    figure = figures.runs_scatter(costs(1, 3, 0), title="s")
    assert figure.layout.xaxis.type is None
    assert sum(len(trace.x) for trace in figure.data) == 3


def test_a_run_keeps_its_roles_colour_and_symbol_in_every_figure():
    scatter = figures.runs_scatter(costs(1, 3, 2), title="s")
    strip = figures.seed_spread([("a", "baseline", [0.9], 0.8, 0.95), ("b", "new", [0.9, 0.91], 0.8, 0.95)])
    sources = figures.accuracy_by_source([("a", "baseline", "x", 0.9, 0.8, 0.95), ("b", "new", "x", 0.9, 0.8, 0.95)])
    for figure in (scatter, strip, sources):
        drawn = {(trace.marker.color, trace.marker.symbol) for trace in figure.data if trace.marker.color}
        assert {(figures.BASELINE, "circle"), (figures.NEW, "diamond")} <= drawn


def test_accuracy_by_breeds_draws_the_mean_its_band_and_runs_trained_on_fewer():
    table = np.array([[0.99, 0.97, 1.0], [0.95, 0.95, 0.95]])
    trained = pd.DataFrame({"role": ["new"], "breeds": [2], "accuracy": [0.98], "low": [0.9], "high": [0.99]})
    figure = figures.accuracy_by_breeds([2, 47], {"baseline": table, "new": table}, trained)
    means = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [list(trace.y) for trace in means] == [[99.0, 95.0]] * 2
    assert [trace.name for trace in figure.data if trace.mode == "markers"] == ["new, trained on these breeds only"]


def test_risk_and_coverage_marks_the_threshold_in_use_even_where_nothing_is_answered():
    curve = RiskCoverage(np.array([0.9, 0.5]), np.array([0.5, 1.0]), np.array([1.0, 0.75]))
    figure = figures.risk_coverage({"baseline": curve, "new": curve}, {"baseline": (0.5, 1.0), "new": (0.0, np.nan)})
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.x) for trace in marks] == [[50.0], [0.0]]
    assert figure.layout.yaxis.range[0] == pytest.approx(73)


def test_photos_of_a_breed_stack_up_by_split():
    counts = pd.DataFrame({"train": [6, 5], "validation": [2, 2], "test": [3, 1]}, index=["beagle", "pug"])
    figure = figures.photos_per_breed(counts)
    assert figure.layout.barmode == "stack"
    assert [list(bar.y) for bar in figure.data] == [[6, 5], [2, 2], [3, 1]]
    assert list(figure.data[0].x) == ["beagle", "pug"]


def test_sizes_count_the_shorter_side():
    table = pd.DataFrame({"width": [500, 375, 100], "height": [375, 500, 300]})
    bars = figures.photo_sizes(table).data[0]
    assert sum(bars.y) == 3
    assert (bars.y[0], bars.y[-1]) == (1, 2)


def test_the_cells_of_a_picture_can_be_clicked_in_row_order_and_tell_their_words():
    words = [["a", "b", "c"], ["d", "e", "f"]]
    figure = figures.picture_cells(b"jpeg", words, height=200, chosen=(1, 2), rings=[(0, 1)])
    (cells,) = figure.data
    assert (list(cells.x), list(cells.y)) == ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1])
    assert list(cells.text) == ["a", "b", "c", "d", "e", "f"]
    picture = figure.layout.images[0]
    assert picture.source.startswith("data:image/jpeg;base64,")
    assert (picture.x, picture.y, picture.sizex, picture.sizey) == (-0.5, -0.5, 3, 2)
    assert tuple(figure.layout.yaxis.range) == (1.5, -0.5), "the first row is the upper one"
    shapes = {shape.type: (shape.x0, shape.x1, shape.y0, shape.y1) for shape in figure.layout.shapes}
    assert shapes["rect"] == (1.5, 2.5, 0.5, 1.5)
    assert shapes["circle"] == pytest.approx((0.7, 1.3, -0.3, 0.3))


def test_the_curves_of_a_map_stand_beside_those_of_chance():
    own, random, blob = (np.full((2, 5), share) for share in (0.9, 0.5, 0.7))
    figure = figures.faithfulness_curves(own, random, blob, colour="#123456", name="relevance", title="beagle")
    assert [trace.name for trace in figure.data[::2]] == ["relevance", "random maps", "centred blob"]
    assert [trace.y[0] for trace in figure.data[::2]] == [90, 50, 70]
    assert list(figure.data[0].x) == [0, 25, 50, 75, 100]
    assert figure.data[0].line.color == "#123456"


def test_the_grid_of_sizes_has_the_shares_as_text_with_the_first_row_on_top():
    shares = np.array([[0.9, 0.5], [0.25, 1.0], [0.1, 0.2]])
    figure = figures.size_grid(shares, ["as it is", "128", "both, too"], ["128", "224"])
    (drawn,) = figure.data
    assert [list(row) for row in drawn.text] == [[percent(share) for share in row] for row in shares]
    np.testing.assert_array_equal(drawn.z, shares)
    assert figure.layout.yaxis.autorange == "reversed"
    assert list(figure.layout.xaxis.ticktext) == ["128", "224"]
    assert list(figure.layout.yaxis.ticktext) == ["as it is", "128", "both,<br>too"]
