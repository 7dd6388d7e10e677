"""Train and test resolution apart, and several views of a photo."""

import json
from copy import deepcopy

import numpy as np
import pytest
import timm
import torch

from dogpoc import artifacts, dataset, fixres, inference, training
from dogpoc.inference import ModelError, compile_classifier
from dogpoc.methods import HALF, Preprocessing


@pytest.fixture
def run(dogs, tiny_methods):
    """run("cnn-frozen"): the method trained and evaluated on the dataset "dogs"."""
    dataset.split("dogs")

    def make(name: str) -> dict:
        training.train(tiny_methods[name], "dogs", name=name, command="")
        return inference.evaluate(name, "dogs", command="")

    return make


@pytest.mark.parametrize("name", ["cnn-frozen", "vit-finetuned"])
def test_at_its_own_size_the_grid_has_the_run_s_own_answers(run, name):
    info = run(name)
    own = info["preprocessing"]["size"]
    record = fixres.fill_grid("dogs", name, [own, 2 * own], command="a command")
    stored = artifacts.read_evaluation("dogs", name)
    right = int((stored.logits.argmax(axis=1) == stored.true).sum())
    assert record["photos"] == len(stored.true)
    assert record["as_trained"][0] == right
    assert record["views"]["centre"]["right"] == right
    assert [found["passes"] for found in record["views"].values()] == [1, 2, 10]
    assert np.shape(record["grid"]) == (2, 2)
    assert [type(right) for right in record["with_norm"]] == [int, int]
    if name == "cnn-frozen":  # its head is trained anew, by its own recipe
        assert record["grid"][0][0] == right
    assert artifacts.read_fixres(artifacts.read_run("dogs", name)) == record


def test_what_was_measured_is_not_measured_again_and_other_weights_are_told_apart(run, monkeypatch):
    run("cnn-frozen")
    real = fixres._features
    stopped = []

    def stop(*arguments):
        stopped.append(arguments[1])
        if len(stopped) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(fixres, "_features", stop)
    with pytest.raises(KeyboardInterrupt):
        fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    monkeypatch.setattr(fixres, "_features", real)
    passes = []
    sized = fixres.at_size
    monkeypatch.setattr(fixres, "at_size", lambda run, size, *around: passes.append(size) or sized(run, size, *around))
    record = fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    assert passes == [96, 64, 96], "the features at 64 pixels were kept; those before the norm come after"
    assert not list(artifacts.run_folder("dogs", "cnn-frozen").glob(".fixres*"))
    monkeypatch.setattr(inference, "load_classifier", lambda *_arguments: pytest.fail("measured again"))
    assert fixres.fill_grid("dogs", "cnn-frozen", [96, 64], command="") == record

    info = artifacts.read_run("dogs", "cnn-frozen")
    artifacts.write_run(info, {"weights.safetensors": b"other weights"})
    assert artifacts.read_fixres(artifacts.read_run("dogs", "cnn-frozen")) is None
    artifacts.write_run(artifacts.read_run("dogs", "cnn-frozen"), {artifacts.FIXRES: b"{}"})
    with pytest.raises(artifacts.ArtifactError, match="python -m dogpoc fixres"):
        artifacts.read_fixres(artifacts.read_run("dogs", "cnn-frozen"))


