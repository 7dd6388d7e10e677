"""What explanations cost, as ratios to a plain forward pass of ViT-Ti/16 in eager torch on one thread. Processor time,
the fastest of many rounds; no photos or weights needed.

python -m pytest tests/benchmarks/bench_explanation.py -s
"""

import time
from collections.abc import Callable

import pytest
import timm
import torch

from dogpoc.explanation import attention_maps, relevance, rollout
from dogpoc.inference import use_threads

ROUNDS = 25
MOST = {"answer and rollout": 1.1, "relevance": 4.0}  # times a plain forward pass


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    use_threads(1)
    yield
    use_threads(before)


def fastest(works: dict[str, Callable]) -> dict[str, float]:
    """Seconds of the fastest round of each, taken in turn so that the machine's moods hit all alike."""
    seconds = {name: [] for name in works}
    for _round in range(ROUNDS):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: min(taken) for name, taken in seconds.items()}


def test_explanations_cost_little_more_than_the_answer(one_thread):
    model = timm.create_model("vit_tiny_patch16_224", num_classes=47).eval()
    pixels = torch.randn(1, 3, 224, 224)

    def plain() -> None:
        with torch.inference_mode():
            model(pixels)

    taken = fastest(
        {
            "plain": plain,
            "answer and rollout": lambda: rollout(attention_maps(model, pixels)),
            "relevance": lambda: relevance(model, pixels, 0),
        }
    )
    for name, most in MOST.items():
        ratio = taken[name] / taken["plain"]
        print(f"\n{name}: {ratio:.2f} x a plain forward pass (at most {most})")
        assert ratio <= most
