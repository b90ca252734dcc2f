import dataclasses

import numpy as np
import pytest
from scipy import stats

from flaxdrop.results import race
from flaxdrop.results.race import Standing

FALSE_ALARM = 1e-4
RACES = 400
ERROR = 0.05


def most(races=RACES, share=ERROR):
    """How often what has a chance of `share` may happen in a test that is right."""
    return stats.binom.ppf(1 - FALSE_ALARM, races, share)


def pick(chosen, ours, others):
    """Race by race, the fields of one of two standings."""
    fields = {}
    for field in dataclasses.fields(Standing):
        one, other = getattr(ours, field.name), getattr(others, field.name)
        if field.name not in ("rounds", "values"):  # all races have had the same rounds
            where = chosen.reshape(chosen.shape + (1,) * (one.ndim - chosen.ndim))
            fields[field.name] = np.where(where, one, other)
    return dataclasses.replace(ours, **fields)


def left_wrongly(status, effects, before, margin):
    """Which arms left for a reason that is not true."""
    ahead = np.where(before.racing, effects, -np.inf).max(axis=-1, keepdims=True)
    return (
        ((status == race.WORSE) & (effects >= 0))
        | ((status == race.BELOW) & (effects >= ahead))
        | ((status == race.SMALL) & (effects >= margin))
        | ((status == race.CLOSE) & (effects >= ahead + margin))
    )


def run_races(
    effects, *, margin, spread=1.0, seed=0.5, images=0, most_rounds=race.MOST_SEEDS, races=RACES
):
    """Races of arms with known effects in units of the spread of `none`.

    Args:
      effects: of the arms.
      margin: of the race.
      spread: of the arms.
      seed: spread of what a seed does to all.
      images: that accuracies are of; 0: the noise is normal.
      most_rounds: of a race.
      races: how many.

    Returns:
      The last standings; whether any arm left wrongly; whether any interval missed its effect; the
      cells that were trained.
    """
    effects = np.asarray(effects, float)
    random = np.random.default_rng(1)
    spreads = np.broadcast_to(
        np.concatenate([[1.0], np.ones_like(effects) * spread]), (1, 1 + len(effects))
    )
    standing = race.begin(len(effects), (races,))
    wrong, missed, cells = np.zeros(races, bool), np.zeros(races, bool), np.zeros(races)
    for _ in range(most_rounds):
        going = ~standing.finished
        cells += np.where(going, 1 + standing.racing.sum(axis=-1), 0)
        noise = random.normal(size=(races, 1 + len(effects))) * spreads
        values = np.concatenate([[0.0], effects]) + random.normal(0, seed, (races, 1)) + noise
        if images:  # accuracies in percent, with a spread of about one point
            chance = np.clip(0.9 + values / 100, 0, 1)
            values = 100 * random.binomial(images, chance) / images
        moved = pick(going, race.advance(standing, values, margin), standing)
        left = standing.racing & ~moved.racing
        wrong |= (left & left_wrongly(moved.status, effects, standing, margin)).any(axis=-1)
        outside = (effects < moved.low) | (effects > moved.high)
        missed |= (outside & (moved.racing | left)).any(axis=-1)
        standing = moved
    return standing, wrong, missed, cells


@pytest.mark.parametrize(
    ("effects", "margin"),
    [
        pytest.param(np.zeros(12), 0.3, id="no arm differs from none"),
        pytest.param(np.full(12, 1.0), 1.0, id="all gain the margin"),
        pytest.param(np.r_[2.0, 2.0, np.zeros(10)], 0.5, id="two are the best"),
        pytest.param(np.linspace(-4, 1.5, 12), 1.0, id="from harm to help"),
        pytest.param(np.zeros(3), 0.3, id="few arms"),
    ],
)
def test_in_a_whole_race_no_arm_leaves_wrongly_and_no_interval_is_wrong(effects, margin):
    _, wrong, missed, _ = run_races(effects, margin=margin)
    assert wrong.sum() <= most()
    assert missed.sum() <= most()


@pytest.mark.parametrize(
    "spread",
    [
        pytest.param(np.tile([1.0, 2.0], 6), id="half twice"),
        pytest.param(np.r_[np.full(3, 5.0), np.ones(9)], id="a quarter five times"),
        pytest.param(np.full(12, 1 / 3), id="none three times"),
        pytest.param(np.r_[5.0, 5.0, 1.0], id="two of three five times"),
    ],
)
def test_nor_where_arms_have_another_spread(spread):
    _, wrong, missed, _ = run_races(np.zeros(len(spread)), margin=0.3, spread=spread)
    assert wrong.sum() <= most()
    assert missed.sum() <= most()


def test_nor_where_a_seed_does_much_to_all_arms_and_some_hardly_vary():
    spread = np.r_[np.full(6, 0.2), np.full(6, 1.5)]
    _, wrong, missed, _ = run_races(np.zeros(12), margin=0.3, spread=spread, seed=3.0)
    assert wrong.sum() <= most()
    assert missed.sum() <= most()


def test_nor_where_the_values_are_accuracies_of_few_images():
    _, wrong, _, _ = run_races(np.zeros(12), margin=2.0, images=200)
    assert wrong.sum() <= most()


