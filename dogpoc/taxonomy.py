"""How far apart two breeds are as kennel clubs see it, and how bad a run's mistakes are by that measure.

kennel_groups.csv is the project's own table: where each breed of Stanford Dogs stands in the nomenclature of the
Fédération Cynologique Internationale (https://www.fci.be/en/nomenclature/), ten groups of breeds of like build and use,
divided into sections. Group 0 is for what the FCI does not list: wild dogs (dingo, dhole, African hunting dog), the
coonhounds that only American clubs know (bluetick, redbone, Walker hound) and the Eskimo dog. Each of these, and any
breed that the table does not hold, is a group of its own. "toy_terrier" names a kind, not a breed; it stands with the
FCI's toy terriers.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from dogpoc import metrics
from dogpoc.translation import N_, breed_label, translated

TABLE = Path(__file__).with_name("kennel_groups.csv")
NAMES = {
    0: N_("not listed by the FCI"),
    1: N_("sheepdogs and cattle dogs"),
    2: N_("pinschers, schnauzers, molossoids, Swiss mountain dogs"),
    3: N_("terriers"),
    4: N_("dachshunds"),
    5: N_("spitz and primitive types"),
    6: N_("scent hounds"),
    7: N_("pointing dogs"),
    8: N_("retrievers, flushing dogs, water dogs"),
    9: N_("companion and toy dogs"),
    10: N_("sighthounds"),
}
SAME_SECTION, SAME_GROUP, ELSEWHERE = 1, 2, 3  # of distances; 0 = the same breed
DRAWS = 20_000  # from a posterior
ENOUGH = 10  # errors of each run, for the interval of a difference


def group_name(group: int) -> str:
    """What the dogs of an FCI group (0..10) are, in the language in use."""
    return translated(NAMES[group])


def kennel_groups(breeds: list[str]) -> np.ndarray:
    """FCI group of each breed, (C,) int in 0..10; 0 = none. Breeds by their names in Stanford Dogs.

    >>> kennel_groups(["pug", "beagle", "dingo", "Siberian husky", "cat"]).tolist()
    [9, 6, 0, 5, 0]
    """
    return _places(breeds)[:, 0]


def distance(breeds: list[str]) -> np.ndarray:
    """How far breeds are apart, (C, C) int: 0 the same breed, 1 same section, 2 same group, 3 neither.

    >>> distance(["beagle", "basset", "Rhodesian_ridgeback", "pug"])[0].tolist()
    [0, 1, 2, 3]
    """
    places = _places(breeds)
    group, section = (column[:, None] == column[None, :] for column in places.T)
    listed = places[:, 0] > 0
    apart = np.where(group & listed[:, None], np.where(section, SAME_SECTION, SAME_GROUP), ELSEWHERE)
    np.fill_diagonal(apart, 0)
    return apart


def collapse(breeds: list[str], opened: int | None = None) -> tuple[np.ndarray, list[str]]:
    """Breeds put together by FCI group: the unit of each breed, (C,) int, and the name of each unit.

    A unit is a group with at least two of these breeds, named "FCI 3", or a breed: of no group, alone in its group, or
    of the `opened` group. Units come in the order of their first breeds.

    >>> unit, names = collapse(["beagle", "dingo", "pug", "basset", "boxer"])
    >>> unit.tolist(), names
    ([0, 1, 2, 0, 3], ['FCI 6', 'dingo', 'pug', 'boxer'])
    """
    groups = kennel_groups(breeds).tolist()
    apart = {0, opened, *(group for group in groups if groups.count(group) == 1)}
    names = [breed if group in apart else f"FCI {group}" for breed, group in zip(breeds, groups, strict=True)]
    units = list(dict.fromkeys(names))
    places = {name: place for place, name in enumerate(units)}
    return np.array([places[name] for name in names], dtype=np.int64), units


def unit_label(name: str) -> str:
    """A breed's or a group's name as a reader expects it.

    >>> from dogpoc.translation import use_language; use_language("en")
    >>> unit_label("Afghan_hound"), unit_label("FCI 3")
    ('Afghan hound', 'FCI 3 terriers')
    """
    group = group_number(name)
    return breed_label(name) if group is None else f"{name} {group_name(group)}"


def group_number(name: str) -> int | None:
    """The group that a unit's name stands for; None for a breed."""
    number = name.removeprefix("FCI ")
    return int(number) if number != name and number in map(str, NAMES) else None


