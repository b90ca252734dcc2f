import numpy as np
import pytest

from flaxdrop.results.images import image_variance


def drawn(rng, images, cells, network_std=0.0):
    """Which images the cells of two networks get right: images are more or less hard for each."""
    hardness = rng.normal(0.8, 1.0, images)
    own = rng.normal(0, network_std, (2, images))
    return [
        [
            (hardness + own[side] + rng.normal(0, 1.0, images) > 0).astype(np.float32)
            for _ in range(cells)
        ]
        for side in range(2)
    ]


def test_of_one_network_it_is_the_variance_over_drawn_test_sets():
    rng = np.random.default_rng(0)
    trials, images, cells = 400, 300, 4
    means, told = [], []
    for _ in range(trials):
        a, _ = drawn(rng, images, cells)
        means.append(np.mean(a))
        within = np.mean(np.var(a, axis=0, ddof=1)) / cells / images  # of the seeds, here
        told.append(image_variance(a) + within)
    assert np.mean(told) == pytest.approx(np.var(means), rel=0.25)


def test_of_a_difference_only_what_networks_differ_in_counts():
    rng = np.random.default_rng(1)
    same = np.mean([image_variance(*drawn(rng, 2000, 5)) for _ in range(20)])
    apart = np.mean([image_variance(*drawn(rng, 2000, 5, network_std=2.0)) for _ in range(20)])
    assert same < 1e-5  # what hard images are is the same for both
    assert apart > 10 * same


def test_equal_cells_have_none_and_unknown_ones_nan():
    right = [np.ones(4, np.float32)] * 2
    assert image_variance(right, right) == 0.0
    assert np.isnan(image_variance([np.zeros(0, np.float32)]))
    assert np.isnan(image_variance([]))
