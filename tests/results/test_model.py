"""The model is the paired analysis where it must be, and errs as often as it says elsewhere."""

import math

import numpy as np
import pytest
from scipy import stats

from flaxdrop.results.model import fit
from flaxdrop.results.statistics import holm

# With any other seed each bound below would fail by chance with this probability.
FALSE_ALARM = 1e-5

# Network -> variants that are it, as in the position table.
NETWORKS = {"none": 1, "p0": 1, "p1": 1, "p2*": 2, "p4": 1, "p6*": 2, "p7": 1}


def at_most(count, trials, probability):
    return count <= stats.binom.ppf(1 - FALSE_ALARM, trials, probability)


def at_least(count, trials, probability):
    return count >= stats.binom.ppf(FALSE_ALARM, trials, probability)


def draw(rng, seeds, *, baseline_seeds=0, effect=0.0, spread=None, seed_std=0.35):
    """Values of a table in standard deviations of a cell; P4 has the effect."""
    common = rng.normal(0, seed_std, max(seeds, baseline_seeds))
    return {
        name: {
            seed: list(
                (effect if name == "p4" else 0.0)
                + common[seed]
                + rng.normal(0, (spread or {}).get(name, 1.0), variants)
            )
            for seed in range(baseline_seeds if name == "none" and baseline_seeds else seeds)
        }
        for name, variants in NETWORKS.items()
    }


def rejected(values):
    """The networks that differ from none, after Holm."""
    found = fit(values)
    names = [name for name in values if name != "none"]
    p_values = [found.contrast(name, "none").p_value for name in names]
    return {name for name, p in zip(names, holm(p_values), strict=True) if p < 0.05}


def test_two_networks_with_the_same_seeds_are_the_paired_t_test():
    a, b = np.random.default_rng(1).normal(size=(2, 6)) + np.arange(6)  # seeds differ much
    values = {
        name: {seed: [value] for seed, value in enumerate(side)}
        for name, side in (("a", a), ("b", b))
    }
    contrast = fit(values).contrast("a", "b")
    expected = stats.ttest_rel(a, b)
    assert contrast.seed_freedom == 5
    assert contrast.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    low, _ = expected.confidence_interval()
    assert contrast.interval()[0] == pytest.approx(low, rel=1e-6)


def test_a_balanced_table_has_the_residual_of_the_two_way_analysis():
    y = np.random.default_rng(2).normal(size=(4, 5)) + np.arange(5)  # networks x seeds
    values = {f"{i}": {s: [y[i, s]] for s in range(5)} for i in range(4)}
    rest = y - y.mean(0) - y.mean(1, keepdims=True) + y.mean()
    found = fit(values)
    assert found.freedom == 12
    assert found.residual == pytest.approx((rest**2).sum() / 12, rel=1e-5)
    assert found.contrast("1", "0").mean == pytest.approx(y[1].mean() - y[0].mean())
    assert found.contrast("1", "0").seed_variance == pytest.approx(2 * found.residual / 5, rel=1e-5)


def test_more_seeds_of_the_baseline_make_every_difference_surer():
    rng = np.random.default_rng(3)
    few, many = [
        np.mean(
            [
                fit(draw(rng, 3, baseline_seeds=n, seed_std=0.0))
                .contrast("p4", "none")
                .seed_variance
                for _ in range(200)
            ]
        )
        for n in (3, 12)
    ]
    # Of 2/3 and 1/3 + 1/12.
    assert many / few == pytest.approx((1 / 3 + 1 / 12) / (2 / 3), rel=0.15)


@pytest.mark.parametrize(("seeds", "baseline_seeds"), [(3, 3), (3, 6), (5, 5)])
def test_the_familywise_error_is_at_most_five_percent(seeds, baseline_seeds):
    """Of the whole procedure: spread test, pooled or Welch's tests, Holm."""
    rng = np.random.default_rng(seeds + baseline_seeds)
    trials = 400
    errors = sum(
        bool(rejected(draw(rng, seeds, baseline_seeds=baseline_seeds))) for _ in range(trials)
    )
    assert at_most(errors, trials, 0.05)


@pytest.mark.parametrize(("seeds", "power"), [(3, 0.70), (5, 0.92)])
def test_an_effect_of_three_standard_deviations_is_found(seeds, power):
    rng = np.random.default_rng(seeds)
    trials = 300
    found = sum("p4" in rejected(draw(rng, seeds, effect=3.0)) for _ in range(trials))
    assert at_least(found, trials, power)


def test_networks_of_unlike_spread_have_their_own():
    """At chance, or half diverged: one wide network makes no other one significant."""
    rng = np.random.default_rng(4)
    trials = 300
    spread = {"p0": 20.0, "p1": 5.0, "p4": 0.3}
    errors = sum(bool(rejected(draw(rng, 5, spread=spread))) for _ in range(trials))
    assert at_most(errors, trials, 0.05)
    found = fit(draw(rng, 5, spread=spread))
    assert not found.equal
    # Welch's, of two networks alone.
    a, b = [np.concatenate([*found_values]) for found_values in _two(rng, spread)]
    values = {"p0": {i: [v] for i, v in enumerate(a)}, "p7": {i: [v] for i, v in enumerate(b)}}
    contrast = fit(values).contrast("p0", "p7")
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert contrast.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def _two(rng, spread):
    drawn = draw(rng, 6, spread=spread)
    return drawn["p0"].values(), drawn["p7"].values()


def test_what_too_few_values_tell_is_nan():
    found = fit({"a": {0: [1.0]}, "b": {0: [2.0]}})
    contrast = found.contrast("b", "a")
    assert contrast.mean == 1.0
    assert math.isnan(contrast.seed_variance)
    equal = fit({"a": {0: [1.0], 1: [1.0]}, "b": {0: [2.0], 1: [2.0]}})
    assert math.isnan(equal.contrast("b", "a").seed_variance)
