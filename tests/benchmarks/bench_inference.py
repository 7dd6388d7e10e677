"""How fast evaluation is, as ratios measured in one run: against transformers.pipeline, and against the runtime's own
forward pass on ready pixels. Needs the photos, the pretrained backbones and a quiet machine.

python -m pytest tests/benchmarks/bench_inference.py -s
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import TimmWrapperConfig, TimmWrapperForImageClassification, TimmWrapperImageProcessor, pipeline

from dogpoc import dataset, inference
from dogpoc.methods import METHODS
from dogpoc.photo import read_photo

PHOTOS = 512
ROUNDS = 3
REQUIRED = {  # method: (times the pipeline, share of the bare forward pass)
    "mobilenetv2-frozen": (3.0, 0.6),
    "vit-tiny-finetuned": (2.0, 0.85),
}


def rate(work: Callable[[], None], photos: int) -> float:
    """Photos per second of the fastest of ROUNDS."""
    seconds = []
    for _round in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return photos / min(seconds)


def hub_pipeline(network: torch.nn.Module, backbone) -> Callable:
    """transformers.pipeline around the same network, with the same input size."""
    seen = backbone.preprocessing
    settings = {
        "input_size": [3, seen.size, seen.size],
        "interpolation": seen.interpolation,
        "mean": seen.mean,
        "std": seen.std,
        "crop_pct": seen.crop,
        "num_classes": 47,
    }
    config = TimmWrapperConfig(
        architecture=backbone.model, num_labels=47, pretrained_cfg=settings, model_args=dict(backbone.kwargs)
    )
    model = TimmWrapperForImageClassification(config).eval()
    model.timm_model.load_state_dict(network.state_dict())
    processor = TimmWrapperImageProcessor(pretrained_cfg=settings)
    return pipeline("image-classification", model=model, image_processor=processor, device="cpu")


@pytest.mark.parametrize("method", REQUIRED)
def test_evaluation_is_faster_than_the_pipeline_and_near_the_bare_forward_pass(method, real_photos):
    backbone = METHODS[method].backbones[0]
    network = inference.build(backbone, 47)
    inference.load_backbone(network, backbone)
    paths: list[Path] = sorted(dataset.images_root(real_photos).glob("*/*.jpg"))[:: 6477 // PHOTOS][:PHOTOS]
    classifier = inference.compile_classifier(network, backbone.preprocessing, breeds=range(47))
    pixels = np.stack([inference.preprocess(read_photo(path.read_bytes()), backbone.preprocessing) for path in paths])
    ready = np.split(pixels, range(inference.BATCH_SIZE, len(pixels), inference.BATCH_SIZE))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ask = hub_pipeline(network, backbone)
        part = [Image.open(path).copy() for path in paths[:64]]  # decoding is not even counted
        rates = {f"pipeline, batch {n}": rate(lambda n=n: ask(part, batch_size=n), 64) for n in (1, 32)}
    rates["forward alone"] = rate(lambda: [classifier.forward(batch) for batch in ready], PHOTOS)
    rates["end to end"] = rate(lambda: list(inference.stream(classifier, paths)), PHOTOS)
    for name, photos in rates.items():
        print(f"\n{method} ({classifier.runtime}) {name}: {photos:.0f} photos/s", end="")
    best = max(photos for name, photos in rates.items() if name.startswith("pipeline"))
    times, share = REQUIRED[method]
    print(
        f"\n{rates['end to end'] / best:.2f} x pipeline, {rates['end to end'] / rates['forward alone']:.2f} of forward"
    )
    assert rates["end to end"] >= times * best
    assert rates["end to end"] >= share * rates["forward alone"]
