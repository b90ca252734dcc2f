import math

import numpy as np
import pytest
from scipy import stats

from flaxdrop.results.sequences import anytime_interval, is_decided
from flaxdrop.results.statistics import summary

FALSE_ALARM = 1e-6


def ever_outside(values, mean, interval):
    """Whether the mean is ever outside, looking after every value from the second on."""
    for n in range(2, len(values) + 1):
        low, high = interval(values[:n])
        if not low <= mean <= high:
            return True
    return False


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.1), (0.5, 4.0)])
def test_all_intervals_of_a_sequence_hold_the_mean_as_often_as_it_says(mean, std):
    rng = np.random.default_rng(0)
    trials = 400
    outside = sum(
        ever_outside(rng.normal(mean, std, 60), mean, anytime_interval) for _ in range(trials)
    )
    assert outside <= stats.binom.ppf(1 - FALSE_ALARM, trials, 0.05)


def test_an_ordinary_interval_would_not():
    def t_interval(values):
        found = summary(values)
        return found.low, found.high

    rng = np.random.default_rng(1)
    outside = sum(ever_outside(rng.normal(0, 1, 60), 0.0, t_interval) for _ in range(200))
    assert outside > 50  # where 5 % would be 10


def test_it_is_the_set_that_the_martingale_does_not_reject():
    x = np.random.default_rng(2).normal(1.0, 2.0, 12)
    low, high = anytime_interval(x)

    def martingale(mean):
        n, total, square = len(x), (x - mean).sum(), ((x - mean) ** 2).sum()
        return math.sqrt(1 / (n + 1)) * ((n + 1) * square / ((n + 1) * square - total**2)) ** (
            n / 2
        )

    for end in (low, high):
        assert martingale(end) == pytest.approx(20.0, rel=1e-9)
    assert martingale(x.mean()) < 20.0


def test_a_large_effect_and_none_at_all_are_decided():
    rng = np.random.default_rng(3)
    assert is_decided(list(rng.normal(3, 0.5, 6)), margin=1.0)
    assert is_decided(list(rng.normal(0, 0.3, 30)), margin=1.0)
    assert not is_decided(list(rng.normal(0.8, 1.5, 5)), margin=1.0)
    assert not is_decided([5.0], margin=1.0)
