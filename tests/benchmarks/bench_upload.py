"""What an explained answer of both models costs, in bare forward passes: ratios measured in one run, in turns. Needs
the photos, the pretrained backbones and a quiet machine.

python -m pytest tests/benchmarks/bench_upload.py -s
"""

import io
import time
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from PIL import Image

from dogpoc import dataset, explanation, inference
from dogpoc.methods import METHODS
from dogpoc.photo import read_photo
from pages.live import answering
from tests.benchmarks.bench_inference import hub_pipeline

RUNS = {"mobilenetv2-frozen": "gradcam", "vit-tiny-finetuned": "rollout"}
ROUNDS = 60
SIZES = {"a usual photo": (500, 375), "12 megapixels": (4032, 3024)}
LIMIT = 1.2  # times both bare forward passes in eager torch, from the decoded photo to both pictures


def eager(model, pixels: np.ndarray) -> torch.Tensor:
    """A bare forward pass in plain PyTorch."""
    with torch.inference_mode():
        return model.model(inference.to_tensor(pixels, model.preprocessing))


def fastest(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each way at its fastest; they take turns, so that a busy moment meets all of them."""
    taken = {name: [] for name in ways}
    for _round in range(ROUNDS):
        for name, work in ways.items():
            start = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - start)
    return {name: 1000 * min(seconds) for name, seconds in taken.items()}


@pytest.fixture(scope="module")
def models() -> dict:
    inference.use_threads(1)  # as the app does
    return {run: inference.load_classifier("dogs47", run, around=explanation.ExplainedModel) for run in RUNS}


@pytest.fixture(scope="module")
def bare() -> dict:
    return {run: inference.load_classifier("dogs47", run) for run in RUNS}


def eager_explanation(model, image: Image.Image, method: str) -> None:
    """As it was done before: a second, eager pass for the map."""
    pixels = inference.preprocess(image, model.preprocessing)
    breed = int(model.forward(pixels[None])[0].argmax())
    values = explanation.explain_pixels(model, pixels, method, breed)
    answering.jpeg(explanation.overlay(answering.seen(model, image), values))


@pytest.mark.parametrize("size", SIZES)
def test_both_answers_with_overlays_cost_little_more_than_both_forward_passes(size, models, bare, real_photos):
    source = sorted(dataset.images_root(real_photos).glob("*/*.jpg"))[5]
    file = io.BytesIO()
    Image.open(source).convert("RGB").resize(SIZES[size]).save(file, "JPEG", quality=90)
    image = read_photo(file.getvalue())
    ready = {run: inference.preprocess(image, model.preprocessing)[None] for run, model in bare.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ask = [hub_pipeline(models[run].model, METHODS[run].backbones[0]) for run in RUNS]
    milliseconds = fastest(
        {
            "bare forward passes": lambda: [bare[run].forward(ready[run]) for run in RUNS],
            "forward passes that give maps": lambda: [models[run].forward(ready[run]) for run in RUNS],
            "bare forward passes in eager torch": lambda: [eager(bare[run], ready[run]) for run in RUNS],
            "answers with overlays": lambda: [answering.answer(run, models[run], image) for run in RUNS],
            "answers without overlays": lambda: [bare[run].logits([image]) for run in RUNS],
            "a second pass for the map": lambda: [eager_explanation(bare[run], image, RUNS[run]) for run in RUNS],
            "two pipelines, no overlay": lambda: [pipeline(image) for pipeline in ask],
            "reading the file": lambda: read_photo(file.getvalue()),
        }
    )
    for name, taken in milliseconds.items():
        print(f"\n{size}: {name} {taken:.1f} ms, {taken / milliseconds['bare forward passes']:.2f} x", end="")
    once = milliseconds["answers with overlays"]
    print(f"\n{size}: answers with overlays {once / milliseconds['bare forward passes in eager torch']:.2f} x eager")
    assert once < milliseconds["two pipelines, no overlay"]
    assert once <= LIMIT * milliseconds["bare forward passes in eager torch"]
    assert milliseconds["forward passes that give maps"] <= LIMIT * milliseconds["bare forward passes"]
