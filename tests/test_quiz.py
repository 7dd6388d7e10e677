"""The quiz: which photos and breeds are asked, and a page that keeps the score of the visitor and of both runs."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from dogpoc import artifacts, metrics, quiz

APP = Path(__file__).parents[1] / "streamlit_app.py"
BREEDS = ["Afghan_hound", "beagle", "pug", "redbone", "whippet"]


# -- photos and breeds --------------------------------------------------------------------------------------------


def test_a_photo_is_hard_where_one_run_gives_its_breed_less_than_half():
    belief = np.array([[0.9, 0.5, 0.4, 0.9], [0.5, 0.99, 0.9, 0.49]])
    assert quiz.hard(belief).tolist() == [False, False, True, True]


def test_every_round_is_half_hard_until_the_hard_photos_are_used_up_and_no_photo_comes_twice():
    difficult = np.arange(40) < 12
    rows = quiz.in_order(np.arange(40), difficult, seed=3)
    assert sorted(rows) == list(range(40))
    assert [int(difficult[rows[start : start + 10]].sum()) for start in (0, 10, 20, 30)] == [5, 5, 2, 0]


def test_hard_and_ordinary_photos_are_shuffled_within_a_round():
    difficult = np.arange(20) < 10
    firsts = [bool(difficult[quiz.in_order(np.arange(20), difficult, seed)[0]]) for seed in range(40)]
    assert 8 < sum(firsts) < 32  # a fair coin: outside with p < 0.0002


def test_the_order_depends_on_the_seed_alone_and_on_no_other_photo():
    difficult = np.arange(30) % 3 == 0
    rows = np.arange(5, 30)
    assert quiz.in_order(rows, difficult, 7).tolist() == quiz.in_order(rows, difficult, 7).tolist()
    assert quiz.in_order(rows, difficult, 7).tolist() != quiz.in_order(rows, difficult, 8).tolist()
    assert set(quiz.in_order(rows, difficult, 7)) == set(rows)
    assert quiz.in_order(rows[:0], difficult, 7).tolist() == []


MEAN_PROBS = np.array(
    [
        [[0.70, 0.02, 0.20, 0.05, 0.03], *np.eye(5)[1:]],  # Afghan hound: pug, redbone, whippet
        [[0.50, 0.40, 0.00, 0.04, 0.06], *np.eye(5)[1:]],  # Afghan hound: beagle, whippet, redbone
    ]
)


def test_the_breeds_offered_are_the_true_one_and_the_three_that_both_runs_confuse_it_with_most():
    # mean: beagle 0.21, pug 0.10, redbone 0.045, whippet 0.045: equals by index
    assert sorted(quiz.offered(MEAN_PROBS, 0, 1)) == [0, 1, 2, 3]


def test_the_breeds_offered_are_shuffled_and_stay_as_they_are():
    places = [quiz.offered(MEAN_PROBS, 0, (5, photo)).tolist().index(0) for photo in range(80)]
    assert sorted(set(places)) == [0, 1, 2, 3]
    assert max(map(places.count, range(4))) < 40
    assert quiz.offered(MEAN_PROBS, 0, (5, 9)).tolist() == quiz.offered(MEAN_PROBS, 0, (5, 9)).tolist()


def test_of_three_breeds_three_are_offered():
    assert sorted(quiz.offered(MEAN_PROBS[:, :3, :3], 0, 1)) == [0, 1, 2]


def test_a_run_chooses_among_the_breeds_offered_alone():
    logits = np.log([0.4, 0.3, 0.2, 0.1])  # its free choice, 0, is not offered
    breed, prob = quiz.chosen(logits, np.array([3, 2, 1]))
    assert breed == 1
    assert prob == pytest.approx(0.5)  # 0.3 / (0.1 + 0.2 + 0.3)


# -- the page -----------------------------------------------------------------------------------------------------


def store_run(table: pd.DataFrame, name: str, seed: int) -> None:
    scored = artifacts.scored_photos(table, BREEDS)
    true = pd.Index(BREEDS).get_indexer(scored["breed"])
    logits = np.random.default_rng(seed).normal(size=(len(true), len(BREEDS))).astype(np.float32)
    logits[np.arange(len(true)), true] += 2
    file = io.BytesIO()
    np.save(file, logits)
    info = {"dataset": "dogs", "run": name, "trained_on": "dogs", "method": {"backbone": {}, "trained": "everything"}}
    info |= {"breeds": BREEDS, "scored_breeds": BREEDS, "photos_digest": artifacts.photos_digest(table)}
    info["metrics"] = artifacts.measure(info, scored, logits)
    artifacts.write_run(info, {"logits.npy": file.getvalue()})


@pytest.fixture
def store(workplace) -> Path:
    """A dataset of 24 generated test photos of 5 breeds with two runs on it. Returns the photos' folder."""
    st.cache_data.clear()
    st.cache_resource.clear()
    rows = []
    for n in range(24):
        file = io.BytesIO()
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(file, "JPEG")
        data, breed = file.getvalue(), BREEDS[n % 5]
        (workplace / "data" / f"{n}.jpg").write_bytes(data)
        rows.append((f"{breed}/{n:02}.jpg", breed, "test", n, hashlib.sha256(data).hexdigest(), 32, 24, len(data)))
    table = pd.DataFrame(rows, columns=artifacts.PHOTO_COLUMNS).sort_values("id", ignore_index=True)
    artifacts.write_photos("dogs", table)
    store_run(table, "one", 1)
    store_run(table, "two", 2)
    return workplace / "data"


