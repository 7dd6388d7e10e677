"""Numbers of one run: by hand on three breeds, and against scikit-learn, statsmodels and loops written here."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as oracle
from statsmodels.stats.proportion import proportion_confint

from dogpoc import metrics

COUNTS = np.array([[8, 2, 0], [0, 9, 1], [3, 0, 7]])  # rows = true, columns = predicted


def photos(n: int = 400, breeds: int = 6, *, seed: int = 0, pull: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Made-up logits (n, breeds) and true labels (n,)."""
    rng = np.random.default_rng(seed)
    true = rng.integers(breeds, size=n)
    logits = rng.normal(size=(n, breeds))
    logits[np.arange(n), true] += pull
    return logits.astype(np.float32), true


# -- right or wrong -----------------------------------------------------------------------------------------------


def test_softmax_is_finite_for_huge_logits_and_sums_to_one():
    probs = metrics.softmax(np.array([[1e4, -1e4, 0], [0, 0, 0]], dtype=np.float32))
    assert probs.dtype == np.float64
    np.testing.assert_allclose(probs, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-15)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_accuracy_agrees_with_scikit_learn_where_nothing_is_tied(k):
    logits, true = photos()
    assert metrics.top_k_accuracy(logits, true, k) == pytest.approx(
        oracle.top_k_accuracy_score(true, logits, k=k, labels=np.arange(6)), abs=1e-12
    )


def test_a_tie_goes_to_the_breed_with_the_smaller_index_as_argmax_does():
    logits = np.array([[2, 2, 2, 0]] * 4)
    true = np.arange(4)
    assert metrics.ranks(logits, true).tolist() == [0, 1, 2, 3]
    assert metrics.top_k_accuracy(logits, true, 1) == (logits.argmax(axis=1) == true).mean() == 0.25
    assert metrics.top_k_accuracy(logits, true, 3) == 0.75


def test_top_three_of_two_breeds_is_always_right():
    assert metrics.top_k_accuracy(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]), 3) == 1


def test_log_loss_agrees_with_scikit_learn():
    logits, true = photos()
    expected = oracle.log_loss(true, metrics.softmax(logits), labels=np.arange(6))
    assert metrics.losses(logits, true).mean() == pytest.approx(expected, abs=1e-9)
    assert metrics.log_loss(metrics.softmax(logits), true) == pytest.approx(expected, abs=1e-9)


def test_log_loss_is_finite_for_probabilities_of_0_and_1():
    logits, true = np.array([[1000.0, 0.0], [1000.0, 0.0]]), np.array([0, 1])
    assert metrics.losses(logits, true).tolist() == [0, 1000]
    probs = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.log_loss(probs, true) == pytest.approx(-math.log(2**-52) / 2)
    assert metrics.log_loss(probs, true) == pytest.approx(oracle.log_loss(true, probs), abs=1e-9)


def test_brier_score_runs_from_0_to_2_and_agrees_with_scikit_learn():
    certain = np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert metrics.briers(certain, np.array([0, 1])).tolist() == [0, 2]
    logits, true = photos()
    probs = metrics.softmax(logits)
    expected = oracle.brier_score_loss(true, probs, labels=np.arange(6), scale_by_half=False)
    assert metrics.brier(probs, true) == pytest.approx(expected, abs=1e-9)


# -- confusion ----------------------------------------------------------------------------------------------------


