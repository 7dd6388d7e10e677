"""The pages that show stored results, over small generated runs: every page opens, and a fault costs one line."""

import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from PIL import Image
from streamlit import net_util
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
from streamlit.web.server import server_util

from dogpoc import artifacts, comparison, figures, metrics, mistakes, taxonomy
from dogpoc.translation import percent, use_language
from pages import shared
from pages.sections import runs as all_runs
from pages.shared import embedded

APP = Path(__file__).parents[1] / "streamlit_app.py"
BREEDS = ["Afghan_hound", "Siberian_husky", "basenji", "beagle", "malamute", "pug"]
RUNS = {"mobilenetv2-frozen": 1.5, "mobilenetv2-finetuned": 2.0, "vit-tiny-finetuned": 2.5}  # how well each sees
PAGES = {"": "start", "metrics": "metrics", "confusions": "confusions", "worst-breeds": "worst-breeds"}
PAGES |= {"mistakes": "mistakes", "labels": "labels", "map": "map"}
TITLES = {"start": "Which classifier knows its dogs?", "metrics": "Metrics"}
TITLES |= {"confusions": "Confusions", "worst-breeds": "Worst breeds"}
TITLES |= {"mistakes": "Mistakes", "labels": "Suspect labels", "map": "Photo map"}


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
    logits *= skill  # as sure as such a model has a right to be
    everything = "finetuned" in name
    info = {
        "dataset": dataset,
        "run": name,
        "trained_on": dataset,
        "method": {
            "name": name.split("-seed")[0],
            "summary": f"{name} in words",
            "trained": "everything" if everything else "head",
            "backbone": {"model": name.split("-")[0]},
        },
        "backbone": {"file": "a file", "sha256": ""},
        "seed": int(name.partition("-seed")[2] or 0),
        "preprocessing": {"size": 224},
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
    info["temperature"] = artifacts.temperature(info, scored, logits)
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
    return tmp_path


@pytest.fixture
def store(place) -> pd.DataFrame:
    """Three runs on 6 breeds with 60 photos each (15 for test); the photos are not on this machine."""
    table = store_photos()
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    return table


def store_without(breed: str) -> None:
    """As `store`, but all photos of `breed` are for training."""
    table = store_photos()
    table.loc[table["breed"] == breed, "split"] = "train"
    artifacts.write_photos("dogs47", table)
    for name, skill in RUNS.items():
        store_run(table, name, skill)


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
    main = app.main
    return "\n".join(lines([*main.title, *main.header, *main.markdown, *main.caption, *main.info, *main.warning]))


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


def test_another_site_is_refused_without_asking_any_host_for_this_machine_s_address(store, monkeypatch):
    monkeypatch.setattr(net_util, "_external_ip", None)
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda *_a, **_k: pytest.fail("asked outside"))
    open_page("")
    assert not server_util.is_url_from_allowed_origins("http://another.example")
    assert server_util.is_url_from_allowed_origins("http://localhost:8501")


def test_a_figure_is_drawn_once_for_each_language_and_each_value():
    bars = [shared.drawn(figures.probability_bars, ["pug"], [p], "#000000") for p in (0.5, 0.5, 0.6)]
    assert bars[0] is bars[1]
    assert bars[1] is not bars[2]
    use_language("fr")
    french = shared.drawn(figures.probability_bars, ["pug"], [0.5], "#000000")
    assert (bars[0].layout.separators, french.layout.separators) == (".,", ",\u202f")


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


@pytest.mark.parametrize(
    ("taught", "said"),
    [([True, True], "The backbones were"), ([True, False], "The backbone of"), ([False, False], None)],
)
def test_only_pretrained_backbones_may_have_seen_test_photos(store, taught, said):
    for name, pretrained in zip(("mobilenetv2-frozen", "vit-tiny-finetuned"), taught, strict=True):
        if not pretrained:
            artifacts.write_run({**artifacts.read_run("dogs47", name), "backbone": None}, {})
    notes = [info.value for info in open_page().info]
    assert ([said in note for note in notes] if said else notes) == ([True] if said else [])


def test_a_run_that_is_no_better_than_a_blind_guess_is_called_so(store):
    words_of = {
        "calls every photo beagle": lambda logits: np.where(
            np.arange(len(BREEDS)) == BREEDS.index("beagle"), 9, logits * 0
        ),
        "is not surely better than always naming the most frequent breed": lambda logits: logits[:, ::-1],
    }
    for said, change in words_of.items():
        store_run_with(store, "mobilenetv2-frozen", lambda logits, change=change: change(logits).astype(np.float32))
        for page, more in (("", {}), ("metrics", {}), ("labels", {}), ("story", {"slide": "conclusions"})):
            shown = words(open_page(page, **more))
            assert shown.count("mobilenetv2-frozen " + said) == 1
            assert "vit-tiny-finetuned " + said not in shown
        ours = open_page("story", slide="studies").table[0].value["measured here"]
        assert ours["mobilenetv2-frozen"].endswith("(dogs47), not surely better than a blind guess")
        assert ours["inceptionresnetv2-frozen"] == "not run"
    store_run(store, "mobilenetv2-frozen", 2.5)
    ours = open_page("story", slide="studies").table[0].value["measured here"]
    assert ours["mobilenetv2-frozen"].endswith("(dogs47)")


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


