"""Two runs on the same photos -> paired differences, tests, intervals, verdict.

Differences are new - baseline everywhere: positive is better for accuracy and F1, worse for log loss. Every claim
("better", "worse") rests on McNemar's exact test at 5 %; intervals say how large a difference may be.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from dogpoc import DogpocError, metrics
from dogpoc.artifacts import Evaluation, kind_of_views
from dogpoc.translation import _, breed_label, ngettext, number, percent, points

ALPHA = 0.05  # of every test; intervals are 1 - ALPHA
VERDICTS = ("better", "worse", "no evidence")  # of new, on a breed


class ComparisonError(DogpocError):
    """Two runs that cannot be compared photo by photo."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `new` changes against `baseline` on the same photos; shares are 0..1, intervals 95 %.

    difference_low, _high: Tango's score interval of the accuracy difference (see tango_interval).
    difference_bootstrap_low, _high, and those of log loss and macro F1: paired percentile bootstrap.
    both_right, only_baseline, only_new, both_wrong: numbers of photos, by who is right.   mcnemar_p: exact, two-sided.
    better, worse: breeds with q < 0.05, in the order of breeds.   undecided: the number of all others.
    breeds: one row a breed, in the order of breeds, with columns breed, support, baseline_recall, new_recall,
        difference, only_baseline, only_new, p (exact McNemar), q (Benjamini-Hochberg), verdict (one of VERDICTS);
        nan where a breed has no photos.
    baseline_right, new_right: (photos,) bool, in the order of the evaluations' photos.
    """

    dataset: str
    split: str
    baseline: str
    new: str
    photos: int
    baseline_top1: float
    new_top1: float
    difference: float
    difference_low: float
    difference_high: float
    difference_bootstrap_low: float
    difference_bootstrap_high: float
    both_right: int
    only_baseline: int
    only_new: int
    both_wrong: int
    mcnemar_p: float
    baseline_log_loss: float
    new_log_loss: float
    log_loss_difference: float
    log_loss_difference_low: float
    log_loss_difference_high: float
    baseline_macro_f1: float
    new_macro_f1: float
    macro_f1_difference: float
    macro_f1_difference_low: float
    macro_f1_difference_high: float
    better: list[str]
    worse: list[str]
    undecided: int
    breeds: pd.DataFrame
    baseline_right: np.ndarray
    new_right: np.ndarray

    @property
    def winner(self) -> str | None:
        """ "baseline" or "new" where McNemar's test tells them apart, else None."""
        if self.mcnemar_p >= ALPHA:
            return None
        return "new" if self.only_new > self.only_baseline else "baseline"


