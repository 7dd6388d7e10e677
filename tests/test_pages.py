"""The pages that show stored results, over small generated runs: every page opens, and a fault costs one line."""

import hashlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from dogpoc import artifacts
from dogpoc.translation import use_language

APP = Path(__file__).parents[1] / "streamlit_app.py"
BREEDS = ["Afghan_hound", "Siberian_husky", "basenji", "beagle", "malamute", "pug"]
RUNS = {"mobilenetv2-frozen": 1.5, "mobilenetv2-finetuned": 2.0, "vit-tiny-finetuned": 2.5}  # how well each sees
PAGES = {"": "start", "metrics": "metrics", "confusions": "confusions", "worst-breeds": "worst-breeds"}
TITLES = {"start": "Which classifier knows its dogs?", "metrics": "Metrics"}
TITLES |= {"confusions": "Confusions", "worst-breeds": "Worst breeds"}


def store_photos(photos_per_breed: int = 60, seed: int = 0) -> pd.DataFrame:
    """A table of photos that are nowhere, a quarter of them for test."""
    rows = [
        {
            "id": f"{breed}/{n:03}.jpg",
            "breed": breed,
            "split": ("test", "validation", "train", "train")[n % 4],
            "group": k * photos_per_breed + n,
            "sha256": hashlib.sha256(f"{seed}{breed}{n}".encode()).hexdigest(),
            "width": 64,
            "height": 48,
            "bytes": 1000 + n,
        }
        for k, breed in enumerate(BREEDS)
        for n in range(photos_per_breed)
    ]
    table = pd.DataFrame(rows)
    artifacts.write_photos("dogs47", table)
    return table


