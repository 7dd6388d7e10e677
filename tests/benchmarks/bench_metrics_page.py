"""Server time of the metrics page with 10 runs x 8,580 photos x 120 breeds: under 1 s at first, under 0.2 s after that.

python -m pytest -s tests/benchmarks/bench_metrics_page.py
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dogpoc import artifacts

CHECKOUT = Path(__file__).parents[2]
HISTORY = ("epoch", "phase", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "seconds")
RUNS, PHOTOS, VALIDATION, BREEDS = 10, 8580, 3000, 120


@pytest.fixture
def many_runs(tmp_path, monkeypatch) -> None:
    """Ten generated runs of one method with ten seeds."""
    monkeypatch.setenv("DOGPOC_ARTIFACTS", str(tmp_path))
    monkeypatch.setenv("DOGPOC_DATA", str(tmp_path))
    rng = np.random.default_rng(0)
    n = PHOTOS + VALIDATION
    breeds = [f"breed_{i:03d}" for i in range(BREEDS)]
    true = rng.integers(0, BREEDS, n)
    table = pd.DataFrame(
        {
            "id": [f"{breeds[b]}/{i:05d}.jpg" for i, b in enumerate(true)],
            "breed": [breeds[b] for b in true],
            "split": ["validation"] * VALIDATION + ["test"] * PHOTOS,
            "group": np.arange(n),
            "sha256": [f"{i:064x}" for i in range(n)],
            "width": 500,
            "height": 375,
            "bytes": 50_000,
        }
    )
    artifacts.write_photos("many", table)
    for seed in range(RUNS):
        logits = rng.normal(size=(n, BREEDS)).astype(np.float32)
        logits[np.arange(n), true] += 5
        info = {
            "dataset": "many",
            "run": f"run-{seed}",
            "trained_on": "many",
            "seed": seed,
            "breeds": breeds,
            "scored_breeds": breeds,
            "photos_digest": artifacts.photos_digest(table),
            "backbone": None,
            "method": {"name": "made", "summary": "", "trained": "everything", "backbone": {"model": "made"}},
            "preprocessing": {},
            "parameters": 10**6,
            "trained_parameters": 10**6,
            "weights_bytes": 10**6,
            "train_seconds": 10.0,
            "evaluation_seconds": 5.0,
            "photos_per_second": 300.0,
            "hardware": {},
        }
        photos = artifacts.scored_photos(table, breeds)
        info["temperature"] = artifacts.temperature(info, photos, logits)
        info["metrics"] = artifacts.measure(info, photos, logits)
        path = artifacts.run_folder("many", info["run"]) / ".made.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, logits)
        epochs = {name: np.linspace(1, 0.1, 20) for name in HISTORY if name not in ("epoch", "phase")}
        history = pd.DataFrame({"epoch": range(1, 21), "phase": "finetune", **epochs}).to_csv(index=False).encode()
        artifacts.write_run(info, {"logits.npy": path, "history.csv": history})


def server_time(app: AppTest) -> float:
    start = time.perf_counter()
    app.run()
    assert not app.exception
    assert not app.error
    return time.perf_counter() - start


def test_the_page_opens_in_under_a_second_and_then_in_a_fifth(many_runs):
    AppTest.from_file(CHECKOUT / "streamlit_app.py", default_timeout=60).run()  # imports are not the page's
    times = []
    for _visitor in range(3):
        app = AppTest.from_file(CHECKOUT / "streamlit_app.py", default_timeout=60)
        app.run()
        app.switch_page("pages/metrics.py")
        times.append(server_time(app))
    again = min(server_time(app) for _rerun in range(5))
    print(f"\nfirst {times[0]:.2f} s, other visitors {times[1]:.2f} and {times[2]:.2f} s, rerun {again:.3f} s")
    assert times[0] < 1
    assert again < 0.2