def test_counts_have_true_breeds_in_rows_and_agree_with_scikit_learn():
    logits, true = photos()
    predicted = logits.argmax(axis=1)
    counts = metrics.confusion_counts(true, predicted, 6)
    assert counts.tolist() == oracle.confusion_matrix(true, predicted).tolist()
    assert metrics.confusion_counts(np.array([0]), np.array([2]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_rates_recall_precision_and_f1_worked_by_hand():
    np.testing.assert_allclose(metrics.rates(COUNTS), [[0.8, 0.2, 0], [0, 0.9, 0.1], [0.3, 0, 0.7]])
    np.testing.assert_allclose(metrics.recall(COUNTS), [0.8, 0.9, 0.7])
    np.testing.assert_allclose(metrics.precision(COUNTS), [8 / 11, 9 / 11, 7 / 8])
    np.testing.assert_allclose(metrics.f1(COUNTS), [16 / 21, 18 / 21, 14 / 18])
    assert metrics.macro_f1(COUNTS) == pytest.approx((16 / 21 + 18 / 21 + 14 / 18) / 3)


def test_what_a_breed_without_photos_leaves_undefined_is_nan():
    counts = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 0]])  # breed 1 has no photo, breed 2 one and is never predicted
    np.testing.assert_array_equal(metrics.rates(counts)[1], [np.nan] * 3)
    np.testing.assert_allclose(metrics.recall(counts), [0.8, np.nan, 0])
    np.testing.assert_allclose(metrics.precision(counts), [8 / 9, 0, np.nan])
    np.testing.assert_allclose(metrics.f1(counts), [16 / 19, np.nan, 0])
    assert metrics.macro_f1(counts) == pytest.approx(8 / 19)


def test_macro_f1_agrees_with_scikit_learn_when_a_breed_has_no_photo():
    logits, true = photos(breeds=6)
    true[true == 4] = 0
    predicted = logits.argmax(axis=1)
    expected = oracle.f1_score(true, predicted, average="macro", labels=np.unique(true), zero_division=0)
    assert metrics.macro_f1(metrics.confusion_counts(true, predicted, 6)) == pytest.approx(expected, abs=1e-12)


def test_mean_probs_are_averaged_over_the_photos_of_each_true_breed():
    probs = np.array([[0.8, 0.2, 0.0], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]])
    found = metrics.mean_probs(probs, np.array([0, 0, 2]))
    np.testing.assert_allclose(found, [[0.6, 0.35, 0.05], [np.nan] * 3, [0.1, 0.1, 0.8]])


def test_mean_probability_of_the_true_breed_by_hand():
    assert metrics.mean_true_probability(np.array([[0.8, 0.2], [0.7, 0.3]]), np.array([0, 1])) == pytest.approx(0.55)


def test_top_confusers_leave_out_zeros_and_the_breed_itself_and_break_ties_by_index():
    counts = np.array([[5, 2, 0, 2, 9], [0] * 5, [0] * 5, [0] * 5, [0] * 5])
    assert metrics.top_confusers(counts, 0) == [(4, 9), (1, 2), (3, 2)]
    assert metrics.top_confusers(counts, 0, k=2) == [(4, 9), (1, 2)]
    assert metrics.top_confusers(counts, 1) == []
    assert all(type(value) is int for pair in metrics.top_confusers(counts, 0) for value in pair)


# -- cells and pairs ----------------------------------------------------------------------------------------------

PAIRED = np.array([0, 0, 1])  # the first two breeds are one unit


def test_confusions_in_blocks_agree_with_the_whole_at_once(monkeypatch):
    logits, true = photos(300)
    monkeypatch.setattr(metrics, "blocks", lambda n, _width: (slice(k, k + 7) for k in range(0, n, 7)))
    found, probs = metrics.confusions(logits, true), metrics.softmax(logits)
    assert found.predicted.tolist() == logits.argmax(axis=1).tolist()
    assert np.exp(logits - found.log_sums[:, None]) == pytest.approx(probs, rel=1e-5)
    assert found.counts.tolist() == oracle.confusion_matrix(true, logits.argmax(axis=1)).tolist()
    assert found.mean_probs == pytest.approx(metrics.mean_probs(probs, true), rel=1e-5)


def test_confusions_of_huge_logits_are_finite_and_breeds_without_photos_nan():
    found = metrics.confusions(np.array([[1e4, -1e4, 0], [0, 0, 0]], dtype=np.float32), np.array([0, 2]))
    assert np.isfinite(found.log_sums).all()
    assert found.mean_probs[0].tolist() == [1, 0, 0]
    assert np.isnan(found.mean_probs[1]).all()


