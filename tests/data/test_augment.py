import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.data import augment
from flaxdrop.data.augment import channel_statistics, flip, normalise, pad_crop

pytestmark = pytest.mark.optimised


def positions(n, size=9):
    """Images whose pixels say where they are: (row + 1, column + 1, example)."""
    rows, columns = np.indices((size, size), np.uint8) + 1
    images = np.empty((n, size, size, 3), np.uint8)
    images[..., 0], images[..., 1] = rows, columns
    images[..., 2] = np.arange(n, dtype=np.uint8)[:, None, None] | 1
    return images


def offsets(cropped, pad):
    """Where each image of `positions` was cropped, read off its middle."""
    middle = cropped.shape[1] // 2
    return cropped[:, middle, middle, :2].astype(int) - 1 - middle + pad


@pytest.mark.parametrize("pad", [1, 2, 4])
def test_pad_crop_is_a_crop_of_the_padded_image(pad):
    images = positions(200)
    cropped = np.asarray(jax.jit(pad_crop, static_argnums=2)(jax.random.key(0), images, pad))
    padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    assert cropped.dtype == np.uint8
    for i, (row, column) in enumerate(offsets(cropped, pad)):
        expected = padded[i, row : row + 9, column : column + 9]
        np.testing.assert_array_equal(cropped[i], expected)


@pytest.mark.parametrize("pad", [1, 3])
def test_a_tpu_cuts_the_same_images_out(pad):
    """At every pair of offsets."""
    own = np.stack(np.indices((2 * pad + 1,) * 2), -1).reshape(-1, 2)
    padded = jnp.asarray(positions(len(own), 9 + 2 * pad))
    slices, selection = (
        crop(padded, jnp.asarray(own), pad)
        for crop in (augment._crop_by_slices, augment._crop_by_selection)
    )
    np.testing.assert_array_equal(slices, selection)
    np.testing.assert_array_equal(slices[:, 0, 0, :2], own + 1)


def test_pad_crop_is_uniform_and_independent():
    # 81 offsets: chi-square with 80 degrees of freedom, whose 1 - 1e-6 quantile is 155. The same
    # for the row of one example with the row of the next.
    n = 40_500
    cropped = pad_crop(jax.random.key(1), jnp.broadcast_to(positions(1), (n, 9, 9, 3)), 4)
    rows, columns = offsets(np.asarray(cropped), 4).T
    for pairs in (9 * rows + columns, 9 * rows[1:] + rows[:-1]):
        counts = np.bincount(pairs, minlength=81)
        expected = len(pairs) / 81
        assert ((counts - expected) ** 2 / expected).sum() < 155


def test_pad_crop_without_padding_is_the_identity():
    images = jnp.asarray(positions(3))
    assert pad_crop(jax.random.key(0), images, 0) is images


def test_pad_crop_of_oblong_images_of_one_channel():
    images = jnp.asarray(np.random.RandomState(0).randint(1, 256, (5, 4, 7, 1)), jnp.uint8)
    cropped = pad_crop(jax.random.key(2), images, 1)
    assert cropped.shape == images.shape
    # At least the interior comes through, wherever the crop is.
    for before, after in zip(images, cropped, strict=True):
        assert set(before[1:-1, 1:-1].ravel().tolist()) <= set(after.ravel().tolist())


def test_flip_mirrors_half_of_the_examples():
    images = np.random.RandomState(0).randint(0, 256, (10_000, 2, 3, 1)).astype(np.uint8)
    flipped = np.asarray(jax.jit(flip)(jax.random.key(0), images))
    same = (flipped == images).all(axis=(1, 2, 3))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    # Five standard deviations of a fair coin; the few symmetric images count on both sides.
    assert abs(mirrored.sum() - 5000) < 250
    assert abs(same.sum() - 5000) < 250


def test_flip_twice_is_the_identity():
    images = positions(50)
    key = jax.random.key(4)
    np.testing.assert_array_equal(flip(key, flip(key, images)), images)


@pytest.mark.parametrize("augment", [flip, lambda key, x: pad_crop(key, x, 4)])
def test_augmentation_depends_on_the_key(augment):
    images = positions(64)
    first, again = (augment(jax.random.key(0), images) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (augment(jax.random.key(1), images) != first).any()


def test_normalise_by_its_definition():
    images = np.random.RandomState(0).randint(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    result = jax.jit(normalise)(images, jnp.array(mean), jnp.array(std))
    assert result.dtype == jnp.float32
    expected = (images / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(result, expected, atol=2e-6)
    np.testing.assert_allclose(normalise(images, mean, std), expected, atol=2e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_normalise_to_zero_mean_and_unit_variance(channels):
    images = np.random.RandomState(0).randint(30, 220, (2100, 3, 3, channels)).astype(np.uint8)
    mean, std = channel_statistics(images)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)) / 255, rtol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 1, 2)) / 255, rtol=1e-6)
    result = np.asarray(normalise(images, mean, std), np.float64)
    np.testing.assert_allclose(result.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 1, 2)), 1, atol=1e-5)


def test_a_constant_channel_normalises_to_zero():
    images = np.full((2, 3, 3, 2), 77, np.uint8)
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(normalise(images, mean, std), 0, atol=1e-6)
