import math

import numpy as np
import pytest
from scipy import integrate, stats

from flaxdrop.theory.block import slot_shifts
from flaxdrop.theory.variance import (
    Moments,
    he_std,
    hidden,
    noise_factor,
    rectified,
    rectified_covariance,
    shift,
    shift_after_weight,
    shift_before_weight,
    shift_of_sum,
    weighted,
)


def test_a_rectified_normal_has_the_moments_of_the_integral():
    first, _ = integrate.quad(lambda z: z * stats.norm.pdf(z), 0, np.inf)
    second, _ = integrate.quad(lambda z: z**2 * stats.norm.pdf(z), 0, np.inf)
    unit = rectified()
    assert unit.square == pytest.approx(second)
    assert unit.squared_mean == pytest.approx(first**2)


def test_corrections_of_a_rectified_unit_are_integrals_against_hermite_polynomials():
    skewness, kurtosis = 0.1, -0.2

    def density(z):
        third, fourth = z**3 - 3 * z, z**4 - 6 * z**2 + 3
        return stats.norm.pdf(z) * (1 + skewness / 6 * third + kurtosis / 24 * fourth)

    first, _ = integrate.quad(lambda z: z * density(z), 0, np.inf)
    second, _ = integrate.quad(lambda z: z**2 * density(z), 0, np.inf)
    unit = rectified(skewness, kurtosis)
    assert unit.square == pytest.approx(second)
    assert unit.squared_mean == pytest.approx(first**2)


@pytest.mark.parametrize("correlation", [-1.0, -0.4, 0.0, 0.3, 1.0])
def test_the_covariance_behind_a_relu_is_that_of_samples(correlation):
    z = np.random.default_rng(0).normal(size=(2, 400_000))
    other = correlation * z[0] + math.sqrt(1 - correlation**2) * z[1]
    products = np.maximum(z[0], 0) * np.maximum(other, 0)
    expected = rectified_covariance(correlation) + 1 / (2 * math.pi)
    # One false alarm in 10^4, were the samples drawn anew.
    assert abs(products.mean() - expected) <= 3.9 * products.std() / math.sqrt(products.size)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_of_zero_mean_weights_before_and_after_are_one(rate):
    unit = rectified()
    before = shift_before_weight(unit, rate, 64, 0.0, he_std(64))
    after = shift_after_weight(unit, rate, 64, 0.0, he_std(64))
    assert before == pytest.approx(after)
    ratio = 1 - 1 / math.pi
    assert before == pytest.approx(ratio / (ratio + noise_factor(rate)))


def test_a_mean_of_the_weights_hurts_after_the_weight_only():
    unit, std = rectified(), he_std(128)
    means = [0.0, 0.01, 0.02]
    before = [shift_before_weight(unit, 0.5, 128, mean, std) for mean in means]
    after = [shift_after_weight(unit, 0.5, 128, mean, std) for mean in means]
    assert before == pytest.approx([before[0]] * 3)
    assert after[0] > 1.1 * after[1] > 1.2 * after[2]


def test_the_published_figure_1_at_its_ends():
    # .405 to .434 before the weight; .25 to .27 at both ends after it.
    for w_mean, before, after in ((-0.02, 0.41, 0.25), (0.0, 0.405, 0.405), (0.02, 0.434, 0.27)):
        unit, covariance = hidden(128, w_mean, he_std(128))
        options = (128, w_mean, he_std(128), covariance)
        assert shift_before_weight(unit, 0.5, *options) == pytest.approx(before, abs=2e-3)
        assert shift_after_weight(unit, 0.5, *options) == pytest.approx(after, abs=6e-3)


@pytest.mark.parametrize(
    ("rate", "alone"), [(0.1, 0.860), (0.2, 0.732), (0.3, 0.614), (0.4, 0.506), (0.5, 0.405)]
)
def test_the_published_figure_2(rate, alone):
    unit = rectified()
    assert shift_of_sum(0.0, unit, rate, 128) == pytest.approx(alone, abs=5e-4)
    sums = [shift_of_sum(std**2, unit, rate, 128) for std in (0.2, 1, 5)]
    assert alone < sums[0] < sums[1] < sums[2] < 1
    assert shift_of_sum(1e9, unit, rate, 128) == pytest.approx(1)


def test_which_slot_shifts_which_norm():
    table = slot_shifts(0.3)
    for slot in ("p0", "p1"):
        assert table[slot][:2] == pytest.approx((0.70, 0.614), abs=1e-3)
    for slot in ("p2", "p3", "p4"):
        assert table[slot][:2] == pytest.approx((1.0, 0.614), abs=1e-3)
    for slot in ("p5", "p6", "p7"):
        assert table[slot][:2] == (1.0, 1.0)
        assert table[slot][2] == pytest.approx(shift_of_sum(1.0, rectified(), 0.3, 128))
    assert slot_shifts(0.3, batch=100)["p1"][1] > table["p1"][1]


def test_at_rate_0_nothing_is_shifted():
    for ratios in slot_shifts(0.0).values():
        assert all(ratio == pytest.approx(1.0) for ratio in ratios if ratio is not None)


def test_weights_scale_variance_and_mean():
    y = weighted(Moments(2.0, 3.0), 10, 0.5, 0.0)
    # Ten times the same weight: the sum of independent x, halved.
    assert y.variance == pytest.approx(10 * 0.25 * 2.0)
    assert y.squared_mean == pytest.approx((10 * 0.5) ** 2 * 1.0)
    correlated = weighted(Moments(2.0, 3.0), 10, 0.5, 0.0, covariance=2.0)
    assert correlated.variance == pytest.approx((10 * 0.5) ** 2 * 2.0)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: noise_factor(1.0), "rate"),
        (lambda: noise_factor(-0.1), "rate"),
        (lambda: noise_factor(math.nan), "rate"),
        (lambda: Moments(2.0, 1.0), "variance"),
        (lambda: Moments(-1.0, 1.0), "variance"),
        (lambda: Moments(math.nan, 1.0), "variance"),
        (lambda: Moments(1.0, math.inf), "variance"),
        (lambda: shift(Moments(0.0, 0.0), 0.5), "unit"),
        (lambda: he_std(0), "fan_in"),
        (lambda: hidden(0, 0.0, 1.0), "fan_in"),
        (lambda: hidden(8, 0.0, 0.0), "w_std"),
        (lambda: rectified_covariance(1.5), "correlation"),
        (lambda: rectified_covariance(math.nan), "correlation"),
        (lambda: shift_of_sum(-1.0, rectified(), 0.5, 8), "trunk_variance"),
        (lambda: slot_shifts(0.3, trunk_variance=-1.0), "trunk_variance"),
        (lambda: slot_shifts(0.3, batch=0), "batch"),
    ],
)
def test_moments_and_rates_that_cannot_be(call, field):
    with pytest.raises(ValueError, match=f"^{field}: [^\n]+$"):
        call()