def test_blocks_cover_every_row_once_and_are_never_empty():
    for n, width in ((0, 5), (1, 1 << 23), (10_000, 1000), (7, 0)):
        rows = [i for part in metrics.blocks(n, width) for i in range(n)[part]]
        assert rows == list(range(n))


def test_cells_of_errors_worked_by_hand():
    soft = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    cells = {kind: metrics.error_cells(COUNTS, soft, kind) for kind in metrics.CELLS}
    assert cells["counts"].tolist() == [[0, 2, 0], [0, 0, 1], [3, 0, 0]]
    assert cells["rates"].tolist() == [[0, 0.2, 0], [0, 0, 0.1], [0.3, 0, 0]]
    assert cells["answers"] == pytest.approx(np.array([[0, 2 / 11, 0], [0, 0, 1 / 8], [3 / 11, 0, 0]]))
    assert cells["probability"] == pytest.approx(np.array([[0, 0.2, 0.1], [0.1, 0, 0.1], [0.3, 0.1, 0]]))


def test_cells_of_units_hold_the_errors_inside_a_unit_on_the_diagonal():
    soft = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    cells = {kind: metrics.error_cells(COUNTS, soft, kind, PAIRED) for kind in metrics.CELLS}
    assert cells["counts"].tolist() == [[2, 1], [3, 0]]
    assert cells["rates"].tolist() == [[2 / 20, 1 / 20], [3 / 10, 0]]
    assert cells["answers"] == pytest.approx(np.array([[2 / 22, 1 / 8], [3 / 22, 0]]))
    assert cells["probability"] == pytest.approx(np.array([[0.15, 0.1], [0.4, 0]]))


def test_cells_of_soft_units_agree_with_a_loop_over_photos():
    logits, true = photos(200, breeds=5)
    unit, probs = np.array([0, 1, 0, 2, 1]), metrics.softmax(logits)
    sums = np.zeros((3, 3))
    for row, label in zip(probs, true, strict=True):
        for j, p in enumerate(row):
            sums[unit[label], unit[j]] += p if j != label else 0
    found = metrics.confusions(logits, true)
    cells = metrics.error_cells(found.counts, found.mean_probs, "probability", unit)
    assert cells == pytest.approx(sums / np.bincount(unit[true])[:, None], rel=1e-5)


def test_cells_of_a_breed_without_photos_or_answers_are_nan_and_do_not_spread():
    counts, nothing = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 0]]), np.full((3, 3), np.nan)
    assert np.isnan(metrics.error_cells(counts, nothing, "rates")[1]).all()
    assert np.isnan(metrics.error_cells(counts, nothing, "answers")[:, 2]).all()
    assert metrics.error_cells(counts, nothing, "rates", PAIRED).tolist() == [[0.25, 0], [1, 0]]


def test_pairs_are_ranked_by_photos_then_share_with_the_other_runs_numbers():
    other = np.array([[9, 0, 1], [0, 10, 0], [1, 0, 9]])
    table = metrics.ranked_pairs(["a", "b", "c"], COUNTS, other)
    assert [*zip(table["true_breed"], table["predicted_breed"], strict=True)] == [("c", "a"), ("a", "b"), ("b", "c")]
    assert table["photos"].tolist() == [3, 2, 1]
    assert table["share"].tolist() == [0.3, 0.2, 0.1]
    assert table["shared"].tolist() == [True, False, False]
    assert table["against_photos"].tolist() == [1, 0, 0]
    for row in table.itertuples():
        expected = proportion_confint(row.photos, row.support, method="wilson")
        assert (row.share_low, row.share_high) == pytest.approx(expected)
        expected = proportion_confint(row.against_photos, row.support, method="wilson")
        assert (row.against_share_low, row.against_share_high) == pytest.approx(expected, abs=1e-12)


