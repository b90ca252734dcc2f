import math

import numpy as np
import pytest
from scipy import stats

from flaxdrop.results.correlation import rank_correlation


def by_seed(values, seeds=5, noise=0.0):
    generator = np.random.default_rng(0)
    return {
        name: {seed: value + noise * generator.normal() for seed in range(seeds)}
        for name, value in values.items()
    }


@pytest.mark.parametrize(("sign", "rho"), [(1, 1.0), (-1, -1.0)])
def test_an_order_and_its_reverse(sign, rho):
    predicted = {f"v{i}": i**3 for i in range(8)}
    found = rank_correlation(predicted, by_seed({name: sign * x for name, x in predicted.items()}))
    assert found.rho == pytest.approx(rho)
    assert (found.low, found.high) == pytest.approx((rho, rho))
    assert found.variants == 8


def test_it_is_spearman_of_the_means_with_ties():
    predicted = dict(zip("abcdef", [1.0, 1.0, 2.0, 3.0, 3.0, 5.0], strict=True))
    measured = by_seed(dict(zip("abcdef", [5.0, 4.0, 4.5, 2.0, 3.0, 1.0], strict=True)), noise=0.3)
    means = [np.mean(list(by_seed.values())) for by_seed in measured.values()]
    expected = stats.spearmanr(list(predicted.values()), means).statistic
    found = rank_correlation(predicted, measured)
    assert found.rho == pytest.approx(expected)
    assert -1 <= found.low <= found.rho <= found.high <= 1
    assert found == rank_correlation(predicted, measured)


def test_the_interval_widens_with_the_noise_of_the_seeds():
    predicted = {f"v{i}": float(i) for i in range(10)}
    widths = []
    for noise in (0.1, 3.0):
        found = rank_correlation(predicted, by_seed(predicted, noise=noise))
        widths.append(found.high - found.low)
    assert widths[0] < widths[1] - 0.1


def test_seeds_that_not_all_have_are_left_out():
    predicted = {"a": 1.0, "b": 2.0, "c": 3.0}
    measured = by_seed({"a": 1.0, "b": 2.0, "c": 3.0}, seeds=2)
    measured["a"][9] = 1000.0
    assert rank_correlation(predicted, measured).rho == pytest.approx(1)


@pytest.mark.parametrize("names", ["", "a", "ab"])
def test_too_few_variants_have_no_order(names):
    values = dict.fromkeys(names, 1.0)
    assert math.isnan(rank_correlation(values, by_seed(values)).rho)


def test_no_seed_in_common_or_no_difference_has_no_order():
    predicted = {"a": 1.0, "b": 2.0, "c": 3.0}
    apart = {"a": {0: 1.0}, "b": {1: 2.0}, "c": {2: 3.0}}
    assert math.isnan(rank_correlation(predicted, apart).rho)
    flat = rank_correlation(predicted, by_seed(dict.fromkeys("abc", 1.0)))
    assert math.isnan(flat.rho)
    assert math.isnan(flat.low)


def test_other_variants_are_refused():
    with pytest.raises(ValueError, match=r"^variants: [^\n]+ a, c$"):
        rank_correlation({"a": 1.0, "b": 2.0}, by_seed({"b": 1.0, "c": 1.0}))