def store_run(table: pd.DataFrame, name: str, skill: float, dataset: str = "dogs47") -> None:
    scored = artifacts.scored_photos(table, BREEDS)
    true = pd.Index(BREEDS).get_indexer(scored["breed"])
    rng = np.random.default_rng(len(name))
    logits = rng.normal(size=(len(scored), len(BREEDS))).astype(np.float32)
    logits[np.arange(len(true)), true] += skill
    everything = "finetuned" in name
    info = {
        "dataset": dataset,
        "run": name,
        "trained_on": dataset,
        "method": {"summary": f"{name} in words", "trained": "everything" if everything else "head"},
        "breeds": BREEDS,
        "scored_breeds": BREEDS,
        "photos_digest": artifacts.photos_digest(table),
        "parameters": 2_000_000,
        "trained_parameters": 2_000_000 if everything else 7_686,
        "train_seconds": 12.5,
        "evaluation_seconds": 1.5,
        "photos_per_second": 120.0,
        "weights_bytes": 4_000_000,
        "hardware": {"train": "a machine", "evaluate": "a machine"},
    }
    info["metrics"] = artifacts.measure(info, scored, logits)
    file = io.BytesIO()
    np.save(file, logits)
    epochs = ["probe", "probe", *(["finetune"] * 3 if everything else [])]
    losses = np.linspace(1, 0.3, len(epochs))
    history = pd.DataFrame({"epoch": range(1, len(epochs) + 1), "phase": epochs, "seconds": 1.0})
    history = history.assign(train_loss=losses, validation_loss=losses)
    history = history.assign(train_accuracy=1 - losses / 2, validation_accuracy=1 - losses / 2)
    artifacts.write_run(info, {"logits.npy": file.getvalue(), "history.csv": history.to_csv(index=False).encode()})


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty place for artifacts, photos and what is remembered of them."""
    for name in ("artifacts", "data", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"DOGPOC_{name.upper()}", str(tmp_path / name))
    st.cache_data.clear()
    st.cache_resource.clear()
    use_language("en")
    return tmp_path


@pytest.fixture
def store(place) -> pd.DataFrame:
    """Three runs on 6 breeds with 60 photos each (15 for test); the photos are not on this machine."""
    table = store_photos()
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    return table


def open_page(url_path: str = "", **query: str) -> AppTest:
    """The app as it is when a link is opened."""
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.query_params.update(query)
    if url_path:
        app._page_hash = calc_hash(url_path)  # switch_page knows pages by their url only after a first run
    return app.run()


def table_with(app: AppTest, *columns: str) -> pd.DataFrame:
    """The first table on the page that has these columns."""
    return next(table.value for table in app.dataframe if set(columns) <= set(table.value))


def lines(elements) -> list[str]:
    return [element.value for element in elements]


def words(app: AppTest) -> str:
    """Everything in the main part that is text."""
    return "\n".join(lines([*app.main.title, *app.main.header, *app.main.markdown, *app.main.caption]))


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("url_path", PAGES)
def test_every_page_opens_without_a_fault(store, url_path, language):
    app = open_page(url_path, lang=language)
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert len(app.title) == 1
    assert app.session_state["lang"] == language
    assert not any(("," if language == "en" else ".") in metric.value for metric in app.metric)
    if language == "en":
        assert app.title[0].value == TITLES[PAGES[url_path]]


def test_the_start_page_says_both_accuracies_and_who_wins(store):
    app = open_page()
    baseline, new = (artifacts.read_evaluation("dogs47", name) for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"))
    right = [run.logits.argmax(axis=1) == run.true for run in (baseline, new)]
    shown = [metric.value.replace("\xa0", " ") for metric in app.metric]
    assert shown == [
        f"{right[0].mean():.1%}".replace("%", " %"),
        f"{right[1].mean():.1%}".replace("%", " %"),
        f"+{100 * (right[1].mean() - right[0].mean()):.1f} pts",
    ]
    assert app.subheader[0].value == "The new method wins"
    mended, broken = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
    assert f"mends {mended} photos that the baseline gets wrong and breaks {broken} that it gets right" in words(app)
    assert "part of ImageNet's training set" in app.info[0].value


def test_the_usual_runs_are_chosen_and_the_url_chooses_others(store):
    app = open_page()
    assert [app.session_state[key] for key in ("dataset", "baseline", "new")] == [
        "dogs47",
        "mobilenetv2-frozen",
        "vit-tiny-finetuned",
    ]
    app = open_page("metrics", baseline="vit-tiny-finetuned", new="mobilenetv2-finetuned")
    assert "vit-tiny-finetuned" in app.metric[0].label
    assert "mobilenetv2-finetuned" in app.metric[1].label


def test_the_choice_of_runs_survives_a_change_of_page(store):
    app = open_page(new="mobilenetv2-finetuned", lang="fr")
    app.switch_page("pages/metrics.py").run()
    assert (app.session_state["new"], app.session_state["lang"]) == ("mobilenetv2-finetuned", "fr")
    assert app.query_params["new"] == "mobilenetv2-finetuned"


def test_a_dataset_without_the_chosen_run_shows_its_own_runs(store):
    table = store.assign(id="other/" + store["id"])
    artifacts.write_photos("other", table)
    for name in ("run-a", "run-b"):
        store_run(table, name, 2.0, dataset="other")
    app = open_page("metrics", new="mobilenetv2-finetuned")
    app.selectbox(key="dataset").select("other").run()
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert [app.selectbox(key=key).value for key in ("baseline", "new")] == ["run-a", "run-b"]
    assert "run-b" in app.metric[1].label


@pytest.mark.parametrize("key", ["dataset", "baseline", "new", "lang"])
def test_a_bad_value_in_the_url_gives_one_line_and_the_usual_choice(store, key):
    app = open_page("metrics", **{key: "../nonsense"})
    assert len(app.warning) == 1
    assert app.warning[0].value.startswith(f"No {key} '../nonsense' here; found: ")
    assert not app.exception
    assert not app.error
    assert app.session_state[key] in ("dogs47", "mobilenetv2-frozen", "vit-tiny-finetuned", "en")
    assert not app.run().warning


@pytest.mark.parametrize(
    ("url_path", "key"), [("confusions", "true"), ("confusions", "predicted"), ("worst-breeds", "breed")]
)
def test_a_breed_that_is_not_there_gives_one_line_and_the_usual_choice(store, url_path, key):
    app = open_page(url_path, **{key: "cat"})
    assert len(app.warning) == 1
    assert app.warning[0].value.startswith(f"No {key} 'cat' here; found: Afghan hound, Siberian husky")
    assert not app.exception


@pytest.mark.parametrize("url_path", PAGES)
def test_a_damaged_run_costs_one_line_and_the_other_runs_go_on(store, place, url_path):
    logits = place / "artifacts" / "dogs47" / "vit-tiny-finetuned" / "logits.npy"
    logits.write_bytes(logits.read_bytes()[:-1] + b"\x7f")
    app = open_page(url_path)
    assert not app.exception
    assert len(app.error) == 1
    assert "vit-tiny-finetuned" in app.error[0].value
    assert "\n" not in app.error[0].value
    app.selectbox(key="new").select("mobilenetv2-finetuned").run()
    assert not app.error
    assert app.title


def test_a_run_json_that_cannot_be_read_leaves_the_table_of_the_other_runs(store, place):
    path = place / "artifacts" / "dogs47" / "mobilenetv2-finetuned" / "run.json"
    path.write_text(path.read_text().replace("12.5", "1.25"))
    app = open_page("metrics")
    assert len(app.error) == 1
    assert "mobilenetv2-finetuned" in app.error[0].value
    assert table_with(app, "run", "top1")["run"].tolist() == ["mobilenetv2-frozen", "vit-tiny-finetuned"]


def test_a_run_that_is_evaluated_again_is_shown_with_its_new_numbers(store):
    before = open_page().metric[1].value
    store_run(store, "vit-tiny-finetuned", 60.0)
    after = open_page().metric[1].value
    assert (after, before != after) == ("100.0\xa0%", True)


def test_runs_on_another_photo_list_are_refused_in_one_line(store):
    store_photos(photos_per_breed=56)
    app = open_page("metrics")
    assert not app.exception
    assert "photo list" in app.error[0].value


@pytest.mark.parametrize("url_path", PAGES)
def test_without_results_one_line_says_how_to_make_them(place, url_path):
    app = open_page(url_path)
    assert not app.exception
    assert "python -m dogpoc split" in app.info[0].value
    assert not app.error


def test_one_run_alone_takes_both_roles(place):
    store_run(store_photos(), "only-one", 2.0)
    for url_path in PAGES:
        app = open_page(url_path)
        assert not app.exception
        assert not app.error


def test_a_breed_without_test_photos_breaks_no_page(place):
    table = store_photos()
    table.loc[table["breed"] == "pug", "split"] = "train"
    artifacts.write_photos("dogs47", table)
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    for url_path in PAGES:
        app = open_page(url_path)
        assert not app.exception
        assert not app.error
    app = open_page("worst-breeds")
    assert "pug" not in app.selectbox(key="breed").options
    assert "pug" not in table_with(app, "breed", "photos")["breed"].tolist()


def test_two_runs_that_are_never_wrong_break_no_page(place):
    table = store_photos()
    for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
        store_run(table, name, 60.0)
    for url_path in PAGES:
        app = open_page(url_path)
        assert not app.exception
        assert not app.error
    assert "Both runs name all 15 photos correctly." in words(open_page("worst-breeds"))


def test_without_photos_one_line_says_how_to_get_them_and_names_stand_in(store):
    app = open_page("confusions")
    assert sum("DOGPOC_DATA" in line for line in lines(app.info)) == 1
    assert not app.image
    ids = table_with(app, "photo")["photo"]
    assert set(ids) <= set(store["id"][store["split"] == "test"])
    assert len(ids) > 0


def test_photos_are_shown_where_they_are_found(place):
    table = store_photos()
    for row in table.index[table["split"] == "test"]:
        path = place / "data" / f"{row}.jpg"
        Image.fromarray(np.random.default_rng(row).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
        table.loc[row, ["sha256", "bytes"]] = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    artifacts.write_photos("dogs47", table)
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    app = open_page("worst-breeds")
    assert not app.exception
    assert not any("DOGPOC_DATA" in line for line in lines(app.info))
    assert app.image
    assert "✓" in words(app)


def test_a_cell_by_its_link_names_the_pair_with_both_runs_numbers(store):
    app = open_page("confusions", true="Siberian husky", predicted="malamute")
    stored = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    taken = (stored.logits.argmax(axis=1)[stored.true == 1] == 4).sum()
    line = next(text for text in lines(app.markdown) if text.startswith("**Siberian husky taken for malamute**"))
    assert re.search(rf":orange\[◆\] {taken} of 15 photos", line)


def test_a_pair_is_chosen_by_keyboard_and_swapped(store):
    app = open_page("confusions")
    app.selectbox(key="true").select("pug").run()
    app.selectbox(key="predicted").select("beagle").run()
    assert "**pug taken for beagle**" in words(app)
    next(button for button in app.button if button.label == "⇄").click().run()
    assert "**beagle taken for pug**" in words(app)


@pytest.mark.parametrize("kind", ["rates", "counts", "probability"])
@pytest.mark.parametrize("view", ["both", "difference"])
def test_every_kind_of_matrix_is_drawn(store, kind, view):
    app = open_page("confusions")
    app.segmented_control(key="kind").set_value(kind)
    app.segmented_control(key="view").set_value(view)
    app.segmented_control(key="order").set_value("name").run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == (2 if view == "both" else 1)


@pytest.mark.parametrize("measure", ["probability", "recall", "f1"])
def test_breeds_are_ranked_worst_first_by_the_measure_chosen(store, measure):
    app = open_page("worst-breeds")
    app.selectbox(key="measure").select(measure).run()
    table = table_with(app, "breed", "photos")
    assert table["New method, %"].is_monotonic_increasing
    assert len(table) == len(BREEDS)


def test_the_pages_of_stored_results_never_load_torch(store):
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(APP)!r}, default_timeout=60).run()
for name in {[name for name in PAGES.values() if name != "start"]}:
    app.switch_page(f"pages/{{name}}.py").run()
    assert app.title and not app.exception and not app.error
print([name for name in ("torch", "timm", "transformers") if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=APP.parent)
    assert ran.stdout.strip() == "[]", ran.stderr
