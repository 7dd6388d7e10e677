"""Networks of our own: the arithmetic of their layers against loops, their weights against timm's, and one training
step of every method."""

import math
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dogpoc import artifacts, dataset, explanation, inference, networks, training
from dogpoc.inference import ModelError
from dogpoc.methods import HALF, METHODS, Backbone, Method, Preprocessing

NARROW = ((8, 8), (8, 8), (16, 16, 16), (16, 16, 16), (32, 32, 32))  # VGG16's convolutions with fewer channels
SMALL = Preprocessing(32, 1.0, "bilinear", HALF, HALF)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def vgg_file(workplace, monkeypatch) -> dict[str, torch.Tensor]:
    """weights/vgg16.safetensors as timm would have it, dense layers included (narrow ones); the weights in it."""
    (workplace / "weights").mkdir()
    monkeypatch.setenv("DOGPOC_WEIGHTS", str(workplace / "weights"))
    torch.manual_seed(0)
    state = timm.create_model("vgg16", mlp_ratio=0.001).state_dict()
    save_file(state, workplace / "weights" / "vgg16.safetensors")
    return state


def test_vgg16_answers_as_timms_with_the_weights_of_a_file_that_has_more(vgg_file):
    backbone = Backbone("vgg16", SMALL, library="dogpoc", kwargs={"size": 32}, weights="vgg16")
    network = inference.build(backbone, 5)
    used = inference.load_backbone(network, backbone)
    assert used["file"] == "vgg16.safetensors"
    original = timm.create_model("vgg16", mlp_ratio=0.001).eval()
    original.load_state_dict(vgg_file)
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(network.forward_features(x), original.forward_features(x))
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        assert features.shape == (2, 512)
        torch.testing.assert_close(network(x), network.get_classifier()(features))


def test_a_file_that_lacks_a_convolution_is_refused(vgg_file, workplace):
    del vgg_file["features.28.weight"]
    save_file(vgg_file, workplace / "weights" / "vgg16.safetensors")
    backbone = Backbone("vgg16", SMALL, library="dogpoc", weights="vgg16")
    with pytest.raises(ModelError, match=r"do not fit the network: features\.28\.weight"):
        inference.load_backbone(inference.build(backbone, 5), backbone)


def test_vgg16_flattens_or_averages_its_maps():
    maps = torch.arange(2 * 512 * 4, dtype=torch.float32).reshape(2, 512, 2, 2)
    with torch.device("meta"):
        flat, averaged = networks.VGG(5, size=64), networks.VGG(5, pooling="average")
    torch.testing.assert_close(flat.forward_head(maps, pre_logits=True), maps.reshape(2, 2048))
    torch.testing.assert_close(averaged.forward_head(maps, pre_logits=True), maps.mean(dim=(2, 3)))
    assert (flat.head.in_features, averaged.head.in_features) == (2048, 512)


def test_patches_are_cut_row_by_row():
    patches = networks.Patches(size=6, patch_size=2, width=12)
    nn.init.eye_(patches.project.weight)
    nn.init.zeros_(patches.project.bias)
    nn.init.zeros_(patches.position)
    x = torch.randn(1, 3, 6, 6)
    for n, (row, column) in enumerate((r, c) for r in range(3) for c in range(3)):
        expected = x[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
        torch.testing.assert_close(patches(x)[0, n], expected)


def test_attention_is_that_of_its_definition():
    torch.manual_seed(0)
    attention, x = networks.Attention(width=4, heads=3, dropout=0.1).eval(), torch.randn(1, 5, 4)
    answers = []
    weights, biases = attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3)
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        query, key, value = (x[0] @ w[rows].T + b[rows] for w, b in zip(weights, biases, strict=True))
        answers.append((query @ key.T / math.sqrt(4)).softmax(dim=1) @ value)
    torch.testing.assert_close(attention(x)[0], attention.out(torch.cat(answers, dim=1)))


def test_dropout_and_hidden_layers_are_where_they_should_be():
    layers = networks.mlp((8, 6, 4, 2), dropout=0.5)
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    bound = math.sqrt(6 / (8 + 6))  # Glorot and Bengio 2010
    assert bound / 2 < layers[0].weight.abs().max() <= bound
    assert not layers[0].bias.any()


def test_the_attention_of_a_small_vit_can_be_drawn():
    network = networks.SmallViT(3, size=24, patch_size=6, hidden=(8,)).eval()
    found = explanation.attention_maps(network, torch.randn(1, 3, 24, 24))
    assert (found.maps.shape, found.grid, found.prefix, found.class_token) == ((8, 4, 16, 16), (4, 4), 0, False)
    np.testing.assert_allclose(found.maps.sum(axis=-1), 1, atol=1e-5)
    with torch.inference_mode():
        np.testing.assert_allclose(found.logits, network(torch.zeros(1, 3, 24, 24))[0], atol=5)


