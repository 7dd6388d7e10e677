"""Maps of small models with random weights, against the definitions written out as loops, and against captum."""

import io
import threading

import numpy as np
import pytest
import timm
import torch
from captum.attr import LayerGradCam
from PIL import Image
from timm.layers import set_fused_attn
from torch import nn
from transformers import ViTConfig

from dogpoc import explanation
from dogpoc.explanation import (
    METHODS,
    Attention,
    ExplanationError,
    attention_maps,
    explain,
    explain_pixels,
    gradcam,
    outliers,
    overlay,
    relevance,
    rollout,
    token_map,
    usual_method,
)
from dogpoc.inference import Classifier, compile_classifier, crop_box, to_tensor
from dogpoc.methods import HALF, Preprocessing
from dogpoc.photo import read_photo

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
    "positions": ("test_vit_relpos", {"img_size": 64, "num_classes": 5}),
    "both": ("test_vit2", {"img_size": 64, "num_classes": 5}),  # a class token, and the mean over the patches
}
SEEN = Preprocessing(64, 1.0, "bilinear", HALF, HALF)


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
def test_the_answer_of_the_pass_that_relevance_follows_back_is_the_plain_answer(name):
    model = model_of(name)
    pixels = pixels_of(model)
    logits = explanation._recorded(model, pixels.clone().requires_grad_())[0]
    assert logits.requires_grad
    np.testing.assert_allclose(logits[0].detach().numpy(), plain_logits(model, pixels), atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_row_of_attention_sums_to_one(name):
    maps = attention_maps(model := model_of(name), pixels_of(model)).maps
    assert maps.shape[:2] == (len(model.blocks), model.blocks[0].attn.num_heads)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, (_model, kwargs) in MODELS.items() if "depth" in kwargs])
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
        ("positions", (4, 4), 0, False),
        ("both", (4, 4), 1, False),
    ],
)
def test_the_grid_and_the_answer_s_token_are_the_model_s(name, grid, prefix, class_token):
    attention = attention_maps(model := model_of(name), pixels_of(model))
    assert (attention.grid, attention.prefix, attention.class_token) == (grid, prefix, class_token)
    assert token_map(attention, 0).shape == rollout(attention).shape == grid
    assert relevance(model, pixels_of(model), 0).shape == outliers(attention).shape == grid


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
    attention = Attention(maps, np.zeros(2), (2, 2), class_token=True, norms=np.zeros(0))
    np.testing.assert_allclose(token_map(attention, 1, 2), maps[1, 2, 0, 3:].reshape(2, 2), atol=1e-6)
    np.testing.assert_allclose(token_map(attention, 1), maps[1, :, 0, 3:].mean(0).reshape(2, 2), atol=1e-6)


def test_the_map_of_a_patch_is_its_own_row():
    maps = np.random.default_rng(0).dirichlet(np.ones(7), size=(2, 3, 7))  # class token, 2 x 3 patches
    attention = Attention(maps, np.zeros(2), (2, 3), class_token=True, norms=np.zeros(0))
    np.testing.assert_allclose(token_map(attention, 1, 2, (1, 0)), maps[1, 2, 4, 1:].reshape(2, 3), atol=1e-6)
    np.testing.assert_allclose(
        token_map(attention, 0, None, (0, 2)), maps[0, :, 3, 1:].mean(0).reshape(2, 3), atol=1e-6
    )


def test_a_token_twice_as_long_as_the_median_patch_s_is_an_outlier():
    norms = np.float32([90, 80, 1, 2, 2, 2, 4.1, 4])  # class token, register, 2 x 3 patches: median 2
    attention = Attention(np.zeros((1, 1, 8, 8)), np.zeros(2), (2, 3), class_token=True, norms=norms)
    np.testing.assert_array_equal(outliers(attention), [[False, False, False], [False, True, False]])
    unknown = Attention(np.zeros((1, 1, 8, 8)), np.zeros(2), (2, 3), class_token=True, norms=np.zeros(0))
    assert not outliers(unknown).any()