@pytest.mark.parametrize(
    "pair",
    [
        ("mobilenetv2-frozen-seed1", "deit"),  # in the order of names, deit would come first
        ("zeta", "vit-tiny-finetuned-seed1"),
        ("alpha", "beta"),
        ("mobilenetv2-frozen", "vit-tiny-finetuned-seed1"),
        ("mobilenetv2-frozen-seed1", "vit-tiny-finetuned"),
    ],
)
def test_other_runs_of_the_usual_methods_take_the_usual_roles(place, pair):
    table = store_photos()
    for name in pair:
        store_run(table, name, 2.0)
    assert artifacts.default_pair("dogs47") == pair
    app = open_page()
    assert (app.session_state["baseline"], app.session_state["new"]) == pair


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
    ("url_path", "key"),
    [
        *(("confusions", "true"), ("confusions", "predicted"), ("worst-breeds", "breed")),
        *(("mistakes", "true"), ("mistakes", "predicted")),
    ],
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
    assert table_with(app, "run", "top1_accuracy")["run"].tolist() == ["mobilenetv2-frozen", "vit-tiny-finetuned"]


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
        assert "dogs47 has one run" in app.info[0].value
        assert "python -m dogpoc train vit-tiny-finetuned --data dogs47 &&" in app.info[0].value


def test_a_breed_without_test_photos_breaks_no_page(place):
    store_without("pug")
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


def test_pictures_that_the_runs_made_stand_where_photos_would(store):
    made = np.stack([np.full((8, 8, 3), 20 * breed, np.uint8) for breed in range(len(BREEDS))])
    file = io.BytesIO()
    Image.fromarray(np.concatenate(made)).save(file, "PNG")
    for run in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
        info = artifacts.read_run("dogs47", run)
        info["pictures"] = {"weights": hashlib.sha256(b"weights").hexdigest()}
        artifacts.write_run(info, {"weights.safetensors": b"weights", artifacts.PICTURES: file.getvalue()})
    app = open_page("mistakes")
    assert not app.exception
    assert "The models made these pictures themselves." in words(app)
    assert app.image
    assert table_with(app, "photo") is not None


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


@pytest.mark.parametrize("kind", ["rates", "answers", "counts", "probability"])
@pytest.mark.parametrize("view", ["both", "baseline", "difference"])
def test_every_kind_of_matrix_is_drawn(store, kind, view):
    app = open_page("confusions", kind=kind, view=view)
    for scope in ("all", "groups"):
        app.segmented_control(key="breeds").set_value(scope).run()
        assert not app.exception
        assert len(app.get("plotly_chart")) == (2 if view == "both" else 1)


@pytest.mark.parametrize("order", ["similarity", "name", "dataset", "recall"])
def test_rows_come_in_the_order_chosen(store, order):
    app = open_page("confusions", order=order, view="new")
    names = json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]["yaxis"]["ticktext"]
    runs = [artifacts.read_evaluation("dogs47", name) for name in ("mobilenetv2-frozen", "vit-tiny-finetuned")]
    right = sum(np.bincount(run.true[run.logits.argmax(axis=1) == run.true], minlength=len(BREEDS)) for run in runs)
    labels = [breed.replace("_", " ") for breed in BREEDS]
    expected = {"name": sorted(labels, key=str.casefold), "dataset": labels, "similarity": names}
    assert sorted(names) == sorted(labels)
    assert names == expected.get(order, [labels[k] for k in np.argsort(right, kind="stable")])


def test_an_opened_group_shows_its_breeds_side_by_side_among_the_closed_ones(store):
    names = []
    for opened in ({}, {"open": "FCI 5"}):
        app = open_page("confusions", breeds="groups", order="name", view="new", **opened)
        assert not app.warning
        names.append(json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]["yaxis"]["ticktext"])
    assert names[0] == ["Afghan hound", "beagle", "FCI 5 spitz and primitive types"[:29].rstrip() + "…", "pug"]
    assert names[1] == ["Afghan hound", "basenji", "malamute", "Siberian husky", "beagle", "pug"]


EVERYTHING = {"kind": "counts", "view": "difference", "order": "recall", "breeds": "groups", "open": "FCI 5"}
EVERYTHING |= {"focus": "pug", "true": "Siberian husky", "predicted": "beagle", "ranked": "baseline"}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_link_opens_the_confusions_just_as_they_were_in_any_language(store, language):
    app = open_page("confusions", lang=language, **EVERYTHING)
    assert not app.exception
    assert not app.warning
    assert {key: app.session_state[key] for key in EVERYTHING} == EVERYTHING
    assert {key: app.query_params[key] for key in EVERYTHING} == EVERYTHING


def test_a_choice_is_in_the_link_until_it_is_the_usual_one_again(store):
    app = open_page("confusions", lang="fr")
    app.segmented_control(key="kind").set_value("counts").run()
    assert app.query_params["kind"] == "counts"
    app.segmented_control(key="kind").set_value("rates").run()
    assert "kind" not in app.query_params


@pytest.mark.parametrize("key", ["kind", "view", "order", "breeds", "focus"])
def test_a_bad_choice_in_a_link_gives_one_line_and_the_usual_one(store, key):
    app = open_page("confusions", **{key: "nonsense"})
    assert len(app.warning) == 1
    assert f"No {key} 'nonsense' here" in app.warning[0].value
    assert not app.exception
    assert not app.run().warning


