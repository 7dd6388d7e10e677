"""Which photos two runs get wrong, and how wrong: filters and orders of the photos that both answered.

Throughout: true is (n,), predicted and confidence (the probability of what is predicted) are (2, n) with rows
baseline and new.
"""

from collections.abc import Callable, Sequence

import numpy as np

WHO = ("any-wrong", "only-new", "only-baseline", "both-wrong", "both-right", "all")  # is right
BLOCK = 1024  # photos
Rows = Callable[[np.ndarray], np.ndarray]


def by_who(right: np.ndarray, who: str) -> np.ndarray:
    """(n,) bool: photos on which those of `who` (one of WHO) are right and no others. right: (2, n) bool.

    >>> right = np.array([[True, True, False, False], [True, False, True, False]])
    >>> [np.flatnonzero(by_who(right, who)).tolist() for who in WHO]
    [[1, 2, 3], [2], [1], [3], [0], [0, 1, 2, 3]]
    """
    baseline, new = right
    return {
        "any-wrong": ~(baseline & new),
        "only-new": new & ~baseline,
        "only-baseline": baseline & ~new,
        "both-wrong": ~(baseline | new),
        "both-right": baseline & new,
        "all": np.ones(len(new), dtype=bool),
    }[who]


def select(
    true: np.ndarray,
    predicted: np.ndarray,
    confidence: np.ndarray,
    *,
    who: str = "any-wrong",
    breed: int | None = None,
    taken_for: int | None = None,
    runs: Sequence[int] = (0, 1),
    low: float = 0.0,
    high: float = 1.0,
) -> np.ndarray:
    """(n,) bool: photos of `breed` on which `who` is right, and for which at least one of `runs` (0 = baseline,
    1 = new) predicts `taken_for` with a confidence in low..high, both ends included. None: any breed."""
    answers = (confidence >= low) & (confidence <= high)  # (2, n)
    if taken_for is not None:
        answers &= predicted == taken_for
    chosen = by_who(predicted == true, who) & answers[list(runs)].any(axis=0)
    return chosen if breed is None else chosen & (true == breed)


def order(by: str, true: np.ndarray, predicted: np.ndarray, confidence: np.ndarray, belief: np.ndarray) -> np.ndarray:
    """All n photos, the worst first, equals in their own order: (n,) indices.

    by: "least-probable": the least probability that a run gives to the true breed, rising;
    "confident": the largest probability that a run gives to a wrong prediction, falling, photos without one last.
    belief: (2, n) probability of the true breed.
    """
    wrong = np.where(predicted != true, confidence, -1)
    return np.argsort(belief.min(axis=0) if by == "least-probable" else -wrong.max(axis=0), kind="stable")


def disagreement(baseline: Rows, new: Rows, rows: np.ndarray) -> np.ndarray:
    """Total variation distance of two runs' probabilities, (len(rows),) in 0..1: the share of probability that one
    gives to other breeds than the other.

    baseline, new: rows -> (k, C) probabilities, asked block by block so that memory does not grow with the photos.

    >>> a, b = np.array([[0.9, 0.1, 0.0]]), np.array([[0.4, 0.1, 0.5]])
    >>> disagreement(a.__getitem__, b.__getitem__, np.array([0])).round(3).tolist()
    [0.5]
    """
    blocks = (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
    return np.concatenate([np.empty(0), *(np.abs(baseline(block) - new(block)).sum(axis=1) / 2 for block in blocks)])