def table_decides(effects, margin, seeds, monkeypatch, races=RACES):
    """How often a table with so many seeds of each arm decides as much as a finished race."""
    once = race.bounds(len(effects), range(1, 2))
    random = np.random.default_rng(2)
    standing = race.begin(len(effects), (races,))
    for n in range(1, seeds + 1):
        bounds = once if n == seeds else (30.0, 30.0)
        monkeypatch.setattr(race, "bounds", lambda _, bounds=bounds: bounds)
        values = np.concatenate([[0.0], effects]) + random.normal(size=(races, 1 + len(effects)))
        standing = race.advance(standing, values, margin)
    monkeypatch.undo()
    return standing.finished.mean()


def test_it_takes_less_than_half_the_cells_of_a_table_that_is_as_certain(monkeypatch):
    effects, margin = np.linspace(-6, 2, 12), 1.0
    standing, _, _, cells = run_races(effects, margin=margin, most_rounds=40)
    twice = int(2 * cells.mean() / (1 + len(effects)))
    decided = table_decides(effects, margin, twice, monkeypatch)
    assert decided < standing.finished.mean() - 0.03


def advanced(rounds, margin=1.0):
    """One race after these rounds of values of `none` and of each arm."""
    standing = race.begin(len(rounds[0]) - 1)
    for values in rounds:
        standing = race.advance(standing, np.array(values, float), margin)
    return standing


def noisy(effects, rounds, spread=0.1):
    random = np.random.default_rng(0)
    return [[0.0, *effects] + spread * random.normal(size=1 + len(effects)) for _ in range(rounds)]


def test_the_reasons_to_leave():
    standing = advanced(noisy([-5.0, 3.0, 2.9, 1.5], 12))
    reasons = [race.WORSE, race.RACING, race.CLOSE, race.BELOW]
    assert standing.status.tolist() == reasons
    assert standing.finished
    assert standing.low[1] > 0
    # Who left keeps what was known then.
    assert standing.seeds[0] < standing.rounds


def test_where_nothing_gains_the_margin_all_leave():
    standing = advanced(noisy([0.0, 0.02, 0.01], 12))
    assert standing.status.tolist() == [race.SMALL] * 3
    assert standing.finished


def test_one_seed_and_values_that_never_differ_decide_nothing():
    assert advanced([[90.0, 10.0]]).racing.all()
    assert advanced([[90.0, 10.0]] * 5).racing.all()


def test_an_arm_that_diverges_leaves_and_the_others_race_on():
    rounds = noisy([2.9, 3.0], 8)
    rounds[1][1] = np.nan
    standing = advanced(rounds)
    assert standing.status[0] == race.DIVERGED
    assert standing.low[1] > 0


def test_what_the_seed_does_to_all_makes_no_spread():
    rounds = noisy([0.5, 1.5], 6)
    shifted = [np.asarray(values) + 10 * n for n, values in enumerate(rounds)]
    assert advanced(shifted).variances == pytest.approx(advanced(rounds).variances)


def test_of_two_arms_the_spread_is_that_of_the_paired_t_test():
    values = np.random.default_rng(0).normal(size=(5, 2)) * [1.0, 9.0]
    variances, freedom = race.spreads(values, np.ones(2, bool))
    differences = values[:, 1] - values[:, 0]
    assert variances.sum() == pytest.approx(differences.var(ddof=1))
    # Satterthwaite's degrees of freedom of the sum.
    assert variances.sum() ** 2 / (variances**2 / freedom).sum() == pytest.approx(4)


def test_arms_with_equal_spreads_have_those_of_a_two_way_table():
    random = np.random.default_rng(0)
    rest = np.linalg.qr(np.c_[np.ones(5), random.normal(size=(5, 2))])[0][:, 1:]
    values = np.c_[rest, -rest]  # sums over arms are 0, and so are their medians
    variances, freedom = race.spreads(values, np.ones(4, bool))
    assert freedom == pytest.approx([3.0] * 4)
    assert variances == pytest.approx(np.square(values).sum(0) / 3)


def test_an_arm_that_varies_much_does_not_blur_the_others():
    random = np.random.default_rng(0)
    true = np.r_[np.full(7, 0.2), 7.0]
    seeds = random.normal(size=(2000, 4, 1))
    values = seeds + true * random.normal(size=(2000, 4, 8))
    variances, freedom = race.spreads(values, np.ones((2000, 8), bool))
    assert variances.mean(axis=0)[:-1] == pytest.approx(true[:-1] ** 2, rel=0.25)
    assert variances.mean(axis=0)[-1] == pytest.approx(true[-1] ** 2, rel=0.1)
    assert (freedom > 2).all()


def test_the_spread_of_arms_that_are_left_is_of_them_alone():
    values = np.random.default_rng(0).normal(size=(6, 5))
    inside = np.array([True, False, True, True, False])
    for found, alone in zip(
        race.spreads(values, inside), race.spreads(values[:, inside], inside[inside]), strict=True
    ):
        assert found[inside] == pytest.approx(alone)
        assert (found[~inside] == 0).all()


def test_more_looks_and_more_arms_need_wider_intervals():
    once, race_of_four, race_of_eight = race.bounds(4, range(1, 2)), race.bounds(4), race.bounds(8)
    assert once < race_of_four < race_of_eight
    assert once[0] < once[1]


def test_how_many_seeds_are_needed_still():
    standing = advanced(noisy([0.5, 0.9, 0.1], 4, spread=1.0))
    needed = race.needed_seeds(standing, 1.0)
    assert (needed[standing.racing] > standing.rounds).all()
    assert race.table_seeds(standing) <= standing.rounds