def open_quiz() -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params.update(baseline="one", new="two")
    app._page_hash = calc_hash("quiz")  # as a link opens it
    return app.run()


def words(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.subheader, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def label(app: AppTest, place: int) -> str:
    """What the label of the photo at `place` says, as its button does."""
    stored = artifacts.read_evaluation("dogs", "two")
    return BREEDS[stored.true[app.session_state["quiz"]["rows"][place]]].replace("_", " ")


def play(app: AppTest, place: int, *, right: bool) -> AppTest:
    """Answer the photo at `place`, rightly or not, and go on."""
    true = label(app, place)
    options = [button for button in app.button if button.key.startswith("guess-")]
    next(button for button in options if (button.label == true) == right).click().run()
    app.button[0].click().run()
    assert not app.exception
    return app


def table(app: AppTest) -> dict[str, list[str]]:
    """The score's rows: who -> right, interval, right among all."""
    lines = next(part.value for part in app.markdown if part.value.startswith("| |")).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_four_buttons_offer_the_true_breed_and_nothing_tells_it_before_the_guess(store):
    app = open_quiz()
    assert not app.exception
    assert len(app.button) == 4
    assert label(app, 0) in [button.label for button in app.button]
    assert "Right" not in words(app)
    assert "Score" not in words(app)
    assert "photo 1 of 10" in app.get("progress")[0].proto.text


def test_after_a_guess_the_label_and_both_runs_answers_are_told(store):
    app = open_quiz()
    true = label(app, 0)
    next(button for button in app.button if button.label == true).click().run()
    assert not app.exception
    assert f"Right: its label says {true}" in words(app)
    assert len(re.findall(r"of what it gives to these 4", words(app))) == 2
    assert len(re.findall(r"among all 5 breeds: ", words(app))) == 2
    app = open_quiz()
    true, wrong = label(app, 0), next(button for button in app.button if button.label != label(app, 0))
    said = wrong.label
    wrong.click().run()
    assert f"Its label says {true}; you said {said}." in words(app)


def test_the_score_stands_beside_both_runs_on_the_same_photos_with_its_interval(store):
    app = open_quiz()
    for place in range(10):
        app = play(app, place, right=place < 7)
    rows, state = table(app), app.session_state["quiz"]
    assert rows["You"][:2] == ["7", "40\xa0% – 89\xa0%"]  # Wilson, 7 of 10
    probs = []
    for role, run in (("Baseline", "one"), ("New method", "two")):
        stored = artifacts.read_evaluation("dogs", run)
        probs.append(metrics.mean_probs(metrics.softmax(stored.logits), stored.true))
        free = (stored.logits.argmax(1) == stored.true)[state["rows"][:10]].sum()
        (row,) = [cells for who, cells in rows.items() if role in who]
        assert row[2] == str(free)
    hits = []
    for row in state["rows"][:10]:  # the last run, by hand
        order = np.argsort(-(probs[0] + probs[1])[stored.true[row]])
        four = [stored.true[row], *[j for j in order if j != stored.true[row]][:3]]
        hits.append(max(four, key=lambda breed: stored.logits[row][breed]) == stored.true[row])
    assert next(cells for who, cells in rows.items() if "New method" in who)[0] == str(sum(hits))
    assert "you alone are right on" in words(app)


def test_a_round_goes_on_to_the_next_until_no_photo_is_left(store):
    app = open_quiz()
    for place in range(23):
        app = play(app, place, right=True)
    assert "Round 3, photo 4 of 4" in app.get("progress")[0].proto.text
    app.button[0].click().run()
    assert "These were all photos" in words(app)
    app.button[0].click().run()
    assert app.session_state["quiz"]["guesses"] == []
    assert not app.exception


def test_two_quick_clicks_are_one_guess(store):
    app = open_quiz()
    first, second = app.button[0], app.button[1]
    first.click()
    second.click().run()
    assert len(app.session_state["quiz"]["guesses"]) == 1


def test_other_runs_start_another_quiz(store):
    app = play(open_quiz(), 0, right=True)
    app.selectbox(key="new").set_value("one").run()
    assert not app.exception
    assert app.session_state["quiz"]["guesses"] == []


def test_without_photos_one_line_says_how_to_get_them(store):
    for path in store.glob("*.jpg"):
        path.unlink()
    app = open_quiz()
    assert not app.exception
    assert [line.value.split(",")[0] for line in app.info] == ["The photos are not on this machine"]
    assert len(app.button) == 0


def test_the_page_speaks_of_how_its_photos_were_chosen(store):
    assert "betting against the runs does not pay" in words(open_quiz())
