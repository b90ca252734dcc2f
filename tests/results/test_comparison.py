import math

import numpy as np
import pytest

from flaxdrop.results.comparison import MEASURES, compare
from flaxdrop.results.right import pack_right
from flaxdrop.results.statistics import holm

MEANS = {"none": 0.90, "p1": 0.85, "p5": 0.93, "p6": 0.93}
SAME = (("p6", "p5"), ("p2", "p3"))


def comparison_of(rows, order=(), same=SAME):
    return compare(rows, order=order, baseline="none", same=same)


def with_right(make_row, variant, seed, right):
    """A row that keeps which test images were right, bool `[epochs, images]`."""
    right = np.atleast_2d(right)
    accuracies = right.mean(axis=1)
    row = make_row(variant, seed, accuracy=accuracies[-1], best=1.0, epochs=len(right) + 1)
    curve = dict(row.curve, test_accuracy=[1.0, *accuracies])
    return make_row(
        variant,
        seed,
        accuracy=accuracies[-1],
        best=1.0,
        curve=curve,
        right=pack_right(np.packbits(right, axis=1)),
        test_examples=right.shape[1],
    )


def test_outcomes_follow_the_order_and_strangers_come_last(make_study):
    found = comparison_of(make_study(MEANS), ["p6", "p9", "none"])
    assert [o.variant for o in found.outcomes] == ["p6", "none", "p1", "p5"]


def test_accuracies_are_percent_by_seed(make_row):
    (outcome,) = comparison_of([make_row(seed=7, accuracy=0.5, best=0.75)]).outcomes
    assert outcome.values["accuracy"] == {7: 50.0}
    assert outcome.values["best"] == {7: 75.0}


def test_where_several_epochs_are_judged_their_mean_counts(make_row):
    right = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]], bool)
    found = comparison_of([with_right(make_row, "p6", 0, right)])
    assert found.judged == 3
    assert found.outcomes[0].values["accuracy"] == {0: pytest.approx(75.0)}
    np.testing.assert_allclose(found.outcomes[0].right[0], [1, 1, 2 / 3, 1 / 3], rtol=1e-6)


def test_diverged_cells_are_counted_and_nothing_else(make_row):
    rows = [
        make_row(seed=0, wall_seconds=10.0),
        make_row(seed=1, wall_seconds=20.0),
        make_row(seed=2, status="diverged", last_accuracy=None, wall_seconds=1.0),
    ]
    (outcome,) = comparison_of(rows).outcomes
    assert (outcome.n, outcome.diverged, outcome.seconds) == (2, 1, 15.0)
    (outcome,) = comparison_of(rows[2:]).outcomes
    assert (outcome.n, outcome.diverged) == (0, 1)
    assert math.isnan(outcome.seconds)


def test_two_rows_of_one_seed_are_refused(make_row):
    rows = [make_row(), make_row(config_hash="f" * 12)]
    with pytest.raises(ValueError, match=r"^rows: must be of one config, got two of p6"):
        comparison_of(rows)


@pytest.mark.parametrize(
    "change", [{"numerics": 2}, {"data": "e" * 32}, {"weights": "e" * 64}], ids=str
)
def test_rows_of_another_content_share_no_table(make_row, change):
    (name,) = change
    with pytest.raises(ValueError, match=rf"^rows: must be of one {name}, got "):
        comparison_of([make_row("none"), make_row("p6", **change)])


def test_variants_that_are_one_network_count_together(make_study):
    found = comparison_of(make_study(MEANS), list(MEANS))
    assert found.networks == {"none": ("none",), "p1": ("p1",), "p6*": ("p6", "p5")}
    effect = found.effect("p6", "none")
    assert (effect.name, effect.n) == ("p6* - none", (10, 5))
    assert found.effect("p5", "none").mean == effect.mean
    values = [v for name in ("p5", "p6") for v in found.by_variant[name].values["best"].values()]
    base = list(found.by_variant["none"].values["best"].values())
    assert found.effect("p6", "none", "best").mean == pytest.approx(np.mean(values) - np.mean(base))
    assert list(found.checks) == ["p5 - p6"]


def test_effects_are_corrected_over_the_networks(make_study):
    found = comparison_of(make_study(MEANS))
    for measure in MEASURES:
        effects = found.effects[measure]
        assert list(effects) == ["p1", "p6*"]
        expected = holm([effect.p_value for effect in effects.values()])
        assert [effect.corrected for effect in effects.values()] == expected
    assert found.effects["accuracy"]["p1"].significant


def test_without_the_baseline_there_are_no_effects(make_study):
    assert comparison_of(make_study({"p6": 0.9})).effects["accuracy"] == {}


def test_the_same_to_within_a_margin_is_two_one_sided_tests(make_study):
    found = comparison_of(make_study({"none": 0.90, "p1": 0.901, "p4": 0.85}))
    assert found.effect("p1", "none").same(1.0)
    assert not found.effect("p1", "none").same(0.05)
    assert not found.effect("p4", "none").same(1.0)


def test_intervals_cover_the_drawn_images_too(make_row):
    rng = np.random.default_rng(0)
    # Half of the images are for one network, half for the other: seeds agree, images differ.
    own = {"none": np.arange(400) % 2 == 0, "p1": np.arange(400) % 2 == 1}
    rows = []
    for name, easy in own.items():
        for seed in range(4):
            right = easy.copy()
            right[rng.integers(400, size=3)] ^= True
            rows.append(with_right(make_row, name, seed, right))
    found = comparison_of(rows)
    effect = found.effect("p1", "none")
    assert found.images_known
    # Each image is +1 or -1: a standard error of 100 / sqrt(400) points.
    assert math.sqrt(effect.image_variance) == pytest.approx(5.0, rel=0.05)
    assert effect.error > 3 * math.sqrt(effect.seed_variance)
    assert math.isnan(found.effect("p1", "none", "nll").image_variance)


def test_levels_stay_within_0_and_100(make_row):
    accuracies = (0.99, 0.10, 0.98)
    rows = [make_row("p6", seed, accuracy=accuracy) for seed, accuracy in enumerate(accuracies)]
    level = comparison_of(rows).level("p6")
    assert (level.low, level.high) == (0.0, 100.0)


def test_what_a_study_measures_is_compared_by_its_logarithm(make_row):
    rows = [
        make_row(variant, seed, measured={"variance": size * (1 + 0.1 * seed)})
        for variant, size in (("h4", 1.0), ("h5", 3.0))
        for seed in range(3)
    ]
    found = compare(rows, baseline="h5")
    assert found.effect("h4", "h5", "ln variance").mean == pytest.approx(-math.log(3))
    assert not found.has("h4", "ln other")
