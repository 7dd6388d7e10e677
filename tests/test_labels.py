"""Suspect labels worked by hand, and reviewed lists as strangers may upload them."""

import csv
import io

import numpy as np
import pytest

from dogpoc import labels
from dogpoc.labels import ReviewError

# Breed 0: thresholds (0.9 + 0.8 + 0.1) / 3 = 0.6; breed 1: (0.9 + 0.7 + 0.35) / 3 = 0.65; breed 2 labels no photo.
TRUE = np.array([0, 0, 0, 1, 1, 1])
PROBS = np.array(
    [
        [0.90, 0.05, 0.05],  # 0 as labelled
        [0.80, 0.10, 0.10],
        [0.10, 0.70, 0.20],  # labelled 0, surely 1
        [0.05, 0.90, 0.05],
        [0.10, 0.70, 0.20],
        [0.55, 0.35, 0.10],  # labelled 1, 0.55 is not enough for breed 0
    ]
)


def test_a_breed_is_confident_from_its_own_mean_probability_on():
    assert labels.confident_breeds(PROBS, TRUE).tolist() == [0, 0, 1, 1, 1, -1]
    assert labels.confident_joint(PROBS, TRUE).tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_the_more_probable_of_two_confident_breeds_counts():
    probs = np.array([[0.4, 0.6], [0.6, 0.4], [0.5, 0.5]])
    assert labels.confident_breeds(probs, np.array([0, 0, 1])).tolist() == [1, 0, 0]  # thresholds 0.5 and 0.5


def test_a_breed_that_labels_no_photo_is_never_confident():
    probs = np.array([[0.2, 0.8], [0.4, 0.6]])
    assert labels.confident_breeds(probs, np.array([0, 0])).tolist() == [-1, 0]


def test_the_confident_breeds_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(5) / 2, 300).astype(np.float32)
    true = np.where(rng.random(300) < 0.7, probs.argmax(axis=1), rng.integers(5, size=300))
    means = [np.mean([probs[k, j] for k in range(300) if true[k] == j]) for j in range(5)]
    expected = []
    for row in probs:
        enough = [j for j in range(5) if row[j] >= means[j]]
        expected.append(max(enough, key=lambda j: row[j]) if enough else -1)
    assert labels.confident_breeds(probs, true).tolist() == expected
    assert len(set(expected)) == 6


def test_equal_probabilities_reach_their_own_mean():
    assert np.bincount([0, 0, 0], [0.1, 0.1, 0.1])[0] / 3 > 0.1  # rounded up
    assert labels.confident_breeds(np.full((3, 2), [0.1, 0.9]), np.zeros(3, int)).tolist() == [0, 0, 0]


def test_a_label_is_suspect_where_all_runs_are_confident_of_the_same_other_breed():
    other = PROBS.copy()
    other[1] = [0.0, 1.0, 0.0]  # suspect to this run alone
    other[2] = [0.05, 0.90, 0.05]
    rows, breeds = labels.suspects([PROBS, other], TRUE)
    assert (rows.tolist(), breeds.tolist()) == ([2], [1])
    other[2] = [0.0, 0.0, 1.0]  # no other breed that has photos
    assert len(labels.suspects([PROBS, other], TRUE)[0]) == 0
    assert labels.suspects([other, other], TRUE)[0].tolist() == [1, 5]  # 0.55 is now enough for breed 0


def test_the_least_believed_label_comes_first():
    true = np.array([0, 0, 0, 0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.3, 0.7], [0.3, 0.7]])
    rows, breeds = labels.suspects([probs, probs], true)
    assert (rows.tolist(), breeds.tolist()) == ([3, 2], [1, 1])


def test_no_photo_is_no_fault():
    rows, breeds = labels.suspects([np.empty((0, 3))] * 2, np.empty(0, int))
    assert (len(rows), len(breeds)) == (0, 0)


# -- reviewed lists -----------------------------------------------------------------------------------------------

KNOWN = {"pug/1.jpg", "pug/2.jpg", 'a,"b".jpg'}


def test_what_is_exported_is_imported_again():
    rows = [
        {"photo": "pug/1.jpg", "label": "pug", "suggested": "beagle", "verdict": "wrong"},
        {"photo": 'a,"b".jpg', "label": "pug", "suggested": "boxer", "verdict": "unsure"},
        {"photo": "pug/2.jpg", "label": "pug", "suggested": "boxer", "verdict": ""},
    ]
    data = labels.write_reviews(rows)
    assert next(csv.reader(io.StringIO(data.decode()))) == list(labels.COLUMNS)
    assert labels.read_reviews(data, KNOWN) == ({"pug/1.jpg": "wrong", 'a,"b".jpg': "unsure"}, [])


def test_a_spreadsheets_file_is_read_too():
    data = "\ufeffverdict,photo,remark\r\nwrong,pug/1.jpg,a beagle!\r\n".encode()
    assert labels.read_reviews(data, KNOWN) == ({"pug/1.jpg": "wrong"}, [])


def test_photos_that_are_not_known_are_named_and_change_nothing():
    data = b"photo,verdict\ncat.jpg,wrong\npug/1.jpg,right\n"
    assert labels.read_reviews(data, KNOWN) == ({"pug/1.jpg": "right"}, ["cat.jpg"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no column 'photo'"),
        (b"photo,label\npug/1.jpg,pug\n", "no column 'verdict'; a reviewed list has the columns photo, label"),
        (b"photo,verdict\npug/1.jpg,nonsense\n", "line 2: 'nonsense' is no verdict; expected right, wrong, unsure"),
        (b"photo,verdict\npug/1.jpg,right\npug/1.jpg,wrong\n", "line 3: 'pug/1.jpg' has the verdicts right and wrong"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not CSV text"),
        (b"photo,verdict\n\xff\xfe", "not CSV text"),
        (b'photo,verdict\n"pug/1.jpg,wrong\n', "not CSV text"),
        (b"photo,verdict\n" + b"x" * 200_000 + b",wrong\n", "not CSV text"),
        (b"photo,verdict\n" + b"p,\n" * 400_000, "at most 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_reviewed_list_is_refused_in_one_line(data, words):
    with pytest.raises(ReviewError, match=words) as error:
        labels.read_reviews(data, KNOWN)
    assert "\n" not in str(error.value)


def test_a_row_that_ends_early_has_no_verdict():
    assert labels.read_reviews(b"photo,verdict\npug/1.jpg\n", KNOWN) == ({}, [])
