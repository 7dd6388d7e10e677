"""Kennel groups and how bad mistakes are: the table is whole, distances by hand, intervals keep their promise."""

import csv

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from dogpoc import artifacts, taxonomy
from dogpoc.translation import use_language

SECTIONS = {1: 2, 2: 3, 3: 4, 4: 1, 5: 8, 6: 3, 7: 2, 8: 3, 9: 11, 10: 3}  # of each FCI group
HOUNDS = ["beagle", "basset", "Rhodesian_ridgeback", "pug"]  # 6.1, 6.1, 6.3, 9.11


def rows() -> list[dict[str, str]]:
    with taxonomy.TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_holds_120_breeds_once_each_in_sections_that_the_fci_has():
    breeds = [row["breed"] for row in rows()]
    assert len(breeds) == len(set(breeds)) == 120
    assert breeds == sorted(breeds)
    for row in rows():
        group, section = int(row["group"]), int(row["section"])
        assert (group, section) == (0, 0) or 1 <= section <= SECTIONS[group], row


def test_the_table_holds_every_breed_of_the_data_sets_that_come_with_the_repository():
    known = {row["breed"] for row in rows()}
    for dataset in ("dogs47", "oxford-pet-dogs"):
        assert set(artifacts.read_photos(dataset)["breed"]) <= known


def test_what_the_fci_does_not_list_is_marked():
    unlisted = {row["breed"] for row in rows() if row["group"] == "0"}
    assert unlisted == {
        "dingo",
        "dhole",
        "African_hunting_dog",
        "bluetick",
        "redbone",
        "Walker_hound",
        "Eskimo_dog",
    }


@pytest.mark.parametrize(
    ("breed", "group"),
    [
        ("German_shepherd", 1),
        ("Rottweiler", 2),
        ("Airedale", 3),
        ("chow", 5),
        ("bloodhound", 6),
        ("vizsla", 7),
        ("clumber", 8),
        ("French_bulldog", 9),
        ("borzoi", 10),
        ("wire haired fox terrier", 3),  # however it is written
        ("cat", 0),
    ],
)
def test_a_breed_is_in_its_group(breed, group):
    assert taxonomy.kennel_groups([breed]).tolist() == [group]


def test_every_group_has_a_name_in_each_language():
    for language in ("en", "fr"):
        use_language(language)
        assert len({taxonomy.group_name(group) for group in range(11)}) == 11


def test_distances_are_0_1_2_3_for_breed_section_group_and_beyond():
    assert taxonomy.distance(HOUNDS).tolist() == [[0, 1, 2, 3], [1, 0, 2, 3], [2, 2, 0, 3], [3, 3, 3, 0]]


def test_breeds_that_the_fci_does_not_list_are_far_from_each_other_too():
    assert taxonomy.distance(["dingo", "dhole", "cat"]).tolist() == [[0, 3, 3], [3, 0, 3], [3, 3, 0]]


def test_no_breeds_have_no_distances():
    assert taxonomy.distance([]).shape == (0, 0)


def test_severity_worked_by_hand():
    true, predicted = np.array([0, 0, 0, 0, 2, 3]), np.array([0, 1, 1, 3, 0, 3])  # distances 0, 1, 1, 3, 2, 0
    found = taxonomy.severity(true, predicted, taxonomy.distance(HOUNDS))
    assert (found.errors, found.inside, found.share, found.mean) == (4, 3, 0.75, 7 / 4)
    assert (found.share_low, found.share_high) == pytest.approx(proportion_confint(3, 4, method="wilson"))
    # each of these breeds has two others of its group; the beagle is 1, 2, 3 from the others, the ridgeback 2, 2, 3
    assert found.share_by_chance == pytest.approx(2 / 3)
    assert found.mean_by_chance == pytest.approx((3 * 6 + 7) / 4 / 3)


def test_random_errors_are_as_bad_as_the_yardstick_says():
    rng = np.random.default_rng(0)
    breeds = [row["breed"] for row in rows()]
    true = rng.integers(120, size=40_000)
    predicted = (true + rng.integers(1, 120, size=len(true))) % 120
    found = taxonomy.severity(true, predicted, taxonomy.distance(breeds))
    assert found.share == pytest.approx(found.share_by_chance, abs=0.01)
    assert found.mean == pytest.approx(found.mean_by_chance, abs=0.01)


def test_a_run_without_errors_has_no_severity():
    found = taxonomy.severity(np.array([0, 1]), np.array([0, 1]), taxonomy.distance(HOUNDS))
    assert (found.errors, found.inside) == (0, 0)
    assert np.isnan([found.share, found.share_low, found.mean, found.mean_low, found.mean_by_chance]).all()


def test_one_error_has_a_wide_interval_around_it():
    found = taxonomy.severity(np.array([0]), np.array([3]), taxonomy.distance(HOUNDS))
    assert (found.mean, found.mean_high) == (3, 3)
    assert found.mean_low < 2


def test_the_interval_of_many_errors_is_the_normal_one():
    counts = np.array([300, 500, 900])
    steps = np.repeat([1, 2, 3], counts)
    half = 1.96 * steps.std(ddof=1) / np.sqrt(len(steps))
    assert taxonomy._mean_interval(counts) == pytest.approx((steps.mean() - half, steps.mean() + half), abs=0.003)


@pytest.mark.parametrize("n", [5, 30, 100])
def test_the_interval_of_the_mean_distance_covers_about_95_percent(n):
    rng, shares = np.random.default_rng(n), np.array([0.3, 0.2, 0.5])
    intervals = [taxonomy._mean_interval(rng.multinomial(n, shares)) for _trial in range(400)]
    covered = np.mean([low <= shares @ [1, 2, 3] <= high for low, high in intervals])
    assert 0.92 <= covered <= 0.99


def test_a_difference_in_severity_agrees_with_a_loop_that_draws_photos():
    rng = np.random.default_rng(1)
    distances = taxonomy.distance(HOUNDS)
    true = rng.integers(4, size=200)
    predicted = np.where(rng.random((2, 200)) < 0.7, true, rng.integers(4, size=(2, 200)))
    found = taxonomy.severity_difference(true, predicted, distances)
    one_by_one = [taxonomy.severity(true, run, distances) for run in predicted]
    assert found["mean"][0] == pytest.approx(one_by_one[1].mean - one_by_one[0].mean)
    assert found["share"][0] == pytest.approx(one_by_one[1].share - one_by_one[0].share)
    drawn = rng.integers(200, size=(2000, 200))
    apart = distances[true, predicted]
    means = [np.diff([run[rows].sum() / (run[rows] > 0).sum() for run in apart])[0] for rows in drawn]
    assert found["mean"][1:] == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("wrong", [0, 9])
def test_a_difference_between_few_errors_has_no_interval(wrong):
    true = np.zeros(50, dtype=int)
    predicted = np.zeros((2, 50), dtype=int)
    predicted[:, :wrong] = 1
    found = taxonomy.severity_difference(true, predicted, taxonomy.distance(HOUNDS))
    assert found["mean"][0] == 0
    assert np.isnan(found["mean"][1:]).all()
