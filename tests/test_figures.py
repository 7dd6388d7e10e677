"""Figures: what is drawn is what was given, readable on light and dark, and small on the wire."""

import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from dogpoc import figures
from dogpoc.metrics import Reliability
from dogpoc.translation import use_language

BREEDS = ["Afghan_hound", "beagle", "pug"]
RATES = np.array([[0.9, 0.1, 0.0], [0.04, 0.96, 0.0], [0.0, 0.0, 1.0]])
COUNTS = np.array([[9, 1, 0], [1, 24, 0], [0, 0, 5]])


@pytest.fixture(autouse=True)
def english():
    use_language("en")


def heatmap(**changed) -> go.Figure:
    given = {"colour": figures.BASELINE, "top": 0.1, "unit": "%"} | changed
    return figures.confusion_heatmap(RATES, COUNTS, BREEDS, **given)


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
        figures.difference_heatmap(RATES - RATES.T, COUNTS - COUNTS.T, BREEDS, top=0.1, unit="%"),
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


def test_a_heatmap_grows_with_the_square_root_and_leaves_the_diagonal_blank():
    z = np.array(heatmap().data[0].z) / figures.STEPS
    assert z == pytest.approx(np.sqrt([[0, 1, 0], [0.4, 0, 0], [0, 0, 0]]), abs=0.5 / figures.STEPS)


def test_only_cells_with_something_in_them_can_be_clicked_and_they_carry_their_numbers():
    cells = heatmap().data[1]
    assert list(zip(cells.y.tolist(), cells.x.tolist(), strict=True)) == [(0, 1), (1, 0)]  # (true, predicted)
    assert np.array(cells.customdata) == pytest.approx(np.array([[10, 1], [4, 1]]))


def test_a_cell_without_photos_is_blank():
    values = np.array([[np.nan, np.nan], [0.5, 0.5]])
    figure = figures.confusion_heatmap(values, np.zeros((2, 2)), BREEDS[:2], colour=figures.NEW, top=0.5, unit="%")
    assert np.array(figure.data[0].z).tolist() == [[0, 0], [figures.STEPS, 0]]


def test_two_runs_with_the_same_top_give_the_same_colour_to_the_same_value():
    strong = figures.confusion_heatmap(RATES * 1, COUNTS, BREEDS, colour=figures.NEW, top=0.4, unit="%").data[0]
    assert np.array(strong.z)[0, 1] == round(np.sqrt(0.1 / 0.4) * figures.STEPS)
    assert (strong.zmin, strong.zmax) == (0, figures.STEPS)


def test_a_difference_is_blue_where_the_baseline_errs_more_and_vermilion_where_the_new_one_does():
    change = np.array([[0.0, -0.1], [0.025, 0.0]])
    drawn = figures.difference_heatmap(change, np.array([[0, -4], [1, 0]]), BREEDS[:2], top=0.1, unit="%").data[0]
    assert np.array(drawn.z).tolist() == [[0, -figures.STEPS], [figures.STEPS // 2, 0]]
    assert drawn.colorscale[0] == (0, figures.BASELINE)
    assert drawn.colorscale[-1] == (1, figures.NEW)


def test_the_chosen_cell_is_framed():
    frame = heatmap(chosen=(0, 1)).layout.shapes[0]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (0.5, 1.5, -0.5, 0.5)


@pytest.mark.parametrize("kind", ["counts", "probability"])
def test_a_matrix_of_120_breeds_stays_under_150_kilobytes(kind):
    rng = np.random.default_rng(0)
    if kind == "probability":  # every cell holds something
        values = rng.dirichlet(np.ones(120), size=120)
    else:
        values = rng.poisson(0.08, (120, 120)).astype(float)
    figure = figures.confusion_heatmap(
        values,
        None if kind == "probability" else values,
        [f"a_breed_with_a_long_name_{i}" for i in range(120)],
        colour=figures.NEW,
        top=values.max(),
        unit="%" if kind == "probability" else "",
    )
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