def test_the_lengths_of_the_tokens_are_those_before_the_last_normalisation():
    model = model_of("registers")
    pixels = pixels_of(model)
    with torch.inference_mode():
        tokens = model.blocks(model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(pixels)))))
    by_hand = [float(np.sqrt((token.double().numpy() ** 2).sum())) for token in tokens[0]]
    np.testing.assert_allclose(attention_maps(model, pixels).norms, by_hand, rtol=1e-4)


def test_without_a_class_token_the_map_is_the_mean_over_the_patches():
    maps = np.random.default_rng(0).dirichlet(np.ones(5), size=(1, 1, 5))  # 1 register, 2 x 2 patches
    attention = Attention(maps, np.zeros(2), (2, 2), class_token=False, norms=np.zeros(0))
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
    attention = Attention(maps.astype(np.float32), np.zeros(2), (2, 2), class_token=True, norms=np.zeros(0))
    np.testing.assert_allclose(rollout(attention), rolled[0, 1:].reshape(2, 2), atol=1e-6)


def relevance_by_hand(model: nn.Module, pixels: torch.Tensor, breed: int, against: int | None) -> np.ndarray:
    """Chefer et al. 2021, equations 5 and 6, for all T x T: R = 1, then R += mean_h((dy/dA * A)+) R, layer by layer.

    As in the authors' code: attention kept by hooks, its gradient by backward(). Not the fused kernel.
    """
    kept = []

    def keep(_module, _inputs, attention):
        attention.retain_grad()
        kept.append(attention)

    hooks = [block.attn.attn_drop.register_forward_hook(keep) for block in model.blocks]
    for block in model.blocks:
        block.attn.fused_attn = False
    logits = model(pixels.clone().requires_grad_())[0]
    (logits[breed] - (0 if against is None else logits[against])).backward()
    for hook in hooks:
        hook.remove()
    found = np.eye(kept[0].shape[-1])
    for attention in kept:
        gradient = attention.grad[0].double().numpy()
        added = np.zeros_like(found)
        for head, weights in enumerate(attention.detach()[0].double().numpy()):
            added += np.maximum(gradient[head] * weights, 0) / len(gradient)
        found = found + added @ found
    return found  # (T, T)


@pytest.mark.parametrize("against", [None, 3])
@pytest.mark.parametrize("name", ["vit", "registers", "average", "wide", "positions", "both"])
def test_relevance_is_the_paper_s_product_over_all_layers(name, against):
    model = model_of(name)
    pixels = pixels_of(model)
    grid, prefix, class_token = (
        getattr(attention_maps(model, pixels), key) for key in ("grid", "prefix", "class_token")
    )
    found = relevance(model, pixels, 1, against)
    by_hand = relevance_by_hand(model_of(name), pixels, 1, against)
    row = by_hand[0] if class_token else by_hand[prefix:].mean(0)
    expected = row[prefix:].reshape(grid)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_relevance_differs_between_breeds_and_the_contrast_is_not_either():
    model = model_of("vit")
    pixels = pixels_of(model)
    one, other, contrast = relevance(model, pixels, 0), relevance(model, pixels, 1), relevance(model, pixels, 0, 1)
    assert min(np.abs(one - other).max(), np.abs(contrast - one).max(), np.abs(contrast - other).max()) > 1e-3


def cnn_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5).eval()


LAYERS = {
    "test_resnet": "layer4",
    "test_efficientnet": "bn2",
    "test_convnext": "norm_pre",
    "test_nfnet": "final_act",
    "test_byobnet": "final_conv",
}


@pytest.mark.parametrize("against", [None, 2])
@pytest.mark.parametrize("name", LAYERS)
def test_grad_cam_is_captum_s(name, against):
    model = cnn_of(name)
    pixels = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    found = gradcam(model, pixels, 0, against)

    def score(photos):
        logits = model(photos)
        return logits[:, 0] - (0 if against is None else logits[:, against])

    expected = LayerGradCam(score, getattr(model, LAYERS[name])).attribute(
        pixels.requires_grad_(), relu_attributions=True
    )
    assert found.max() > 0
    np.testing.assert_allclose(found, expected[0, 0].detach().numpy(), rtol=1e-3, atol=1e-5 * found.max())