def test_both_directions_of_a_pair_are_shown_with_their_photos(store):
    app = open_page("confusions", true="beagle", predicted="pug")
    shown = words(app)
    assert shown.index("**beagle taken for pug**") < shown.index("**pug taken for beagle**")
    tables = [table.value for table in app.dataframe if "photo" in table.value]
    assert [set(table["true breed"]) for table in tables] == [{"beagle"}, {"pug"}]
    run = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    taken = (run.true == BREEDS.index("beagle")) & (run.logits.argmax(axis=1) == BREEDS.index("pug"))
    assert set(run.photos["id"][taken]) <= set(tables[0]["photo"])


def test_a_group_taken_for_itself_shows_its_errors_inside(store):
    app = open_page("confusions", true="FCI 5", predicted="FCI 5", breeds="groups")
    run = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    spitz, predicted = [1, 2, 4], run.logits.argmax(axis=1)  # husky, basenji, malamute
    inside = (np.isin(run.true, spitz) & np.isin(predicted, spitz) & (predicted != run.true)).sum()
    line = next(text for text in lines(app.markdown) if text.startswith("**One breed of FCI 5 spitz"))
    assert re.search(rf":orange\[◆\] {inside} of 45 photos", line)


def test_one_breed_has_its_numbers_its_row_and_its_column(store):
    app = open_page("confusions", focus="pug")
    run = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    counts = metrics.confusion_counts(run.true, run.logits.argmax(axis=1), len(BREEDS))
    row = table_with(app, "recognised", "answers").iloc[1]
    low, high = metrics.wilson_interval(counts[5, 5], 15)
    assert row["recognised"].replace("\xa0", " ") == f"{counts[5, 5] / 15:.1%} [{low:.1%} – {high:.1%}]".replace(
        "%", " %"
    )
    assert row["answers"] == str(counts[:, 5].sum())
    partners = [table.value for table in app.dataframe if list(table.value)[:1] == ["breed"]]
    for table, vector, whole in zip(partners, (counts[5], counts[:, 5]), ("15", "15"), strict=True):
        told = dict(zip(table["breed"], table["New method"], strict=True))
        for k, label in enumerate(breed.replace("_", " ") for breed in BREEDS[:5]):
            assert told.get(label, f"0 of {whole}") == f"{vector[k]} of {whole}"


def test_pairs_are_ranked_for_the_run_chosen_and_say_whether_the_other_shares_them(store):
    for role, name in (("baseline", "mobilenetv2-frozen"), ("new", "vit-tiny-finetuned")):
        app = open_page("confusions", ranked=role)
        run = artifacts.read_evaluation("dogs47", name)
        counts = metrics.confusion_counts(run.true, run.logits.argmax(axis=1), len(BREEDS))
        table = table_with(app, "true breed", "taken for", "both runs")
        expected = metrics.ranked_pairs([breed.replace("_", " ") for breed in BREEDS], counts)
        assert table["true breed"].tolist() == expected["true_breed"].tolist()
        assert table[f"{'●' if role == 'baseline' else '◆'} photos"].tolist() == expected["photos"].tolist()


def test_similarity_stands_beside_the_pairs_where_features_are_stored(store, monkeypatch):
    app = open_page("confusions")
    assert any("python -m dogpoc embed mobilenetv2-frozen" in line for line in lines(app.caption))
    features = np.random.default_rng(0).normal(size=(len(store), 4)).astype(np.float16)
    monkeypatch.setattr(artifacts, "read_features", lambda info: features)
    st.cache_resource.clear()  # else a new run.json says that there are features
    app = open_page("confusions")
    assert not app.exception
    table = table_with(app, "true breed", "taken for", "◆ similarity", "● similarity")
    run = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    units = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    breed = store["breed"].str.replace("_", " ")
    first = table.iloc[0]
    test = store["split"] == "test"
    cosines = units[(breed == first["true breed"]) & test] @ units[(breed == first["taken for"]) & test].T
    assert first["◆ similarity"] == pytest.approx(cosines.mean(), abs=0.006)
    assert len(run.true) == test.sum()


def test_a_run_against_itself_differs_in_no_cell(store):
    app = open_page("confusions", baseline="vit-tiny-finetuned", new="vit-tiny-finetuned", view="difference")
    assert not app.exception
    assert any(line.startswith("Of 0 cells that differ, 0 are lower") for line in lines(app.caption))


def test_mistakes_inside_kennel_groups_are_told_with_what_chance_would_give(store):
    run = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned")
    found = taxonomy.severity(run.true, run.logits.argmax(axis=1), taxonomy.distance(BREEDS))
    row = table_with(open_page("confusions"), "mistakes", "inside the group", "inside by chance").iloc[1]
    assert row["mistakes"] == str(found.errors)
    assert row["inside the group"].startswith(f"{found.share:.1%}".replace("%", "\xa0%"))
    assert row["mean distance"].startswith(f"{found.mean:.2f} [")


def test_a_breed_without_test_photos_can_be_chosen_and_says_so(place):
    store_without("pug")
    for kind in ("rates", "probability"):
        app = open_page("confusions", true="pug", predicted="beagle", focus="pug", view="difference", kind=kind)
        assert not app.exception
        assert "There are no test photos of pug." in words(app)


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