def test_pairs_of_a_run_without_errors_are_an_empty_table_with_its_columns():
    table = metrics.ranked_pairs(["a", "b"], np.diag([3, 4]))
    assert len(table) == 0
    assert {"true_breed", "predicted_breed", "photos", "share"} <= set(table)


@pytest.mark.parametrize(
    ("measure", "worst"), [("probability", ["c", "a", "b"]), ("recall", ["c", "a", "b"]), ("f1", ["a", "c", "b"])]
)
def test_the_worst_breeds_come_first_by_the_measure_and_name_their_confusers(measure, worst):
    soft = np.array([[0.7, 0.1, 0.2], [0.1, 0.8, 0.1], [0.3, 0.1, 0.6]])
    table = metrics.worst_breeds(["a", "b", "c"], COUNTS, soft, measure=measure, k=1)
    assert table["breed"].tolist() == worst
    row = table.set_index("breed").loc["a"]
    assert (row["support"], row["mean_probability"], row["recall"]) == (10, 0.7, 0.8)
    assert (row["recall_low"], row["recall_high"]) == pytest.approx(proportion_confint(8, 10, method="wilson"))
    assert row["f1"] == pytest.approx(16 / 21)
    assert row["confusers"] == [{"breed": "c", "mean_probability": 0.2, "photos": 0}]


def test_a_breed_without_photos_is_not_among_the_worst():
    counts = np.array([[3, 1], [0, 0]])
    table = metrics.worst_breeds(["a", "b"], counts, np.array([[0.8, 0.2], [np.nan, np.nan]]))
    assert table["breed"].tolist() == ["a"]


# -- calibration --------------------------------------------------------------------------------------------------


def test_ece_worked_by_hand_in_two_bins():
    probs = np.array([[0.6, 0.4], [0.7, 0.3], [0.8, 0.2], [1.0, 0.0]])
    true = np.array([1, 0, 0, 0])  # bins: (0.65, 1 of 2 right), (0.9, 2 of 2)
    table = metrics.reliability_table(probs, true, bins=2)
    np.testing.assert_allclose(table.confidence, [0.65, 0.9])
    np.testing.assert_allclose(table.accuracy, [0.5, 1])
    assert table.count.tolist() == [2, 2]
    assert metrics.ece(probs, true, bins=2) == pytest.approx((0.15 + 0.1) / 2)


def test_ece_agrees_with_a_loop_over_sorted_photos():
    logits, true = photos(450)
    probs = metrics.softmax(logits)
    order = np.argsort(probs.max(axis=1))
    gaps = [
        abs(probs[part].max(axis=1).mean() - (probs[part].argmax(axis=1) == true[part]).mean()) * len(part)
        for part in np.array_split(order, 15)
    ]
    assert metrics.ece(probs, true) == pytest.approx(sum(gaps) / 450, abs=1e-12)
    assert metrics.reliability_table(probs, true).count.tolist() == [30] * 15


def test_tied_confidences_share_a_bin_so_that_the_order_of_photos_never_counts():
    probs = np.array([[1.0, 0.0]] * 30 + [[0.6, 0.4]] * 10)
    true = np.array([0] * 20 + [1] * 10 + [0] * 5 + [1] * 5)
    table = metrics.reliability_table(probs, true)
    assert table.count.tolist() == [10, 30]
    noise = np.random.default_rng(0)
    mixed = noise.permutation(40)
    jitter = np.array([[-1e-16, 1e-16]]) * noise.integers(0, 3, size=(40, 1))  # the last digits of another machine
    assert metrics.ece((probs + jitter)[mixed], true[mixed]) == pytest.approx(metrics.ece(probs, true), abs=1e-12)


