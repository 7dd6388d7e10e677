"""Two runs on the same photos: by hand, against statsmodels and slow loops, and where neither is better."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dogpoc import DogpocError, comparison, metrics
from dogpoc.artifacts import Evaluation
from dogpoc.comparison import ComparisonError, compare, guess_words, mcnemar_p, tango_interval, verdict


def evaluation(run: str, logits: np.ndarray, true: np.ndarray, *, digest: str = "same") -> Evaluation:
    """An Evaluation as artifacts.read_evaluation gives it, without the files."""
    breeds = [f"breed_{j}" for j in range(logits.shape[1])]
    ids = [f"{i:05}.jpg" for i in range(len(true))]
    return Evaluation("dogs", run, "test", {"photos_digest": digest}, pd.DataFrame({"id": ids}), breeds, logits, true)


def answers(run: str, true: list[int], predicted: list[int], breeds: int = 3) -> Evaluation:
    """A run that is quite sure of `predicted`."""
    return evaluation(run, 5 * np.eye(breeds, dtype=np.float32)[predicted], np.array(true))


def two_runs(n: int = 300, breeds: int = 5, *, lead: float = 0.0, seed: int = 0) -> tuple[Evaluation, Evaluation]:
    """Two made-up runs that err on partly the same photos; `lead` is what new is better by."""
    rng = np.random.default_rng(seed)
    true = rng.integers(breeds, size=n)
    logits = rng.normal(size=(n, breeds)) + rng.normal(size=(2, n, breeds))
    logits[:, np.arange(n), true] += np.array([[3], [3 + lead]])
    base, new = logits.astype(np.float32)
    return evaluation("base", base, true), evaluation("new", new, true)


# -- by hand ------------------------------------------------------------------------------------------------------


def by_hand() -> comparison.Comparison:
    true = [0, 0, 0, 0, 1, 1, 1, 2]
    base = [0, 0, 1, 1, 1, 2, 2, 0]  # right: 0, 1, 4
    new = [0, 1, 0, 0, 1, 1, 2, 1]  #  right: 0, 2, 3, 4, 5
    return compare(answers("base", true, base), answers("new", true, new))


def test_the_four_counts_and_accuracies_worked_by_hand():
    c = by_hand()
    assert (c.photos, c.both_right, c.only_baseline, c.only_new, c.both_wrong) == (8, 2, 1, 3, 2)
    assert (c.baseline_top1, c.new_top1, c.difference) == (3 / 8, 5 / 8, 2 / 8)
    assert c.mcnemar_p == pytest.approx(2 * (1 + 4) / 2**4)
    assert np.flatnonzero(c.new_right & ~c.baseline_right).tolist() == [2, 3, 5]
    assert (c.baseline, c.new, c.dataset, c.split) == ("base", "new", "dogs", "test")


def test_log_loss_and_macro_f1_differences_worked_by_hand():
    c = by_hand()
    wrong_costs_more = 5 / 8  # by 5 nats a photo
    assert c.log_loss_difference == pytest.approx(-2 * wrong_costs_more)
    assert c.baseline_macro_f1 == pytest.approx((4 / 7 + 2 / 6 + 0) / 3)
    assert c.new_macro_f1 == pytest.approx((6 / 7 + 4 / 7 + 0) / 3)
    assert c.macro_f1_difference == pytest.approx(c.new_macro_f1 - c.baseline_macro_f1)


def test_the_table_of_breeds_worked_by_hand():
    table = by_hand().breeds
    assert table["breed"].tolist() == ["breed_0", "breed_1", "breed_2"]
    assert table["support"].tolist() == [4, 3, 1]
    np.testing.assert_allclose(table["baseline_recall"], [2 / 4, 1 / 3, 0])
    np.testing.assert_allclose(table["difference"], [1 / 4, 1 / 3, 0])
    assert table["only_baseline"].tolist() == [1, 0, 0]
    assert table["only_new"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(table["p"], [1, 1, 1])
    assert set(table["verdict"]) == {"no evidence"}


def test_breeds_that_clearly_change_are_named_better_and_worse():
    true = [0] * 40 + [1] * 40 + [2] * 40
    base = [1] * 20 + [0] * 20 + [1] * 40 + [2] * 40
    new = [0] * 40 + [1] * 25 + [2] * 15 + [2] * 39 + [1]
    c = compare(answers("base", true, base), answers("new", true, new))
    assert (c.better, c.worse, c.undecided) == (["breed_0"], ["breed_1"], 1)
    assert c.breeds["verdict"].tolist() == ["better", "worse", "no evidence"]


def test_a_run_compared_with_itself_is_no_different_and_has_an_interval_of_some_width():
    run = two_runs()[0]
    c = compare(run, run)
    assert (c.difference, c.mcnemar_p, c.winner) == (0, 1, None)
    assert (c.log_loss_difference, c.log_loss_difference_low, c.log_loss_difference_high) == (0, 0, 0)
    assert c.difference_low < 0 < c.difference_high
    assert verdict(c).startswith("No evidence of a difference")


# -- oracles ------------------------------------------------------------------------------------------------------


def test_mcnemar_agrees_with_statsmodels_and_scipy_for_all_small_counts():
    only_baseline, only_new = np.mgrid[0:25, 0:25].reshape(2, -1)
    found = mcnemar_p(only_baseline, only_new)
    for b, c, p in zip(only_baseline.tolist(), only_new.tolist(), found, strict=True):
        assert p == pytest.approx(stats.binomtest(c, b + c).pvalue if b + c else 1, abs=1e-12)
        assert p == pytest.approx(min(1, mcnemar([[3, b], [c, 4]], exact=True).pvalue) if b + c else 1, abs=1e-12)


def test_q_values_agree_with_statsmodels_over_the_breeds_that_have_photos():
    rng = np.random.default_rng(0)
    true = rng.choice([0, 1, 2, 3, 5], size=400)
    right = np.stack([rng.random(400) < 0.6, rng.random(400) < 0.6 + 0.1 * true])
    table = comparison.compare_breeds(list("abcdef"), true, right)
    shown = table["support"] > 0
    expected = multipletests(table["p"][shown], method="fdr_bh")[1]
    np.testing.assert_allclose(table["q"][shown], expected, atol=1e-12)
    assert table.loc[4, ["baseline_recall", "new_recall", "difference", "p", "q"]].isna().all()
    assert table.loc[4, "verdict"] == "no evidence"
    assert table.loc[5, "verdict"] == "better"


def test_a_breed_is_not_called_better_on_a_p_value_that_the_number_of_breeds_explains():
    true = np.repeat(np.arange(10), 8)
    right = np.stack([(true > 0) | (np.arange(80) < 1), np.ones(80, dtype=bool)])  # breed 0: 0 against 7 photos
    table = comparison.compare_breeds(list("abcdefghij"), true, right)
    assert (table.loc[0, "p"], table.loc[0, "q"]) == pytest.approx((2 / 2**7, 10 * 2 / 2**7))
    assert table.loc[0, "verdict"] == "no evidence"


def slow_score(delta: float, only_baseline: int, only_new: int, n: int) -> float:
    """Tango's score statistic with the most likely probabilities found by a grid, not by a formula."""
    low, high = max(0, -delta), (1 - delta) / 2  # of the probability that only baseline is right
    for _ in range(6):
        grid = np.linspace(low, high, 2001)[1:-1]
        values = only_baseline * np.log(grid) + only_new * np.log(grid + delta)
        values += (n - only_baseline - only_new) * np.log(1 - 2 * grid - delta)
        best = int(np.argmax(values))
        low, high = grid[max(best - 2, 0)], grid[min(best + 2, len(grid) - 1)]
    p = grid[best]
    return (only_new - only_baseline - n * delta) / np.sqrt(n * (2 * p + delta - delta**2))