def compare(baseline: Evaluation, new: Evaluation, *, resamples: int = metrics.RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two runs photo by photo. Raises ComparisonError unless both answered the same photos and breeds."""
    check_comparable(baseline, new)
    true, n = baseline.true, len(baseline.true)
    predicted = np.stack([run.logits.argmax(axis=1) for run in (baseline, new)])  # (2, n)
    losses = np.stack([metrics.losses(run.logits, true) for run in (baseline, new)])  # (2, n)
    right = predicted == true  # (2, n)
    only_baseline, only_new = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    top1, log_loss = right.mean(axis=1), losses.mean(axis=1)
    macro_f1 = [metrics.macro_f1(metrics.confusion_counts(true, run, len(baseline.breeds))) for run in predicted]
    interval = tango_interval(only_baseline, only_new, n)
    low, high = bootstrap_differences(true, predicted, losses, len(baseline.breeds), resamples=resamples, seed=seed)
    breeds = compare_breeds(baseline.breeds, true, right)
    better, worse = ([*breeds["breed"][breeds["verdict"] == verdict]] for verdict in VERDICTS[:2])
    return Comparison(
        dataset=baseline.dataset,
        split=baseline.split,
        baseline=baseline.run,
        new=new.run,
        photos=n,
        baseline_top1=float(top1[0]),
        new_top1=float(top1[1]),
        difference=(only_new - only_baseline) / n,
        difference_low=interval[0],
        difference_high=interval[1],
        difference_bootstrap_low=float(low[0]),
        difference_bootstrap_high=float(high[0]),
        both_right=int((right[0] & right[1]).sum()),
        only_baseline=only_baseline,
        only_new=only_new,
        both_wrong=int((~right[0] & ~right[1]).sum()),
        mcnemar_p=float(mcnemar_p(only_baseline, only_new)),
        baseline_log_loss=float(log_loss[0]),
        new_log_loss=float(log_loss[1]),
        log_loss_difference=float(log_loss[1] - log_loss[0]),
        log_loss_difference_low=float(low[1]),
        log_loss_difference_high=float(high[1]),
        baseline_macro_f1=macro_f1[0],
        new_macro_f1=macro_f1[1],
        macro_f1_difference=macro_f1[1] - macro_f1[0],
        macro_f1_difference_low=float(low[2]),
        macro_f1_difference_high=float(high[2]),
        better=better,
        worse=worse,
        undecided=len(breeds) - len(better) - len(worse),
        breeds=breeds,
        baseline_right=right[0],
        new_right=right[1],
    )


def check_comparable(baseline: Evaluation, new: Evaluation) -> None:
    """Raise ComparisonError unless both runs were evaluated on the same photos and breeds, in the same order."""
    names = {"baseline": baseline.run, "new": new.run, "dataset": baseline.dataset}
    if (baseline.dataset, baseline.split) != (new.dataset, new.split):
        raise ComparisonError(
            _(
                "'{baseline}' was evaluated on '{dataset}' ({split}) and '{new}' on '{other}' ({other_split}): "
                "choose the same photos for both."
            ).format(**names, split=baseline.split, other=new.dataset, other_split=new.split)
        )
    if baseline.breeds != new.breeds:
        differing = sorted(set(baseline.breeds) ^ set(new.breeds)) or baseline.breeds
        raise ComparisonError(
            _(
                "'{baseline}' is scored on {n} breeds of '{dataset}' and '{new}' on {other}, not on the same ones "
                "in the same order ('{breed}'): choose runs that were trained on the same breeds."
            ).format(**names, n=len(baseline.breeds), other=len(new.breeds), breed=differing[0])
        )
    if baseline.info["photos_digest"] != new.info["photos_digest"] or not _same_photos(baseline, new):
        raise ComparisonError(
            _(
                "'{baseline}' and '{new}' were evaluated on different photo lists of '{dataset}'; run: "
                "python -m dogpoc evaluate {baseline} --data {dataset}, and the same for {new}"
            ).format(**names)
        )
    if not len(baseline.true):
        raise ComparisonError(
            _("'{dataset}' has no {split} photos to compare on; run: python -m dogpoc split {dataset}").format(
                dataset=baseline.dataset, split=baseline.split
            )
        )


def _same_photos(baseline: Evaluation, new: Evaluation) -> bool:
    return np.array_equal(baseline.photos["id"], new.photos["id"]) and np.array_equal(baseline.true, new.true)


# -- tests and intervals ------------------------------------------------------------------------------------------


def mcnemar_p(only_baseline: np.ndarray | int, only_new: np.ndarray | int) -> np.ndarray:
    """Exact two-sided p of McNemar's test (1947), element by element; 1 where the runs never differ.

    The photos on which exactly one run is right are fair coin flips if neither is better.

    >>> round(float(mcnemar_p(0, 5)), 4), float(mcnemar_p(0, 0))
    (0.0625, 1.0)
    """
    fewer, total = np.minimum(only_baseline, only_new), np.add(only_baseline, only_new)
    return np.minimum(1, 2 * stats.binom.cdf(fewer, total, 0.5))


def tango_interval(only_baseline: int, only_new: int, n: int) -> tuple[float, float]:
    """95 % score interval of the difference of two accuracies on the same `n` photos (Tango, 1998).

    Preferred to the bootstrap's for accuracy, which says [0, 0] when the runs never differ and depends on a seed: this
    one keeps its 95 % with few differing photos too, and leaves 0 out whenever mcnemar_p < 0.05. (The exact test asks
    for a little more: with 5 photos against 0 the interval leaves 0 out and p is 0.06. Claims follow the test.)

    >>> [round(bound, 3) for bound in tango_interval(1, 7, 21)]
    [0.026, 0.517]
    >>> [round(bound, 4) for bound in tango_interval(0, 0, 100)]
    [-0.037, 0.037]
    """
    gain, differing = only_new - only_baseline, only_new + only_baseline
    z2 = stats.norm.ppf(1 - ALPHA / 2) ** 2

    def excess(delta: float) -> float:  # of the squared score over z2: below 0 inside the interval
        b, c = (2 * n - gain) * delta - differing, -only_baseline * delta * (1 - delta)
        share = (math.sqrt(max(b * b - 8 * n * c, 0)) - b) / (4 * n)  # most likely share of only_baseline, given delta
        return (gain - n * delta) ** 2 - z2 * n * (2 * share + delta * (1 - delta))

    estimate, step = gain / n, 1e-12  # at the estimate itself excess may be 0 without being a bound
    low = -1.0 if gain == -n else brentq(excess, -1, estimate - step)
    high = 1.0 if gain == n else brentq(excess, estimate + step, 1)
    return low, high


def bootstrap_differences(
    true: np.ndarray, predicted: np.ndarray, losses: np.ndarray, classes: int, *, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Paired bootstrap intervals (low, high) of the differences in accuracy, log loss and macro F1; each (3,).

    predicted, losses: (2, n), rows baseline and new. All three, and both runs, use the same resampled photos.
    """
    values = np.stack([predicted == true, losses])  # (statistic, run, n)
    means, scores = (
        metrics.mean_statistic(values[:, 1] - values[:, 0]),
        metrics.macro_f1_statistic(true, predicted, classes),
    )
    return metrics.bootstrap_interval(
        lambda weights: np.concatenate([means(weights), np.diff(scores(weights), axis=0)]),
        len(true),
        resamples=resamples,
        seed=seed,
    )


def compare_breeds(breeds: list[str], true: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """The table of Comparison.breeds. right: (2, n) bool, rows baseline and new.

    q: p corrected for the number of breeds with photos (Benjamini & Hochberg, 1995): of the breeds called better or
    worse, at most 5 % are so by chance, on average.
    """
    support, baseline, new, only_baseline, only_new = (
        np.bincount(true[chosen], minlength=len(breeds))
        for chosen in (slice(None), right[0], right[1], right[0] & ~right[1], right[1] & ~right[0])
    )
    shown = support > 0
    p = np.where(shown, mcnemar_p(only_baseline, only_new), np.nan)
    q = np.full(len(breeds), np.nan)
    q[shown] = stats.false_discovery_control(p[shown])
    found = np.where(only_new > only_baseline, *VERDICTS[:2])
    with np.errstate(invalid="ignore"):
        recalls = baseline / support, new / support
    return pd.DataFrame(
        {
            "breed": breeds,
            "support": support,
            "baseline_recall": recalls[0],
            "new_recall": recalls[1],
            "difference": recalls[1] - recalls[0],
            "only_baseline": only_baseline,
            "only_new": only_new,
            "p": p,
            "q": q,
            "verdict": np.where(q < ALPHA, found, VERDICTS[2]),
        }
    )


# -- cells of two confusion matrices ------------------------------------------------------------------------------

FEWEST = 6  # photos that exactly one run puts in a cell: with 5, all by the same run, p is still 0.06


def compare_cells(true: np.ndarray, predicted: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """q of the difference between two confusion matrices in every cell, (U, U): below ALPHA it is more than noise.

    true: (n,).   predicted: (2, n), rows baseline and new.   unit: (C,), as in metrics.collapsed.
    McNemar's exact test on the photos that exactly one run puts in the cell (right answers are in none), corrected for
    the number of cells (Benjamini & Hochberg, 1995). nan where fewer than FEWEST photos differ: no outcome could tell
    these cells from chance. Leaving them out beforehand costs no error rate, as the number of photos that differ says
    nothing of the direction (Gilbert, 2005).
    """
    units = int(unit.max()) + 1
    places = np.where(predicted == true, -1, unit[true] * units + unit[predicted])  # (2, n)
    moved = (places[0] != places[1]) & (places >= 0)
    only = [np.bincount(run[rows], minlength=units**2) for run, rows in zip(places, moved, strict=True)]
    tested, p = only[0] + only[1] >= FEWEST, np.full(units**2, np.nan)
    p[tested] = mcnemar_p(*(counts[tested] for counts in only))
    return _corrected(p).reshape(units, units)


def compare_soft_cells(
    true: np.ndarray, baseline: Callable[[slice], np.ndarray], new: Callable[[slice], np.ndarray], unit: np.ndarray
) -> np.ndarray:
    """q of the difference between two soft confusion matrices in every cell, (U, U); as compare_cells.

    baseline, new: a slice of the photos -> its (b, C) probabilities.
    Student's paired t-test of each photo's difference in probability; a photo's own breed counts as 0. nan for a unit
    with one photo. Probabilities are skewed: one photo that changes much makes the test cautious, not bold.
    """
    units = int(unit.max()) + 1
    member, support = metrics.indicators(unit, units), np.bincount(unit[true], minlength=units)[:, None]
    sums, squares = np.zeros((2, units, units))
    for rows in metrics.blocks(len(true), len(unit)):
        change = np.asarray(new(rows), dtype=np.float64) - baseline(rows)
        np.put_along_axis(change, true[rows, None], 0, axis=1)
        of_unit, change = metrics.indicators(unit[true[rows]], units), change @ member.T
        sums += of_unit @ change
        squares += of_unit @ change**2
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.maximum(squares - sums**2 / support, 0) / (support - 1)
        return _corrected(2 * stats.t.sf(np.abs(sums) / np.sqrt(variance * support), support - 1))


def _corrected(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg's q of the p values that are not nan."""
    q, tested = np.full(p.shape, np.nan), ~np.isnan(p)
    if tested.any():
        q[tested] = stats.false_discovery_control(p[tested])
    return q


# -- seeds --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seeds:
    """The runs of one method that differ in their seed only; accuracies are 0..1, in the order of runs.

    low, high: 95 % interval of the mean accuracy over the choice of test photos, all seeds scored on the same ones
    (percentile bootstrap of the photos' mean of right answers).
    """

    method: str
    runs: tuple[str, ...]
    accuracies: tuple[float, ...]
    low: float
    high: float

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy over seeds; nan for one seed."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.runs) > 1 else math.nan


def sister_runs(infos: list[dict], run: str) -> list[str]:
    """Names of the runs among `infos` (run.json's) with the method of `run`, whatever their seed, lowest seed first."""
    own = next(info for info in infos if info["run"] == run)
    sisters = [info for info in infos if _without_seed(info) == _without_seed(own)]
    first = {info["seed"]: info["run"] for info in sorted(sisters, key=lambda info: info["run"] != run)[::-1]}
    return [first[seed] for seed in sorted(first)]


def _without_seed(info: dict) -> tuple:
    method = {key: value for key, value in info["method"].items() if key not in ("seed", "summary", "source")}
    seen = repr(info["preprocessing"]), kind_of_views(info)
    return info["dataset"], info["trained_on"], info["photos_digest"], repr(method), *seen


def seeds(method: str, right: dict[str, np.ndarray]) -> Seeds:
    """The spread of the accuracy over runs of `method` with different seeds.

    right: run -> (n,) bool, on the same photos.
    """
    table = np.stack([*right.values()])  # (seeds, n)
    low, high = metrics.bootstrap_interval(metrics.mean_statistic(table.mean(axis=0)), table.shape[1])
    return Seeds(method, tuple(right), tuple(table.mean(axis=1).tolist()), float(low), float(high))


def seeds_difference(baseline: Seeds, new: Seeds) -> tuple[float, float, float] | None:
    """Difference of the mean accuracies over seeds, with its 95 % interval over the luck of training; None for
    fewer than two seeds of either. Welch's t (1947): the seeds of both methods are independent.

    It holds the test photos fixed; the interval of `compare` holds the seeds fixed. Neither covers the other.
    """
    if min(len(baseline.runs), len(new.runs)) < 2:
        return None
    difference = new.mean - baseline.mean
    if baseline.deviation == new.deviation == 0:
        return difference, difference, difference
    test = stats.ttest_ind(new.accuracies, baseline.accuracies, equal_var=False)
    interval = test.confidence_interval(1 - ALPHA)
    return difference, float(interval.low), float(interval.high)


# -- in words -----------------------------------------------------------------------------------------------------


def verdict(comparison: Comparison) -> str:
    """Who is better, by how much, how surely, and where: one sentence in the language in use."""
    c = comparison
    sign = -1 if c.winner == "baseline" else 1
    low, high = sorted([sign * c.difference_low, sign * c.difference_high])
    digits = max(1, len(str(c.photos)) - 3)  # enough that no difference which is claimed reads as zero
    return _sentence(c.winner).format(
        new=c.new,
        baseline=c.baseline,
        difference=points(sign * c.difference, digits),
        low=_signed(low, digits),
        high=_signed(high, digits),
        p=p_text(c.mcnemar_p),
        mended=number(c.only_new),
        mended_photos=ngettext("{n} photo", "{n} photos", c.only_new).format(n=number(c.only_new)),
        broken=number(c.only_baseline),
        broken_photos=ngettext("{n} photo", "{n} photos", c.only_baseline).format(n=number(c.only_baseline)),
        better=number(len(c.better)),
        better_breeds=ngettext("{n} breed", "{n} breeds", len(c.better)).format(n=number(len(c.better))),
        worse=number(len(c.worse)),
        worse_breeds=ngettext("{n} breed", "{n} breeds", len(c.worse)).format(n=number(len(c.worse))),
        undecided=number(c.undecided),
    )


def _sentence(winner: str | None) -> str:
    if winner == "new":
        return _(
            "New ({new}) is better than baseline ({baseline}) by {difference} [{low}, {high}] (exact McNemar p {p}): "
            "it mends {mended_photos} and breaks {broken}; better on {better_breeds}, worse on {worse}, "
            "no evidence either way on {undecided}."
        )
    if winner == "baseline":
        return _(
            "Baseline ({baseline}) is better than new ({new}) by {difference} [{low}, {high}] (exact McNemar p {p}): "
            "new breaks {broken_photos} and mends {mended}; worse on {worse_breeds}, better on {better}, "
            "no evidence either way on {undecided}."
        )
    return _(
        "No evidence of a difference between new ({new}) and baseline ({baseline}): "
        "{difference} [{low}, {high}] (exact McNemar p {p}); new mends {mended_photos} and breaks {broken}; "
        "better on {better_breeds}, worse on {worse}, no evidence either way on {undecided}."
    )


def guess_words(run: str, counts: np.ndarray, breeds: list[str]) -> str:
    """What to know of a run that is not surely better than a guess which looks at no photo; "" of any other.

    counts: (C, C) photos, rows true breeds, columns answers.

    >>> from dogpoc.translation import use_language; use_language("en")
    >>> guess_words("cnn", np.array([[0, 6], [0, 8]]), ["beagle", "pug"])
    'cnn calls every photo pug: it has learnt nothing that tells these breeds apart.'
    """
    answers = np.flatnonzero(counts.any(axis=0))
    if len(counts) > 1 and len(answers) == 1:
        words = _("{run} calls every photo {breed}: it has learnt nothing that tells these breeds apart.")
        return words.format(run=run, breed=breed_label(breeds[answers[0]]))
    most_frequent = counts.sum(axis=1).max() / counts.sum()
    if len(counts) < 2 or metrics.wilson_interval(counts.trace(), counts.sum())[0] > most_frequent:
        return ""
    words = _(
        "{run} is not surely better than always naming the most frequent breed, which is right on {share} of these "
        "photos."
    )
    return words.format(run=run, share=percent(most_frequent))


def caveat() -> str:
    """What the interval and the test of a verdict do not cover."""
    return _(
        "The interval covers the choice of test photos, not that of training seeds: "
        "training either run again with another seed would move the difference as well."
    )


def _signed(share: float, digits: int) -> str:
    return number(round(share * 100, digits) + 0.0, digits).replace("-", "\u2212")


def p_text(p: float) -> str:
    """A p value with its sign of comparison, on the right side of 0.05 however it is rounded.

    >>> from dogpoc.translation import use_language; use_language("en")
    >>> p_text(0.0031), p_text(0.82), p_text(1e-9), p_text(0.04996), p_text(1)
    ('= .003', '= .82', '< .001', '= .04996', '= 1.00')
    """
    digits = 3 if p < 0.1 else 2
    while (round(p, digits) < ALPHA) != (p < ALPHA):
        digits += 1
    text = number(0.001, 3) if p < 0.001 else number(p, digits)
    text = text.removeprefix("0") if text.startswith("0.") else text  # .003 in English, 0,003 in French
    return f"< {text}" if p < 0.001 else f"= {text}"


def as_json(comparison: Comparison) -> dict:
    """Every statistic of a comparison as plain Python values: `breeds` a list of dicts, None where undefined."""
    values = {field.name: getattr(comparison, field.name) for field in fields(comparison)}
    table = values.pop("breeds").to_dict("records")
    del values["baseline_right"], values["new_right"]
    rows = [{key: None if value != value else value for key, value in row.items()} for row in table]
    return {**values, "winner": comparison.winner, "breeds": rows}
