"""How faithful a map is: on a network whose answer can be worked out by hand, and against loops written here."""

import numpy as np
import pytest
from scipy import stats

from dogpoc import faithfulness
from dogpoc.faithfulness import (
    area,
    beats,
    centre_blob,
    energy_in_box,
    insertion_deletion,
    licence,
    mean_interval,
    mosaic,
    random_maps,
    rank_correlation,
    seen_boxes,
    summarise,
    support,
    tile_shares,
)


def red_forward(frames: np.ndarray) -> np.ndarray:
    """Logits of a network that knows two breeds, and red: 10 x the share of pixels that are red, and 0."""
    red = (frames[..., 0] > 250).mean(axis=(1, 2))
    return np.stack([10 * red, np.zeros(len(frames))], axis=1).astype(np.float32)


def photo_with_red_corner() -> np.ndarray:
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[:16, :16, 0] = 255
    return photo


CORNER = np.array([[1.0, 0.0], [0.0, 0.0]])


def test_curves_follow_the_map_s_order_pixel_by_pixel():
    photo, values = photo_with_red_corner(), np.arange(16.0).reshape(4, 4)
    logits = insertion_deletion(red_forward, photo, values, steps=4)
    assert logits.shape == (2, 5, 2)
    blur = faithfulness.blurred(photo)
    order = sorted(range(32 * 32), key=lambda i: -faithfulness.stretched(values, (32, 32)).flat[i])  # stable
    for step in range(5):
        shown, hidden = blur.reshape(-1, 3).copy(), photo.reshape(-1, 3).copy()
        for pixel in order[: 256 * step]:
            shown[pixel], hidden[pixel] = photo.reshape(-1, 3)[pixel], blur.reshape(-1, 3)[pixel]
        for curve, frame in ((0, shown), (1, hidden)):
            expected = red_forward(frame.reshape(1, 32, 32, 3))[0]
            np.testing.assert_allclose(logits[curve, step], expected, atol=1e-6)


def test_the_curves_begin_and_end_at_the_photo_and_its_blur():
    photo = photo_with_red_corner()
    logits = insertion_deletion(red_forward, photo, CORNER)
    ends = red_forward(np.stack([faithfulness.blurred(photo), photo]))
    np.testing.assert_array_equal(logits[0, [0, -1]], ends)
    np.testing.assert_array_equal(logits[1, [-1, 0]], ends)


def test_a_map_of_what_counts_beats_random_and_its_opposite_does_not():
    photo = photo_with_red_corner()
    random = np.stack([insertion_deletion(red_forward, photo, values) for values in random_maps((8, 8), 4, 0)])
    blob = insertion_deletion(red_forward, photo, centre_blob((8, 8)))
    corner = np.kron(CORNER, np.ones((4, 4)))
    right = licence(insertion_deletion(red_forward, photo, corner), random, blob, 0)
    wrong = licence(insertion_deletion(red_forward, photo, -corner), random, blob, 0)
    assert right.beats_random
    assert not wrong.beats_random
    assert right.gain > right.random_gains.max() > wrong.gain
    assert right.gain == pytest.approx(area(right.insertion) - area(right.deletion))
    flat = licence(np.stack([np.zeros((17, 2))] * 2), np.zeros((4, 2, 17, 2)), np.zeros((2, 17, 2)), 0)
    assert not flat.beats_random, "as good as random is not better"


def test_support_is_the_softmax_over_all_breeds_or_over_the_pair():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]))
    np.testing.assert_allclose(support(logits, 1), [0.3, 0.1])
    np.testing.assert_allclose(support(logits, 0, 2), [0.5 / 0.7, 0.1 / 0.9])
    assert support(np.stack([logits] * 4), 2).shape == (4, 2)


def test_the_area_under_a_curve_is_its_trapezoids():
    assert area(np.array([0.0, 1.0, 1.0])) == pytest.approx(0.25 + 0.5)
    np.testing.assert_allclose(area(np.array([[0.0, 1.0], [1.0, 1.0]])), [0.5, 1])


def test_random_maps_are_the_same_for_the_same_seed_and_the_blob_is_highest_in_the_middle():
    np.testing.assert_array_equal(random_maps((3, 5), 2, 7), random_maps((3, 5), 2, 7))
    assert not np.array_equal(random_maps((3, 5), 2, 7), random_maps((3, 5), 2, 8))
    blob = centre_blob((3, 5))
    assert np.unravel_index(blob.argmax(), blob.shape) == (1, 2)
    np.testing.assert_allclose(blob, blob[::-1, ::-1])