def test_calibration_copes_with_fewer_photos_than_bins_and_with_none():
    probs = np.array([[0.9, 0.1], [0.6, 0.4]])
    assert metrics.ece(probs, np.array([0, 1])) == pytest.approx((0.1 + 0.6) / 2)
    assert not len(metrics.reliability(np.empty(0), np.empty(0, dtype=bool)).count)


def test_classwise_ece_averages_the_error_of_every_breeds_probability():
    probs = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    true = np.array([0, 0])  # per breed: |1-1|, |0.5-1| -> 0.25; |0-0|, |0.5-0| -> 0.25; 0
    assert metrics.classwise_ece(probs, true) == pytest.approx(0.5 / 3)


def test_temperature_undoes_a_known_scaling():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    true = np.array([rng.choice(4, p=p) for p in metrics.softmax(logits)])  # calibrated as it is
    fitted = metrics.fit_temperature(logits, true)
    assert fitted == pytest.approx(1, abs=0.05)
    assert metrics.fit_temperature(logits * 3, true) == pytest.approx(3 * fitted, rel=1e-4)


def test_temperature_is_the_minimum_of_a_grid_search():
    logits, true = photos(pull=2)
    fitted = metrics.fit_temperature(logits, true)
    grid = np.geomspace(0.05, 20, 2001)
    best = grid[np.argmin([metrics.losses(logits / t, true).mean() for t in grid])]
    assert fitted == pytest.approx(best, rel=0.004)


@pytest.mark.parametrize(
    ("logits", "true", "reason"),
    [
        (np.empty((0, 3)), np.empty(0, dtype=int), "no validation photos"),
        (np.eye(3), np.arange(3), "no minimum"),  # every photo right: the colder the better
        (-np.eye(3), np.arange(3), "no minimum"),  # worse than chance: the hotter the better
    ],
)
def test_a_temperature_that_cannot_be_fitted_says_why_in_one_line(logits, true, reason):
    with pytest.raises(metrics.MetricError, match=reason) as caught:
        metrics.fit_temperature(logits, true)
    assert "\n" not in str(caught.value)


def test_risk_coverage_agrees_with_a_loop_over_thresholds():
    logits, true = photos(60)
    probs = metrics.softmax(logits).round(1)  # many ties
    curve = metrics.risk_coverage(probs, true)
    for threshold, coverage, accuracy in zip(curve.threshold, curve.coverage, curve.accuracy, strict=True):
        answered = probs.max(axis=1) >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert accuracy == pytest.approx((probs.argmax(axis=1) == true)[answered].mean())
    assert len(curve.threshold) == len(np.unique(probs.max(axis=1)))
    assert curve.coverage[-1] == 1


# -- intervals ----------------------------------------------------------------------------------------------------


def test_wilson_interval_agrees_with_statsmodels_also_at_0_and_all():
    successes, n = np.array([0, 1, 7, 10, 1600]), np.array([10, 1, 10, 10, 1800])
    expected = proportion_confint(successes, n, method="wilson")
    np.testing.assert_allclose(metrics.wilson_interval(successes, n), expected, atol=1e-12)
    assert np.isnan(metrics.wilson_interval(0, 0)).all()


def test_every_resample_draws_n_photos_and_all_resamples_are_made():
    blocks = list(metrics.resampled_weights(700_000, 3, 0))
    assert [block.shape for block in blocks] == [(1, 700_000)] * 3
    weights = np.concatenate(list(metrics.resampled_weights(50, 2000, 0)))
    assert weights.shape == (2000, 50)
    assert (weights.sum(axis=1) == 50).all()
    np.testing.assert_allclose(weights.var(), 1 - 1 / 50, atol=0.02)  # binomial(50, 1 / 50)


