"""A claim's verdict is right where the effect is known, and seldom wrong where there is none."""

import dataclasses

import numpy as np
import pytest

from flaxdrop.results.claims import (
    HOLDS,
    NOT,
    NOT_RUN,
    PROVED,
    SAME,
    UNDECIDED,
    Claim,
    judge,
    seeds_needed,
)
from flaxdrop.results.comparison import compare

UP = Claim("both help", "nobody", (("p6", "none"), ("p7", "none")))
DOWN = dataclasses.replace(UP, sign=-1)
ONE = dataclasses.replace(UP, contrasts=(("p6", "none"),))
NAMES = ("none", "p6", "p7")


@pytest.fixture
def compared(make_row):
    """A comparison of accuracies (percent) with noise about them."""

    def make(*, n=5, noise=0.2, seed=0, order=NAMES, **means):
        random = np.random.default_rng(seed)
        means = {"none": 80.0, "p6": 80.0, "p7": 80.0} | means
        rows = [
            make_row(name, i, accuracy=(mean + random.normal(0, noise)) / 100)
            for name, mean in means.items()
            if mean is not None
            for i in range(n)
        ]
        return compare(rows, order=order, baseline="none")

    return make


def test_a_known_effect_holds_or_does_not(compared):
    assert judge(UP, compared(p6=83, p7=82)).verdict == HOLDS
    assert judge(DOWN, compared(p6=83, p7=82)).verdict == NOT
    assert judge(UP, compared(p6=83, p7=80)).verdict == UNDECIDED
    assert judge(UP, compared(p6=83, p7=77)).verdict == NOT


def test_no_effect_is_the_same_where_the_seeds_tell_it(compared):
    assert judge(UP, compared()).verdict == SAME
    assert judge(UP, compared(noise=3)).verdict == UNDECIDED


def test_a_gain_in_likelihood_is_a_fall(make_row):
    rows = [
        make_row(name, seed, curve=dict(make_row().curve, test_nll=[nll + 0.01 * (seed % 2)] * 4))
        for name, nll in (("none", 1.0), ("p6", 0.5), ("p7", 0.5))
        for seed in range(4)
    ]
    assert judge(UP, compare(rows, baseline="none"), "nll").verdict == HOLDS


def test_with_one_seed_nothing_is_decided(compared):
    for claim in (UP, DOWN):
        assert judge(claim, compared(p6=90, p7=90, n=1)).verdict == UNDECIDED


@pytest.mark.parametrize("claim", [UP, DOWN])
def test_chance_alone_decides_as_seldom_as_is_said(compared, claim):
    """Each verdict has a chance of 2.5 % at most; more than 20 in 400 of either: below 0.2 %."""
    found = [judge(claim, compared(seed=seed, n=3)).verdict for seed in range(400)]
    assert found.count(HOLDS) <= 20
    assert found.count(NOT) <= 20


def test_a_contrast_that_was_not_run_is_named_and_leaves_it_undecided(compared):
    found = judge(UP, compared(p6=85, p7=None))
    assert (found.verdict, found.missing) == (UNDECIDED, ("p7 - none",))
    # One that the config does not have is not missed; one on the other side decides at once.
    assert judge(UP, compared(p6=85, p7=None, order=("none", "p6"))).verdict == HOLDS
    assert judge(DOWN, compared(p6=85, p7=None)).verdict == NOT
    assert judge(UP, compare([], order=NAMES, baseline="none")).verdict == NOT_RUN


def test_a_theorem_is_proved_whatever_was_drawn(compared):
    theorem = dataclasses.replace(UP, proof="tests/of_it.py")
    assert judge(theorem, compared(p6=83)).verdict == PROVED
    assert judge(theorem, compare([], order=NAMES, baseline="none")).verdict == PROVED


def test_the_seeds_that_are_needed_would_decide(compared):
    comparison = compared(p6=80.9, noise=0.6, n=3, seed=0)
    effect = comparison.effect("p6", "none")
    assert judge(ONE, comparison).verdict == UNDECIDED
    needed = seeds_needed(effect)
    assert 3 < needed < 60
    # As many cells of the same spread and difference.
    more = dataclasses.replace(
        effect,
        seed_variance=effect.seed_variance * 3 / needed,
        seed_freedom=effect.seed_freedom * needed / 3,
        n=(needed, needed),
    )
    assert more.interval()[0] > 0 or more.same(1.0)


def test_where_the_images_leave_too_much_to_chance_no_seeds_would_do(compared):
    effect = compared(p6=80.3, noise=0.6, n=3).effect("p6", "none")
    assert seeds_needed(dataclasses.replace(effect, image_variance=4.0)) is None
