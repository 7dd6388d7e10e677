"""Attention of small vision transformers with random weights, against the definitions written out as loops."""

import threading

import numpy as np
import pytest
import timm
import torch
from timm.layers import set_fused_attn
from torch import nn
from transformers import ViTConfig

from dogpoc import explanation
from dogpoc.explanation import Attention, ExplanationError, attention_maps, overlay, rollout, token_map

SMALL = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
MODELS = {
    "vit": ("vit_tiny_patch16_224", SMALL),
    "deit": ("deit_tiny_patch16_224", SMALL),
    "distilled": ("deit_tiny_distilled_patch16_224", SMALL),
    "registers": ("vit_tiny_patch16_224", {**SMALL, "reg_tokens": 4}),
    "average": ("vit_tiny_patch16_224", {**SMALL, "class_token": False, "global_pool": "avg"}),
    "pooled": ("vit_tiny_patch16_224", {**SMALL, "class_token": False, "global_pool": "map"}),
    "wide": ("vit_tiny_patch16_224", {**SMALL, "img_size": (32, 96)}),
    "patch 32": ("vit_tiny_patch16_224", {**SMALL, "patch_size": 32}),
}


def model_of(name: str, seed: int = 0) -> nn.Module:
    architecture, kwargs = MODELS[name]
    torch.manual_seed(seed)
    model = timm.create_model(architecture, **kwargs).eval()
    for parameter in model.parameters():  # random weights of timm give nearly uniform attention; these do not
        nn.init.normal_(parameter, std=0.3)
    return model


def pixels_of(model: nn.Module, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 3, *model.patch_embed.img_size, generator=torch.Generator().manual_seed(seed))


def plain_logits(model: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        logits = model(pixels)
    return logits[0].numpy()


def first_layer_by_hand(model: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    """softmax(Q K' / sqrt(d)) of the first block, one head, query and key at a time."""
    with torch.inference_mode():
        tokens = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(pixels))))
        block = model.blocks[0]
        qkv = block.attn.qkv(block.norm1(tokens))[0].double().numpy()  # (T, 3 * D)
    heads, depth = block.attn.num_heads, block.attn.head_dim
    attention = np.zeros((heads, len(qkv), len(qkv)))
    for head in range(heads):
        query = qkv[:, head * depth : (head + 1) * depth]
        key = qkv[:, (heads + head) * depth : (heads + head + 1) * depth]
        for i in range(len(qkv)):
            scores = np.array([query[i] @ key[j] / depth**0.5 for j in range(len(qkv))])
            attention[head, i] = np.exp(scores) / np.exp(scores).sum()
    return attention


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_with_attention_is_the_plain_answer(name):
    model = model_of(name)
    pixels = pixels_of(model)
    np.testing.assert_allclose(attention_maps(model, pixels).logits, plain_logits(model, pixels), atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_row_of_attention_sums_to_one(name):
    maps = attention_maps(model := model_of(name), pixels_of(model)).maps
    assert maps.shape[:2] == (3, 3)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_attention_of_the_first_layer_is_the_definition_s(name):
    model = model_of(name)
    pixels = pixels_of(model)
    np.testing.assert_allclose(attention_maps(model, pixels).maps[0], first_layer_by_hand(model, pixels), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "grid", "prefix", "class_token"),
    [
        ("vit", (4, 4), 1, True),
        ("deit", (4, 4), 1, True),
        ("distilled", (4, 4), 2, True),
        ("registers", (4, 4), 5, True),
        ("average", (4, 4), 0, False),
        ("pooled", (4, 4), 0, False),
        ("wide", (2, 6), 1, True),
        ("patch 32", (2, 2), 1, True),
    ],
)
def test_the_grid_and_the_answer_s_token_are_the_model_s(name, grid, prefix, class_token):
    attention = attention_maps(model := model_of(name), pixels_of(model))
    assert (attention.grid, attention.prefix, attention.class_token) == (grid, prefix, class_token)
    assert token_map(attention, 0).shape == rollout(attention).shape == grid


@pytest.mark.parametrize("name", ["vit", "pooled"])
def test_a_model_without_the_fused_kernel_gives_the_same_attention(name):
    fused = model_of(name)
    set_fused_attn(False)
    try:
        plain = model_of(name)
    finally:
        set_fused_attn(True)
    pixels = pixels_of(fused)
    assert not plain.blocks[0].attn.fused_attn
    assert fused.blocks[0].attn.fused_attn
    np.testing.assert_allclose(attention_maps(plain, pixels).maps, attention_maps(fused, pixels).maps, atol=1e-5)


def test_a_transformer_of_the_hub_s_library_gives_its_attention():
    from dogpoc.inference import HubClassifier

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        image_size=64,
        patch_size=16,
    )
    model = HubClassifier(config, 5).eval()
    attention = attention_maps(model, torch.randn(1, 3, 64, 64))
    assert (attention.maps.shape, attention.grid, attention.class_token) == ((2, 3, 17, 17), (4, 4), True)


