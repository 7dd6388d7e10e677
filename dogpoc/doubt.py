"""When a model should not name one breed: sets of breeds that hold the true one, and photos unlike any it was taught.

Everything is fitted on validation photos, never on test photos. logits are (n, C) of all breeds that the model knows,
true is (n,) in 0..C-1.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy import special, stats

from dogpoc import metrics

CONFIDENCES = (0.8, 0.9, 0.95, 0.99)
FALSE_ALARMS = 0.05  # share of validation photos that may be called strange


@dataclass(frozen=True)
class Doubt:
    """Thresholds of one run, fitted on its validation photos.

    temperature: what logits are divided by before anything else.
    least: confidence -> probability from which a breed belongs to the set.
    strange: a photo whose `strangeness` is above it is unlike what the model was taught.   photos: fitted on.
    """

    temperature: float
    least: Mapping[float, float]
    strange: float
    photos: int


def fit(logits: np.ndarray, true: np.ndarray, temperature: float | None) -> Doubt | None:
    """The thresholds that validation photos give; None where there are none. temperature: None for 1."""
    if not len(true):
        return None
    temperature = temperature or 1.0
    own = metrics.true_probs(metrics.softmax(np.asarray(logits) / temperature), true)
    # As many as FALSE_ALARMS lie above it; the largest of them where there are too few photos for a quantile.
    strange = np.quantile(strangeness(logits, temperature), 1 - FALSE_ALARMS, method="higher")
    least = {confidence: least_probability(own, confidence) for confidence in CONFIDENCES}
    return Doubt(temperature, least, float(strange), len(true))


def least_probability(own: np.ndarray, confidence: float) -> float:
    """The probability from which a breed belongs to the set, so that sets hold the true breed with `confidence`.

    own: probability of the true breed on calibration photos, (n,). Split conformal prediction with the least ambiguous
    sets (Sadinle, Lei & Wasserman, 2019): on photos drawn as these were, coverage is at least `confidence`, whatever
    the model. 0 (every breed) where there are too few photos to promise it.

    >>> least_probability(np.array([0.9, 0.8, 0.7, 0.6]), 0.8), least_probability(np.array([0.9]), 0.8)
    (0.6, 0.0)
    """
    n = len(own)
    kept = int(np.ceil((n + 1) * confidence - 1e-9))
    return float(np.sort(own)[n - kept]) if kept <= n else 0.0


def breed_set(probs: np.ndarray, least: float) -> np.ndarray:
    """Indices of the breeds in the set of one photo, likeliest first: those of at least `least`, the first one always.

    >>> breed_set(np.array([0.2, 0.5, 0.3]), 0.25).tolist(), breed_set(np.array([0.2, 0.5, 0.3]), 0.9).tolist()
    ([1, 2], [1])
    """
    order = np.argsort(-probs, kind="stable")
    return order[: max(1, int((probs >= least).sum()))]


def strangeness(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """How unlike the taught photos, (n,): the free energy of Liu et al. (2020), -log of the sum of exp(logits / T)."""
    return -special.logsumexp(np.asarray(logits, dtype=np.float64) / temperature, axis=1)


@dataclass(frozen=True)
class Opinion:
    """What a run thinks of one photo.

    breeds, probs: (C,) indices and probabilities at the run's temperature, likeliest first.
    likely: how many of the first breeds form the set at `confidence`.   strange: unlike what the model was taught.
    Both are None for a run without thresholds.
    """

    breeds: np.ndarray
    probs: np.ndarray
    confidence: float
    likely: int | None
    strange: bool | None


def opinion(logits: np.ndarray, doubt: Doubt | None, confidence: float = 0.9) -> Opinion:
    """The opinion that follows from the logits (C,) of one photo. confidence: one of CONFIDENCES."""
    if doubt is None:
        return Opinion(*metrics.likeliest(logits), confidence, None, None)
    breeds, probs = metrics.likeliest(np.asarray(logits, dtype=np.float64) / doubt.temperature)
    likely = len(breed_set(probs, doubt.least[confidence]))
    strange = bool(strangeness(logits[None], doubt.temperature)[0] > doubt.strange)
    return Opinion(breeds, probs, confidence, likely, strange)


def measure(logits: np.ndarray, true: np.ndarray, doubt: Doubt) -> dict[str, float]:
    """How the thresholds do on other photos of known breeds: coverage and mean size of the sets at each confidence
    (as "set_<percent>_coverage", "set_<percent>_size"), and "called_strange", the share of false alarms."""
    probs = metrics.softmax(np.asarray(logits) / doubt.temperature)
    own, first = metrics.true_probs(probs, true), probs.argmax(axis=1) == true
    numbers = {}
    for confidence, least in doubt.least.items():
        name = f"set_{confidence * 100:.0f}"
        numbers[f"{name}_coverage"] = float((first | (own >= least)).mean())
        numbers[f"{name}_size"] = float(np.maximum((probs >= least).sum(axis=1), 1).mean())
    return {**numbers, "called_strange": float((strangeness(logits, doubt.temperature) > doubt.strange).mean())}


def detection(known: np.ndarray, unknown: np.ndarray, threshold: float) -> dict[str, float]:
    """How well strangeness tells unknown things from photos of known breeds: {"photos", "auroc", "caught"}.

    known, unknown: strangeness of photos, (n,) and (m,).   auroc: chance that an unknown one is the stranger of two.
    caught: share of the unknown ones above `threshold`.
    """
    auroc = stats.mannwhitneyu(unknown, known).statistic / (len(unknown) * len(known))
    return {"photos": len(unknown), "auroc": float(auroc), "caught": float((unknown > threshold).mean())}


def as_plain(doubt: Doubt) -> dict:
    """Thresholds as JSON holds them."""
    return {**asdict(doubt), "least": {str(confidence): least for confidence, least in doubt.least.items()}}


def from_plain(record: Mapping) -> Doubt:
    """Thresholds as run.json holds them."""
    return Doubt(**{**record, "least": {float(confidence): least for confidence, least in record["least"].items()}})
