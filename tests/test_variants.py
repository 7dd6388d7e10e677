"""Variants of a photo: each changes what it says and nothing else."""

import numpy as np
import pytest
from PIL import Image

from dogpoc.variants import NAMES, rotate, variants


def noise(width: int = 60, height: int = 40) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (1, 1), (1, 300), (33, 32)])
def test_every_variant_is_an_rgb_photo_and_the_photo_itself_stays(size):
    photo = noise(*size)
    before = photo.tobytes()
    made = variants(photo)
    assert tuple(made) == NAMES
    assert all(image.mode == "RGB" and min(image.size) >= 1 for image in made.values())
    same = {name for name, image in made.items() if image.size == size}
    assert same >= set(NAMES) - {"rotated", "cropped"}
    assert photo.tobytes() == before


def test_a_mark_on_the_left_is_on_the_right_in_the_mirror():
    photo = Image.new("RGB", (60, 40))
    photo.putpixel((3, 10), (255, 0, 0))
    mirrored = variants(photo)["mirrored"]
    assert np.argwhere(array(mirrored)[..., 0] == 255).tolist() == [[10, 56]]


def test_the_dark_one_has_two_fifths_of_the_light():
    photo = noise()
    np.testing.assert_allclose(array(variants(photo)["darkened"]), array(photo) * 0.4, atol=1)


def test_blur_lowers_contrast_and_keeps_the_mean():
    photo = noise(600, 400)
    blurred = array(variants(photo)["blurred"])
    assert blurred.std() < 0.2 * array(photo).std()
    assert blurred.mean() == pytest.approx(array(photo).mean(), abs=1)


def test_the_crop_is_the_middle():
    photo = noise(100, 50)
    np.testing.assert_array_equal(array(variants(photo)["cropped"]), array(photo)[5:45, 10:90])


def test_the_grey_one_has_equal_channels_and_the_light_of_the_photo():
    grey = array(variants(noise())["grey"])
    assert np.ptp(grey, axis=2).max() == 0
    np.testing.assert_allclose(grey[..., 0], array(noise()) @ [0.299, 0.587, 0.114], atol=1)


def test_the_jpeg_differs_a_little():
    photo = noise().resize((120, 80), Image.Resampling.BICUBIC)
    difference = np.abs(array(variants(photo)["jpeg"]) - array(photo)).mean()
    assert 1 < difference < 40


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (250, 250), (400, 160)])
@pytest.mark.parametrize("degrees", [15.0, -15.0, 40.0])
def test_a_turned_photo_keeps_its_shape_and_has_no_empty_corner(size, degrees):
    turned = rotate(Image.new("RGB", size, (200, 200, 200)), degrees)
    assert array(turned).min() >= 190
    assert turned.width / turned.height == pytest.approx(size[0] / size[1], rel=0.05)


def test_it_turns_counterclockwise():
    photo = Image.new("RGB", (200, 200))
    photo.paste((255, 255, 255), (100, 95, 200, 105))  # from the middle to the right
    turned = array(rotate(photo, 15))[..., 0]
    rows, columns = np.nonzero(turned > 128)
    assert rows[columns.argmax()] < turned.shape[0] / 2 - 10, "its end has risen"