@pytest.mark.parametrize("name", ["cnn-frozen", "vit-finetuned"])
def test_an_untrained_tail_answers_as_the_run_does_and_training_moves_its_norm(run, monkeypatch, tmp_path, name):
    run(name)
    classifier = inference.load_classifier("dogs", name)
    network, own = classifier.model, classifier.preprocessing.size
    photos = artifacts.read_photos("dogs")
    paths = dataset.require_photos(photos)
    seen = fixres._entering(classifier, own, {"train": paths[:10], "validation": paths[10:]}, tmp_path / "seen", False)
    assert seen["train"].dtype == np.float16
    assert [seen["train"].shape[1] == 1, len(seen["train"])] == [name == "vit-finetuned", 10], "the class token alone"
    tail = fixres.Tail(network, fixres.last_norm(network, own), deepcopy(network.get_classifier())).eval()
    with torch.inference_mode():
        logits = torch.cat([tail(torch.from_numpy(part)) for part in seen.values()])
    expected = np.concatenate([batch for batch, _features in inference.stream(classifier, paths)])
    np.testing.assert_allclose(logits, expected, atol=5e-3)

    with monkeypatch.context() as patched:
        patched.setattr(fixres, "_fitted", lambda model, *_rest: model)
        patched.setattr(fixres, "_first_head", lambda classifier: deepcopy(classifier.model.get_classifier()))
        record = fixres.fill_grid("dogs", name, [own, 2 * own], command="")
    assert record["with_norm"] == record["as_trained"]

    before = deepcopy(tail.state_dict())
    true = np.array([classifier.breeds.index(breed) for breed in photos["breed"]])
    fixres._fitted(tail, classifier.info, seen, {"train": true[:10], "validation": true[10:]}, tmp_path)
    after = tail.state_dict()
    same = {key for key in after if torch.equal(before[key], after[key])}
    assert {key.partition(".")[0] for key in after} == {"norm", "head"}
    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert same == statistics & set(after), "all else that the tail has learns"


def test_an_earlier_record_gets_what_the_norm_brings_and_a_stopped_one_goes_on(run, monkeypatch):
    run("cnn-frozen")

    def store(record: dict) -> dict:
        data = json.dumps(record).encode()
        return artifacts.write_run(artifacts.read_run("dogs", "cnn-frozen"), {artifacts.FIXRES: data})

    record = fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    earlier = {key: value for key, value in record.items() if key != "with_norm"}
    assert artifacts.read_fixres(store(earlier)) == earlier
    entering, asked = fixres._entering, []

    def stop(classifier, size, *rest):
        asked.append(size)
        if asked == [64, 96]:
            raise KeyboardInterrupt
        return entering(classifier, size, *rest)

    monkeypatch.setattr(fixres, "_measure_grid", lambda *_arguments: pytest.fail("measured again"))
    monkeypatch.setattr(fixres, "_entering", stop)
    with pytest.raises(KeyboardInterrupt):
        fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    assert fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="") == record
    assert asked == [64, 96, 96]
    assert not list(artifacts.run_folder("dogs", "cnn-frozen").glob(".fixres*"))

    store(earlier)
    monkeypatch.setattr(fixres, "last_norm", lambda *_arguments: None)
    without = fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    assert without == {**earlier, "with_norm": None}
    monkeypatch.setattr(inference, "load_classifier", lambda *_arguments: pytest.fail("measured again"))
    assert fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="") == without
    with pytest.raises(artifacts.ArtifactError, match="python -m dogpoc fixres"):
        artifacts.read_fixres(store({**record, "with_norm": [1]}))


@pytest.mark.parametrize(
    ("model", "norm"), [("test_efficientnet", "bn2"), ("test_vit", "norm"), ("test_resnet", None), ("test_vit2", None)]
)
def test_the_last_norm_is_the_one_whose_output_the_head_reads(model, norm):
    """ResNet adds its shortcut to what its last norm gave, in place; in test_vit2 the norm comes after the mean."""
    assert fixres.last_norm(timm.create_model(model, num_classes=3).eval(), 96) == norm


def test_a_size_that_the_network_does_not_take_is_one_line(run):
    run("vit-finetuned")
    with pytest.raises(ModelError, match="33 x 33"):
        fixres.fill_grid("dogs", "vit-finetuned", [33], command="")


def test_position_embeddings_are_interpolated_and_the_run_s_own_model_is_left_alone():
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3, img_size=64).eval()
    seen = Preprocessing(64, 1.0, "bilinear", HALF, HALF)
    classifier = compile_classifier(model, seen, breeds=list("abc"), runtime="eager")
    larger = fixres.at_size(classifier, 128)
    assert larger.preprocessing.size == 128
    before, after = model.pos_embed.shape, larger.model.pos_embed.shape
    assert after[1] - model.num_prefix_tokens == 4 * (before[1] - model.num_prefix_tokens)
    assert larger.forward(np.zeros((1, 128, 128, 3), np.uint8))[0].shape == (1, 3)
