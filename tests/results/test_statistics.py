import math

import numpy as np
import pytest
from scipy import stats

from flaxdrop.results.statistics import chance_level, holm, paired, summary

# Simulations draw with fixed seeds; with any other seed each bound below would fail by chance
# with this probability.
FALSE_ALARM = 1e-6


def within_binomial(count, trials, probability):
    low, high = stats.binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], trials, probability)
    return low <= count <= high


def by_seed(values):
    return dict(enumerate(values))


@pytest.mark.parametrize("n", [2, 5])
def test_the_interval_covers_the_mean_as_often_as_it_says(n):
    draws = np.random.default_rng(n).normal(3, 2, (3000, n))
    found = [summary(x) for x in draws]
    covered = sum(s.low <= 3 <= s.high for s in found)
    assert within_binomial(covered, 3000, 0.95)


def test_summary_agrees_with_numpy_and_scipy():
    x = np.random.default_rng(0).normal(size=7)
    s = summary(x)
    interval = stats.t.interval(0.95, 6, loc=x.mean(), scale=stats.sem(x))
    assert s.n == 7
    np.testing.assert_allclose([s.mean, s.std], [x.mean(), x.std(ddof=1)], rtol=1e-12)
    np.testing.assert_allclose([s.low, s.high], interval, rtol=1e-12)


def test_what_n_is_too_small_for_is_nan():
    one, none = summary([0.5]), summary([])
    assert (one.n, one.mean) == (1, 0.5)
    assert np.isnan([one.std, one.low, one.high]).all()
    assert none.n == 0
    assert np.isnan([none.mean, none.std, none.low, none.high]).all()


def test_equal_values_have_an_interval_of_no_width():
    s = summary([0.1] * 3)
    assert (s.mean, s.std, s.low, s.high) == (0.1, 0.0, 0.1, 0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_refused(value):
    with pytest.raises(ValueError, match=f"values: {value}, must be finite"):
        summary([1.0, value])


def test_paired_is_the_paired_t_test():
    a, b = np.random.default_rng(1).normal(size=(2, 6))
    expected = stats.ttest_rel(a, b)
    found = paired(by_seed(a), by_seed(b))
    interval = expected.confidence_interval()
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-10)
    np.testing.assert_allclose([found.low, found.high], interval, rtol=1e-10)
    np.testing.assert_allclose(found.mean, np.mean(a - b), rtol=1e-10)


def test_paired_takes_the_common_seeds_only():
    found = paired({0: 1.0, 1: 2.0, 5: 100.0}, {1: 1.5, 0: 0.0, 6: -100.0})
    assert (found.n, found.mean) == (2, 0.75)


def test_paired_changes_sign_with_its_sides():
    a, b = (by_seed(x) for x in np.random.default_rng(2).normal(size=(2, 5)))
    there, back = paired(a, b), paired(b, a)
    assert (there.mean, there.low, there.high) == (-back.mean, -back.high, -back.low)
    assert there.p_value == back.p_value


def test_no_difference_at_all_is_that_of_one_network():
    nothing = paired(by_seed([0.9, 0.8]), by_seed([0.9, 0.8]))
    assert (nothing.mean, nothing.std, nothing.low, nothing.p_value) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("scale", [1.0, 0.1])  # of tenths the differences are equal to rounding
def test_equal_differences_tell_no_spread(n, scale):
    a = scale * np.arange(1, n + 1)
    found = paired(by_seed(a), by_seed(a - 0.5 * scale))
    assert (found.n, found.std) == (n, 0.0)
    assert found.mean == pytest.approx(0.5 * scale)
    assert np.isnan([found.low, found.high, found.p_value]).all()


def test_differences_of_few_images_tell_a_spread():
    found = paired(by_seed([0.8, 0.8, 0.8]), by_seed([0.7, 0.7, 0.7 - 1e-9]))
    assert found.p_value < 1e-6


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_pairs_have_no_p(n):
    found = paired(by_seed([0.5] * n), by_seed([0.4] * 3))
    assert found.n == n
    assert math.isnan(found.p_value)


def test_p_is_uniform_when_nothing_differs():
    draws = np.random.default_rng(3).normal(size=(2000, 2, 5))
    rejected = sum(paired(by_seed(a), by_seed(b)).p_value < 0.05 for a, b in draws)
    assert within_binomial(rejected, 2000, 0.05)


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        # By hand: 4 x .005, 3 x .01, 2 x .03, and 1 x .04 raised to the one before it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([0.01, 0.01, 0.01], [0.03, 0.03, 0.03]),
        ([], []),
    ],
)
def test_holm_by_hand(p_values, adjusted):
    assert holm(p_values) == pytest.approx(adjusted)


def test_holm_counts_nan_as_no_test():
    adjusted = holm([math.nan, 0.01, math.nan, 0.04])
    assert np.isnan(adjusted).tolist() == [True, False, True, False]
    assert [adjusted[1], adjusted[3]] == pytest.approx([0.02, 0.04])


def test_holm_keeps_the_familywise_error():
    # With p uniform and independent, Holm's first step rejects with 1 - (1 - .05 / 8)^8.
    draws = np.random.default_rng(4).uniform(size=(4000, 8))
    rejected = sum(min(holm(list(p))) < 0.05 for p in draws)
    assert within_binomial(rejected, 4000, 1 - (1 - 0.05 / 8) ** 8)


def test_guessing_stays_within_the_chance_level():
    labels = np.repeat(np.arange(10), [300, *[78] * 8, 76])
    level = chance_level(labels)
    assert 0.3 < level < 0.33
    guesses = np.random.default_rng(0).permuted(np.tile(labels, (2000, 1)), axis=1)
    assert (np.mean(guesses == labels, axis=1) <= level).all()  # its expectation is lower
    commonest = np.random.default_rng(1).random((4000, len(labels))) < 0.3
    beyond = np.mean(commonest.mean(axis=1) > level)
    assert beyond <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 4000)
    assert chance_level(np.zeros(7, np.int32)) == 1.0
