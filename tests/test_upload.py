"""The pages that take a photo, on small real models with random weights: an answer, or one clear line."""

import hashlib
import io
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import streamlit as st
import torch
from PIL import Image
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from dogpoc import artifacts, dataset, inference
from dogpoc.methods import Backbone, Preprocessing

CHECKOUT = Path(__file__).parents[1]
BREEDS = ["Afghan_hound", "beagle", "whippet"]
PREPROCESSING = Preprocessing(32, 0.9, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BACKBONES = {
    "cnn-frozen": Backbone("mobilenetv2_035", PREPROCESSING, weights="a-file-that-is-not-here"),
    "cnn": Backbone("mobilenetv2_035", PREPROCESSING),
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
        "preprocessing": asdict(PREPROCESSING),
        "breeds": BREEDS,
        "scored_breeds": BREEDS,
        "photos_digest": artifacts.photos_digest(table),
    }
    artifacts.write_run(info, {"weights.safetensors": weights, "logits.npy": logits.getvalue()})


@pytest.fixture
def store(tmp_path, monkeypatch) -> Iterator[Path]:
    """A dataset of 12 generated photos with three runs on it: cnn-frozen (without its backbone), cnn and vit."""
    monkeypatch.setenv("DOGPOC_ARTIFACTS", str(tmp_path / "artifacts"))
    monkeypatch.setenv("DOGPOC_DATA", str(tmp_path / "photos"))
    monkeypatch.setenv("DOGPOC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset, "CHECKOUT", tmp_path / "nowhere")
    monkeypatch.setattr(inference, "_openvino", lambda _model: None)  # compiling takes longer than these tests
    st.cache_resource.clear()
    rows = []
    for number in range(12):
        breed, data = BREEDS[number % 3], photo_bytes(number)
        path = tmp_path / "photos" / breed / f"{number:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        rows.append((f"{breed}/{path.name}", breed, "test", number, sha256, 60, 40, len(data)))
    table = pd.DataFrame(rows, columns=artifacts.PHOTO_COLUMNS).sort_values("id", ignore_index=True)
    artifacts.write_photos("dogs", table)
    for seed, name in enumerate(BACKBONES):
        store_run(name, table, seed)
    yield tmp_path
    st.cache_resource.clear()


def open_page(name: str, *, baseline: str = "cnn", new: str = "vit", **query: str) -> AppTest:
    sys.path[:0] = [] if str(CHECKOUT) in sys.path else [str(CHECKOUT)]
    app = AppTest.from_file(CHECKOUT / "pages" / f"{name}.py", default_timeout=60)
    app.session_state["dataset"], app.session_state["baseline"], app.session_state["new"] = "dogs", baseline, new
    app.query_params.update(query)
    return app.run()


def upload(app: AppTest, data: bytes, name: str = "dog.jpg", mime: str = "image/jpeg") -> AppTest:
    return app.file_uploader[0].set_value((name, data, mime)).run()


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
    assert app.session_state["upload-answers"]["photo"]
    app.file_uploader[0].set_value(None).run()
    assert "upload-answers" not in app.session_state
    assert "looks like" not in texts(app)


def test_the_session_keeps_a_thumbnail_without_metadata(store):
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    app = upload(open_page("upload"), photo_bytes(size=(2000, 1500), exif=exif))
    kept = app.session_state["upload-answers"]
    assert max(Image.open(io.BytesIO(kept["photo"])).size) <= 480
    pictures = [kept["photo"], *(answer.picture for answer in kept["answers"].values())]
    assert not any(b"SecretCamera" in picture or b"Exif" in picture for picture in pictures)


def test_a_rerun_answers_from_the_session_and_another_run_is_asked_anew(store, monkeypatch):
    app = upload(open_page("upload"), photo_bytes())
    first = app.session_state["upload-answers"]
    app.run()
    assert app.session_state["upload-answers"]["answers"] is first["answers"]
    app.session_state["new"] = "cnn"
    app.run()
    assert [answer.run for answer in app.session_state["upload-answers"]["answers"].values()] == ["cnn"]


def test_a_run_without_its_backbone_is_replaced_by_the_complete_run_of_the_same_network(store):
    app = upload(open_page("upload", baseline="cnn-frozen"), photo_bytes())
    assert not app.error
    assert [info.value for info in app.info] == [
        "cnn-frozen needs a-file-that-is-not-here.safetensors, which is not on this machine: "
        "cnn, the same network, answers in its place."
    ]
    assert [answer.run for answer in app.session_state["upload-answers"]["answers"].values()] == ["cnn", "vit"]


def test_without_a_complete_run_of_the_same_network_the_other_run_answers_alone(store):
    artifacts.run_folder("dogs", "cnn").joinpath("run.json").unlink()
    app = upload(open_page("upload", baseline="cnn-frozen"), photo_bytes())
    assert "gives no answer" in app.info[0].value
    assert [answer.run for answer in app.session_state["upload-answers"]["answers"].values()] == ["vit"]
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
        app.selectbox(key="attention-head-3").set_value(layer - 1).run()
        app.slider(key="attention-opacity").set_value(layer * 20).run()
        assert not app.exception
    assert app.session_state["attention-look"][1].attention.maps.dtype == np.float16


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
