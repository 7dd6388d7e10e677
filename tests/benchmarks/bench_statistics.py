"""How fast a comparison's statistics are, against the plain loop over scikit-learn; both measured in one run.

    python -m tests.benchmarks.bench_statistics

pytest tests/benchmarks/bench_statistics.py asserts the ratio. Seconds depend on the machine and are only printed.
"""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score

from dogpoc import comparison, metrics
from dogpoc.artifacts import Evaluation

PHOTOS, BREEDS, RESAMPLES = 8580, 120, 2000  # the test part of Stanford Dogs
LOOPED = 5  # resamples of the plain loop; the rest is extrapolated


def two_runs() -> list[Evaluation]:
    """Two made-up runs with accuracies of about 88 and 90 %."""
    rng = np.random.default_rng(0)
    true = rng.integers(BREEDS, size=PHOTOS)
    logits = (rng.normal(size=(PHOTOS, BREEDS)) + 0.6 * rng.normal(size=(2, PHOTOS, BREEDS))).astype(np.float32)
    logits[:, np.arange(PHOTOS), true] += np.array([[4.5], [4.6]], dtype=np.float32)
    photos, breeds = pd.DataFrame({"id": np.arange(PHOTOS).astype(str)}), [f"breed_{j}" for j in range(BREEDS)]
    info = {"photos_digest": "same"}
    return [Evaluation("dogs", f"run{k}", "test", info, photos, breeds, logits[k], true) for k in (0, 1)]


def looped(true: np.ndarray, predicted: np.ndarray, losses: np.ndarray) -> None:
    """What compare() resamples, as one would write it first."""
    rng = np.random.default_rng(0)
    for _ in range(LOOPED):
        drawn = rng.integers(PHOTOS, size=PHOTOS)
        for run in (0, 1):
            accuracy_score(true[drawn], predicted[run, drawn])
            f1_score(true[drawn], predicted[run, drawn], average="macro")
            losses[run, drawn].mean()


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The least of some repeats."""
    took = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return min(took)


def measure() -> dict[str, float]:
    """Seconds for 2,000 paired resamples of PHOTOS x BREEDS."""
    baseline, new = two_runs()
    true, predicted = baseline.true, np.stack([run.logits.argmax(axis=1) for run in (baseline, new)])
    losses = np.stack([metrics.losses(run.logits, true) for run in (baseline, new)])
    gains = np.diff((predicted == true).astype(float), axis=0)[0]
    return {
        "accuracy": seconds(lambda: metrics.bootstrap_interval(metrics.mean_statistic(gains), PHOTOS)),
        "accuracy, log loss and macro F1": seconds(
            lambda: comparison.bootstrap_differences(true, predicted, losses, BREEDS, resamples=RESAMPLES, seed=0)
        ),
        "compare(), all of it": seconds(lambda: comparison.compare(baseline, new)),
        "plain loop": seconds(lambda: looped(true, predicted, losses), repeats=1) * RESAMPLES / LOOPED,
    }


def test_resampling_is_at_least_50_times_as_fast_as_the_plain_loop():
    took = measure()
    assert took["plain loop"] > 50 * took["accuracy, log loss and macro F1"]


if __name__ == "__main__":
    for name, value in measure().items():
        print(f"{name:34} {value:8.3f} s")
