"""Logits and labels -> numbers of one run: accuracy, log loss, confusion, calibration, intervals.

Throughout: logits and probs are (n, C), true and predicted are (n,) int in 0..C-1, counts are (C, C) int with rows =
true and columns = predicted; shares are 0..1. A breed may have no photo: what is undefined for it is nan. Functions
that average over photos need at least one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, vstack

from dogpoc import DogpocError
from dogpoc.translation import _

BINS = 15  # of calibration errors (Guo et al., 2017)
RESAMPLES = 2000  # of bootstrap intervals
Statistic = Callable[[np.ndarray], np.ndarray]  # weights (b, n) -> (..., b), one value a resample


class MetricError(DogpocError):
    """A number that these photos cannot give."""


# -- right or wrong -----------------------------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, C) float64 of logits of any float type; finite for any finite logits."""
    return special.softmax(np.asarray(logits, dtype=np.float64), axis=1)


def likeliest(logits: np.ndarray, k: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The `k` likeliest breeds of one photo, all by default: (indices, probabilities), likeliest first; ties by index.

    >>> breeds, probs = likeliest(np.array([0.0, 2.0, 2.0]), 2)
    >>> breeds.tolist(), probs.round(2).tolist()
    ([1, 2], [0.47, 0.47])
    """
    order = np.argsort(-np.asarray(logits), kind="stable")[:k]
    return order, softmax(np.asarray(logits)[None])[0][order]


def ranks(logits: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How many breeds stand before the true one, (n,) int in 0..C-1; 0 = right.

    A breed stands before another if its logit is higher, or equal with a smaller index: argmax's rule, so that a tie
    is neither always won nor always lost, and rank 0 is what `argmax` answers.

    >>> ranks(np.array([[1, 5, 5], [1, 5, 5]]), np.array([1, 2]))
    array([0, 1])
    """
    own = np.take_along_axis(np.asarray(logits), true[:, None], axis=1)  # (n, 1)
    earlier = np.arange(np.shape(logits)[1]) < true[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def top_k_accuracy(logits: np.ndarray, true: np.ndarray, k: int) -> float:
    """Share of photos whose true breed is among the `k` first ones (or of probs); 1 if k >= C. Ties: `ranks`."""
    return float((ranks(logits, true) < k).mean())


def losses(logits: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Log loss of each photo, (n,) in nats >= 0: -log softmax of the true breed.

    Taken from logits, never from probs: finite also where the probability is too small for a float.

    >>> losses(np.array([[0.0, 2000.0], [0.0, 0.0]]), np.array([0, 1])).round(3).tolist()
    [2000.0, 0.693]
    """
    logs = special.log_softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return -np.take_along_axis(logs, true[:, None], axis=1)[:, 0]


def log_loss(probs: np.ndarray, true: np.ndarray) -> float:
    """Mean log loss in nats of probabilities, held within [2.2e-16, 1] so that a 0 costs 36 and not infinity.

    Where logits are at hand, losses(logits, true).mean() is exact; that is what `summary` gives.
    """
    own = true_probs(probs, true)
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1)).mean())


def true_probs(probs: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Probability of the true breed, (n,)."""
    return np.take_along_axis(np.asarray(probs, dtype=np.float64), true[:, None], axis=1)[:, 0]


def mean_true_probability(probs: np.ndarray, true: np.ndarray) -> float:
    """Mean probability of the true breed."""
    return float(true_probs(probs, true).mean())


def briers(probs: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Brier score of each photo, (n,) in 0..2: squared distance of its probabilities to certainty (Brier, 1950)."""
    probs = np.asarray(probs, dtype=np.float64)
    return np.maximum(np.einsum("ij,ij->i", probs, probs) - 2 * true_probs(probs, true) + 1, 0)


def brier(probs: np.ndarray, true: np.ndarray) -> float:
    """Mean Brier score over photos, summed over breeds: 0 (certain and right) .. 2 (certain and wrong)."""
    return float(briers(probs, true).mean())


# -- confusion ----------------------------------------------------------------------------------------------------


def confusion_counts(true: np.ndarray, predicted: np.ndarray, n: int) -> np.ndarray:
    """Number of photos by true and predicted breed, (n, n) int for `n` breeds.

    >>> confusion_counts(np.array([0, 0, 2]), np.array([0, 1, 2]), 3).tolist()
    [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    """
    return np.bincount(np.asarray(true) * n + predicted, minlength=n * n).reshape(n, n)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def rates(counts: np.ndarray) -> np.ndarray:
    """counts / row sums, (C, C); the row of a breed without photos is nan."""
    return _ratio(counts, counts.sum(axis=1, keepdims=True))


def mean_probs(probs: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Mean probability of breed j over photos of breed i, (C, C): the soft confusion matrix; nan rows as in `rates`."""
    n = probs.shape[1]
    return _ratio(indicators(true, n) @ np.asarray(probs, np.float64), np.bincount(true, minlength=n)[:, None])


def recall(counts: np.ndarray) -> np.ndarray:
    """Share of each breed's photos that are recognised, (C,); nan without photos."""
    return _ratio(counts.diagonal(), counts.sum(axis=1))


def precision(counts: np.ndarray) -> np.ndarray:
    """Share of the photos predicted as a breed that are of it, (C,); nan for a breed that is never predicted."""
    return _ratio(counts.diagonal(), counts.sum(axis=0))


def f1(counts: np.ndarray) -> np.ndarray:
    """Harmonic mean of recall and precision, (C,); nan without photos, 0 for a breed that is never predicted."""
    support = counts.sum(axis=1)
    return np.where(support > 0, _ratio(2 * counts.diagonal(), support + counts.sum(axis=0)), np.nan)


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 of the breeds that have photos.

    >>> round(macro_f1(np.array([[8, 2, 0], [0, 9, 1], [0, 0, 0]])), 4)  # mean of 16/18 and 18/21
    0.873
    """
    return float(np.nanmean(f1(counts)))


def top_confusers(counts: np.ndarray, breed: int, *, k: int = 3) -> list[tuple[int, int]]:
    """Breeds that photos of `breed` are most often mistaken for.

    counts: (C, C) int, rows = true breed, columns = predicted breed.
    breed:  row index in 0..C-1.
    Returns up to `k` pairs (breed index, number of photos), most frequent first, zeros left out; equals by index.

    >>> top_confusers(np.array([[8, 2, 0], [0, 9, 1], [3, 0, 7]]), 2)
    [(0, 3)]
    """
    order = np.argsort(-counts[breed], kind="stable")
    return [(int(j), int(counts[breed, j])) for j in order if j != breed and counts[breed, j] > 0][:k]


# -- cells and pairs ----------------------------------------------------------------------------------------------

CELLS = ("rates", "answers", "counts", "probability")  # what a cell may say; see error_cells
MEASURES = ("probability", "recall", "f1")  # by which breeds are ranked


@dataclass(frozen=True, eq=False)
class Confusions:
    """What logits say of photos, without a copy of them.

    predicted: (n,).   log_sums: (n,) float32, so that logits - log_sums are log probabilities.   counts: (C, C).
    mean_probs: (C, C), nan rows as in `rates`.
    """

    predicted: np.ndarray
    log_sums: np.ndarray
    counts: np.ndarray
    mean_probs: np.ndarray


def confusions(logits: np.ndarray, true: np.ndarray) -> Confusions:
    """Predictions and both confusion matrices, a block of photos at a time: logits may be larger than the memory."""
    n, classes = logits.shape
    predicted, log_sums = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.float32)
    sums = np.zeros((classes, classes))
    for rows in blocks(n, classes):
        part = np.asarray(logits[rows], dtype=np.float32)
        predicted[rows] = part.argmax(axis=1)
        top = np.take_along_axis(part, predicted[rows, None], axis=1)
        powers = np.exp(part - top)
        whole = powers.sum(axis=1, keepdims=True)
        log_sums[rows] = (np.log(whole) + top)[:, 0]
        sums += indicators(true[rows], classes).astype(np.float32) @ (powers / whole)
    counts = confusion_counts(true, predicted, classes)
    return Confusions(predicted, log_sums, counts, _ratio(sums, counts.sum(axis=1, keepdims=True)))


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices that together cover n rows of `width` numbers, some million numbers each."""
    step = max(1, (1 << 20) // max(1, width))
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def errors(matrix: np.ndarray) -> np.ndarray:
    """A copy of a (C, C) matrix whose diagonal, the right answers, is 0."""
    return np.where(np.eye(len(matrix), dtype=bool), 0, matrix)


def collapsed(matrix: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Sums of a (C, C) matrix over units of breeds, (U, U).

    unit: (C,) int in 0..U-1, the unit that each breed belongs to: its own, or a group with others.

    >>> collapsed(np.array([[0, 2, 1], [3, 0, 0], [0, 4, 0]]), np.array([0, 0, 1])).tolist()
    [[5, 1], [4, 0]]
    """
    member = indicators(unit, int(unit.max()) + 1).astype(matrix.dtype)
    return (member @ matrix) @ member.T


def error_cells(counts: np.ndarray, mean_probs: np.ndarray, kind: str, unit: np.ndarray | None = None) -> np.ndarray:
    """Wrong answers by true and predicted unit of breeds, (U, U) float; right ones count as 0.

    kind: one of CELLS: "rates", the share of the true unit's photos; "answers", the share of the answers that name the
    predicted unit; "counts", photos; "probability", mean probability over the true unit's photos.
    unit: (C,), see `collapsed`; every breed for itself if None. The diagonal of a group holds its errors inside.
    nan where a share is of nothing.
    """
    unit = np.arange(len(counts)) if unit is None else unit
    support = np.bincount(unit, weights=counts.sum(axis=1))[:, None]
    if kind == "probability":
        return _ratio(collapsed(errors(np.nan_to_num(mean_probs) * counts.sum(axis=1, keepdims=True)), unit), support)
    wrong = collapsed(errors(counts), unit)
    if kind == "answers":
        return _ratio(wrong, np.bincount(unit, weights=counts.sum(axis=0))[None, :])
    return _ratio(wrong, support if kind == "rates" else np.ones((1, 1)))


def ranked_pairs(breeds: Sequence[str], counts: np.ndarray, against: np.ndarray | None = None) -> pd.DataFrame:
    """The confusions of a run, most photos first, then the largest share: one row per true and predicted breed.

    counts: (C, C).   against: (C, C) counts of another run on the same photos.
    Columns: true_breed, predicted_breed, photos, support, share (of the true breed's photos), share_low and share_high
    (95 %, Wilson); with `against` also shared (the other run makes the mistake too) and the other run's numbers,
    against_photos, against_share, against_share_low, against_share_high.
    """
    rows, columns = np.nonzero(errors(counts))
    support, photos = counts.sum(axis=1)[rows], counts[rows, columns]
    names = np.asarray(breeds, dtype=object)
    table = {"true_breed": names[rows], "predicted_breed": names[columns], "photos": photos, "support": support}
    table |= _shares("", photos, support)
    if against is not None:
        others = against[rows, columns]
        table |= {"shared": others > 0, "against_photos": others, **_shares("against_", others, support)}
    ranking = ["photos", "share", "true_breed", "predicted_breed"]
    return pd.DataFrame(table).sort_values(ranking, ascending=[False, False, True, True], ignore_index=True)


def _shares(prefix: str, photos: np.ndarray, support: np.ndarray) -> dict[str, np.ndarray]:
    low, high = wilson_interval(photos, support)
    return {f"{prefix}share": _ratio(photos, support), f"{prefix}share_low": low, f"{prefix}share_high": high}


def worst_breeds(
    breeds: Sequence[str], counts: np.ndarray, mean_probs: np.ndarray, *, measure: str = "probability", k: int = 2
) -> pd.DataFrame:
    """The breeds that have photos, worst first, one row each.

    measure: one of MEASURES: mean probability of the true breed, the lower end of recall's interval, or F1.
    Columns: breed, support, mean_probability, recall, recall_low and recall_high (95 %, Wilson), f1, and confusers: the
    `k` other breeds that its photos give most probability to, a list of {"breed", "mean_probability", "photos"}.
    """
    support = counts.sum(axis=1)
    low, high = wilson_interval(counts.diagonal(), support)
    table = pd.DataFrame(
        {
            "breed": list(breeds),
            "support": support,
            "mean_probability": mean_probs.diagonal(),
            "recall": recall(counts),
            "recall_low": low,
            "recall_high": high,
            "f1": f1(counts),
        }
    )
    column = {"probability": "mean_probability", "recall": "recall_low", "f1": "f1"}[measure]
    table = table[support > 0].sort_values(column, kind="stable")
    confusers = [_confusers(breeds, counts, mean_probs, i, k) for i in table.index]
    return table.assign(confusers=confusers).reset_index(drop=True)


def _confusers(breeds: Sequence[str], counts: np.ndarray, mean_probs: np.ndarray, breed: int, k: int) -> list[dict]:
    return [
        {"breed": breeds[j], "mean_probability": share, "photos": int(counts[breed, j])}
        for j, share in soft_confusers(mean_probs, breed, k=k)
    ]


def soft_confusers(mean_probs: np.ndarray, breed: int, *, k: int = 2) -> list[tuple[int, float]]:
    """The `k` other breeds that photos of `breed` give most probability to: (index, mean probability), largest first.

    >>> soft_confusers(np.array([[0.6, 0.1, 0.3], [0.0, 1.0, 0.0], [0.2, 0.1, 0.7]]), 0)
    [(2, 0.3), (1, 0.1)]
    """
    order = np.argsort(-mean_probs[breed], kind="stable")
    return [(int(j), float(mean_probs[breed, j])) for j in order if j != breed][:k]


# -- calibration --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reliability:
    """Photos in bins of rising confidence, empty bins left out; three arrays of one length.

    confidence: mean probability of the predicted breed.   accuracy: share that is right.   count: photos.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Equal-mass bins (Nguyen & O'Connor, 2015): each holds n / bins photos, more where confidences are tied.

    confidence: (n,) probabilities.   right: (n,) bool.
    Tied photos (to 1e-12: the last digits of a softmax differ between machines) share a bin, so that the order of
    photos never counts.
    """
    if not len(confidence):
        return Reliability(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))
    key = np.round(confidence, 12)
    firsts = np.arange(1, bins) * len(key) // bins
    edges = np.partition(key, firsts)[firsts]
    place = np.searchsorted(edges, key, side="right")
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    sums = [np.bincount(place, weights=values, minlength=bins) for values in (confidence, right)]
    return Reliability(sums[0][filled] / count[filled], sums[1][filled] / count[filled], count[filled])


def reliability_table(probs: np.ndarray, true: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Confidence against accuracy of the predicted breed, in equal-mass bins."""
    return reliability(probs.max(axis=1), probs.argmax(axis=1) == true, bins=bins)


def _gap(table: Reliability) -> float:
    return float(np.average(np.abs(table.confidence - table.accuracy), weights=table.count))


def ece(probs: np.ndarray, true: np.ndarray, *, bins: int = BINS) -> float:
    """Expected calibration error of the predicted breed, 0..1: |confidence - accuracy| averaged over photos.

    Naeini et al. (2015), in equal-mass bins as Nguyen & O'Connor (2015); the usual equal-width bins leave most of
    them empty for a confident classifier.
    """
    return _gap(reliability_table(probs, true, bins=bins))


def classwise_ece(probs: np.ndarray, true: np.ndarray, *, bins: int = BINS) -> float:
    """Calibration error of every breed's probability, averaged over breeds (Kull et al., 2019), in equal-mass bins."""
    return float(np.mean([_gap(reliability(probs[:, j], true == j, bins=bins)) for j in range(probs.shape[1])]))


def fit_temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """The T in 0.01..100 for which softmax(logits / T) has the least log loss (Guo et al., 2017).

    Give it validation photos, never test photos. Raises MetricError where no T is best: no photos, or a log loss that
    still falls at the end of the range (every photo right, or logits that tell nothing).
    """
    if not len(true):
        raise MetricError(_("no temperature can be fitted: the run has no validation photos. Evaluate it on some."))
    logits, end = np.asarray(logits, dtype=np.float64), np.log(100)

    def loss(log_t: float) -> float:
        return losses(logits / np.exp(log_t), true).mean()

    best = minimize_scalar(loss, bounds=(-end, end), method="bounded", options={"xatol": 1e-9})
    if best.fun >= min(loss(-end), loss(end)):
        raise MetricError(
            _(
                "no temperature can be fitted: the log loss on {n} validation photos has no minimum "
                "for temperatures of 0.01 to 100. Validate on more photos."
            ).format(n=len(true))
        )
    return float(np.exp(best.x))


GAP = 0.05  # between accuracy and mean confidence, from which it is called one


def confidence_gap(logits: np.ndarray, true: np.ndarray) -> str | None:
    """What is wrong with a run whose confidence is far from its accuracy; None where it is not.

    "softmax twice": the logits are probabilities already, and the softmax of probabilities is nearly flat: right
    answers get tiny probabilities.   "too modest", "too sure": mean confidence is more than GAP below, or above,
    accuracy, by more than 95 % chance explains.

    >>> confidence_gap(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    'softmax twice'
    """
    if not len(true):
        return None
    logits = np.asarray(logits, dtype=np.float64)
    if logits.shape[1] > 1 and logits.min() >= 0 and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        return "softmax twice"
    probs = softmax(logits)
    gaps = probs.max(axis=1) - (probs.argmax(axis=1) == true)
    half = stats.norm.ppf(0.975) * gaps.std() / np.sqrt(len(gaps))
    if abs(gaps.mean()) <= max(GAP, half):
        return None
    return "too sure" if gaps.mean() > 0 else "too modest"


@dataclass(frozen=True)
class RiskCoverage:
    """Accuracy if only photos of at least a given confidence are answered; three arrays, coverage rising to 1."""

    threshold: np.ndarray
    coverage: np.ndarray
    accuracy: np.ndarray


def risk_coverage(probs: np.ndarray, true: np.ndarray) -> RiskCoverage:
    """The trade between answering and being right (El-Yaniv & Wiener, 2010), one entry per distinct confidence.

    >>> curve = risk_coverage(np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]), np.array([0, 0, 0]))
    >>> curve.threshold.tolist(), curve.coverage.round(2).tolist(), curve.accuracy.round(2).tolist()
    ([0.9, 0.6], [0.33, 1.0], [1.0, 0.67])
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == true
    order = np.argsort(-confidence, kind="stable")
    threshold = confidence[order]
    last = np.append(threshold[1:] < threshold[:-1], True)  # of its ties
    answered = np.flatnonzero(last) + 1
    return RiskCoverage(threshold[last], answered / len(true), np.cumsum(right[order])[last] / answered)


def abstaining(probs: np.ndarray, true: np.ndarray, threshold: float) -> tuple[int, int]:
    """(photos answered, of these right) when only answers of at least `threshold` confidence are given.

    >>> abstaining(np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]), np.array([0, 0, 0]), 0.6)
    (3, 2)
    """
    answered = probs.max(axis=1) >= threshold
    return int(answered.sum()), int((probs.argmax(axis=1) == true)[answered].sum())


# -- fewer breeds -------------------------------------------------------------------------------------------------

SIZES = (2, 5, 13, 28, 47, 120)  # numbers of breeds to look at; 13 and 28 are those of the studies that came before


def sizes_up_to(true: np.ndarray) -> list[int]:
    """Those of SIZES below the number of breeds with photos, and that number.

    >>> sizes_up_to(np.repeat([0, 1, 2, 3, 4, 5, 6], 2))
    [2, 5, 7]
    """
    breeds = len(np.unique(true))
    return [size for size in SIZES if size < breeds] + [breeds]


def accuracy_by_breeds(
    logits: np.ndarray, true: np.ndarray, sizes: Sequence[int], *, draws: int = 100, seed: int = 0
) -> np.ndarray:
    """Top-1 accuracy if only some breeds were to be told apart: (len(sizes), 3) of mean, 2.5 % and 97.5 % quantile.

    For each size that many breeds are drawn, `draws` times, of those with photos; their photos are scored on their
    columns of the same logits. The same seed and breeds draw the same subsets: runs compare.
    """
    rng, classes = np.random.default_rng(seed), np.shape(logits)[1]
    shown = np.flatnonzero(np.bincount(true, minlength=classes))
    rows = [np.flatnonzero(true == breed) for breed in range(classes)]

    def accuracy(breeds: np.ndarray) -> float:
        kept = np.concatenate([rows[breed] for breed in breeds])
        place = np.zeros(classes, dtype=np.int64)
        place[breeds] = np.arange(len(breeds))
        return float((logits[np.ix_(kept, breeds)].argmax(axis=1) == place[true[kept]]).mean())

    table = []
    for size in sizes:
        repeats = 1 if size == len(shown) else draws
        found = [accuracy(np.sort(rng.permutation(shown)[:size])) for _draw in range(repeats)]
        table.append([np.mean(found), *np.quantile(found, [0.025, 0.975])])
    return np.array(table).reshape(-1, 3)


# -- intervals ----------------------------------------------------------------------------------------------------


def wilson_interval(successes: np.ndarray | int, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """95 % score interval (low, high) of a share (Wilson, 1927), element by element; nan for n = 0.

    >>> low, high = wilson_interval(10, 10)
    >>> round(float(low), 3), float(high)
    (0.722, 1.0)
    """
    n = np.asarray(n)
    share, z2 = _ratio(successes, n), stats.norm.ppf(0.975) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (share + z2 / (2 * n)) / (1 + z2 / n)
        half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return np.clip(centre - half, 0, 1), np.clip(centre + half, 0, 1)


def resampled_weights(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Bootstrap resamples of n photos as how often each was drawn: blocks (b, n) float32, in all (resamples, n)."""
    rng = np.random.default_rng(seed)
    block = max(1, (1 << 20) // n)
    for start in range(0, resamples, block):
        b = min(block, resamples - start)
        drawn = rng.integers(n, size=(b, n), dtype=np.int32) + np.arange(b)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float32)


def bootstrap_interval(
    statistic: Statistic, n: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """95 % percentile interval (low, high) of statistics of n photos (Efron & Tibshirani, 1993, chapter 13).

    statistic: weights (b, n) -> (..., b), all resamples at once, e.g. `mean_statistic(values)`; low and high are (...).
    The same n, resamples and seed draw the same photos: statistics in one call, or in several, are paired.
    """
    values = np.concatenate([statistic(weights) for weights in resampled_weights(n, resamples, seed)], axis=-1)
    low, high = np.quantile(values, [0.025, 0.975], axis=-1)
    return low, high


def mean_statistic(values: np.ndarray) -> Statistic:
    """Mean over photos of values (n,), or of every row of values (k, n)."""
    centre = values.mean(axis=-1, keepdims=True)  # weights are float32: keep what is summed small
    rest = (values - centre).astype(np.float32)
    # einsum, not @: the threads of a BLAS wait for each other on a busy machine, and 6 ms become 250
    return lambda weights: np.einsum("bn,...n->...b", weights, rest) / weights.shape[1] + centre


def macro_f1_statistic(true: np.ndarray, predicted: np.ndarray, n: int) -> Statistic:
    """Macro F1 over the breeds drawn, of `n` breeds. predicted: (m,), or (k, m) for k runs on the same m photos."""
    runs = np.atleast_2d(predicted)
    right = [indicators(np.where(run == true, true, n), n + 1)[:n] for run in runs]
    members = vstack([indicators(true, n), *(indicators(run, n) for run in runs), *right]).astype(np.float32)

    def statistic(weights: np.ndarray) -> np.ndarray:
        sums = (members @ weights.T).reshape(-1, n, len(weights))  # (1 + 2k, n, b)
        support, predictions, hits = sums[0], sums[1 : 1 + len(runs)], sums[1 + len(runs) :]
        scores = 2 * hits / np.maximum(support + predictions, 1)  # (k, n, b); 0 for a breed that was not drawn
        return (scores.sum(axis=1) / (support > 0).sum(axis=0)).reshape(*predicted.shape[:-1], -1)

    return statistic


def indicators(labels: np.ndarray, n: int) -> csr_array:
    """(n, m) sparse: 1 where photo m has label n."""
    return csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(n, len(labels)))


# -- all of it ----------------------------------------------------------------------------------------------------


def summary(logits: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """The numbers of a run that run.json stores; see each function. Plain Python numbers.

    >>> numbers = summary(np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), np.array([0, 1, 0]))
    >>> numbers["photos"], round(numbers["top1_accuracy"], 3), round(numbers["log_loss"], 3)
    (3, 0.667, 0.584)
    """
    probs, order = softmax(logits), ranks(logits, true)
    counts = confusion_counts(true, np.argmax(logits, axis=1), np.shape(logits)[1])
    return {
        "photos": len(true),
        "classes": int(np.shape(logits)[1]),
        "top1_accuracy": float((order < 1).mean()),
        "top3_accuracy": float((order < 3).mean()),
        "log_loss": float(losses(logits, true).mean()),
        "brier": brier(probs, true),
        "macro_f1": macro_f1(counts),
        "ece": ece(probs, true),
        "classwise_ece": classwise_ece(probs, true),
        "mean_confidence": float(probs.max(axis=1).mean()),
        "mean_true_probability": mean_true_probability(probs, true),
    }


SCALED = ("log_loss", "brier", "ece", "classwise_ece", "mean_confidence", "mean_true_probability")


def scaled_summary(logits: np.ndarray, true: np.ndarray, temperature: float) -> dict[str, float]:
    """The numbers of `summary` that a temperature changes, of softmax(logits / temperature), as "scaled_<name>"."""
    numbers = summary(np.asarray(logits, dtype=np.float64) / temperature, true)
    return {f"scaled_{name}": numbers[name] for name in SCALED}


def summary_intervals(
    logits: np.ndarray, true: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """95 % intervals (low, high) of the numbers of `summary` that have one: Wilson's for the two accuracies, else
    bootstrap. ECE has none: resampling biases it upwards."""
    order, probs, classes = ranks(logits, true), softmax(logits), np.shape(logits)[1]
    means = {
        "log_loss": losses(logits, true),
        "brier": briers(probs, true),
        "mean_true_probability": true_probs(probs, true),
    }
    mean, score = mean_statistic(np.stack([*means.values()])), macro_f1_statistic(true, np.argmax(logits, 1), classes)
    low, high = bootstrap_interval(
        lambda weights: np.vstack([mean(weights), score(weights)]), len(true), resamples=resamples, seed=seed
    )
    shares = {f"top{k}_accuracy": wilson_interval((order < k).sum(), len(true)) for k in (1, 3)}
    intervals = {**shares, **dict(zip([*means, "macro_f1"], zip(low, high, strict=True), strict=True))}
    return {name: (float(low), float(high)) for name, (low, high) in intervals.items()}
