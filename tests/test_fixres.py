"""Train and test resolution apart, and several views of a photo."""

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
    monkeypatch.setattr(fixres, "at_size", lambda classifier, size: passes.append(size) or sized(classifier, size))
    record = fixres.fill_grid("dogs", "cnn-frozen", [64, 96], command="")
    assert passes == [96], "the features at 64 pixels were kept"
    assert not list(artifacts.run_folder("dogs", "cnn-frozen").glob(".fixres*"))
    monkeypatch.setattr(inference, "load_classifier", lambda *_arguments: pytest.fail("measured again"))
    assert fixres.fill_grid("dogs", "cnn-frozen", [96, 64], command="") == record

    info = artifacts.read_run("dogs", "cnn-frozen")
    artifacts.write_run(info, {"weights.safetensors": b"other weights"})
    assert artifacts.read_fixres(artifacts.read_run("dogs", "cnn-frozen")) is None
    artifacts.write_run(artifacts.read_run("dogs", "cnn-frozen"), {artifacts.FIXRES: b"{}"})
    with pytest.raises(artifacts.ArtifactError, match="python -m dogpoc fixres"):
        artifacts.read_fixres(artifacts.read_run("dogs", "cnn-frozen"))


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
