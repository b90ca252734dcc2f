"""Views of photos: where a crop may lie, what a test sees; chance fails a test once in 1e6."""

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from flaxdrop.data import photo

ALARM = 1e-6


@pytest.mark.parametrize("size", [(300, 200), (80, 92), (7, 5), (224, 224)])
def test_a_crop_lies_in_the_image_and_has_its_share_of_the_area(size):
    random = np.random.RandomState(0)
    width, height = size
    for _ in range(200):
        left, top, right, bottom = photo.crop(size, random.random_sample((10, 4)))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        if min(size) > 50:  # a pixel is no more than a part in 100 there
            assert 0.78 < (right - left) * (bottom - top) / (width * height) <= 1
            assert 0.74 < (right - left) / (bottom - top) < 1.36


def test_a_very_long_image_is_cropped_in_its_middle():
    assert photo.crop((1000, 30), np.full((10, 4), 0.5)) == (480, 0, 520, 30)
    assert photo.crop((30, 1000), np.full((10, 4), 0.5)) == (0, 480, 30, 520)


def test_the_test_sees_the_centre():
    pixels = np.random.RandomState(0).randint(0, 256, (256, 256, 3)).astype(np.uint8)
    found = np.asarray(photo.centre(Image.fromarray(pixels), 224))
    np.testing.assert_array_equal(found, pixels[16:240, 16:240])
    assert photo.centre(Image.new("RGB", (5, 300)), 224).size == (224, 224)


def test_a_view_depends_on_its_numbers_alone():
    image = Image.fromarray(np.random.RandomState(0).randint(0, 256, (60, 80, 3)).astype(np.uint8))
    views = [photo.augment(image, 32, np.random.RandomState(seed)) for seed in (1, 1, 2)]
    first, again, other = map(np.asarray, views)
    assert first.shape == (32, 32, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_half_of_the_views_are_mirrored_and_their_brightness_varies_by_two_fifths():
    """The left half is red, the right half blue; of both the largest channel tells."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32, 0], pixels[:, 32:, 2] = 150, 150
    image, draws = Image.fromarray(pixels), 400
    views = [
        np.asarray(photo.augment(image, 28, np.random.RandomState([7, i]))).astype(int)
        for i in range(draws)
    ]
    mirrored = sum(view[14, 3, 2] > view[14, 3, 0] for view in views)
    assert stats.binomtest(mirrored, draws).pvalue > ALARM
    grey = Image.new("RGB", (64, 64), (100, 100, 100))
    values = [
        np.asarray(photo.augment(grey, 28, np.random.RandomState([7, i])))[14, 14, 0]
        for i in range(draws)
    ]
    # Contrast and saturation leave a grey image nearly as it is: black corners make it darker.
    low, high = min(values), max(values)
    assert 55 <= low < 70
    assert 130 < high <= 145
    assert np.mean(values) == pytest.approx(100, abs=6 * 23 / draws**0.5 + 1)