def test_statistics_of_weights_are_those_of_the_repeated_photos():
    logits, true = photos(80)
    true[np.flatnonzero(true == 5)[1:]] = 4  # one photo is left of breed 5: some resamples draw none
    runs = np.stack([logits.argmax(axis=1), photos(80, seed=1)[0].argmax(axis=1)])
    values = np.stack([metrics.losses(logits, true), 1e4 + true])
    weights = next(metrics.resampled_weights(80, 5, 3))
    means, scores = metrics.mean_statistic(values)(weights), metrics.macro_f1_statistic(true, runs, 6)(weights)
    assert means.shape == scores.shape == (2, 5)
    assert set(weights[:, true == 5].ravel()) >= {0, 1}
    for r, repeats in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(80), repeats)
        np.testing.assert_allclose(means[:, r], values[:, drawn].mean(axis=1), rtol=1e-6)
        for k in (0, 1):
            expected = oracle.f1_score(
                true[drawn], runs[k, drawn], average="macro", labels=np.unique(true[drawn]), zero_division=0
            )
            assert scores[k, r] == pytest.approx(expected, abs=1e-6)
    np.testing.assert_allclose(metrics.macro_f1_statistic(true, runs[1], 6)(weights), scores[1])


def test_bootstrap_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(0).normal(size=1000)
    low, high = metrics.bootstrap_interval(metrics.mean_statistic(values), 1000, resamples=4000)
    half = 1.96 * values.std() / math.sqrt(1000)
    assert low == pytest.approx(values.mean() - half, abs=0.08 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.08 * half)


# -- all of it ----------------------------------------------------------------------------------------------------


def test_summary_holds_plain_numbers_that_agree_with_each_function():
    logits, true = photos()
    numbers, probs = metrics.summary(logits, true), metrics.softmax(logits)
    assert numbers["photos"] == 400
    assert numbers["classes"] == 6
    assert numbers["top1_accuracy"] == oracle.accuracy_score(true, logits.argmax(axis=1))
    assert numbers["top3_accuracy"] == metrics.top_k_accuracy(logits, true, 3)
    assert numbers["log_loss"] == metrics.losses(logits, true).mean()
    assert numbers["brier"] == metrics.brier(probs, true)
    assert numbers["ece"] == metrics.ece(probs, true)
    assert numbers["mean_true_probability"] == metrics.mean_true_probability(probs, true)
    assert numbers["macro_f1"] == pytest.approx(oracle.f1_score(true, logits.argmax(axis=1), average="macro"))
    assert {type(value) for value in numbers.values()} == {int, float}


def test_intervals_hold_the_number_that_they_belong_to():
    logits, true = photos()
    numbers, intervals = metrics.summary(logits, true), metrics.summary_intervals(logits, true, resamples=500)
    assert intervals.keys() == numbers.keys() - {"photos", "classes", "ece", "classwise_ece", "mean_confidence"}
    for name, (low, high) in intervals.items():
        assert low < numbers[name] < high
        assert type(low) is type(high) is float


@pytest.mark.parametrize("numbers", [metrics.summary, metrics.summary_intervals])
@pytest.mark.parametrize(
    ("logits", "true"),
    [
        (np.array([[1.0, 0.0]]), np.array([1])),  # one photo, two breeds
        (np.array([[9e3, 0, 0], [9e3, 0, 0], [0, 0, 0]]), np.array([0, 1, 0])),  # certain, and tied; none of breed 2
    ],
)
def test_numbers_are_finite_for_few_photos_and_certain_answers(numbers, logits, true):
    assert np.isfinite([*numbers(logits, true).values()]).all()


def test_the_order_of_photos_changes_no_number():
    logits, true = photos()
    mixed = np.random.default_rng(1).permutation(len(true))
    assert metrics.summary(logits[mixed], true[mixed]) == pytest.approx(metrics.summary(logits, true), abs=1e-12)


