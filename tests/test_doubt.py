"""Doubt: sets that hold the true breed as often as promised, and photos unlike any that was taught."""

import numpy as np
import pytest
from scipy import special

from dogpoc import doubt, metrics


def photos(n: int = 3000, classes: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Photos on which a model is right about three times in four."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), true] += 2
    return logits, true


@pytest.mark.parametrize("confidence", doubt.CONFIDENCES)
def test_sets_hold_the_true_breed_as_often_as_promised_on_average_over_calibrations(confidence):
    """Coverage over 300 calibrations with 200 photos each: within 1 % of what was promised, never below by more."""
    logits, true = photos(60_000 + 4000)
    own = metrics.true_probs(metrics.softmax(logits), true)
    fresh = own[60_000:]
    found = [(fresh >= doubt.least_probability(own[k : k + 200], confidence)).mean() for k in range(0, 60_000, 200)]
    assert confidence - 0.004 < np.mean(found) < confidence + 0.012


def test_the_threshold_is_the_conformal_quantile_of_the_scores():
    own = np.random.default_rng(0).uniform(size=99)
    scores = np.sort(1 - own)  # the score of a photo; the 90th of 99 is the (99 + 1) x 0.9-th
    assert doubt.least_probability(own, 0.9) == pytest.approx(1 - scores[89])


def test_too_few_photos_promise_every_breed():
    assert doubt.least_probability(np.array([0.9] * 8), 0.9) == 0.0
    assert doubt.least_probability(np.array([0.9] * 9), 0.9) == 0.9
    assert doubt.breed_set(np.array([0.7, 0.2, 0.1]), 0.0).tolist() == [0, 1, 2]


def test_a_set_is_never_empty_and_begins_with_the_likeliest():
    probs = np.array([0.1, 0.6, 0.3])
    assert doubt.breed_set(probs, 0.95).tolist() == [1]
    assert doubt.breed_set(probs, 0.3).tolist() == [1, 2]


def test_strangeness_is_the_free_energy_and_grows_where_all_logits_are_low():
    logits = np.array([[5.0, 0.0], [0.0, 0.0], [-3.0, -3.0]])
    found = doubt.strangeness(logits, 2.0)
    np.testing.assert_allclose(found, [-special.logsumexp(row / 2) for row in logits])
    assert found[0] < found[1] < found[2]


def test_one_validation_photo_in_twenty_is_called_strange():
    logits, true = photos()
    fitted = doubt.fit(logits, true, 1.3)
    called = (doubt.strangeness(logits, 1.3) > fitted.strange).mean()
    assert doubt.FALSE_ALARMS - 0.001 <= called <= doubt.FALSE_ALARMS
    assert (fitted.temperature, fitted.photos) == (1.3, 3000)


def test_what_is_measured_agrees_with_a_loop_over_photos():
    logits, true = photos(500, seed=1)
    fitted = doubt.fit(*photos(), 1.5)
    numbers = doubt.measure(logits, true, fitted)
    probs = metrics.softmax(logits / 1.5)
    sets = [doubt.breed_set(row, fitted.least[0.9]) for row in probs]
    assert numbers["set_90_coverage"] == np.mean([t in found for t, found in zip(true, sets, strict=True)])
    assert numbers["set_90_size"] == np.mean([len(found) for found in sets])
    assert numbers["called_strange"] == np.mean(
        [doubt.strangeness(row[None], 1.5)[0] > fitted.strange for row in logits]
    )
    assert numbers["set_99_size"] > numbers["set_80_size"] >= 1


def test_without_validation_photos_there_are_no_thresholds_and_json_keeps_them_all():
    assert doubt.fit(np.empty((0, 3)), np.empty(0, dtype=int), None) is None
    fitted = doubt.fit(*photos(), None)
    assert fitted.temperature == 1.0
    assert doubt.from_plain(doubt.as_plain(fitted)) == fitted


def test_an_opinion_holds_the_scaled_probabilities_the_set_and_whether_the_photo_is_strange():
    fitted = doubt.Doubt(2.0, {0.9: 0.2}, strange=-1.0, photos=100)
    found = doubt.opinion(np.array([0.0, 4.0, 3.0]), fitted, 0.9)
    assert found.breeds.tolist() == [1, 2, 0]
    np.testing.assert_allclose(found.probs, metrics.softmax(np.array([[2.0, 1.5, 0.0]]))[0])
    assert (found.likely, found.strange) == (2, False)
    assert doubt.opinion(np.array([-9.0, -8.0, -9.0]), fitted).strange is True


def test_without_thresholds_an_opinion_claims_neither_set_nor_strangeness():
    found = doubt.opinion(np.array([0.0, 1.0]), None)
    assert (found.breeds.tolist(), found.likely, found.strange) == ([1, 0], None, None)


def test_detection_agrees_with_scikit_learn_ties_and_all():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    known, unknown = rng.normal(size=200).round(1), (rng.normal(size=50) + 1).round(1)
    found = doubt.detection(known, unknown, 1.0)
    labels = [0] * 200 + [1] * 50
    assert found["auroc"] == pytest.approx(roc_auc_score(labels, np.concatenate([known, unknown])), abs=1e-12)
    assert found["caught"] == np.mean(unknown > 1.0)
    assert found["photos"] == 50