# -- metrics ------------------------------------------------------------------------------------------------------


def store_run_with(table: pd.DataFrame, name: str, change) -> None:
    """A run whose logits (n, C) are changed by `change` before they are stored."""
    store_run(table, name, 2.5)
    info = artifacts.read_run("dogs47", name)
    logits = change(np.array(artifacts.read_logits(info)))
    scored = artifacts.scored_photos(table, BREEDS)
    info["temperature"] = artifacts.temperature(info, scored, logits)
    info["metrics"] = artifacts.measure(info, scored, logits)
    file = io.BytesIO()
    np.save(file, logits)
    artifacts.write_run(info, {"logits.npy": file.getvalue()})


def test_the_table_of_runs_writes_its_numbers_in_the_language_in_use():
    numbers = {"top1_accuracy": 94.25, "log_loss_low": 0.1774, "train_seconds": 1124.0, "ece": np.nan}
    written = all_runs.written(pd.DataFrame([{"run": "cnn", "role": "●", **numbers}]))
    english, french = ["94.2 %", "0.177", "1,124", ""], ["94,2 %", "0,177", "1 124", ""]
    for language, expected in (("en", english), ("fr", french)):
        use_language(language)
        cells = re.findall(r"<td[^>]*>(.*?)</td>", written.to_html())
        assert [re.sub(r"\s", " ", cell) for cell in cells] == ["cnn", "●", *expected]


def test_the_machine_of_a_run_is_told_in_the_language_in_use():
    info = {"hardware": {"train": "AMD EPYC, 1 threads", "evaluate": "a GPU of 2026"}}  # as older runs have it
    assert shared.hardware(info, "train") == "AMD EPYC, 1 thread"
    assert shared.hardware(info, "evaluate") == "a GPU of 2026"
    use_language("fr")
    assert shared.hardware({"hardware": {"train": "AMD EPYC, 2 threads"}}, "train") == "AMD EPYC, 2 fils d’exécution"
    assert shared.hardware({"hardware": {}}, "train") == "une machine inconnue"


def test_every_number_stands_with_its_interval_and_difference(store):
    table = open_page("metrics").table[0].value
    info = artifacts.read_run("dogs47", "vit-tiny-finetuned")["metrics"]["test"]
    new = next(name for name in table.columns if "vit-tiny-finetuned" in name)
    for name, key in (("top-1 accuracy", "top1_accuracy"), ("top-3 accuracy", "top3_accuracy")):
        shown = [float(n) for n in re.findall(r"[0-9.]+", table.loc[name, new])]
        assert shown == [round(info[f"{key}{end}"] * 100, 1) for end in ("", "_low", "_high")]
    for name, key in (("log loss (less is better)", "log_loss"), ("Brier score (less is better)", "brier")):
        shown = [float(n) for n in re.findall(r"[0-9.]+", table.loc[name, new])]
        assert shown == [round(info[f"{key}{end}"], 3) for end in ("", "_low", "_high")]
    for name in ("top-1 accuracy", "macro F1", "log loss (less is better)"):
        assert len(re.findall(r"[+\u2212\u00b1][0-9.]+", table.loc[name, "new − baseline"])) == 3, "no interval"


def test_the_four_counts_lead_to_their_photos(store):
    app = open_page("metrics")
    links = {
        dict(pair.split("=") for pair in link.proto.query_string.lstrip("?").split("&"))["who"]: link.proto.label
        for link in app.get("page_link")
        if "who=" in link.proto.query_string
    }
    assert links.keys() == {"both-right", "only-baseline", "only-new", "both-wrong"}
    counts = [int(re.search(r"\*\*(\d+)\*\*", label)[1]) for label in links.values()]
    assert sum(counts) == len(artifacts.read_evaluation("dogs47", "vit-tiny-finetuned").true)


def test_one_seed_each_says_how_to_train_more_and_several_show_their_spread(store):
    train = "python -m dogpoc train vit-tiny-finetuned --data dogs47 --seed 1"
    evaluate = "python -m dogpoc evaluate vit-tiny-finetuned-seed1 --data dogs47"
    assert f"`{train} && {evaluate}`" in words(open_page("metrics"))
    store_run(store, "vit-tiny-finetuned-seed1", 2.4)
    store_run(store, "vit-tiny-finetuned-seed2", 2.6)
    shown = words(open_page("metrics"))
    assert "over 3 seeds" in shown
    assert "With one seed of a method" in shown
    store_run(store, "mobilenetv2-frozen-seed1", 1.5)
    assert "95 % interval over the luck of training" in words(open_page("metrics"))


def test_calibration_stands_before_and_after_temperature_scaling(store):
    table = table_with(open_page("metrics"), "temperature")
    info = artifacts.read_run("dogs47", "vit-tiny-finetuned")
    rows = table[table["run"] == "vit-tiny-finetuned"]
    assert rows["temperature"].tolist() == ["as it is", f"T = {info['temperature']:.3f}"]
    numbers = info["metrics"]["test"]
    assert rows["log loss"].astype(float).tolist() == [
        round(numbers["log_loss"], 4),
        round(numbers["scaled_log_loss"], 4),
    ]


