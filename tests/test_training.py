"""Training: seeded, resumable to the same artifacts, and nothing but the train and validation photos are read."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import timm
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from dogpoc import artifacts, dataset, inference, training
from dogpoc.inference import ModelError


@pytest.fixture
def table(dogs, tiny_methods):
    dataset.split("dogs")
    return artifacts.read_photos("dogs")


def weights(run: str) -> dict[str, np.ndarray]:
    return load_file(artifacts.run_file(artifacts.read_run("dogs", run), "weights.safetensors"))


def train(methods: dict, method: str, name: str | None = None, **options) -> dict:
    return training.train(methods[method], "dogs", name=name or method, command="test", **options)


def test_a_frozen_backbone_stores_its_new_head_alone(table, tiny_methods):
    info = train(tiny_methods, "cnn-frozen")
    assert {key: value.shape for key, value in weights("cnn-frozen").items()} == {"weight": (3, 256), "bias": (3,)}
    assert info["trained_parameters"] == 3 * 256 + 3
    assert info["parameters"] > info["trained_parameters"]
    assert info["backbone"]["file"] == "cnn.safetensors"
    history = artifacts.read_history(info)
    assert list(history.columns) == list(training.HISTORY)
    assert list(history["epoch"]) == [1, 2, 3]
    assert list(history["phase"].unique()) == ["probe"]


def test_finetuning_follows_the_probe_and_stores_every_weight_in_half_precision(table, tiny_methods):
    info = train(tiny_methods, "vit-finetuned")
    assert info["trained_parameters"] == info["parameters"]
    assert {str(value.dtype) for value in weights("vit-finetuned").values()} == {"float16"}
    assert list(artifacts.read_history(info)["phase"]) == ["probe"] * 3 + ["finetune"] * 3
    loaded = inference.load_classifier("dogs", "vit-finetuned")
    assert sum(p.numel() for p in loaded.model.parameters()) == info["parameters"]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(table, tiny_methods):
    first = train(tiny_methods, "vit-finetuned", "a")
    again = train(tiny_methods, "vit-finetuned", "b")
    other = training.train(training.with_seed(tiny_methods["vit-finetuned"], 1), "dogs", name="c", command="test")
    assert first["files"]["weights.safetensors"] == again["files"]["weights.safetensors"]
    assert first["files"]["weights.safetensors"] != other["files"]["weights.safetensors"]
    assert (first["seed"], other["seed"]) == (0, 1)


def test_the_head_learns_what_a_linear_head_can(table, tiny_methods):
    """Even random features separate the training photos after enough steps; a head that is not trained does not."""
    history = artifacts.read_history(train(tiny_methods, "cnn-frozen"))
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0] < 1.2


def test_batch_statistics_of_the_backbone_stay_as_they_were(table, tiny_methods):
    train(tiny_methods, "cnn-finetuned")
    before = load_file(artifacts.find_weights("cnn.safetensors"))
    after = weights("cnn-finetuned")
    statistics = [key for key in before if "running" in key]
    assert statistics
    for key in statistics:
        np.testing.assert_array_equal(before[key], after[key])
    changed = [key for key in before if key in after and "conv" in key and not np.array_equal(before[key], after[key])]
    assert changed


def test_test_photos_are_not_read_in_training(table, tiny_methods):
    paths = dataset.require_photos(table[table["split"] == "test"])
    for path in paths:
        path.unlink()
    train(tiny_methods, "cnn-frozen")


def test_a_finished_run_is_not_overwritten_unless_forced(table, tiny_methods):
    old = train(tiny_methods, "cnn-frozen")
    with pytest.raises(ModelError, match=r"run 'cnn-frozen' exists.*--name.*--force"):
        train(tiny_methods, "cnn-frozen")
    assert artifacts.read_run("dogs", "cnn-frozen") == old
    train(tiny_methods, "cnn-frozen", force=True)


def test_a_missing_photo_is_named(table, tiny_methods):
    dataset.require_photos(table[table["split"] == "train"])[0].unlink()
    with pytest.raises(dataset.DatasetError, match=r"1 of \d+ photos are not on this machine"):
        train(tiny_methods, "cnn-frozen")


def test_a_training_killed_half_way_resumes_to_the_same_weights(table, tiny_methods, workplace):
    whole = train(tiny_methods, "vit-finetuned", "whole")
    code = (
        "import os, signal, sys, pickle\n"
        "from dogpoc import training\n"
        "def die(self, *a, **k):\n"
        "    if a[1].epoch >= 2 and 'finetune' in a[0].output_dir: os.kill(os.getpid(), signal.SIGKILL)\n"
        "training._Epochs.on_save = die\n"
        "from dogpoc.methods import Method, Backbone, Preprocessing, Recipe\n"
        f"method = {tiny_methods['vit-finetuned']!r}\n"
        "training.train(method, 'dogs', name='killed', command='test')\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, env=dict(os.environ))
    assert killed.returncode == -9, killed.stderr.decode()[-500:]
    assert artifacts.runs("dogs") == []
    assert artifacts.all_runs("dogs") == ["whole"]
    with pytest.raises(ModelError, match=r"begun and not finished; --resume"):
        train(tiny_methods, "vit-finetuned", "killed")
    resumed = train(tiny_methods, "vit-finetuned", "killed", resume=True)
    assert resumed["files"]["weights.safetensors"] == whole["files"]["weights.safetensors"]
    columns = [name for name in training.HISTORY if name != "seconds"]
    histories = [artifacts.read_history(info)[columns] for info in (whole, resumed)]
    np.testing.assert_array_equal(*(history.to_numpy() for history in histories))
    assert not (artifacts.run_folder("dogs", "killed") / ".checkpoints").exists()


def test_interpolated_weights_lie_on_the_line_from_the_first_to_the_last(table, tiny_methods):
    method = tiny_methods["vit-finetuned"]
    fast = replace(method.finetune, learning_rate=0.05)
    training.train(replace(method, finetune=replace(fast, interpolated=False)), "dogs", name="last", command="test")
    share = training.train(replace(method, finetune=fast), "dogs", name="vit-finetuned", command="test")[
        "interpolated_share"
    ]
    assert share in training.SHARES
    first, last, kept = load_file(artifacts.find_weights("vit.safetensors")), weights("last"), weights("vit-finetuned")
    key = "blocks.0.attn.qkv.weight"
    assert np.abs(last[key] - first[key]).max() > 1e-3
    line = first[key] + np.float32(share) * (last[key].astype(np.float32) - first[key])
    np.testing.assert_allclose(kept[key], line, atol=2e-3)


def test_the_share_that_is_kept_has_the_least_validation_loss(table, tiny_methods, monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    monkeypatch.setattr(training.metrics, "losses", lambda logits, labels: np.array([next(losses)]))
    assert train(tiny_methods, "vit-finetuned")["interpolated_share"] == training.SHARES[1]


def test_an_untrained_method_answers_as_its_imagenet_classifier_does(table, tiny_methods):
    """Its logits are those of the pretrained network for the three breeds' classes: 160, 162, 254."""
    info = train(tiny_methods, "cnn-imagenet")
    assert (info["trained_parameters"], info["weights_bytes"], info["files"]) == (0, 0, {})
    assert artifacts.read_history(info) is None
    classifier = inference.load_classifier("dogs", "cnn-imagenet", runtime="eager")
    assert classifier.breeds == ["Afghan_hound", "beagle", "pug"]
    network = timm.create_model("test_efficientnet")
    network.load_state_dict({k: v.float() for k, v in load_torch(artifacts.find_weights("cnn.safetensors")).items()})
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    whole = network.eval()(inference.to_tensor(pixels, classifier.preprocessing)).detach().numpy()
    np.testing.assert_allclose(classifier.forward(pixels)[0], whole[:, [160, 162, 254]], atol=1e-4)
    numbers = inference.evaluate("cnn-imagenet", "dogs", command="test")["metrics"]
    assert numbers["test"]["photos"] > 0
    assert [problem for _what, problem in artifacts.verify()] == [None, None]


def test_training_stops_early_when_validation_does_not_improve(table, tiny_methods):
    method = tiny_methods["cnn-frozen"]
    method = replace(method, probe=replace(method.probe, epochs=40, learning_rate=3.0, patience=2))
    start = time.perf_counter()
    info = training.train(method, "dogs", name="early", command="test")
    assert len(artifacts.read_history(info)) < 40, time.perf_counter() - start