def test_metrics_and_comparison_load_no_torch_and_no_streamlit():
    code = "import dogpoc.metrics, dogpoc.comparison, sys; sys.exit(bool({'torch', 'streamlit'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_scaled_numbers_are_those_of_divided_logits_and_leave_accuracy_alone():
    logits, true = photos()
    scaled, plain = metrics.scaled_summary(logits, true, 2.0), metrics.summary(logits / 2, true)
    assert scaled == {f"scaled_{name}": plain[name] for name in metrics.SCALED}
    assert metrics.scaled_summary(logits, true, 1.0)["scaled_ece"] == metrics.summary(logits, true)["ece"]


# -- confidence far from accuracy -------------------------------------------------------------------------------


def confident(right: int, wrong: int, probability: float, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Logits that give class 0 `probability`, and true classes of which `right` are 0."""
    probs = np.full((right + wrong, classes), (1 - probability) / (classes - 1))
    probs[:, 0] = probability
    return np.log(probs), np.array([0] * right + [1] * wrong)


def test_a_softmax_applied_twice_is_recognised_by_what_was_stored():
    logits, true = photos()
    probs = metrics.softmax(logits)
    assert metrics.confidence_gap(probs, true) == "softmax twice"
    assert metrics.softmax(probs).max() < np.e / (np.e + 5)  # the largest that 6 classes allow then
    assert metrics.confidence_gap(probs.astype(np.float32), true) == "softmax twice"


@pytest.mark.parametrize(
    ("right", "wrong", "probability", "told"),
    [
        (95, 5, 0.2, "too modest"),
        (50, 50, 0.9, "too sure"),
        (90, 10, 0.9, None),
        (93, 7, 0.9, None),  # within GAP
        (2, 1, 0.9, None),  # three photos prove nothing
    ],
)
def test_a_gap_between_confidence_and_accuracy_is_called_one_only_beyond_chance(right, wrong, probability, told):
    assert metrics.confidence_gap(*confident(right, wrong, probability)) == told


def test_no_photos_have_no_gap():
    assert metrics.confidence_gap(np.empty((0, 3)), np.empty(0, dtype=int)) is None


# -- fewer answers, fewer breeds ----------------------------------------------------------------------------------


def test_abstaining_agrees_with_the_risk_coverage_curve():
    logits, true = photos()
    probs = metrics.softmax(logits)
    curve = metrics.risk_coverage(probs, true)
    for k in (0, 10, 100, -1):
        answered, right = metrics.abstaining(probs, true, curve.threshold[k])
        assert answered / len(true) == pytest.approx(curve.coverage[k])
        assert right / answered == pytest.approx(curve.accuracy[k])
    assert metrics.abstaining(probs, true, 1.1) == (0, 0)


def test_accuracy_on_all_breeds_is_the_usual_one_and_on_one_breed_perfect():
    logits, true = photos()
    table = metrics.accuracy_by_breeds(logits, true, (1, 6))
    np.testing.assert_allclose(table[0], 1)
    np.testing.assert_allclose(table[1], oracle.accuracy_score(true, logits.argmax(axis=1)))


def test_accuracy_on_two_breeds_agrees_with_a_loop_over_all_pairs():
    """100 draws of 2 of 6 breeds against the mean over the 15 pairs, within Monte-Carlo error."""
    logits, true = photos()
    pairs = []
    for i, j in itertools.combinations(range(6), 2):
        kept = np.isin(true, (i, j))
        pairs.append(np.mean(np.where(logits[kept, i] >= logits[kept, j], i, j) == true[kept]))
    mean, low, high = metrics.accuracy_by_breeds(logits, true, (2,), draws=2000)[0]
    assert mean == pytest.approx(np.mean(pairs), abs=4 * np.std(pairs) / np.sqrt(2000))
    assert min(pairs) <= low <= mean <= high <= max(pairs)


def test_breeds_without_photos_are_never_drawn():
    logits, true = photos()
    kept = true < 4
    table = metrics.accuracy_by_breeds(logits[kept], true[kept], (4,), draws=5)
    restricted = (logits[kept][:, :4].argmax(axis=1) == true[kept]).mean()
    np.testing.assert_allclose(table[0], restricted)
