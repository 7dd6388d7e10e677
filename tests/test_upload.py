"""The pages that take a photo, on small real models with random weights: an answer, or one clear line."""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
import torch
from PIL import Image
from safetensors.torch import save
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from dogpoc import artifacts, dataset, doubt, figures, inference
from dogpoc.methods import Backbone, Preprocessing

CHECKOUT = Path(__file__).parents[1]
BREEDS = ["Afghan_hound", "beagle", "whippet"]
PREPROCESSING = Preprocessing(32, 0.9, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SEEN_BY_CNN = replace(PREPROCESSING, size=64)  # 2 x 2 last feature maps
BACKBONES = {
    "cnn-frozen": Backbone("mobilenetv2_035", SEEN_BY_CNN, weights="a-file-that-is-not-here"),
    "cnn": Backbone("mobilenetv2_035", SEEN_BY_CNN),
    "vit": Backbone(
        "vit_tiny_patch16_224",
        PREPROCESSING,
        kwargs={"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3},
    ),
}


def photo_bytes(seed: int = 0, *, size: tuple[int, int] = (60, 40), **save_options) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, save_options.pop("format", "JPEG"), **save_options)
    return file.getvalue()


def store_run(name: str, table: pd.DataFrame, seed: int) -> None:
    backbone = BACKBONES[name]
    torch.manual_seed(seed)
    weights = save({key: value.half() for key, value in inference.build(backbone, len(BREEDS)).state_dict().items()})
    scored = artifacts.scored_photos(table, BREEDS)
    logits = io.BytesIO()
    np.save(logits, np.random.default_rng(seed).normal(size=(len(scored), len(BREEDS))).astype(np.float32))
    frozen = backbone.weights is not None
    info = {
        "dataset": "dogs",
        "run": name,
        "trained_on": "dogs",
        "method": {"backbone": asdict(backbone), "trained": "head" if frozen else "everything"},
        "backbone": {"file": f"{backbone.weights}.safetensors", "sha256": ""} if frozen else None,
        "preprocessing": asdict(backbone.preprocessing),
        "breeds": BREEDS,
        "scored_breeds": BREEDS,
        "photos_digest": artifacts.photos_digest(table),
    }
    artifacts.write_run(info, {"weights.safetensors": weights, "logits.npy": logits.getvalue()})


@pytest.fixture
def store(tmp_path, monkeypatch) -> Iterator[Path]:
    """A dataset of 12 generated test photos and 6 for training, with three runs on it: cnn-frozen (without its
    backbone), cnn and vit."""
    monkeypatch.setenv("DOGPOC_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DOGPOC_DATA", str(tmp_path / "photos"))
    monkeypatch.setenv("DOGPOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset, "CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(inference, "_openvino", lambda _model: None)  # compiling takes longer than these tests
    st.cache_resource.clear()
    rows = []
    for number in range(18):
        breed, data = BREEDS[number % 3], photo_bytes(number)
        path = tmp_path / "photos" / breed / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        split = "test" if number < 12 else "train"
        rows.append((f"{breed}/{path.name}", breed, split, number, sha256, 60, 40, len(data)))
    table = pd.DataFrame(rows, columns=artifacts.PHOTO_COLUMNS).sort_values("id", ignore_index=True)
    artifacts.write_photos("dogs", table)
    for seed, name in enumerate(BACKBONES):
        store_run(name, table, seed)
    yield tmp_path
    st.cache_resource.clear()


def open_page(name: str, *, baseline: str = "cnn", new: str = "vit", **query: str) -> AppTest:
    app = AppTest.from_file(CHECKOUT / "streamlit_app.py", default_timeout=60)
    app.query_params.update(baseline=baseline, new=new, **query)
    app._page_hash = calc_hash(name)  # switch_page knows pages by their url only after a first run
    return app.run()


def upload(app: AppTest, *photos: bytes, name: str = "dog.jpg", mime: str = "image/jpeg") -> AppTest:
    files = [(name, data, mime) for data in photos]
    uploader = app.file_uploader[0]
    return uploader.set_value(files if uploader.accept_multiple_files else files[0]).run()


def kept(app: AppTest) -> list:
    """What the session keeps of each photo."""
    return [*app.session_state["upload-answers"]["photos"].values()]


def texts(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.text, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_both_runs_answer_a_photo_with_what_it_looks_like(store):
    app = upload(open_page("upload"), photo_bytes())
    assert not app.exception
    assert not app.error
    assert "looks like" in texts(app)
    assert "cnn · answered in" in texts(app)
    assert "vit · answered in" in texts(app)


def test_the_first_paint_names_the_uploader_photo_and_says_what_to_do(store):
    app = open_page("upload")
    assert [uploader.label for uploader in app.file_uploader] == ["Photo"]
    assert "not stored" in texts(app)
    assert "3 breeds" in texts(app)
    assert "looks like" not in texts(app)


@pytest.mark.parametrize(
    "data",
    [b"", b"not a photo", photo_bytes()[:500], b"\x89PNG\r\n\x1a\n" + bytes(100)],
    ids=lambda data: str(data[:8]),
)
def test_a_file_that_is_no_photo_is_refused_with_one_line_and_the_next_photo_is_answered(store, data):
    app = upload(open_page("upload"), data)
    assert not app.exception
    assert len(app.error) == 1
    assert "\n" not in app.error[0].value
    assert "looks like" not in texts(app)
    app = upload(app, photo_bytes())
    assert not app.error
    assert "looks like" in texts(app)


def test_a_hostile_file_name_is_never_rendered(store):
    app = upload(open_page("upload"), photo_bytes(), name="![x](http://example.org/x.png)<script>.jpg")
    assert "looks like" in texts(app)
    assert "example.org" not in texts(app)


def test_removing_the_photo_removes_what_was_kept_of_it(store):
    app = upload(open_page("upload"), photo_bytes())
    assert kept(app)[0]["photo"]
    app.file_uploader[0].set_value([]).run()
    assert "upload-answers" not in app.session_state
    assert "looks like" not in texts(app)


def test_the_session_keeps_a_thumbnail_without_metadata(store):
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    app = upload(open_page("upload"), photo_bytes(size=(2000, 1500), exif=exif))
    (found,) = kept(app)
    assert max(Image.open(io.BytesIO(found["photo"])).size) <= 480
    pictures = [found["photo"], *(answer.picture for answer in found["answers"].values())]
    assert not any(b"SecretCamera" in picture or b"Exif" in picture for picture in pictures)


def test_a_rerun_answers_from_the_session_and_another_run_is_asked_anew(store, monkeypatch):
    app = upload(open_page("upload"), photo_bytes())
    (first,) = kept(app)
    app.run()
    assert kept(app)[0]["answers"] is first["answers"]
    app.session_state["new"] = "cnn"
    app.run()
    assert [answer.run for answer in kept(app)[0]["answers"].values()] == ["cnn"]


def test_a_run_of_several_views_is_answered_for_by_the_run_that_looks_once(store):
    info = artifacts.read_run("dogs", "cnn")
    several = {**info, "run": "cnn-flip", "views": {"kind": "flip", "of": "cnn"}, "files": {}}
    logits = artifacts.run_file(info, "logits.npy").read_bytes()
    artifacts.write_run(several, {"logits.npy": logits})
    app = upload(open_page("upload", baseline="cnn-flip"), photo_bytes())
    assert not app.error
    assert [line.value for line in app.info] == [
        "cnn-flip looks at several views of each photo; new photos are answered by cnn, which looks once."
    ]
    assert kept(app)[0]["answers"]["baseline"].run == "cnn"


def test_a_run_without_its_backbone_is_replaced_by_the_complete_run_of_the_same_network(store):
    app = upload(open_page("upload", baseline="cnn-frozen"), photo_bytes())
    assert not app.error
    assert [info.value for info in app.info] == [
        "cnn-frozen needs a-file-that-is-not-here.safetensors, which is not on this machine: "
        "cnn, the same network, answers in its place."
    ]
    assert [answer.run for answer in kept(app)[0]["answers"].values()] == ["cnn", "vit"]


def test_without_a_complete_run_of_the_same_network_the_other_run_answers_alone(store):
    artifacts.run_folder("dogs", "cnn").joinpath("run.json").unlink()
    app = upload(open_page("upload", baseline="cnn-frozen"), photo_bytes())
    assert "gives no answer" in app.info[0].value
    assert [answer.run for answer in kept(app)[0]["answers"].values()] == ["vit"]
    assert "To vit it looks like" in texts(app)


def test_a_flipped_bit_in_a_run_s_weights_is_one_line_and_the_other_run_answers(store):
    path = artifacts.run_folder("dogs", "cnn") / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 4  # one bit
    path.write_bytes(data)
    app = upload(open_page("upload"), photo_bytes())
    assert not app.exception
    assert len(app.error) == 1
    assert "SHA-256" in app.error[0].value
    assert "To vit it looks like" in texts(app)


def test_the_attention_page_starts_with_the_first_mistake_of_the_new_run(store):
    app = open_page("attention")
    assert not app.exception
    assert not app.error
    evaluation = artifacts.read_evaluation("dogs", "vit")
    first_mistake = evaluation.photos["id"][int((evaluation.logits.argmax(1) != evaluation.true).argmax())]
    assert app.selectbox(key="attention-photo").value == first_mistake
    assert "not why it decides" in texts(app)
    assert "looks like" in texts(app)


def test_a_photo_in_the_url_is_shown_and_choosing_another_breed_changes_the_url(store):
    app = open_page("attention", photo="whippet/05.jpg")
    assert app.selectbox(key="attention-breed").value == "whippet"
    assert app.selectbox(key="attention-photo").value == "whippet/05.jpg"
    app.selectbox(key="attention-breed").set_value("beagle").run()
    assert app.selectbox(key="attention-photo").value == "beagle/01.jpg"
    assert app.query_params["photo"] == "beagle/01.jpg"
    app.selectbox(key="attention-photo").set_value("beagle/07.jpg").run()
    assert app.query_params["photo"] == "beagle/07.jpg"
    assert not app.exception


def test_an_unknown_photo_in_the_url_is_one_line_and_the_page_works(store):
    app = open_page("attention", photo="nobody/00.jpg")
    assert [warning.value for warning in app.warning] == [
        "There is no test photo 'nobody/00.jpg'; the first mistake is shown instead."
    ]
    assert "not why it decides" in texts(app)


def test_changing_layer_head_and_opacity_runs_no_forward_pass(store, monkeypatch):
    app = open_page("attention")
    from dogpoc import explanation

    monkeypatch.setattr(explanation, "attention_maps", lambda *_args: pytest.fail("a forward pass"))
    for layer in (1, 2, 3):
        app.slider(key="attention-layer-3").set_value(layer).run()
        app.select_slider(key="attention-head-3").set_value(layer - 1).run()
        app.slider(key="attention-opacity").set_value(layer * 20).run()
        assert not app.exception
    assert app.session_state["attention-kept"][1]["attention", "vit"].maps.dtype == np.float16


def test_a_cnn_is_told_in_one_line_and_the_transformer_is_offered(store):
    app = open_page("attention")
    app.segmented_control(key="attention-role").set_value("baseline").run()
    assert not app.exception
    assert [info.value for info in app.info] == [
        "cnn: this model has no attention over the whole photo: choose a vision transformer"
    ]
    app.button[0].click().run()
    assert app.segmented_control(key="attention-role").value == "new"
    assert "not why it decides" in texts(app)


def test_without_the_photo_folder_a_photo_can_still_be_uploaded(store, monkeypatch):
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = open_page("attention")
    assert not app.exception
    assert "DOGPOC_DATA=FOLDER python start.py" in app.info[0].value
    app = upload(app, photo_bytes())
    assert not app.exception
    assert "not why it decides" in texts(app)
    app = upload(app, b"not a photo")
    assert len(app.error) == 1


# -- several photos, test photos, doubt ---------------------------------------------------------------------------


def test_several_photos_become_a_table_and_a_bad_one_costs_one_line(store):
    app = upload(open_page("upload"), photo_bytes(1), b"not a photo", photo_bytes(2), name="a_dog*.jpg")
    assert not app.exception
    assert len(app.error) == 1
    assert app.error[0].value.startswith("a\\_dog\\*\\.jpg: ")
    table = next(frame.value for frame in app.dataframe if "problem" in frame.value)
    assert table["photo"].tolist() == ["a_dog*.jpg"] * 3
    assert [bool(problem) for problem in table["problem"]] == [False, True, False]
    assert table["new_breed"].notna().tolist() == [True, False, True]
    assert "looks like" in texts(app), "the newest photo is shown in full"


def test_another_of_several_photos_is_shown_in_full_without_asking_again(store, monkeypatch):
    app = upload(open_page("upload"), photo_bytes(1), photo_bytes(2))
    asked = [*app.session_state["upload-answers"]["photos"]]
    before = kept(app)
    app.selectbox(key="upload-chosen").set_value(asked[0]).run()
    assert [a["answers"] is b["answers"] for a, b in zip(kept(app), before, strict=True)] == [True, True]
    assert not app.exception


def test_a_test_photo_by_its_link_is_answered_with_its_label_beside(store):
    app = open_page("upload", photo="whippet/05.jpg")
    assert not app.exception
    assert "looks like" in texts(app)
    assert "its label says whippet" in texts(app)
    app = open_page("upload", photo="../../secret.jpg")
    assert "There is no test photo" in app.warning[0].value
    assert "looks like" not in texts(app)


def test_the_button_puts_a_test_photo_into_the_url(store):
    app = open_page("upload")
    app.button[0].click().run()
    assert app.query_params["photo"].endswith(".jpg")
    assert "its label says" in texts(app)


def test_without_photos_on_this_machine_the_test_photo_is_refused_in_one_line(store):
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = open_page("upload", photo="whippet/05.jpg")
    assert not app.exception
    assert "not on this machine" in app.info[0].value


def with_thresholds(run: str, **changed) -> None:
    thresholds = {"temperature": 2.0, "least": {str(c): 0.3 for c in doubt.CONFIDENCES}, "strange": 1e9, "photos": 9}
    artifacts.write_run(artifacts.read_run("dogs", run) | {"doubt": thresholds | changed}, {})


def test_the_answer_comes_with_a_set_of_breeds_at_the_chosen_confidence(store):
    assert "confidence:" not in texts(upload(open_page("upload"), photo_bytes()))
    with_thresholds("vit", least={"0.8": 0.999, "0.9": 0.0, "0.95": 0.0, "0.99": 0.0})
    app = upload(open_page("upload"), photo_bytes())
    assert re.search("with 90.% confidence: .*, .* or ", texts(app)), "all three breeds"
    app.segmented_control(key="confidence").set_value(0.8).run()
    assert re.search(r"with 80.% confidence: \*\*\w+\*\*\.", texts(app)), "the first one alone"
    assert "Unlike the photos" not in texts(app)


def test_a_photo_unlike_those_that_were_taught_is_called_so(store):
    with_thresholds("vit", strange=-1e9)
    assert "Unlike the photos that it was taught" in texts(upload(open_page("upload"), photo_bytes()))


def test_probabilities_are_those_at_the_runs_temperature(store):
    plain = kept(upload(open_page("upload"), photo_bytes()))[0]["answers"]["new"]
    with_thresholds("vit")
    scaled = kept(upload(open_page("upload"), photo_bytes()))[0]["answers"]["new"]
    assert scaled.breeds == plain.breeds
    expected = plain.probs**0.5 / (plain.probs**0.5).sum()
    np.testing.assert_allclose(scaled.probs, expected, atol=1e-6)


# -- why this breed -----------------------------------------------------------------------------------------------


def test_a_patch_tells_what_it_attends_to_without_another_forward_pass(store, monkeypatch):
    app = open_page("attention")
    from dogpoc import explanation

    monkeypatch.setattr(explanation, "attention_maps", lambda *_args: pytest.fail("a forward pass"))
    assert "Click a patch" in texts(app)
    app.selectbox(key="attention-patch-4-4").set_value(6).run()
    assert not app.exception
    assert "of the patch in row 2, column 3" in texts(app)
    assert "outlier token" in texts(app)


def test_both_runs_say_why_with_their_licences_side_by_side(store):
    app = open_page("attention", view="why")
    assert not app.exception
    assert not app.error
    said = texts(app)
    assert "To cnn it looks like" in said
    assert "To vit it looks like" in said
    assert said.count("Area under the curve") == 2
    verdicts = [element.value for kind in (app.success, app.info, app.warning) for element in kind]
    assert sum("random" in verdict for verdict in verdicts) == 2
    assert "python -m dogpoc explain-benchmark --runs vit --data dogs" in said


def test_the_licence_is_drawn_again_without_a_forward_pass_and_a_new_breed_runs_only_its_own_map(store, monkeypatch):
    app = open_page("attention", view="why", breed="beagle", against="whippet")
    assert texts(app).count("Why beagle and not whippet?") == 2
    from dogpoc import faithfulness

    measured = []
    real = faithfulness.insertion_deletion
    monkeypatch.setattr(faithfulness, "insertion_deletion", lambda *a: measured.append(a) or real(*a))
    app.run()
    assert not measured
    app.selectbox(key="against").set_value("Afghan_hound").run()
    assert len(measured) == 2, "one map for each run; random maps and blob are kept"
    assert app.query_params["against"] in ("Afghan_hound", ["Afghan_hound"])
    assert not app.exception


def test_a_method_that_makes_no_sense_for_a_run_is_one_line_and_the_other_run_is_explained(store):
    app = open_page("attention", view="why", method="rollout")
    assert not app.exception
    assert "cnn: this model has no attention over the whole photo: choose a vision transformer" in texts(app)
    assert texts(app).count("Area under the curve") == 1
    assert "attention rollout explains no breed" in texts(app)


@pytest.mark.parametrize("method", ["integrated-gradients", "occlusion", "attention"])
def test_every_method_of_the_page_gives_a_map(store, method):
    app = open_page("attention", view="why", method=method)
    assert not app.exception
    assert not app.error
    assert texts(app).count("Area under the curve") == (1 if method == "attention" else 2)


def test_the_same_breed_on_both_sides_and_an_unknown_one_are_told_in_one_line(store):
    app = open_page("attention", view="why", breed="beagle", against="beagle")
    assert not app.exception
    assert texts(app).count("choose another breed on one side") == 2
    app = open_page("attention", view="why", breed="dodo")
    assert not app.exception
    assert "No breed 'dodo' here" in texts(app)


def test_the_same_run_in_both_roles_is_explained_once(store):
    app = open_page("attention", view="why", baseline="vit")
    assert not app.exception
    assert texts(app).count("Area under the curve") == 1


def test_an_own_photo_is_explained_and_forgotten(store):
    app = open_page("attention", view="why")
    app.segmented_control(key="attention-way").set_value("upload").run()
    assert "attention-kept" not in app.session_state
    app = upload(app, photo_bytes(5))
    assert not app.exception
    assert texts(app).count("Area under the curve") == 2
    app = upload(app, b"not a photo")
    assert len(app.error) == 1
    assert "attention-kept" not in app.session_state


def test_the_benchmark_is_told_in_words_and_as_a_table(store):
    info = artifacts.read_run("dogs", "vit")
    good = {"insertion": 0.9, "deletion": 0.1}
    bad = {"insertion": 0.4, "deletion": 0.4}
    record = {
        "photos_digest": info["photos_digest"],
        "weights": info["files"]["weights.safetensors"],
        "photos": [
            {"maps": {"relevance": good, "attention": good, "occlusion": bad, "random": bad, "centre": bad}},
            {"maps": {"relevance": good, "attention": bad, "occlusion": bad, "random": bad, "centre": bad}},
            {"maps": {"relevance": good, "attention": good, "occlusion": good, "random": bad, "centre": bad}},
        ],
        "mosaics": [],
        "randomised": [{"occlusion": 0.5}, {"occlusion": 0.4}],
    }
    artifacts.write_run(info, {"explanations.json": json.dumps(record).encode()})
    said = texts(open_page("attention", view="why"))
    assert "On 3 test photos:" in said
    assert "Relevance beats random maps and a centred blob, but not raw attention." in said
    assert "Occlusion does not beat random maps, a centred blob or raw attention." in said
    assert "hardly change when the weights are shuffled (0.45)" in said
    artifacts.write_run(artifacts.read_run("dogs", "vit"), {"explanations.json": b"[]"})
    app = open_page("attention", view="why")
    assert "not a benchmark of explanations" in app.error[0].value


def test_what_the_runs_expect_to_see_is_shown_without_any_photo(store, monkeypatch):
    from dogpoc import imagination

    app = open_page("attention", view="expects")
    assert not app.exception
    assert "python -m dogpoc imagine vit --data dogs" in texts(app)
    monkeypatch.setattr(imagination, "SIDE", 16)
    for run in ("cnn", "vit"):
        imagination.store_pictures(
            "dogs", run, draw=lambda _model, _seen, breed: np.full((32, 32, 3), 40 * breed, np.uint8)
        )
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = open_page("attention", view="expects", breed="beagle")
    assert not app.exception
    assert not app.info
    assert "not photographs" in texts(app)
    assert app.selectbox(key="breed").value == "beagle"


# -- what an answer rests on --------------------------------------------------------------------------------------


def test_each_answer_comes_with_its_overlay_from_the_same_forward_pass(store, monkeypatch):
    from dogpoc import explanation

    upload(open_page("upload"), photo_bytes())  # loads the models
    monkeypatch.setattr(explanation, "explain_pixels", lambda *_args: pytest.fail("a pass of its own for the map"))
    passes = []
    forward = torch.nn.Module.__call__
    monkeypatch.setattr(
        explanation.ExplainedModel, "__call__", lambda self, *a: passes.append(1) or forward(self, *a), raising=False
    )
    app = upload(open_page("upload"), photo_bytes(9))
    assert not app.exception
    assert len(passes) == 2
    assert [answer.method for answer in kept(app)[0]["answers"].values()] == ["gradcam", "rollout"]
    top = kept(app)[0]["answers"]["baseline"].breeds[0].replace("_", " ")
    pictures = [picture.proto.imgs[0].caption for picture in app.get("image")]
    assert f"What speaks for {top}: most where it is bright (Grad-CAM)." in pictures
    assert sum("attention rollout" in caption for caption in pictures) == 1


def test_a_test_photo_leads_to_its_explanation_and_an_own_one_does_not(store):
    links = open_page("upload", photo="whippet/05.jpg").get("page_link")
    assert [(link.proto.page, link.proto.query_string) for link in links] == [
        ("attention", "photo=whippet%2F05.jpg&view=why")
    ]
    assert not upload(open_page("upload"), photo_bytes()).get("page_link")


# -- one dog of several -------------------------------------------------------------------------------------------


def cropping(app: AppTest) -> tuple[str, str]:
    """Keys of the sliders, once the photo on show is being cropped."""
    (photo,) = app.session_state["upload-answers"]["photos"]
    app.toggle(key=f"crop-{photo}").set_value(True).run()
    assert not app.exception
    return f"crop-x-{photo}", f"crop-y-{photo}"


def test_the_answers_are_those_to_the_part_that_is_chosen(store):
    data = photo_bytes(3, size=(200, 100), format="PNG")
    app = upload(open_page("upload"), data)
    whole = kept(app)[0]["answers"]["new"].probs
    across, down = cropping(app)
    assert kept(app)[0]["answers"]["new"].probs is whole, "nothing is asked anew before a part is chosen"
    app.slider(key=across).set_value((10, 60)).run()
    app.slider(key=down).set_value((0, 80)).run()
    assert not app.exception
    part = io.BytesIO()
    Image.open(io.BytesIO(data)).crop((20, 0, 120, 80)).save(part, "PNG")
    alone = kept(upload(open_page("upload"), part.getvalue()))[0]["answers"]["new"]
    found = kept(app)[0]["answers"]["new"]
    assert found.breeds == alone.breeds
    np.testing.assert_allclose(found.probs, alone.probs, atol=1e-6)
    app.button(key=across.replace("crop-x", "crop-all")).click().run()
    np.testing.assert_allclose(kept(app)[0]["answers"]["new"].probs, whole, atol=1e-6)
    assert app.slider(key=across).value == (0, 100)


def test_no_part_is_smaller_than_32_pixels(store):
    app = upload(open_page("upload"), photo_bytes(3, size=(200, 100)))
    across, down = cropping(app)
    app.slider(key=across).set_value((99, 99)).run()
    app.slider(key=down).set_value((50, 51)).run()
    assert not app.exception
    assert app.slider(key=across).value == (84, 100)
    assert app.slider(key=down).value == (50, 82)
    assert len(kept(app)[0]["answers"]) == 2


def test_what_lies_outside_the_part_is_darker():
    figure = figures.photo_with_part(b"jpeg", (200, 100), (10, 60, 0, 80))
    *dark, frame = figure.layout.shapes
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (10, 60, 0, 80)
    covered = np.zeros((100, 100), int)
    for shape in dark:
        covered[shape.y0 : shape.y1, shape.x0 : shape.x1] += 1
    expected = np.ones((100, 100), int)
    expected[0:80, 10:60] = 0
    np.testing.assert_array_equal(covered, expected)
    assert figure.layout.yaxis.scaleratio == 0.5


def test_a_part_is_kept_for_each_photo_and_leaves_with_it(store):
    app = upload(open_page("upload"), photo_bytes(1), photo_bytes(2))
    first, second = app.session_state["upload-answers"]["photos"]
    app.toggle(key=f"crop-{second}").set_value(True).run()
    app.slider(key=f"crop-x-{second}").set_value((0, 60)).run()
    app.selectbox(key="upload-chosen").set_value(first).run()
    assert not app.toggle(key=f"crop-{first}").value
    app.selectbox(key="upload-chosen").set_value(second).run()
    assert app.slider(key=f"crop-x-{second}").value == (0, 60)
    app.toggle(key=f"crop-{second}").set_value(False).run()
    assert [found["part"] for found in kept(app)] == [(0, 100, 0, 100)] * 2
    app.toggle(key=f"crop-{second}").set_value(True).run()
    app.file_uploader[0].set_value([]).run()
    assert app.session_state["upload-parts"] == {}


# -- what it reminds of -------------------------------------------------------------------------------------------


def embed(run: str) -> None:
    assert inference.embed(run, "dogs", command="")["embedding"]


def test_a_training_photo_reminds_both_runs_of_itself_first(store):
    for run in ("cnn", "vit"):
        embed(run)
    table = artifacts.read_photos("dogs")
    app = upload(open_page("upload"), photo_bytes(13))
    assert not app.exception
    assert not app.error
    (found,) = kept(app)
    for role in ("baseline", "new"):
        assert table["id"][found["alike"][role][0]] == "beagle/13.jpg"
        assert len(found["alike"][role]) == 3
        assert (table["split"][found["alike"][role]] == "train").all()
    said = texts(app)
    assert said.count("The training photos that are most alike to it:") == 2
    assert said.count("A typical photo of each breed that it finds likely:") == 2
    assert "embed" not in said


def test_without_stored_features_one_line_per_run_says_how_to_make_them(store):
    embed("vit")
    said = texts(upload(open_page("upload"), photo_bytes()))
    assert said.count("which look-alikes need") == 1
    assert "python -m dogpoc embed cnn --data dogs" in said


def test_without_photos_the_names_of_what_it_reminds_of_are_listed(store):
    embed("vit")
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = upload(open_page("upload"), photo_bytes(13))
    assert not app.exception
    assert "**beagle** · beagle\\/13\\.jpg" in texts(app)


# -- how firm the answers are -------------------------------------------------------------------------------------


def test_the_variants_are_asked_only_on_request_and_the_sentence_counts_changes_of_mind(store):
    app = upload(open_page("upload"), photo_bytes(4, size=(300, 200)))
    assert "variants" not in kept(app)[0]
    (photo,) = app.session_state["upload-answers"]["photos"]
    app.button(key=f"fragility-{photo}").click().run()
    assert not app.exception
    (found,) = kept(app)
    changed = {}
    for role, answer in found["answers"].items():
        assert len(found["variants"][role]) == 7
        changed[role] = sum(breed != answer.breeds[0] for breed, _prob in found["variants"][role])
    said = texts(app)
    assert (
        f"The baseline changes its mind on {changed['baseline']} of 7, the new method on {changed['new']} of 7." in said
    )
    assert said.count("**≠ ") == sum(changed.values())
    app.run()
    assert kept(app)[0]["variants"] is found["variants"], "kept"


def test_a_changed_mind_is_marked_in_words_and_counted():
    from pages.live import fragility
    from pages.live.answering import Answer

    given = {
        role: Answer(role, ["beagle", "pug"], np.array([0.9, 0.1]), {}, None, 0.01, np.zeros(2), b"", None)
        for role in ("baseline", "new")
    }
    same, other = ("beagle", 0.8), ("pug", 0.6)
    found = {"baseline": [other, same, other, *[same] * 4], "new": [same] * 7}
    assert fragility.changes(found, given) == {"baseline": 2, "new": 0}
    said = fragility.sentence(fragility.changes(found, given), given)
    assert said == "The baseline changes its mind on 2 of 7, the new method on 0 of 7."
    table = fragility.table(found, given)
    assert table["baseline_changed"].tolist() == [True, False, True, False, False, False, False]
    assert table["new_breed"].tolist() == ["beagle"] * 7
    assert "**≠ pug" in fragility._line("baseline", *other, given["baseline"])
    assert "≠" not in fragility._line("new", *same, given["new"])


def test_another_part_of_the_photo_has_not_been_tested_yet(store):
    app = upload(open_page("upload"), photo_bytes(4, size=(300, 200)))
    (photo,) = app.session_state["upload-answers"]["photos"]
    app.button(key=f"fragility-{photo}").click().run()
    across, _down = cropping(app)
    assert "changes its mind" in texts(app)
    app.slider(key=across).set_value((0, 50)).run()
    assert "changes its mind" not in texts(app)


def test_one_run_alone_is_tested_as_well(store):
    app = upload(open_page("upload", baseline="vit"), photo_bytes(4))
    (photo,) = app.session_state["upload-answers"]["photos"]
    app.button(key=f"fragility-{photo}").click().run()
    assert re.search(r"vit changes its mind on \d of 7\.", texts(app))


# -- without photos -----------------------------------------------------------------------------------------------


def test_without_photos_a_picture_that_the_model_made_can_be_tried_and_is_called_so(store, monkeypatch):
    from dogpoc import imagination

    monkeypatch.setattr(imagination, "SIDE", 16)
    imagination.store_pictures(
        "dogs", "vit", draw=lambda _model, _seen, breed: np.full((32, 32, 3), 40 * breed, np.uint8)
    )
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = open_page("upload")
    app.button[0].click().run()
    assert not app.exception
    assert app.query_params["picture"] in (BREEDS, *([breed] for breed in BREEDS), *BREEDS)
    assert "looks like" in texts(app)
    assert "made by the model, not a photograph" in texts(app)
    app = open_page("upload", picture="dodo")
    assert "There is no picture of 'dodo' here." in texts(app)


def test_without_photos_and_pictures_the_button_says_how_to_get_photos(store):
    for path in (store / "photos").rglob("*.jpg"):
        path.unlink()
    app = open_page("upload")
    app.button[0].click().run()
    assert not app.exception
    assert "DOGPOC_DATA=FOLDER python start.py" in texts(app)
