"""Training: seeded, resumable to the same artifacts, and nothing but the train and validation photos are read."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch

from dogpoc import artifacts, dataset, inference, training
from dogpoc.inference import ModelError
from dogpoc.methods import HALF, Backbone, Method, Preprocessing, Recipe

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_progress_is_a_line_for_each_epoch_and_nothing_on_standard_output(table, tiny_methods, capfd):
    history = artifacts.read_history(train(tiny_methods, "cnn-frozen", progress=True))
    out, err = capfd.readouterr()
    told = [line.split("epoch ")[1] for line in err.splitlines() if "epoch " in line]
    assert [line.split(":")[0] for line in told] == ["1", "2", "3"]
    assert f"log loss {history['validation_loss'].iloc[-1]:.3f} ({history['train_loss'].iloc[-1]:.3f})" in told[-1]
    assert out == ""
    assert "{'" not in err


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
    killed = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
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


# -- from scratch, hidden layers, augmentation, sizes -------------------------------------------------------------

SEEN = Preprocessing(24, 1.0, "bilinear", HALF, HALF)
FROM_SCRATCH = Method(
    "scratch",
    "",
    "",
    (Backbone("vit-small-scratch", SEEN, "dogpoc", {"size": 24, "layers": 2, "hidden": (16,)}),),
    "everything",
    finetune=Recipe(4, 1e-2, 1e-4, batch_size=8, augmentation="zoom-flip-rotation", schedule="constant", patience=4),
)


def test_a_network_from_scratch_needs_no_file_and_answers_from_what_was_stored(table):
    info = training.train(FROM_SCRATCH, "dogs", name="scratch", command="test")
    assert (info["backbone"], info["trained_parameters"]) == (None, info["parameters"])
    assert artifacts.missing_weights(info) is None
    loaded = inference.load_classifier("dogs", "scratch", runtime="eager")
    stored = weights("scratch")
    np.testing.assert_array_equal(loaded.model.blocks[0].norm1.weight.detach(), stored["blocks.0.norm1.weight"])
    assert not (stored["blocks.0.norm1.weight"] == 1).all(), "it has learnt"


def test_a_training_from_scratch_that_stopped_resumes_to_the_same_weights(table, monkeypatch):
    """Its dropout, augmentation and constant rate too."""
    whole = training.train(FROM_SCRATCH, "dogs", name="whole", command="test")

    def stop(self, args, state, control, **_more):
        if state.epoch >= 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training._Epochs, "on_save", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(FROM_SCRATCH, "dogs", name="stopped", command="test")
    resumed = training.train(FROM_SCRATCH, "dogs", name="stopped", command="test", resume=True)
    assert resumed["files"]["weights.safetensors"] == whole["files"]["weights.safetensors"]
    columns = [name for name in training.HISTORY if name != "seconds"]
    np.testing.assert_array_equal(*(artifacts.read_history(info)[columns].to_numpy() for info in (whole, resumed)))


def test_batch_statistics_are_learnt_from_scratch(table, tiny_methods):
    backbone = replace(tiny_methods["cnn-finetuned"].backbones[0], weights=None)
    method = replace(tiny_methods["cnn-finetuned"], backbones=(backbone,), probe=None)
    training.train(method, "dogs", name="cnn", command="test")
    means = [value for key, value in weights("cnn").items() if key.endswith("running_mean")]
    assert means
    assert all(value.any() for value in means), "they begin with zeros"


def test_a_head_with_hidden_layers_learns_on_a_frozen_backbone(table, tiny_methods):
    """Its last layer begins with zeros, so the first answer is uniform; the layers before must not, or none learns."""
    method = replace(tiny_methods["cnn-frozen"], hidden=(16, 8), dropout=0.5)
    method = replace(method, probe=replace(method.probe, optimizer="adam", schedule="constant", epochs=20))
    info = training.train(method, "dogs", name="mlp", command="test")
    shapes = {key: value.shape for key, value in weights("mlp").items() if key.endswith("weight")}
    assert shapes == {"0.weight": (16, 256), "3.weight": (8, 16), "6.weight": (3, 8)}
    assert info["method"]["hidden"] == [16, 8]
    history = artifacts.read_history(info)
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert all(weights("mlp")[name].any() for name in shapes)
    network = inference.load_classifier("dogs", "mlp", runtime="eager").model
    np.testing.assert_array_equal(network.get_classifier()[0].weight.detach(), weights("mlp")["0.weight"])


def test_a_head_on_augmented_photos_leaves_the_backbone_as_it_was(table, tiny_methods, monkeypatch):
    method = tiny_methods["cnn-frozen"]
    method = replace(method, dropout=0.5, hidden=(8,), probe=replace(method.probe, augmentation="flip-rotation"))
    networks, modes = [], []
    built = inference.build
    monkeypatch.setattr(inference, "build", lambda *a, **k: networks.append(built(*a, **k)) or networks[-1])
    forward = training._Fitted.forward

    def watched(self, pixels, labels):
        learning = self.learning[0]
        rest = [m for m in self.model.modules() if not any(m is part for part in learning.modules())]
        modes.append((self.training, learning.training, any(m.training for m in rest)))
        return forward(self, pixels, labels)

    monkeypatch.setattr(training._Fitted, "forward", watched)
    info = training.train(method, "dogs", name="head", command="test")
    assert set(modes) == {(True, True, False), (False, False, False)}
    assert info["trained_parameters"] == 256 * 8 + 8 + 8 * 3 + 3
    before = load_torch(artifacts.find_weights("cnn.safetensors"))
    after = networks[0].state_dict()
    assert all(torch.equal(after[key], before[key].float()) for key in after if not key.startswith("classifier"))
    assert all(p.requires_grad for p in networks[0].parameters())


def test_a_head_is_trained_at_one_size_and_validated_at_another(table, tiny_methods, monkeypatch):
    method = tiny_methods["cnn-frozen"]
    method = replace(method, probe=replace(method.probe, size=48))
    sizes, stream = [], inference.stream

    def watched(classifier, paths, **options):
        sizes.append((classifier.preprocessing.size, len(paths)))
        return stream(classifier, paths, **options)

    monkeypatch.setattr(training.inference, "stream", watched)
    info = training.train(method, "dogs", name="fixres", command="test")
    counts = table["split"].value_counts()
    assert sizes == [(48, counts["train"]), (32, counts["validation"])]
    assert (info["preprocessing"]["size"], info["method"]["probe"]["size"]) == (32, 48)


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("adam", torch.optim.Adam, {"weight_decay": 0.0}),
        ("rmsprop", torch.optim.RMSprop, {"momentum": 0.0, "alpha": 0.9}),  # Keras's defaults
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999)}),
    ],
)
def test_an_optimizer_is_the_one_that_is_named(name, kind, told):
    recipe = Recipe(epochs=1, learning_rate=0.25, weight_decay=0.0, optimizer=name)
    made = training._optimizer(torch.nn.Linear(2, 2), recipe)
    assert type(made) is kind
    assert {key: made.defaults[key] for key in told} == told
    assert [group["lr"] for group in made.param_groups] == [0.25]


@pytest.mark.parametrize(("schedule", "last"), [("constant", 1.0), ("cosine", 0.0)])
def test_the_rate_stays_or_goes_down_as_the_recipe_says(table, tiny_methods, monkeypatch, schedule, last):
    rates = []
    on_step_end = training._Epochs.on_step_end

    def watched(self, args, state, control, **more):
        rates.append(more["lr_scheduler"].get_last_lr()[0])
        return on_step_end(self, args, state, control, **more)

    monkeypatch.setattr(training._Epochs, "on_step_end", watched)
    method = tiny_methods["cnn-frozen"]
    training.train(
        replace(method, probe=replace(method.probe, schedule=schedule)), "dogs", name="cnn-frozen", command="test"
    )
    assert rates[-1] == pytest.approx(last * method.probe.learning_rate)


@pytest.mark.parametrize("name", ["flip-rotation", "zoom-flip-rotation"])
def test_photos_are_turned_zoomed_and_flipped_without_black_borders(name):
    change = training._augmentation(name, 64)
    white = Image.new("RGB", (64, 64), "white")
    torch.manual_seed(0)
    for _time in range(20):
        assert np.asarray(change(white)).min() == 255
    assert change(white).size == (64, 64)
    half = Image.fromarray(np.repeat(np.uint8([0] * 32 + [255] * 32)[None, :, None], 64, axis=0).repeat(3, axis=2))
    pictures = [np.asarray(change(half), float)[..., 0] for _time in range(40)]
    left_is_dark = [picture[:, :16].mean() < picture[:, -16:].mean() for picture in pictures]
    assert 5 < sum(left_is_dark) < 35
    edges = [np.abs(np.diff(picture[[4, -4]], axis=1)).argmax(axis=1) for picture in pictures]
    slopes = np.degrees(np.arctan([(below - above) / 56 for above, below in edges]))
    assert 3 < np.abs(slopes).max() < training.TURN + 1.5


def test_photos_may_grow_and_shrink_by_a_fifth():
    square = np.zeros((64, 64, 3), np.uint8)
    square[16:48, 16:48] = 255
    torch.manual_seed(0)
    change = training._augmentation("zoom-flip-rotation", 64)
    areas = [np.asarray(change(Image.fromarray(square)), float).mean() / 255 * 64**2 for _time in range(60)]
    shares = np.sqrt(areas) / 32
    assert 0.78 < shares.min() < 0.87
    assert 1.13 < shares.max() < 1.22


@pytest.mark.parametrize("augmentation", ["none", "zoom-flip-rotation"])
def test_photos_decoded_once_are_those_decoded_each_time(table, monkeypatch, augmentation):
    paths = dataset.require_photos(table)[:4]
    arguments = (paths, np.arange(4), SEEN, augmentation, 3)
    kept = training._Photos(*arguments)
    monkeypatch.setattr(training, "KEPT_BYTES", 4 * 24 * 24 * 3 - 1)
    read = training._Photos(*arguments)
    assert (kept.kept is not None, read.kept) == (True, None)
    for epoch in (0, 1):
        kept.epoch = read.epoch = epoch
        for i in range(4):
            assert torch.equal(kept[i]["pixels"], read[i]["pixels"])
    first = kept[0]["pixels"]
    kept.epoch = 0
    assert torch.equal(first, kept[0]["pixels"]) == (augmentation == "none")
