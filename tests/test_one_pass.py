"""Maps that come with the answer in one forward pass, against the definitions that take a pass of their own."""

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dogpoc.explanation import ExplainedModel, attention_maps, gradcam, map_of_answer, rollout
from dogpoc.inference import compile_classifier, to_tensor
from dogpoc.methods import HALF, Preprocessing

SEEN = Preprocessing(64, 1.0, "bilinear", HALF, HALF)
VIT = {"img_size": 64, "embed_dim": 48, "depth": 3, "num_heads": 3, "num_classes": 5}
TRANSFORMERS = {
    "class token": {},
    "registers": {"reg_tokens": 4},
    "average": {"class_token": False, "global_pool": "avg"},
    "patch 32": {"patch_size": 32},
}


def vit(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **VIT, **TRANSFORMERS[name]).eval()
    for parameter in model.parameters():  # random weights of timm give nearly uniform attention; these do not
        nn.init.normal_(parameter, std=0.3)
    return model


def cnn(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=5).eval()


def photos(n: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)


def explained(model: nn.Module, runtime: str = "eager"):
    return compile_classifier(model, SEEN, breeds=range(5), runtime=runtime, around=ExplainedModel)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_the_rollout_that_comes_with_the_answers_is_that_of_each_photo_alone(name):
    model = vit(name)
    logits, _features, maps = explained(model).forward(photos())
    for photo, one, drawn in zip(photos(), logits, maps, strict=True):
        alone = attention_maps(model, to_tensor(photo[None], SEEN))
        np.testing.assert_allclose(one, alone.logits, atol=1e-4)
        assert drawn.shape == (1, *alone.grid)
        np.testing.assert_allclose(drawn[0], rollout(alone), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "resnet10t"])
def test_the_map_of_each_breed_that_comes_with_the_answers_is_grad_cam(name):
    model = cnn(name)
    _logits, _features, maps = explained(model).forward(photos(2))
    assert maps.shape[:2] == (2, 5)
    for photo, drawn in zip(photos(2), maps, strict=True):
        for breed in range(5):
            slow = gradcam(model, to_tensor(photo[None], SEEN), breed)
            np.testing.assert_allclose(drawn[breed].clip(min=0), slow, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: cnn("mobilenetv2_035"), lambda: vit("class token")], ids=["cnn", "vit"])
def test_the_answers_are_those_of_the_plain_pass_on_the_runtime_that_answers(make):
    model = make()
    plain = compile_classifier(model, SEEN, breeds=range(5)).forward(photos())
    *with_maps, maps = compile_classifier(model, SEEN, breeds=range(5), around=ExplainedModel).forward(photos())
    assert len(plain) == len(with_maps) == 2
    for expected, found in zip(plain, with_maps, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    eager = explained(model).forward(photos())[2]
    np.testing.assert_allclose(maps, eager, rtol=1e-3, atol=1e-5)


def test_a_network_that_normalises_before_its_head_gives_no_maps_but_has_its_map_all_the_same():
    model = cnn("test_convnext")
    logits, _features, *maps = explained(model).forward(photos(1))
    with torch.inference_mode():
        expected = model(to_tensor(photos(1), SEEN)).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert not maps
    method, drawn = map_of_answer(explained(model), photos(1)[0], 2, [])
    assert method == "gradcam"
    np.testing.assert_allclose(drawn, gradcam(model, to_tensor(photos(1), SEEN), 2), atol=1e-6)


def test_what_speaks_against_a_breed_is_not_drawn_and_a_rollout_is_the_same_for_all_breeds():
    maps = np.array([[[1.0, -2.0]], [[-1.0, 3.0]]])
    assert map_of_answer(None, None, 1, maps)[0] == "gradcam"
    np.testing.assert_array_equal(map_of_answer(None, None, 1, maps)[1], [[0, 3]])
    assert map_of_answer(None, None, 1, maps[:1])[0] == "rollout"
