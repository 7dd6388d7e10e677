"""The map's data and specification: what is drawn, what a browser is sent, and text that stays text."""

import json

import numpy as np
import pytest
from streamlit import dataframe_util

from dogpoc import photo_map

PLACES = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]], np.float16)
KINDS = np.array([1, -1, 0, -1])


def test_every_photo_is_a_dot_and_the_coloured_ones_lie_on_top():
    data = photo_map.points(PLACES, KINDS, ["Lhasa", "pug"], "others", {2: "data:x"}, breed=np.array(list("abcd")))
    assert data["row"].tolist() == [1, 3, 0, 2]
    assert data["kind"].tolist() == ["others", "others", "pug", "Lhasa"]
    assert data[["x", "y"]].to_numpy().tolist() == PLACES[[1, 3, 0, 2]].tolist()
    assert data["image"].tolist() == ["", "", "", "data:x"]
    assert data["breed"].tolist() == ["b", "d", "a", "c"]
    assert photo_map.points(PLACES, KINDS, ["Lhasa", "pug"], "others", {}, 1)["row"].tolist() == [3, 0, 2, 1]


def test_the_legend_has_one_colour_and_one_shape_a_kind_and_grey_for_the_rest():
    spec = photo_map.spec(["Lhasa", "pug"], photo_map.BREED_COLOURS, "others", {}, None, 400)
    for channel, values in (("color", photo_map.BREED_COLOURS), ("shape", photo_map.SHAPES)):
        scale = spec["encoding"][channel]["scale"]
        assert scale["domain"] == ["Lhasa", "pug", "others"]
        assert scale["range"][:2] == list(values[:2])
        assert len(set(scale["range"])) == (3 if channel == "color" else 2)
    assert len(photo_map.BREED_COLOURS) <= len(photo_map.SHAPES)
    assert len(photo_map.WHO_COLOURS) <= len(photo_map.SHAPES)


def test_the_tooltip_has_the_photo_first_and_the_titles_as_given():
    tooltip = photo_map.spec([], [], "others", {"breed": "true breed"}, None, 400)["encoding"]["tooltip"]
    assert tooltip == [{"field": "image", "title": "image"}, {"field": "breed", "title": "true breed"}]


@pytest.mark.parametrize(("chosen", "tested"), [(None, "datum.row === -1"), (3, "datum.row === 3")])
def test_the_open_photo_is_ringed(chosen, tested):
    encoding = photo_map.spec([], [], "others", {}, chosen, 400)["encoding"]
    assert encoding["stroke"]["condition"]["test"] == encoding["size"]["condition"][0]["test"] == tested


def test_a_name_with_quotes_stays_a_name():
    spec = photo_map.spec([], [], "l'autre \\' race", {}, None, 400)
    assert r"'l\'autre \\\' race'" in spec["encoding"]["opacity"]["condition"]["test"]
    json.dumps(spec, allow_nan=False)


def test_the_message_stays_small_at_8580_photos_of_120_breeds():
    rng, n = np.random.default_rng(0), 8580
    breeds = np.array([f"a breed with a long name {k}" for k in range(120)])
    columns = {name: breeds[rng.integers(120, size=n)] for name in ("true_breed", "baseline", "new")}
    data = photo_map.points(rng.normal(size=(n, 2)), rng.integers(-1, 2, n), ["a", "b"], "c", {}, **columns)
    assert len(dataframe_util.convert_anything_to_arrow_bytes(data)) < 300_000  # without pictures