def test_the_class_token_s_map_is_its_row_without_the_prefix():
    maps = np.random.default_rng(0).dirichlet(np.ones(7), size=(2, 3, 7))  # class token, 2 registers, 2 x 2 patches
    attention = Attention(maps, np.zeros(2), (2, 2), class_token=True)
    np.testing.assert_allclose(token_map(attention, 1, 2), maps[1, 2, 0, 3:].reshape(2, 2), atol=1e-6)
    np.testing.assert_allclose(token_map(attention, 1), maps[1, :, 0, 3:].mean(0).reshape(2, 2), atol=1e-6)


def test_without_a_class_token_the_map_is_the_mean_over_the_patches():
    maps = np.random.default_rng(0).dirichlet(np.ones(5), size=(1, 1, 5))  # 1 register, 2 x 2 patches
    attention = Attention(maps, np.zeros(2), (2, 2), class_token=False)
    by_hand = sum(maps[0, 0, query, 1:] for query in range(1, 5)) / 4
    np.testing.assert_allclose(token_map(attention, 0), by_hand.reshape(2, 2), atol=1e-6)


def test_rollout_is_the_paper_s_product_of_half_attention_half_identity():
    maps = np.random.default_rng(0).dirichlet(np.ones(5), size=(3, 2, 5))
    rolled = np.eye(5)
    for layer in maps:  # Abnar and Zuidema 2020, equation 1 and the text after it, written as loops
        mixed = np.zeros((5, 5))
        for i in range(5):
            for j in range(5):
                mixed[i, j] = 0.5 * (layer[0, i, j] + layer[1, i, j]) / 2 + 0.5 * (i == j)
            mixed[i] /= mixed[i].sum()
        rolled = np.array([[sum(mixed[i, k] * rolled[k, j] for k in range(5)) for j in range(5)] for i in range(5)])
    attention = Attention(maps.astype(np.float32), np.zeros(2), (2, 2), class_token=True)
    np.testing.assert_allclose(rollout(attention), rolled[0, 1:].reshape(2, 2), atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenetv2_050", "resnet10t"])
def test_a_cnn_is_refused_with_one_line(name):
    with pytest.raises(ExplanationError, match="no attention over the whole photo"):
        attention_maps(timm.create_model(name).eval(), torch.randn(1, 3, 64, 64))


def test_attention_within_windows_is_refused():
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(1, 1, 1, 1)).eval()
    with pytest.raises(ExplanationError):
        attention_maps(swin, torch.randn(1, 3, 56, 56))


def test_the_model_is_left_as_it_was():
    model = model_of("registers")
    pixels = pixels_of(model)
    before = plain_logits(model, pixels)
    attention_maps(model, pixels)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(block.attn.fused_attn for block in model.blocks)
    np.testing.assert_array_equal(plain_logits(model, pixels), before)


def test_threads_that_share_a_model_do_not_mix():
    model = model_of("vit")
    photos = [pixels_of(model, seed) for seed in range(4)]
    alone = [attention_maps(model, photo).maps for photo in photos]
    results: dict[int, list[np.ndarray]] = {}
    start = threading.Barrier(len(photos))

    def explain(visitor: int) -> None:
        start.wait()
        results[visitor] = [attention_maps(model, photos[visitor]).maps for _repeat in range(5)]

    threads = [threading.Thread(target=explain, args=(visitor,)) for visitor in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for visitor, expected in enumerate(alone):
        for maps in results[visitor]:
            np.testing.assert_allclose(maps, expected, atol=1e-5)


def test_the_overlay_is_hot_where_the_map_is_high():
    photo = np.full((40, 80, 3), 128, np.uint8)
    values = np.zeros((2, 4))
    values[1, 3] = 1  # the patch in the lower right corner: rows 20..39, columns 60..79
    heat = overlay(photo, values, opacity=1.0).astype(int)
    assert heat.shape == photo.shape
    np.testing.assert_array_equal(heat[39, 79], explanation._colours()[255].round())
    np.testing.assert_array_equal(heat[0, 0], explanation._colours()[0].round())
    warm = heat[..., 0] > 200
    assert warm[20:, 60:].sum() == warm.sum() > 100


def test_the_overlay_without_opacity_is_the_grey_photo_and_a_flat_map_has_one_colour():
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    grey = photo @ [0.299, 0.587, 0.114]  # ITU-R 601
    np.testing.assert_allclose(overlay(photo, np.eye(2), opacity=0), np.stack([grey] * 3, axis=-1), atol=1)
    assert len(np.unique(overlay(photo, np.ones((2, 2)), opacity=1).reshape(-1, 3), axis=0)) == 1


def test_the_colours_of_the_overlay_rise_in_lightness():
    lightness = explanation._colours() @ [0.299, 0.587, 0.114]
    assert (np.diff(lightness) > 0).all()
    assert lightness[0] < 10
    assert lightness[-1] > 230