class Lamps(nn.Module):
    """A network to work by hand: the logit of breed 0 is the sum of red over 8 x 8 cells of mean brightness, that of
    breed 1 of green; nothing else counts."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x[:, :2], 8) * self.scale

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        return features.sum(dim=(2, 3))

    def get_classifier(self) -> nn.Module:
        return nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def classifier_of(model: nn.Module, size: int = 64) -> Classifier:
    seen = Preprocessing(size, 1.0, "bilinear", HALF, HALF)
    return compile_classifier(model, seen, breeds=list("abcde"), runtime="eager")


def lamps_photo() -> np.ndarray:
    photo = np.full((64, 64, 3), 128, np.uint8)
    photo[8:16, 40:48, 0] = 255  # cell (1, 5) red
    photo[48:56, 16:24, 1] = 255  # cell (6, 2) green
    return photo


@pytest.mark.parametrize("method", ["gradcam", "integrated-gradients", "occlusion"])
def test_a_map_worked_by_hand(method):
    lamps, photo = classifier_of(Lamps()), lamps_photo()
    grey, full = (128 / 255 - 0.5) / 0.5, 1.0
    red = explain_pixels(lamps, photo, method, 0)
    expected = np.full((8, 8), 0.0 if method == "occlusion" else grey)  # grey is the occluding colour
    expected[1, 5] = full - (grey if method == "occlusion" else 0)
    np.testing.assert_allclose(red, expected, atol=1e-3)
    contrast = explain_pixels(lamps, photo, method, 0, 1)
    expected = np.zeros((8, 8))
    expected[1, 5], expected[6, 2] = full - grey, 0 if method == "gradcam" else grey - full
    np.testing.assert_allclose(contrast, expected, atol=1e-3)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_integrated_gradients_add_up_to_the_score_s_difference_from_grey(name):
    model = timm.create_model(name, num_classes=5, **({"img_size": 64} if name == "test_vit" else {})).eval()
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    values = explain_pixels(classifier_of(model), photo, "integrated-gradients", 2, 4)
    ends = torch.cat([to_tensor(photo[None], SEEN), torch.zeros(1, 3, 64, 64)])
    logits = plain_logits_of_all(model, ends)
    difference = (logits[0, 2] - logits[0, 4]) - (logits[1, 2] - logits[1, 4])
    assert values.sum() == pytest.approx(difference, rel=0.02, abs=1e-4)


def plain_logits_of_all(model: nn.Module, pixels: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return model(pixels).numpy()


@pytest.mark.parametrize("method", ["gradcam", "integrated-gradients", "occlusion"])
@pytest.mark.parametrize("turned", [1, 3, 6, 8])
def test_the_overlay_of_a_turned_and_padded_photo_lands_on_its_mark(method, turned):
    upright = np.full((120, 200, 3), 128, np.uint8)
    upright[:15] = upright[-15:] = 0  # padded above and below
    upright[70:90, 120:140] = (255, 128, 128)  # the mark
    file = io.BytesIO()
    back = {1: 0, 3: 2, 6: 1, 8: 3}[turned]  # quarter turns against the clock that the camera's note undoes
    exif = Image.Exif()
    exif[0x0112] = turned
    Image.fromarray(np.rot90(upright, back)).save(file, "PNG", exif=exif)
    image = read_photo(file.getvalue())
    np.testing.assert_array_equal(np.asarray(image), upright)

    values = explain(classifier_of(Lamps()), image, method, 0, 1)
    left, top, right, bottom = crop_box(*image.size, SEEN)
    seen = np.asarray(image.crop((int(left), int(top), int(right), int(bottom))))  # 1:1, (120, 120, 3)
    heat = overlay(seen, values, opacity=1).astype(int).sum(axis=2)
    y, x = np.unravel_index(heat.argmax(), heat.shape)
    assert 70 <= y < 90
    assert 120 <= x + left < 140


SENSE = {  # by architecture: the methods that make sense
    "test_vit": set(METHODS) - {"gradcam"},
    "test_vit2": set(METHODS) - {"gradcam"},
    "test_vit3": set(METHODS) - {"gradcam"},
    "test_resnet": {"gradcam", "integrated-gradients", "occlusion"},
    "test_efficientnet": {"gradcam", "integrated-gradients", "occlusion"},
    "test_coatnet": {"gradcam", "integrated-gradients", "occlusion"},
}


@pytest.mark.parametrize("name", SENSE)
def test_every_method_gives_a_map_in_the_model_s_grid_or_one_line(name):
    sized = {"img_size": 64} if "vit" in name or name == "test_coatnet" else {}
    classifier = classifier_of(timm.create_model(name, num_classes=5, **sized).eval())
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8))
    shapes = set()
    for method in METHODS:
        if method in SENSE[name]:
            values = explain(classifier, photo, method, 1, 2)
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
            shapes.add(values.shape)
        else:
            with pytest.raises(ExplanationError) as refused:
                explain(classifier, photo, method, 1, 2)
            assert "\n" not in str(refused.value)
    assert shapes == ({(4, 4)} if "vit" in name else {(2, 2)})
    assert usual_method(classifier.model) in SENSE[name]


def test_windows_have_no_relevance_but_grad_cam():
    swin = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(1, 1, 1, 1)).eval()
    pixels = torch.randn(1, 3, 56, 56)
    with pytest.raises(ExplanationError, match="no attention over the whole photo"):
        relevance(swin, pixels, 0)
    assert gradcam(swin, pixels, 0).shape == (2, 2)
    assert usual_method(swin) == "gradcam"


def test_an_unknown_method_and_a_breed_against_itself_are_refused():
    lamps, photo = classifier_of(Lamps()), Image.fromarray(lamps_photo())
    with pytest.raises(ExplanationError, match="no method 'lime'; found: attention, rollout"):
        explain(lamps, photo, "lime", 0)
    with pytest.raises(ExplanationError, match="against itself"):
        explain(lamps, photo, "gradcam", 1, 1)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_explaining_leaves_the_model_as_it_was(name):
    model = timm.create_model(name, num_classes=5, **({"img_size": 64} if name == "test_vit" else {})).eval()
    classifier, photo = classifier_of(model), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = plain_logits(model, to_tensor(photo[None], SEEN))
    for method in SENSE[name]:
        explain_pixels(classifier, photo, method, 0)
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    assert not any(getattr(module, kind) for module in model.modules() for kind in kinds)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in model.modules())
    np.testing.assert_array_equal(plain_logits(model, to_tensor(photo[None], SEEN)), before)


@pytest.mark.parametrize("name", ["test_vit", "test_efficientnet"])
def test_visitors_who_explain_at_once_do_not_mix(name):
    model = timm.create_model(name, num_classes=5, **({"img_size": 64} if name == "test_vit" else {})).eval()
    classifier, rng = classifier_of(model), np.random.default_rng(0)
    photos = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _visitor in range(3)]
    methods = sorted(SENSE[name] - {"occlusion"})
    alone = [[explain_pixels(classifier, photo, method, 1) for method in methods] for photo in photos]
    found: dict[int, list[np.ndarray]] = {}
    start = threading.Barrier(len(photos))

    def visit(visitor: int) -> None:
        start.wait()
        found[visitor] = [explain_pixels(classifier, photos[visitor], method, 1) for method in methods]

    threads = [threading.Thread(target=visit, args=(visitor,)) for visitor in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for visitor, expected in enumerate(alone):
        for values, right in zip(found[visitor], expected, strict=True):
            np.testing.assert_allclose(values, right, rtol=1e-3, atol=1e-5)


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


def test_a_map_that_means_nothing_is_drawn_in_greys():
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    drawn = overlay(photo, np.eye(2), faded=True).astype(int)
    assert np.ptp(drawn, axis=2).max() == 0
