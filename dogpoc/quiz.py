"""A quiz on test photos: which photos are asked, which breeds are offered, and what a run chooses among these."""

import numpy as np

from dogpoc.metrics import soft_confusers, softmax

ROUND = 10  # photos; half of them hard
OFFERED = 4  # breeds
UNLIKELY = 0.5  # a run that gives its true breed less finds a photo hard


def hard(belief: np.ndarray) -> np.ndarray:
    """(n,) bool: photos to whose true breed a run gives less than UNLIKELY; all mistakes are among them.

    belief: (runs, n) probability of the true breed.

    >>> hard(np.array([[0.9, 0.2, 0.5], [0.8, 0.9, 0.4]])).tolist()
    [False, True, True]
    """
    return belief.min(axis=0) < UNLIKELY


def in_order(rows: np.ndarray, difficult: np.ndarray, seed: int) -> np.ndarray:
    """All photos in `rows` in the order in which they are asked, none twice, chosen at random by `seed`.

    Each ROUND mixes hard and ordinary photos half and half, so that betting against the runs does not pay; once one
    kind is used up the other one goes on.
    difficult: (n,) bool for all n photos.   rows: indices of those that can be asked.
    """
    rng, half = np.random.default_rng(seed), ROUND // 2
    kinds = [rng.permutation(rows[difficult[rows]]), rng.permutation(rows[~difficult[rows]])]
    parts = range(0, max(map(len, kinds)), half)
    mixed = [rng.permutation(np.concatenate([kind[start : start + half] for kind in kinds])) for start in parts]
    return np.concatenate([rows[:0], *mixed])


def offered(mean_probs: np.ndarray, breed: int, seed: int | tuple[int, ...]) -> np.ndarray:
    """OFFERED breeds, or all of fewer, shuffled by `seed`: `breed` and those that its photos are likeliest taken for.

    mean_probs: (runs, C, C) mean probability of breed j over photos of breed i; the runs count alike.
    """
    confusers = [other for other, _share in soft_confusers(mean_probs.mean(axis=0), breed, k=OFFERED - 1)]
    return np.random.default_rng(seed).permutation([breed, *confusers])


def chosen(logits: np.ndarray, among: np.ndarray) -> tuple[int, float]:
    """The breed that a run chooses where it may only choose `among` some, and its probability there.

    logits: (C,).   among: indices of breeds.

    >>> breed, prob = chosen(np.log([0.5, 0.1, 0.3, 0.1]), np.array([3, 2]))
    >>> breed, round(prob, 3)
    (2, 0.75)
    """
    probs = softmax(logits[None, among])[0]
    return int(among[probs.argmax()]), float(probs.max())