def test_a_softmax_applied_twice_is_explained(store):
    def softmax(logits: np.ndarray) -> np.ndarray:
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    assert "Softmax was applied" not in words(open_page("metrics"))
    store_run_with(store, "vit-tiny-finetuned", softmax)
    assert "Softmax was applied in the model and again" in words(open_page("metrics"))


def test_a_head_trained_too_little_is_explained_and_scaling_mends_it(store):
    store_run_with(store, "vit-tiny-finetuned", lambda logits: logits / 50)
    shown = words(open_page("metrics"))
    assert "right far more often than it believes" in shown
    assert "was too modest on the validation photos" in shown


def test_without_validation_photos_the_page_says_why_there_is_no_temperature(place):
    table = store_photos()
    table.loc[table["split"] == "validation", "split"] = "train"
    artifacts.write_photos("dogs47", table)
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    app = open_page("metrics")
    assert not app.exception
    assert "there are none, or their log loss has no minimum" in words(app)


def test_the_threshold_moves_what_is_answered(store):
    app = open_page("metrics")
    before = next(line for line in lines(app.caption) if "of the photos" in line)
    app.slider(key="threshold").set_value(99).run()
    after = next(line for line in lines(app.caption) if "answers" in line and line != before)
    assert not app.exception
    assert after != before


def test_photos_from_elsewhere_are_scored_on_the_breeds_that_both_sources_have(store):
    assert "python -m dogpoc evaluate mobilenetv2-frozen --data oxford-pet-dogs" in words(open_page("metrics"))
    other = store.assign(split="test")
    other = other[other["breed"].isin(BREEDS[:2])].reset_index(drop=True)
    artifacts.write_photos("oxford-pet-dogs", other)
    for name in RUNS:
        info = artifacts.read_run("dogs47", name)
        scored = artifacts.scored_photos(other, BREEDS)
        logits = np.zeros((len(scored), len(BREEDS)), dtype=np.float32)
        logits[:, 0] = 1
        file = io.BytesIO()
        np.save(file, logits)
        info |= {"dataset": "oxford-pet-dogs", "scored_breeds": BREEDS[:2], "files": {}}
        info["photos_digest"] = artifacts.photos_digest(other)
        info["metrics"] = artifacts.measure(info, scored, logits)
        artifacts.write_run(info, {"logits.npy": file.getvalue()})
    shown = words(open_page("metrics"))
    assert "(30 photos of dogs47, 120 photos of oxford-pet-dogs)" in shown
    assert "oxford-pet-dogs 50.0\u00a0%" in shown


def test_the_split_and_its_near_duplicates_are_told(place):
    table = store_photos()
    report = {"near": [2, 5], "exact": [1, 2], "mixed": 1, "unreadable": {}, "official": False}
    artifacts.write_photos("dogs47", table, {"seed": 0, "holdout": False, "report": report})
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    shown = words(open_page("metrics"))
    assert "2 groups of near-duplicates (5 photos) were found" in shown
    assert "one of the labels is wrong" in shown
    assert "All photos are 64 × 48 pixels." in shown


# -- mistakes, labels and the map -----------------------------------------------------------------------------------


def store_features(table: pd.DataFrame, name: str) -> np.ndarray:
    """Features for a run: a direction a breed and some noise, (N, 8), with a map."""
    rng = np.random.default_rng(len(name))
    true = pd.Index(BREEDS).get_indexer(table["breed"])
    features = (np.eye(8)[true] * 3 + rng.normal(size=(len(table), 8))).astype(np.float16)
    info = artifacts.read_run("dogs47", name)
    info["embedding"] = {"photos_digest": artifacts.photos_digest(table), "dimensions": 8, "kept_variance": 0.9}
    files = {}
    for file_name, array in (("features.npy", features), ("map.npy", features[:, 2:4])):
        file = io.BytesIO()
        np.save(file, array)
        files[file_name] = file.getvalue()
    artifacts.write_run(info, files)
    return features


def store_mistakes(table: pd.DataFrame) -> list[str]:
    """Two photos of Afghan hounds that both runs surely take for pugs, all else right; returns their ids."""
    ids = table.loc[(table["breed"] == "Afghan_hound") & (table["split"] == "test"), "id"].tolist()[:2]
    scored = artifacts.scored_photos(table, BREEDS)
    seen = np.where(scored["id"].isin(ids), "pug", scored["breed"])

    def mistaken(logits: np.ndarray) -> np.ndarray:
        return logits + 40 * np.eye(6, dtype=np.float32)[pd.Index(BREEDS).get_indexer(seen)]

    for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
        store_run_with(table, name, mistaken)
    return ids


def right_answers() -> np.ndarray:
    """(2, n) which test photos the default baseline and new method name correctly."""
    runs = [artifacts.read_evaluation("dogs47", name) for name in ("mobilenetv2-frozen", "vit-tiny-finetuned")]
    return np.stack([run.logits.argmax(axis=1) == run.true for run in runs])


def listed(app: AppTest) -> list[str]:
    """Ids of all photos that a gallery's table has, in order."""
    tables = [table.value for table in app.dataframe if "photo" in table.value]
    return tables[-1]["photo"].tolist() if tables else []