@pytest.mark.parametrize(("b", "c", "n"), [(22, 41, 1600), (3, 9, 60), (1, 7, 22), (40, 12, 300), (5, 5, 50)])
def test_tango_interval_ends_where_the_score_statistic_is_1_96(b, c, n):
    low, high = tango_interval(b, c, n)
    assert slow_score(low, b, c, n) == pytest.approx(1.959964, abs=1e-3)
    assert slow_score(high, b, c, n) == pytest.approx(-1.959964, abs=1e-3)


def test_tango_interval_of_runs_that_never_differ_is_the_known_formula():
    bound = 1.959964**2 / (200 + 1.959964**2)
    assert tango_interval(0, 0, 200) == pytest.approx((-bound, bound), abs=1e-7)
    assert tango_interval(0, 9, 9)[1] == 1
    assert tango_interval(9, 0, 9)[0] == -1


def test_bootstrap_intervals_agree_with_a_slow_loop_within_monte_carlo_error():
    baseline, new = two_runs(150, 4, lead=0.5)
    c, true = compare(baseline, new, resamples=4000), baseline.true
    predicted = [run.logits.argmax(axis=1) for run in (baseline, new)]
    losses = [metrics.losses(run.logits, true) for run in (baseline, new)]
    rng, values = np.random.default_rng(1), []
    for _ in range(600):
        drawn = rng.integers(150, size=150)
        right = [(run == true)[drawn].mean() for run in predicted]
        f1 = [f1_score(true[drawn], run[drawn], average="macro") for run in predicted]
        values.append([right[1] - right[0], (losses[1] - losses[0])[drawn].mean(), f1[1] - f1[0]])
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    spread = np.std(values, axis=0)  # an end of an interval from 600 resamples wanders by 0.11 of it
    found = [(c.difference_bootstrap_low, c.difference_bootstrap_high)]
    found += [(c.log_loss_difference_low, c.log_loss_difference_high)]
    found += [(c.macro_f1_difference_low, c.macro_f1_difference_high)]
    assert (np.abs(np.array(found).T - [low, high]) < 0.35 * spread).all()