def test_a_small_vit_and_vgg16_run_on_the_runtime_as_eager_torch_does(monkeypatch):
    monkeypatch.setattr(networks, "VGG16", NARROW)
    torch.manual_seed(0)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    for network in (networks.SmallViT(4, 32, 4, layers=2, hidden=(16,)), networks.VGG(4, 32, normalised=True)):
        both = [
            inference.compile_classifier(network.eval(), SMALL, breeds="abcd", runtime=name) for name in ("eager", None)
        ]
        answers = [classifier.forward(pixels)[0] for classifier in both]
        np.testing.assert_allclose(*answers, atol=1e-4)


# -- one training step of every method ----------------------------------------------------------------------------

# What is reduced, so that a step takes about a second: pictures of 32 to 96 pixels, VGG16 to NARROW, hidden layers of
# heads to a 32nd, and these widths and depths. The last weights are kept, not those between the first and the last.
SHRUNK = {
    "deit_tiny_patch16_224": {"img_size": 32, "depth": 2},
    "google/vit-base-patch16-224-in21k": {"image_size": 32, "num_hidden_layers": 2, "hidden_size": 96}
    | {"intermediate_size": 192},
    "resnet50": {"layers": (1, 1, 1, 1)},
    "resnext101_32x48d": {"layers": (1, 1, 1, 1), "base_width": 4},
    "vgg16": {"size": 32},
    "vit-small-scratch": {"layers": 2, "hidden": (64, 32)},
    "vit_base_patch32_224": {"img_size": 96, "depth": 2, "embed_dim": 96, "num_heads": 3},
    "vit_small_r26_s32_224": {"img_size": 96, "depth": 2},
    "vit_tiny_patch16_224": {"img_size": 32, "depth": 2},
}
SIDES = {299: 96, 224: 32, 72: 72, 32: 32}
OF_STUDIES = [name for name, method in METHODS.items() if method.study]


def shrunk(method: Method) -> Method:
    """`method` in miniature, and for one step: the same layers, head, optimizer, augmentation and order of phases."""
    backbone = method.backbones[0]
    changes = SHRUNK.get(backbone.model, {})
    size = changes.get("img_size", SIDES[backbone.preprocessing.size])
    small = replace(
        backbone,
        preprocessing=replace(backbone.preprocessing, size=size),
        kwargs={**backbone.kwargs, **changes},
        weights=backbone.pretrained and "tiny",
        hub=None,
    )
    recipes = {
        phase: recipe
        and replace(recipe, epochs=1, warmup=0.0, size=recipe.size and size + 32, averaging=0.0, interpolated=False)
        for phase, recipe in (("probe", method.probe), ("finetune", method.finetune))
    }
    return replace(method, backbones=(small,), head="new", hidden=tuple(n // 32 for n in method.hidden), **recipes)


@pytest.mark.parametrize("name", OF_STUDIES)
def test_every_method_trains_one_step_and_answers(name, dogs, workplace, monkeypatch):
    method = shrunk(METHODS[name])
    backbone = method.backbones[0]
    (workplace / "weights").mkdir()
    monkeypatch.setenv("DOGPOC_WEIGHTS", str(workplace / "weights"))
    monkeypatch.setattr(networks, "VGG16", NARROW)
    monkeypatch.setattr(inference, "_openvino", lambda model: None)  # takes seconds to compile
    monkeypatch.setattr("accelerate.utils.memory.gc.collect", lambda: 0)  # half a second each
    if backbone.pretrained:
        torch.manual_seed(0)
        save_file(inference.build(backbone, 10).state_dict(), workplace / "weights" / "tiny.safetensors")
    dataset.split("dogs")

    info = training.train(method, "dogs", name="run", command="test")
    phases = [phase for phase in ("probe", "finetune") if getattr(method, phase)]
    history = artifacts.read_history(info)
    assert list(history["phase"]) == phases
    assert np.isfinite(history["train_loss"]).all()
    network = inference.load_classifier("dogs", "run", runtime="eager")
    assert network.forward(np.zeros((2, *[backbone.preprocessing.size] * 2, 3), np.uint8))[0].shape == (2, 3)
    head = network.model.get_classifier()
    last = head if isinstance(head, nn.Linear) else [m for m in head.modules() if isinstance(m, nn.Linear)][-1]
    assert last.weight.abs().sum() > 0, "it began with zeros or was moved"
    assert info["trained_parameters"] == inference.count_parameters(method, 3)[1]