@pytest.mark.parametrize("who", mistakes.WHO)
def test_a_link_shows_the_photos_on_which_just_those_are_right(store, who):
    app = open_page("mistakes", who=who)
    ids = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned").photos["id"].to_numpy()
    expected = ids[mistakes.by_who(right_answers(), who)].tolist()
    assert sorted(listed(app)) == sorted(expected)
    if expected:
        low, high = metrics.wilson_interval(len(expected), 90)
        shown = words(app).replace("\xa0", " ")
        assert f"**{len(expected)}** of 90 test photos: {len(expected) / 90:.1%}".replace("%", " %") in shown
        assert f"interval {low:.1%} – {high:.1%}".replace("%", " %") in shown
    else:
        assert app.info[0].value == "No photo passes these filters."


def test_a_gallery_is_filtered_and_sorted_as_its_link_says(store):
    run = artifacts.read_evaluation("dogs47", "mobilenetv2-frozen")
    probs = metrics.softmax(run.logits)
    predicted, sure = probs.argmax(axis=1), (probs.max(axis=1) >= 0.2) & (probs.max(axis=1) <= 0.8)
    one = np.flatnonzero((predicted != run.true) & sure)[0]
    fits = (run.true == run.true[one]) & (predicted == predicted[one]) & sure
    pair = {"true": BREEDS[run.true[one]].replace("_", " "), "predicted": BREEDS[predicted[one]].replace("_", " ")}
    app = open_page("mistakes", **pair, by="baseline", sure=["20", "80"], sort="confident")
    assert sorted(listed(app)) == sorted(run.photos["id"][fits])
    assert "of 15 photos of this breed" in words(app)
    assert app.query_params["sort"] == "confident"


@pytest.mark.parametrize(
    ("sort", "column"), [("least-probable", "true breed's, %"), ("confident", "its probability, %")]
)
def test_the_worst_mistakes_come_first(store, sort, column):
    app = open_page("mistakes", who="both-wrong", sort=sort)
    table = [table.value for table in app.dataframe if "photo" in table.value][-1]
    both = table[[name for name in table if name.endswith(column)]]
    assert both.shape[1] == 2
    worst = both.min(axis=1) if sort == "least-probable" else both.max(axis=1)
    assert worst.is_monotonic_increasing if sort == "least-probable" else worst.is_monotonic_decreasing


def test_many_photos_come_in_pages_and_another_filter_starts_at_the_first(store):
    app = open_page("mistakes", who="all", page="3")
    first = next(table.value for table in app.dataframe if "photo" in table.value)["photo"].tolist()
    assert first == listed(app)[48:72]
    app.selectbox(key="sort").select("disagreement").run()
    assert next(table.value for table in app.dataframe if "photo" in table.value)["photo"].tolist() == listed(app)[:24]


def test_filters_that_leave_nothing_say_so_and_are_cleared_with_one_click(store):
    app = open_page("mistakes", who="both-right", true="pug", predicted="beagle")
    assert app.info[0].value == "No photo passes these filters."
    next(button for button in app.button if button.label == "Clear the filters").click().run()
    assert sorted(listed(app)) == sorted(listed(open_page("mistakes")))
    assert "true" not in app.query_params


def test_the_same_run_in_both_roles_differs_on_no_photo_and_is_called_so(store):
    app = open_page("mistakes", baseline="vit-tiny-finetuned", who="only-new")
    assert "are the same run" in app.info[0].value
    assert app.info[1].value == "No photo passes these filters."
    assert "are the same run" not in words(open_page("mistakes"))
    assert not open_page("worst-breeds", baseline="vit-tiny-finetuned").exception


def test_labels_that_both_runs_surely_contradict_are_suspect(store):
    ids = store_mistakes(store)
    app = open_page("labels")
    assert "**2 photos** of 90 test photos" in words(app)
    assert [code.value for code in app.code] == ids  # in place of the photos, which are not here
    assert words(app).count("**pug**") == words(app).count("**Afghan hound**") == 2


def judge(app: AppTest, photo: str, verdict: str) -> None:
    app.segmented_control(key=f"verdict-dogs47-{photo}").set_value(verdict).run()


def test_a_label_judged_wrong_leaves_its_photo_out_everywhere_and_says_so(store):
    ids = store_mistakes(store)
    app = open_page("labels")
    judge(app, ids[0], "wrong")
    judge(app, ids[1], "unsure")
    announced = "1 photo whose label was reviewed as wrong is left out everywhere."
    assert announced in words(app)
    assert "**2 photos** of 90 test photos" in words(app)  # the list itself stays whole
    table = table_with(app, "all 90 photos")
    baseline = right_answers()[0].sum()
    for heading, n in (("all 90 photos", 90), ("89 photos without a wrong label", 89)):
        assert table[heading][0].startswith(f"{baseline / n:.1%}".replace("%", "\xa0%"))
    for url_path, shown in (("start", "**89 test photos**"), ("mistakes", "of 89 test photos")):
        app.switch_page(f"pages/{url_path}.py").run()
        assert announced in words(app)
        assert shown in words(app)
    assert ids[0] not in listed(app)
    assert ids[1] in listed(app)
    for url_path in ("metrics", "confusions", "worst-breeds", "map", "labels"):
        app.switch_page(f"pages/{url_path}.py").run()
        assert not app.exception
        assert not app.error
        assert announced in words(app)
    app.button(key="all-photos-again").click().run()
    assert announced not in words(app)
    app.switch_page("pages/mistakes.py").run()
    assert "of 90 test photos" in words(app)
    assert ids[0] in listed(app)