def test_the_score_interval_and_the_bootstrap_agree_where_many_photos_differ():
    c = compare(*two_runs(2000, lead=0.2))
    width = c.difference_high - c.difference_low
    assert c.difference_low == pytest.approx(c.difference_bootstrap_low, abs=0.05 * width)
    assert c.difference_high == pytest.approx(c.difference_bootstrap_high, abs=0.05 * width)


# -- where neither is better, and what never changes --------------------------------------------------------------


def test_intervals_cover_93_to_97_percent_and_at_most_5_percent_of_verdicts_claim_a_difference():
    simulations, covered, claims = 1000, np.zeros(4), 0
    for seed in range(simulations):
        baseline, new = two_runs(200, 4, seed=seed)
        true, predicted = baseline.true, np.stack([run.logits.argmax(axis=1) for run in (baseline, new)])
        losses = np.stack([metrics.losses(run.logits, true) for run in (baseline, new)])
        low, high = comparison.bootstrap_differences(true, predicted, losses, 4, resamples=400, seed=seed)
        right = predicted == true
        counts = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
        score_low, score_high = tango_interval(*counts, 200)
        covered += [score_low <= 0 <= score_high, *((low <= 1e-9) & (high >= -1e-9))]
        claims += mcnemar_p(*counts) < comparison.ALPHA
    assert (covered / simulations >= 0.93).all()
    assert (covered / simulations <= 0.97).all()
    assert claims / simulations <= 0.05


@pytest.mark.parametrize(("n", "p_baseline", "p_new"), [(200, 0.04, 0.04), (1600, 0.01, 0.02), (1600, 0.02, 0.02)])
def test_the_accuracy_interval_covers_93_to_97_percent_exactly_computed(n, p_baseline, p_new):
    """The sum of the probabilities of all outcomes whose interval holds the true difference; no simulation."""
    counts = [np.arange(stats.binom.ppf(1 - 1e-4, n, p) + 1, dtype=int) for p in (p_baseline, p_new)]
    b, c = (grid.ravel() for grid in np.meshgrid(*counts))
    chance = stats.multinomial.pmf(np.stack([b, c, n - b - c], axis=1), n, [p_baseline, p_new, 1 - p_baseline - p_new])
    kept = chance > 1e-6
    intervals = np.array([tango_interval(int(x), int(y), n) for x, y in zip(b[kept], c[kept], strict=True)])
    holds = (intervals[:, 0] <= p_new - p_baseline) & (p_new - p_baseline <= intervals[:, 1])
    assert chance[kept].sum() > 0.998
    assert 0.93 < chance[kept][holds].sum() / chance[kept].sum() < 0.97


