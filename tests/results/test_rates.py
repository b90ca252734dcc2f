import numpy as np
import pytest

from flaxdrop.results.rates import compare_rates, rate_table

# In another order, so that they have other noise.
MEANS = {0.1: {"none": 0.4, "p4": 0.42, "p6": 0.42}, 0.5: {"p4": 0.3, "none": 0.4, "p6": 0.42}}


def compared(rows, same=()):
    return compare_rates(rows, order=("none", "p4", "p5", "p6"), baseline="none", same=same)


@pytest.fixture
def rows(make_study):
    return {rate: make_study(means, seeds=4) for rate, means in MEANS.items()}


def mean(rows, variant):
    return 100 * np.mean([row.last_accuracy for row in rows if row.variant == variant])


def test_every_rate_is_compared_with_one_baseline(rows):
    found = compared(rows)
    base = mean(rows[0.1], "none")  # one network at all rates: each seed counts once
    for rate, name in ((0.1, "p4"), (0.5, "p4"), (0.5, "p6")):
        effect = found.effects[rate][name]
        assert effect.mean == pytest.approx(mean(rows[rate], name) - base, abs=0.05)
        assert effect.n == (4, 4)
    assert found.effects[0.5]["p4"].significant


def test_a_change_of_rate_compares_a_network_with_itself(rows):
    found = compared(rows)
    change = found.changes["p4"]
    assert change.mean == pytest.approx(mean(rows[0.5], "p4") - mean(rows[0.1], "p4"), abs=0.05)
    assert change.significant
    without = {rate: [r for r in own if r.variant != "none"] for rate, own in rows.items()}
    assert compared(without).effects[0.1] == {}


def test_networks_are_merged_at_every_rate(make_study):
    means = {"none": 0.4, "p4": 0.42, "p5": 0.41, "p6": 0.41}
    found = compared({rate: make_study(means, seeds=3) for rate in (0.1, 0.3)}, (("p6", "p5"),))
    assert found.networks == ("p4", "p6*")
    assert found.effects[0.3]["p6*"].n == (6, 3)


def test_the_table_has_a_column_a_rate_and_one_for_the_change(rows, make_study):
    table = rate_table(compared(rows))
    assert table.columns == ("network", "rate 0.1", "rate 0.5", "rate 0.5 - rate 0.1")
    assert [line[0] for line in table.cells] == ["p4", "p6"]
    assert table.cells[0][3].endswith("n = 4 *")
    few = {0.1: rows[0.1], 0.5: make_study({"none": 0.4, "p4": 0.3}, seeds=3)}
    line = dict(zip(table.columns, rate_table(compared(few)).cells[1], strict=True))
    assert (line["network"], line["rate 0.5"], line["rate 0.5 - rate 0.1"]) == ("p6", "-", "-")
    assert rate_table(compared({0.1: [], 0.5: []})).cells == ()