def test_another_visitors_photos_are_not_left_out(store):
    ids = store_mistakes(store)
    app = open_page("labels")
    judge(app, ids[0], "wrong")
    assert "of 90 test photos" in words(open_page("mistakes"))


def test_a_verdict_is_taken_back(store):
    ids = store_mistakes(store)
    app = open_page("labels")
    judge(app, ids[0], "wrong")
    judge(app, ids[0], None)
    assert "left out everywhere" not in words(app)
    judge(app, ids[0], "wrong")
    next(button for button in app.button if button.label == "Forget all verdicts").click().run()
    assert "left out everywhere" not in words(app)


def upload(app: AppTest, data: bytes) -> None:
    app.file_uploader(key="reviewed-list").set_value(("list.csv", data, "text/csv")).run()


def test_a_reviewed_list_is_imported_and_what_it_does_not_know_is_named(store):
    ids = store_mistakes(store)
    app = open_page("labels")
    other = listed(open_page("mistakes"))[-1]
    upload(app, f"photo,verdict\n{ids[0]},wrong\n{other},wrong\n![x](http://x/y.png),wrong\n".encode())
    assert app.success[0].value == "2 verdicts were read."
    assert "1 photo of the list is no test photo of dogs47" in app.warning[0].value
    assert "![x](http://x/y.png)" in [code.value for code in app.code]  # as code, never as Markdown
    assert "2 photos whose labels were reviewed as wrong" in words(app)
    assert other in [code.value for code in app.code]  # to be judged here too, though no suspect
    judge(app, ids[0], "right")
    assert "1 photo whose label" in words(app)  # and the file is not read again


@pytest.mark.parametrize("data", [b"nonsense", b"\x89PNG\r\n", b"photo,verdict\nx,y\n"])
def test_a_file_that_is_no_reviewed_list_costs_one_line(store, data):
    app = open_page("labels")
    upload(app, data)
    assert not app.exception
    assert [error.value for error in app.error] == ["The list was not read."]
    assert "left out everywhere" not in words(app)


def test_a_list_that_leaves_no_photo_costs_one_line_and_is_taken_back_with_one_click(store):
    ids = artifacts.read_evaluation("dogs47", "vit-tiny-finetuned").photos["id"]
    app = open_page("labels")
    upload(app, ("photo,verdict\n" + "".join(f"{photo},wrong\n" for photo in ids)).encode())
    assert not app.error
    app.switch_page("pages/metrics.py").run()
    assert "no test photo of 'dogs47' is left" in app.error[0].value
    app.button(key="all-photos-again").click().run()
    assert not app.error


def test_without_features_one_line_a_run_says_how_to_make_them(store):
    for url_path in ("map", "worst-breeds"):
        shown = words(open_page(url_path))
        for run in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
            assert f"`python -m dogpoc embed {run} --data dogs47`" in shown


def charts(app: AppTest) -> list:
    return app.get("vega_lite_chart") or app.get("arrow_vega_lite_chart")


@pytest.mark.parametrize("query", [{}, {"projection": "pca"}, {"colour": "who"}, {"run": "new"}, {"breeds": ["pug"]}])
def test_a_map_shows_every_test_photo_of_each_run(store, query):
    for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
        features = store_features(store, name)
    app = open_page("map", **query)
    assert not app.exception
    assert not app.warning
    assert len(charts(app)) == (1 if query.get("run") else 2)
    test = store.index[store["split"] == "test"]
    units = features[test].astype(float) / np.linalg.norm(features[test].astype(float), axis=1, keepdims=True)
    nearest = (units @ units.T - 9 * np.eye(len(test))).argmax(axis=1)
    same = np.mean(store["breed"][test].to_numpy()[nearest] == store["breed"][test].to_numpy())
    assert f"New method: of {same:.1%}".replace("%", "\xa0%") in words(app)


def test_a_run_without_features_leaves_the_map_of_the_other(store):
    store_features(store, "vit-tiny-finetuned")
    app = open_page("map")
    assert len(charts(app)) == 1
    assert "python -m dogpoc embed mobilenetv2-frozen" in words(app)


def test_a_photo_is_opened_on_the_map_by_its_link_and_by_keyboard(store):
    for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"):
        store_features(store, name)
    photo = store.loc[store["split"] == "test", "id"].iloc[5]
    app = open_page("map", photo=photo)
    assert "What lies closest" in words(app)
    first, *near = [table.value["photo"].tolist() for table in app.dataframe if "photo" in table.value][:3]
    assert first == [photo]
    assert all(len(found) == 4 and photo not in found for found in near)
    box = app.selectbox(key="map-photo")
    box.select(box.options[-1]).run()
    assert app.query_params["photo"] == box.options[-1]
    assert "no test photo 'x'" in open_page("map", photo="x").warning[0].value