def _places(breeds: list[str]) -> np.ndarray:
    """Group and section of each breed, (C, 2) int; 0 and 0 where the table does not hold it."""
    return np.array([_table().get(_plain(breed), (0, 0)) for breed in breeds], dtype=np.int64).reshape(-1, 2)


@lru_cache
def _table() -> dict[str, tuple[int, int]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {_plain(row["breed"]): (int(row["group"]), int(row["section"])) for row in csv.DictReader(file)}


def _plain(breed: str) -> str:
    return breed.replace("_", " ").replace("-", " ").casefold()


# -- how bad mistakes are -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Severity:
    """How bad a run's errors are; intervals 95 %; nan where there is no error.

    errors, inside: wrong answers, and those that stay in the true breed's group.   share: of the errors, with Wilson's
    interval.   mean: distance of the errors, 1..3; its interval is Bayesian (see _mean_interval).
    share_by_chance, mean_by_chance: what the same errors would give if every other breed were as likely an answer.
    """

    errors: int
    inside: int
    share: float
    share_low: float
    share_high: float
    share_by_chance: float
    mean: float
    mean_low: float
    mean_high: float
    mean_by_chance: float


def severity(true: np.ndarray, predicted: np.ndarray, distances: np.ndarray) -> Severity:
    """How bad a run's errors are. true, predicted: (n,).   distances: (C, C), see `distance`."""
    wrong = np.flatnonzero(true != predicted)
    apart, others = distances[true[wrong], predicted[wrong]], max(1, len(distances) - 1)
    inside = int((apart <= SAME_GROUP).sum())
    low, high = metrics.wilson_interval(inside, len(wrong))
    counts = np.bincount(apart, minlength=ELSEWHERE + 1)[1:]
    mean_low, mean_high = _mean_interval(counts)
    near = ((distances <= SAME_GROUP).sum(axis=1) - 1) / others  # (C,) share of the other breeds
    return Severity(
        errors=len(wrong),
        inside=inside,
        share=inside / len(wrong) if len(wrong) else np.nan,
        share_low=float(low),
        share_high=float(high),
        share_by_chance=float(near[true[wrong]].mean()) if len(wrong) else np.nan,
        mean=float(apart.mean()) if len(wrong) else np.nan,
        mean_low=mean_low,
        mean_high=mean_high,
        mean_by_chance=float(distances.sum(axis=1)[true[wrong]].mean() / others) if len(wrong) else np.nan,
    )


def _mean_interval(counts: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean distance, from the numbers of errors at distances 1, 2 and 3.

    The distances' shares given the counts, from Jeffreys' prior: a Dirichlet distribution (Gelman et al., Bayesian Data
    Analysis, 3.4). Unlike a bootstrap it has a width where all errors, or the only one, are at the same distance.
    """
    if not counts.sum():
        return np.nan, np.nan
    steps = np.arange(1, len(counts) + 1)
    means = np.random.default_rng(0).dirichlet(counts + 0.5, size=DRAWS) @ steps
    mean = counts @ steps / counts.sum()
    low, high = np.quantile(means, [0.025, 0.975])
    return float(min(low, mean)), float(max(high, mean))


def severity_difference(true: np.ndarray, predicted: np.ndarray, distances: np.ndarray) -> dict[str, tuple]:
    """New minus baseline of Severity's share and mean, each (difference, low, high): paired bootstrap of the photos.

    predicted: (2, n), rows baseline and new. low and high are nan where a run has fewer than ENOUGH errors.
    """
    apart = distances[true, predicted]  # (2, n)
    apart = apart[:, (apart > 0).any(axis=0)]
    sums = np.stack([apart > 0, (apart > 0) & (apart <= SAME_GROUP), apart]).astype(float)  # (3, 2, m)
    few = (sums[0].sum(axis=1) < ENOUGH).any()

    def differences(weights: np.ndarray) -> np.ndarray:
        errors, inside, total = np.einsum("krn,bn->krb", sums, weights)
        return np.diff(np.stack([inside, total]) / np.maximum(errors, 1), axis=1)[:, 0]  # (2, b)

    found = differences(np.ones((1, apart.shape[1])))[:, 0]
    low, high = np.full((2, 2), np.nan) if few else metrics.bootstrap_interval(differences, apart.shape[1])
    return {
        name: (float(value), float(lo), float(hi))
        for name, value, lo, hi in zip(("share", "mean"), found, low, high, strict=True)
    }
