import numpy as np
import pytest

from benchmarks.harness.decide import contrasts, decision_table, differences, undecided
from benchmarks.preresnet import CLAIMS, SAME
from flaxdrop.results.comparison import compare
from tests.rows import make_row  # noqa: F401 (fixture)


@pytest.fixture
def compared(make_row):  # noqa: F811
    def make(n, noise=0.2, **means):
        random = np.random.default_rng(0)
        rows = [
            make_row(name, seed, accuracy=(mean + random.normal(0, noise)) / 100)
            for name, mean in {"none": 80.0, **means}.items()
            for seed in range(n)
        ]
        return compare(rows, baseline="none", same=SAME)

    return make


def test_planned_contrasts_are_those_of_the_claims_that_were_run(compared):
    found = contrasts(CLAIMS, compared(3, p6=80.0, p4=79.0))
    assert found == [("p6", "none"), ("p6", "p4"), ("p4", "none")]


def test_differences_are_by_seed_and_over_the_variants_of_a_network(compared):
    comparison = compared(4, p5=82.0, p6=80.0)
    values = {o.variant: o.values["accuracy"] for o in comparison.outcomes}
    expected = [
        (values["p5"][seed] + values["p6"][seed]) / 2 - values["none"][seed] for seed in range(4)
    ]
    assert differences(comparison, ("p6", "none")) == pytest.approx(expected)


def test_a_large_effect_is_decided_and_a_small_one_needs_seeds(compared):
    comparison = compared(6, noise=0.6, p6=90.0, p4=80.6)
    assert undecided(CLAIMS, comparison) == [("p4", "none")]
    lines = {line[0]: line[3] for line in decision_table(CLAIMS, comparison).cells}
    assert lines == {"p6 - none": "yes", "p6 - p4": "yes", "p4 - none": "no"}
    assert len(undecided(CLAIMS, compared(1, p6=90.0))) == 1