def test_the_energy_in_a_box_is_one_for_chance_and_ignores_what_is_negative():
    inside = np.zeros((40, 40), bool)
    inside[:20, :20] = True
    assert energy_in_box(np.ones((4, 4)), inside) == pytest.approx(1)
    assert energy_in_box(np.kron(CORNER, np.eye(20) * 0 + 1), inside) == pytest.approx(4)
    assert energy_in_box(np.kron(CORNER - 1, np.ones((20, 20))) + np.kron(CORNER, np.ones((20, 20))), inside) == 4
    assert np.isnan(energy_in_box(-np.ones((4, 4)), inside))
    assert np.isnan(energy_in_box(np.ones((4, 4)), inside & False))


def test_boxes_are_moved_into_the_crop_that_the_model_sees():
    inside = seen_boxes([(30, 0, 60, 20)], (40.0, 10.0, 60.0, 30.0), 10)  # half a model's pixel each
    expected = np.zeros((10, 10), bool)
    expected[:5, :] = True
    np.testing.assert_array_equal(inside, expected)
    assert not seen_boxes([(0, 0, 5, 5)], (40.0, 10.0, 60.0, 30.0), 10).any(), "outside of the crop"


def test_a_mosaic_holds_four_photos_and_its_tiles_are_counted_in_their_order():
    photos = [np.full((8, 8, 3), grey, np.uint8) for grey in (10, 20, 30, 40)]
    tiled = mosaic(photos)
    assert tiled.shape == (8, 8, 3)
    assert [tiled[y, x, 0] for y, x in ((1, 1), (1, 6), (6, 1), (6, 6))] == [10, 20, 30, 40]
    shares = tile_shares(np.kron(np.array([[1, 2], [0, -5]]), np.ones((112, 112))))
    np.testing.assert_allclose(shares, [1 / 3, 2 / 3, 0, 0])
    np.testing.assert_allclose(tile_shares(np.zeros((2, 2))), 0.25)


def test_rank_correlation_is_spearman_s_and_a_flat_map_ranks_nothing():
    one, other = np.array([[1, 2], [3, 4]]), np.array([[1, 3], [2, 9]])
    assert rank_correlation(one, other) == pytest.approx(0.8)  # 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert np.isnan(rank_correlation(one, np.ones((2, 2))))


def test_an_interval_is_student_s():
    values = [0.1, 0.4, 0.3, np.nan, None]
    mean, low, high = mean_interval(values)
    by_scipy = stats.ttest_1samp(values[:3], 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((0.8 / 3, by_scipy.low, by_scipy.high))
    assert mean_interval([0.1]) is None


def record() -> dict:
    """Two photos and one mosaic, to work by hand."""

    def maps(insertion: float, deletion: float, **more: float) -> dict:
        return {"insertion": insertion, "deletion": deletion, **more}

    return {
        "photos": [
            {"maps": {"gradcam": maps(0.8, 0.3, energy=1.5), "random": maps(0.5, 0.6), "centre": maps(0.7, 0.5)}},
            {"maps": {"gradcam": maps(0.6, 0.3, energy=2.5), "random": maps(0.4, 0.4), "centre": maps(0.7, 0.2)}},
        ],
        "mosaics": [
            {"shares": {"gradcam": [[0.7, 0.1, 0.1, 0.1], [0.4, 0.5, 0.1, 0], [0.25] * 4, [1, 0, 0, 0]]}},
            {"shares": {"gradcam": [[0.5, 0.5, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]}},
        ],
        "randomised": [{"gradcam": 0.1}, {"gradcam": -0.3}],
    }


def test_the_table_pairs_photo_by_photo():
    rows = {row["method"]: row for row in summarise(record())}
    gradcam = rows["gradcam"]
    means = {key: value[0] for key, value in gradcam.items() if isinstance(value, tuple)}
    expected = {
        "insertion": 0.7,
        "deletion": 0.3,
        "energy": 2.0,
        "insertion_random": 0.25,
        "deletion_random": -0.2,
        "gain_random": 0.45,
        "insertion_centre": 0.0,
        "deletion_centre": -0.05,
        "gain_centre": 0.05,
        "tile": (2.35 / 4 + 3.5 / 4) / 2,
        "hit": (2 / 4 + 3 / 4) / 2,
        "randomised": -0.1,
    }
    assert means == pytest.approx(expected)
    paired = stats.ttest_rel([0.5, 0.3], [-0.1, 0.0]).confidence_interval(0.95)
    assert gradcam["gain_random"][1:] == pytest.approx((paired.low, paired.high))
    assert gradcam["gain_attention"] is None, "not measured"
    assert rows["random"]["gain_random"] is None, "not with itself"
    assert rows["random"]["tile"] is rows["centre"]["energy"] is None


def test_better_means_that_the_interval_says_so():
    assert beats({"gain_random": (0.2, 0.1, 0.3)}, "random") is True
    assert beats({"gain_random": (0.2, -0.1, 0.5)}, "random") is False
    assert beats({"gain_random": None}, "random") is None