def test_a_claimed_difference_always_comes_with_an_interval_that_leaves_out_0():
    only_baseline, only_new = np.mgrid[0:40, 0:40].reshape(2, -1)
    for b, c in zip(*(x[mcnemar_p(only_baseline, only_new) < 0.05] for x in (only_baseline, only_new)), strict=True):
        low, high = tango_interval(int(b), int(c), 300)
        assert low > 0 if c > b else high < 0


def permuted(run: Evaluation, order: np.ndarray) -> Evaluation:
    return replace(run, photos=run.photos.iloc[order], logits=run.logits[order], true=run.true[order])


def test_the_order_of_photos_changes_nothing_but_the_noise_of_resampling():
    runs = two_runs(lead=0.3)
    order = np.random.default_rng(1).permutation(300)
    before, after = (comparison.as_json(c) for c in (compare(*runs), compare(*(permuted(run, order) for run in runs))))
    for key, value in before.items():
        if isinstance(value, float):
            resampled = key.startswith(("difference_bootstrap", "log_loss_difference_", "macro_f1_difference_"))
            assert after[key] == pytest.approx(value, abs=0.01 if resampled else 1e-12)
        else:
            assert after[key] == value


def test_swapping_baseline_and_new_flips_every_sign():
    baseline, new = two_runs(lead=0.6)
    there, back = compare(baseline, new), compare(new, baseline)
    for name in ("difference", "difference_bootstrap", "log_loss_difference", "macro_f1_difference"):
        low, high = (getattr(there, f"{name}{end}") for end in ("_low", "_high"))
        swapped = (getattr(back, f"{name}{end}") for end in ("_low", "_high"))
        assert (-high, -low) == pytest.approx(tuple(swapped), abs=1e-9)
    assert there.difference == -back.difference
    assert there.mcnemar_p == back.mcnemar_p
    assert (there.better, there.worse) == (back.worse, back.better)
    assert (there.winner, back.winner) == ("new", "baseline")
    assert (there.breeds["difference"] == -back.breeds["difference"]).all()


# -- what cannot be compared --------------------------------------------------------------------------------------


