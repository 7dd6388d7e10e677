"""Which photos are shown, and in which order: worked by hand on 3 breeds, and by loops on random answers."""

import numpy as np

from dogpoc import mistakes

TRUE = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([[0, 1, 1, 0, 1], [0, 0, 2, 0, 2]])  # baseline, new
CONFIDENCE = np.array([[0.9, 0.6, 0.5, 0.8, 0.4], [0.9, 0.7, 0.6, 0.95, 0.99]])


def chosen(**filters) -> list[int]:
    return np.flatnonzero(mistakes.select(TRUE, PREDICTED, CONFIDENCE, **filters)).tolist()


def test_photos_are_filtered_by_who_is_right():
    assert {who: chosen(who=who) for who in mistakes.WHO} == {
        "any-wrong": [1, 2, 3, 4],
        "only-new": [1, 4],
        "only-baseline": [2],
        "both-wrong": [3],
        "both-right": [0],
        "all": [0, 1, 2, 3, 4],
    }


def test_a_breed_keeps_its_own_photos_and_a_prediction_those_that_a_run_takes_for_it():
    assert chosen(breed=0) == [1]
    assert chosen(who="all", breed=0) == [0, 1]
    assert chosen(taken_for=1) == [1, 2, 4]  # the baseline is right on 2, and takes it for 1
    assert chosen(taken_for=1, runs=(1,)) == []
    assert chosen(breed=1, taken_for=0) == [3]


def test_one_run_must_be_as_sure_as_asked_with_the_very_answer_that_is_asked_for():
    assert chosen(low=0.9) == [3, 4]
    assert chosen(low=0.9, runs=(0,)) == []
    assert chosen(who="all", low=0.9, high=0.9) == [0]
    assert chosen(taken_for=1, low=0.9) == []  # the new run is sure of photo 4, but not that it is breed 1


def test_filters_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    n = 200
    true, predicted, confidence = rng.integers(3, size=n), rng.integers(3, size=(2, n)), rng.random((2, n))
    for who, breed, taken, run in (("any-wrong", 1, 2, 0), ("both-wrong", None, 0, 1), ("only-new", 2, None, 0)):
        expected = []
        for k in range(n):
            right = predicted[:, k] == true[k]
            fits = {"any-wrong": not right.all(), "both-wrong": not right.any(), "only-new": right[1] and not right[0]}
            answer = 0.2 <= confidence[run, k] <= 0.7 and (taken is None or predicted[run, k] == taken)
            if fits[who] and answer and (breed is None or true[k] == breed):
                expected.append(k)
        found = mistakes.select(
            true, predicted, confidence, who=who, breed=breed, taken_for=taken, runs=(run,), low=0.2, high=0.7
        )
        assert np.flatnonzero(found).tolist() == expected
        assert expected


def test_no_photo_is_no_fault():
    none, pair = np.empty(0, int), np.empty((2, 0))
    assert mistakes.select(none, pair.astype(int), pair).tolist() == []
    assert mistakes.order("confident", none, pair.astype(int), pair, pair).tolist() == []
    assert mistakes.disagreement(np.empty((0, 3)).__getitem__, np.empty((0, 3)).__getitem__, none).tolist() == []


def test_photos_are_ordered_by_the_least_probability_that_a_run_gives_to_the_true_breed():
    belief = np.array([[0.9, 0.3, 0.5, 0.2, 0.4], [0.9, 0.7, 0.1, 0.05, 0.99]])
    assert mistakes.order("least-probable", TRUE, PREDICTED, CONFIDENCE, belief).tolist() == [3, 2, 1, 4, 0]


def test_photos_are_ordered_by_the_surest_wrong_answer_and_those_without_one_come_last():
    belief = np.zeros((2, 5))
    assert mistakes.order("confident", TRUE, PREDICTED, CONFIDENCE, belief).tolist() == [3, 1, 2, 4, 0]


def test_disagreement_does_not_depend_on_blocks():
    rng = np.random.default_rng(0)
    a, b = rng.dirichlet(np.ones(4), 3000), rng.dirichlet(np.ones(4), 3000)
    rows = rng.permutation(3000)[:2500]
    found = mistakes.disagreement(a.__getitem__, b.__getitem__, rows)
    np.testing.assert_allclose(found, [np.abs(a[k] - b[k]).sum() / 2 for k in rows])
