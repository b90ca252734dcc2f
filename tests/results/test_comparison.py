import math

import pytest

from flaxdrop.results.comparison import effects, null_of, outcomes
from flaxdrop.results.statistics import holm, paired

MEANS = {"none": 0.90, "p1": 0.85, "p5": 0.93, "p6": 0.93}
NULLS = [("p5", "p6")]


def test_outcomes_follow_the_order_and_strangers_come_last(make_study):
    found = outcomes(make_study(MEANS), ["p6", "p9", "none"])
    assert [o.variant for o in found] == ["p6", "none", "p1", "p5"]


def test_accuracies_are_percent_by_seed(make_row):
    (outcome,) = outcomes([make_row(seed=7, accuracy=0.5, best=0.75)], ["p6"])
    assert outcome.accuracy == {"last": {7: 50.0}, "best": {7: 75.0}}


def test_diverged_cells_are_counted_and_nothing_else(make_row):
    rows = [
        make_row(seed=0, wall_seconds=10.0),
        make_row(seed=1, wall_seconds=20.0),
        make_row(seed=2, status="diverged", last_accuracy=None, wall_seconds=1.0),
    ]
    (outcome,) = outcomes(rows, ["p6"])
    assert (outcome.n, outcome.diverged, outcome.seconds) == (2, 1, 15.0)
    (outcome,) = outcomes(rows[2:], ["p6"])
    assert (outcome.n, outcome.diverged) == (0, 1)
    assert math.isnan(outcome.seconds)


def test_two_rows_of_one_seed_are_refused(make_row):
    rows = [make_row(), make_row(config_hash="f" * 12)]
    with pytest.raises(ValueError, match="rows: two of variant p6 with seed 0, must be of one"):
        outcomes(rows, ["p6"])


def test_effects_are_paired_and_corrected_over_the_variants(make_study):
    found = outcomes(make_study(MEANS), list(MEANS))
    accuracy = {o.variant: o.accuracy["best"] for o in found}
    effect = effects(found, "best", "none", None)
    assert list(effect) == ["p1", "p5", "p6"]
    expected = [paired(accuracy[v], accuracy["none"]) for v in effect]
    assert [e.difference for e in effect.values()] == expected
    assert [e.p_value for e in effect.values()] == holm([d.p_value for d in expected])


def test_without_the_baseline_there_are_no_effects(make_study):
    assert effects(outcomes(make_study({"p6": 0.9}), ["p6"]), "last", "none", None) == {}


def test_the_null_takes_pairs_that_share_a_seed(make_study, make_row):
    found = outcomes(make_study(MEANS), list(MEANS))
    null = null_of(found, "last", [*NULLS, ("p2", "p3")])
    assert list(null.differences) == ["p5 - p6"]
    apart = outcomes([make_row("p5", 0), make_row("p6", 1)], [])
    assert null_of(apart, "last", NULLS) is None
    assert null_of(found, "last", []) is None


@pytest.mark.parametrize(
    ("last", "stands_out"),
    [
        ([0.95, 0.96, 0.95], True),
        # Significant and smaller than the noise, of 0.9 +- 0.02 below.
        ([0.9011, 0.901, 0.9009], False),
        # Larger than the noise and not significant.
        ([0.99, 0.60, 0.99], False),
    ],
)
def test_an_effect_stands_out_when_significant_and_larger_than_the_noise(
    make_row, last, stands_out
):
    rows = [make_row("none", seed, accuracy=0.9) for seed in range(3)]
    rows += [make_row("p1", seed, accuracy=a) for seed, a in enumerate(last)]
    rows += [make_row("p5", seed, accuracy=a) for seed, a in enumerate([0.92, 0.9, 0.9])]
    rows += [make_row("p6", seed, accuracy=a) for seed, a in enumerate([0.9, 0.9, 0.92])]
    found = outcomes(rows, ["none", "p1", "p5", "p6"])
    null = null_of(found, "last", NULLS)
    effect = effects(found, "last", "none", null)["p1"]
    assert effect.noise == null.noise(3)
    assert effect.stands_out == stands_out


@pytest.mark.parametrize(
    "change", [{"numerics": 2}, {"data": "e" * 32}, {"weights": "e" * 64}], ids=str
)
def test_rows_of_another_content_share_no_table(make_row, change):
    (name,) = change
    with pytest.raises(ValueError, match=rf"^rows: must be of one {name}, got "):
        outcomes([make_row("none"), make_row("p6", **change)], ())