def refused(baseline: Evaluation, new: Evaluation) -> str:
    with pytest.raises(ComparisonError) as caught:
        compare(baseline, new)
    assert isinstance(caught.value, DogpocError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_runs_on_different_photos_are_refused_with_one_line_and_a_way_out():
    baseline, new = two_runs(20)
    way_out = "'base' and 'new' were evaluated on different photo lists of 'dogs'; run: python -m dogpoc evaluate base"
    assert way_out in refused(baseline, replace(new, info={"photos_digest": "other"}))
    assert way_out in refused(baseline, replace(new, photos=new.photos.iloc[::-1]))
    assert way_out in refused(baseline, permuted(new, np.arange(19)))


def test_runs_on_different_breeds_splits_or_datasets_are_refused_with_one_line():
    baseline, new = two_runs(20)
    fewer = replace(new, breeds=new.breeds[:4], logits=new.logits[:, :4])
    assert "scored on 5 breeds of 'dogs' and 'new' on 4" in refused(baseline, fewer)
    assert "'breed_4'" in refused(baseline, fewer)
    assert "same order" in refused(baseline, replace(new, breeds=new.breeds[::-1]))
    assert "on 'dogs' (test) and 'new' on 'dogs' (validation)" in refused(baseline, replace(new, split="validation"))
    assert "on 'cats' (test)" in refused(baseline, replace(new, dataset="cats"))


def test_a_split_without_photos_is_refused_with_one_line():
    empty = answers("base", [], [])
    assert "no test photos" in refused(empty, empty)


@pytest.mark.parametrize("breeds", [2, 3])
def test_one_photo_is_enough_for_every_number(breeds):
    c = compare(answers("base", [1], [0], breeds), answers("new", [1], [1], breeds))
    values = {key: value for key, value in comparison.as_json(c).items() if isinstance(value, float)}
    assert np.isfinite([*values.values()]).all()
    assert c.breeds["support"].tolist() == [0, 1, 0][:breeds]


# -- cells of two confusion matrices ------------------------------------------------------------------------------


def looped_cells(true: np.ndarray, predicted: np.ndarray, unit: np.ndarray) -> dict[tuple[int, int], float]:
    """q of every tested cell, one photo and one test at a time."""
    only = {}
    for label, base, new in zip(true, *predicted, strict=True):
        cells = [(unit[label], unit[answer]) if answer != label else None for answer in (base, new)]
        for run, cell in enumerate(cells):
            if cell is not None and cells[0] != cells[1]:
                only.setdefault(cell, [0, 0])[run] += 1
    tested = {cell: both for cell, both in only.items() if sum(both) >= 6}
    p = [stats.binomtest(min(both), sum(both)).pvalue for both in tested.values()]
    return dict(zip(tested, multipletests(p, method="fdr_bh")[1], strict=True))


@pytest.mark.parametrize("unit", [[0, 1, 2, 3], [0, 0, 1, 1], [0, 1, 1, 1]])
def test_cells_agree_with_statsmodels_and_a_loop_over_photos(unit):
    rng, unit = np.random.default_rng(0), np.array(unit)
    true = rng.integers(4, size=400)
    wander = rng.integers(4, size=(2, 400))
    wander[1] = np.where(true == 0, np.minimum(wander[1], 1), wander[1])
    predicted = np.where(rng.random((2, 400)) < 0.5, true, wander)
    q, expected = comparison.compare_cells(true, predicted, unit), looped_cells(true, predicted, unit)
    assert {(int(i), int(j)) for i, j in np.argwhere(~np.isnan(q))} == set(expected)
    for cell, value in expected.items():
        assert q[cell] == pytest.approx(value)
    assert len(expected) > 1


def test_a_cell_that_one_run_fills_is_no_noise_and_5_photos_never_tell():
    true = np.zeros(40, dtype=int)
    for photos, told in ((5, False), (6, True), (12, True)):
        predicted = np.zeros((2, 40), dtype=int)
        predicted[0, :photos] = 1
        q = comparison.compare_cells(true, predicted, np.arange(3))
        assert (np.nan_to_num(q, nan=1) < comparison.ALPHA).tolist() == [[False, told, False], [False] * 3, [False] * 3]


def test_runs_that_agree_on_every_photo_differ_in_no_cell():
    true, predicted = np.array([0, 1, 2, 2]), np.array([[0, 2, 2, 0]] * 2)
    assert np.isnan(comparison.compare_cells(true, predicted, np.arange(3))).all()


def test_a_photo_that_changes_between_breeds_of_one_group_stays_in_its_cell():
    true, predicted = np.zeros(20, dtype=int), np.array([[1] * 20, [2] * 20])
    assert np.isnan(comparison.compare_cells(true, predicted, np.array([0, 1, 1]))).all()
    assert (comparison.compare_cells(true, predicted, np.arange(3))[0, 1:] < 1e-4).all()


def test_at_most_5_percent_of_comparisons_without_a_difference_find_a_cell():
    rng, found = np.random.default_rng(0), 0
    for _trial in range(400):
        true = rng.integers(4, size=300)
        predicted = np.where(rng.random((2, 300)) < 0.4, true, rng.integers(4, size=(2, 300)))
        found += (comparison.compare_cells(true, predicted, np.arange(4)) < comparison.ALPHA).any()
    assert found / 400 <= 0.05


@pytest.mark.parametrize("unit", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_soft_cells_agree_with_a_paired_t_test_of_each_cell(unit, monkeypatch):
    baseline, new = two_runs(120, 4, lead=0.8)
    unit, true = np.array(unit), baseline.true
    monkeypatch.setattr(metrics, "blocks", lambda n, _width: (slice(k, k + 50) for k in range(0, n, 50)))
    probs = [metrics.softmax(run.logits) for run in (baseline, new)]
    q = comparison.compare_soft_cells(true, probs[0].__getitem__, probs[1].__getitem__, unit)
    cells, p = [], []
    for i in range(unit.max() + 1):
        for j in range(unit.max() + 1):
            shares = [
                [
                    sum(row[k] for k in range(4) if unit[k] == j and k != label)
                    for row, label in zip(run, true, strict=True)
                ]
                for run in probs
            ]
            chosen = unit[true] == i
            if len(set(np.array(shares)[0, chosen])) > 1:
                cells.append((i, j))
                p.append(stats.ttest_rel(np.array(shares)[1, chosen], np.array(shares)[0, chosen]).pvalue)
    assert {(int(i), int(j)) for i, j in np.argwhere(~np.isnan(q))} == set(cells)
    assert [q[cell] for cell in cells] == pytest.approx(list(multipletests(p, method="fdr_bh")[1]))


def test_soft_cells_of_equal_runs_of_one_photo_and_of_none_are_left_open():
    probs = np.array([[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    true, other = np.array([0, 0, 2]), probs[:, [1, 0, 2]]
    assert np.isnan(comparison.compare_soft_cells(true, probs.__getitem__, probs.__getitem__, np.arange(3))).all()
    q = comparison.compare_soft_cells(true, probs.__getitem__, other.__getitem__, np.arange(3))
    assert np.isnan(q[1:]).all()  # no photo of breed 1, one of breed 2
    assert q[0, 1] > 0


# -- in words -----------------------------------------------------------------------------------------------------


def worded(only_baseline: int, only_new: int, photos: int = 1600, **changes) -> str:
    low, high = tango_interval(only_baseline, only_new, photos)
    c = replace(
        by_hand(),
        photos=photos,
        only_baseline=only_baseline,
        only_new=only_new,
        difference=(only_new - only_baseline) / photos,
        difference_low=low,
        difference_high=high,
        mcnemar_p=float(mcnemar_p(only_baseline, only_new)),
        **{"better": ["a", "b", "c"], "worse": [], "undecided": 44, **changes},
    )
    return verdict(c).replace("\u00a0", " ").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[30, 10], [0, 20]], ""),
        ([[30, 10], [15, 5]], "cnn is not surely better than always naming the most frequent breed"),
        ([[0, 40], [0, 20]], "cnn calls every photo pug"),
        ([[40]], ""),
    ],
)  # fmt: skip
def test_a_run_that_is_no_better_than_a_blind_guess_is_called_so(counts, said):
    words = guess_words("cnn", np.array(counts), ["beagle", "pug"]).replace("\u00a0", " ")
    assert words.startswith(said)
    assert bool(words) == bool(said)


def test_the_verdict_says_who_is_better_by_how_much_how_surely_and_where():
    assert worded(22, 41) == (
        "New (new) is better than baseline (base) by +1.2 pts [0.2, 2.2] (exact McNemar p = .023): "
        "it mends 41 photos and breaks 22; better on 3 breeds, worse on 0, no evidence either way on 44."
    )


def test_the_verdict_says_in_the_same_voice_that_the_baseline_wins():
    assert worded(41, 22, better=[], worse=["a"]) == (
        "Baseline (base) is better than new (new) by +1.2 pts [0.2, 2.2] (exact McNemar p = .023): "
        "new breaks 41 photos and mends 22; worse on 1 breed, better on 0, no evidence either way on 44."
    )


def test_the_verdict_claims_nothing_where_the_test_does_not_even_if_the_interval_leaves_out_0():
    assert tango_interval(0, 5, 1600)[0] > 0
    assert worded(0, 5) == (
        "No evidence of a difference between new (new) and baseline (base): +0.3 pts [0.1, 0.7] (exact McNemar "
        "p = .062); new mends 5 photos and breaks 0; better on 3 breeds, worse on 0, no evidence either way on 44."
    )
    assert worded(6, 1).startswith(
        "No evidence of a difference between new (new) and baseline (base): -0.3 pts [-0.8, "
    )


def test_one_photo_and_one_breed_are_singular():
    assert "mends 1 photo and breaks 0; better on 1 breed, worse on 0" in worded(0, 1, better=["a"])


def test_a_difference_that_is_claimed_never_reads_as_zero():
    assert "by +0.08 pts [0.04, 0.16] (exact McNemar p = .008)" in worded(0, 8, 10_000)
    assert "by +0.0006 pts [0." in worded(0, 6, 1_000_000)


@pytest.mark.parametrize("p", [0.0499, 0.04999, 0.05, 0.0501, 0.0004, 0.3])
def test_a_p_value_stays_on_its_side_of_5_percent_when_it_is_rounded(p):
    assert (float(comparison.p_text(p)[2:]) < 0.05) == (p < 0.05)


def test_the_caveat_says_what_the_interval_does_not_cover():
    assert "training seeds" in comparison.caveat()


def test_json_holds_every_statistic_as_plain_values_and_null_where_undefined():
    c = compare(answers("base", [0, 1], [0, 0]), answers("new", [0, 1], [0, 1]))
    values = json.loads(json.dumps(comparison.as_json(c), allow_nan=False))
    assert values["photos"] == 2
    assert values["only_new"] == 1
    assert values["winner"] is None
    assert values["breeds"][1]["baseline_recall"] == 0
    assert values["breeds"][2]["baseline_recall"] is None
    assert values.keys() >= {
        *("photos", "baseline_top1", "new_top1", "difference", "difference_low", "difference_high", "both_right"),
        *("only_baseline", "only_new", "both_wrong", "mcnemar_p", "better", "worse", "undecided"),
        *("log_loss_difference", "log_loss_difference_low", "macro_f1_difference", "macro_f1_difference_high"),
    }


# -- seeds --------------------------------------------------------------------------------------------------------


def info(run: str, method: str = "m", seed: int = 0, **changed) -> dict:
    own = {"name": method, "seed": seed, "summary": run, "trained": "head"}
    usual = {"dataset": "dogs", "trained_on": "dogs", "photos_digest": "same", "preprocessing": {"size": 224}}
    return {"run": run, "seed": seed, "method": own, **usual, **changed}


def test_sister_runs_differ_in_their_seed_alone():
    infos = [info("c", seed=2), info("a"), info("b", seed=1), info("other", "n"), info("d", seed=3, photos_digest="x")]
    assert comparison.sister_runs(infos, "a") == ["a", "b", "c"]
    assert comparison.sister_runs(infos, "other") == ["other"]


def test_of_two_runs_with_one_seed_the_one_asked_for_counts():
    infos = [info("a"), info("again"), info("b", seed=1)]
    assert comparison.sister_runs(infos, "a") == ["a", "b"]
    assert comparison.sister_runs(infos, "again") == ["again", "b"]


def spread(*accuracies: float, n: int = 1000) -> comparison.Seeds:
    right = {f"run-{k}": np.arange(n) < round(share * n) for k, share in enumerate(accuracies)}
    return comparison.seeds("m", right)


def test_the_spread_over_seeds_worked_by_hand():
    found = spread(0.9, 0.92, 0.94)
    assert found.runs == ("run-0", "run-1", "run-2")
    assert found.accuracies == (0.9, 0.92, 0.94)
    assert found.mean == pytest.approx(0.92)
    assert found.deviation == pytest.approx(0.02)
    # every photo right by all, by some or by none: the mean's standard error over photos
    share = np.repeat([1, 2 / 3, 1 / 3, 0], [900, 20, 20, 60])
    half = 1.96 * share.std() / np.sqrt(1000)
    assert found.low == pytest.approx(0.92 - half, abs=0.1 * half)
    assert found.high == pytest.approx(0.92 + half, abs=0.1 * half)


def test_the_difference_over_seeds_agrees_with_statsmodels():
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    baseline, new = spread(0.9, 0.91, 0.915), spread(0.93, 0.95, 0.96)
    expected = CompareMeans(DescrStatsW(new.accuracies), DescrStatsW(baseline.accuracies)).tconfint_diff(
        usevar="unequal"
    )
    difference, low, high = comparison.seeds_difference(baseline, new)
    assert difference == pytest.approx(new.mean - baseline.mean)
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_one_seed_gives_no_interval_and_equal_seeds_one_without_width():
    assert comparison.seeds_difference(spread(0.9), spread(0.9, 0.91)) is None
    assert comparison.seeds_difference(spread(0.9, 0.9), spread(0.95, 0.95)) == pytest.approx((0.05, 0.05, 0.05))
    assert np.isnan(spread(0.9).deviation)