def test_typical_photos_are_of_the_training_part_and_nearest_to_its_mean(place):
    table = store_photos()
    for row in table.index:
        path = place / "data" / f"{row}.jpg"
        Image.fromarray(np.random.default_rng(row).integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(path)
        table.loc[row, ["sha256", "bytes"]] = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
    artifacts.write_photos("dogs47", table)
    for name, skill in RUNS.items():
        store_run(table, name, skill)
    features = store_features(table, "vit-tiny-finetuned").astype(float)
    train = table.index[(table["breed"] == "pug") & (table["split"] == "train")]
    units = features[train] / np.linalg.norm(features[train], axis=1, keepdims=True)
    expected = train[np.argsort(-(units @ units.mean(axis=0)))[:2]].tolist()
    assert embedded.typical_photos("dogs47", "vit-tiny-finetuned", "pug", 2) == expected
    assert embedded.typical_photos("dogs47", "mobilenetv2-frozen", "pug", 2) == []
    app = open_page("worst-breeds", breed="pug")
    assert not app.exception
    assert {"pug"} < {caption.value for caption in app.caption}


def test_what_moved_between_the_runs_is_told_with_its_test(store):
    app = open_page("worst-breeds")
    assert "What moved between the runs" in words(app)
    table = table_with(app, "change, pts")
    assert table["change, pts"].abs().is_monotonic_decreasing
    compared = comparison.compare(
        *(artifacts.read_evaluation("dogs47", name) for name in ("mobilenetv2-frozen", "vit-tiny-finetuned"))
    ).breeds.set_index("breed")
    for breed, p, beyond in zip(table["breed"], table["p"], table["beyond chance"], strict=True):
        row = compared.loc[breed.replace(" ", "_")]
        assert p == round(row["p"], 4)
        assert beyond == (row["verdict"] != "no evidence")
    assert "No breed moved beyond chance: all of these changes may be noise." in words(app)


def test_a_breed_that_moved_beyond_chance_is_named(store):
    def forget_pugs(logits: np.ndarray) -> np.ndarray:
        logits[:, 5] -= 100
        return logits

    store_run_with(store, "mobilenetv2-frozen", forget_pugs)
    shown = words(open_page("worst-breeds"))
    assert "the new method is better on pug and worse on none" in shown


# -- the story page -----------------------------------------------------------------------------------------------


def evaluation_of(run: str) -> tuple[np.ndarray, np.ndarray]:
    stored = artifacts.read_evaluation("dogs47", run)
    return stored.logits, stored.true


def slide_names() -> list[str]:
    from pages.sections import slides

    return list(slides.titles())


@pytest.mark.parametrize("name", slide_names())
def test_every_slide_of_the_story_opens_without_photos(store, name):
    app = open_page("story", slide=name)
    assert not app.exception
    assert not app.error
    assert words(app)


def test_the_story_goes_on_and_back_by_its_buttons_and_the_address_follows(store):
    app = open_page("story")
    names = slide_names()
    assert app.button(key="previous").disabled
    app.button(key="next").click().run()
    assert app.query_params["slide"] == names[1]
    assert app.title[0].value == "The photos"
    app.button(key="previous").click().run()
    assert app.query_params["slide"] == names[0]
    app = open_page("story", slide=names[-1])
    assert app.button(key="next").disabled
    app.button(key="full").click().run()
    assert app.query_params["full"] == "1"
    assert app.button(key="full").label == "Leave full screen"


def test_the_story_s_numbers_are_those_of_the_stored_runs(store):
    result = comparison.compare(*(artifacts.read_evaluation("dogs47", name) for name in list(RUNS)[::2]))
    assert comparison.verdict(result) in words(open_page("story", slide="results"))
    worst = open_page("story", slide="worst").table
    assert [len(table.value) for table in worst] == [len(BREEDS)] * 2
    weakest = metrics.confusions(*evaluation_of("vit-tiny-finetuned")).mean_probs.diagonal()
    assert worst[1].value.iloc[0, 0] == percent(float(weakest.min()))
    app = open_page("story", slide="nothing")
    assert app.title[0].value == "Is the new method better at naming dogs?"
    assert len(app.warning) == 1


# -- resolution on the metrics page -------------------------------------------------------------------------------


def test_the_grid_of_sizes_is_shown_with_its_best_cell_and_its_cost(store):
    app = open_page("metrics")
    assert "python -m dogpoc fixres vit-tiny-finetuned --data dogs47" in words(app)
    info = artifacts.read_run("dogs47", "vit-tiny-finetuned")
    record = {
        "photos_digest": info["photos_digest"],
        "weights": hashlib.sha256(b"weights").hexdigest(),
        "sizes": [128, 224],
        "own_size": 224,
        "photos": 90,
        "grid": [[45, 54], [36, 81]],
        "as_trained": [63, 72],
        "views": {"centre": {"right": 72, "passes": 1, "photos_per_second": 140.0}},
    }
    artifacts.write_run(info, {"weights.safetensors": b"weights", artifacts.FIXRES: json.dumps(record).encode()})
    app = open_page("metrics")
    assert not app.exception
    said = words(app)
    assert "Best retrained last layer: trained at 224, tested at 224 pixels, 90.0\u00a0% [" in said
    assert "As it is, at its own 224 pixels: 80.0\u00a0% [" in said
    assert "last normalisation retrained there" not in said
    assert table_with(app, "passes a photo").shape == (1, 4)
    data = json.dumps({**record, "with_norm": [54, 83]}).encode()
    artifacts.write_run(artifacts.read_run("dogs47", "vit-tiny-finetuned"), {artifacts.FIXRES: data})
    app = open_page("metrics")
    assert not app.exception
    assert "Last layer and last normalisation retrained there: 92.2\u00a0% [" in words(app)
