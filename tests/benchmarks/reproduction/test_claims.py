"""A claim's verdict is right where the effect is known, and seldom wrong where there is none."""

import dataclasses

import numpy as np
import pytest

from benchmarks.head import VARIANCE
from benchmarks.reproduction.claims import CLAIMS, HOLDS, LOG_VARIANCE, NOT, UNDECIDED, Claim, judge
from benchmarks.reproduction.jobs import all_jobs

PART = next(job for job in all_jobs() if job.name == "cifar10:small, rate=0.3")
UP = Claim("both help", "nobody", "preresnet", 1, (("p6", "none"), ("p7", "none")))
DOWN = dataclasses.replace(UP, sign=-1)
SAME = dataclasses.replace(UP, sign=0)
NAMES = ("none", "p6", "p7")


@pytest.fixture
def verdict(rows_of_job):
    """The verdict on a claim for accuracies (percent) with noise about them."""

    def find(claim, *, none=80.0, p6=80.0, p7=80.0, n=5, noise=0.2, seed=0, nulls=()):
        random = np.random.default_rng(seed)
        accuracies = {
            name: (mean + random.normal(0, noise, n)) / 100
            for name, mean in zip(NAMES, (none, p6, p7), strict=True)
        }
        return judge(claim, rows_of_job(PART, accuracies), NAMES, nulls).verdict

    return find


def test_a_known_effect_holds_or_does_not(verdict):
    assert verdict(UP, p6=83, p7=82) == HOLDS
    assert verdict(DOWN, p6=83, p7=82) == NOT
    assert verdict(UP, p6=83, p7=80) == UNDECIDED
    assert verdict(UP, p6=83, p7=77) == NOT
    assert verdict(SAME) == HOLDS
    assert verdict(SAME, p6=83) == NOT
    assert verdict(SAME, noise=3) == UNDECIDED


def test_with_one_seed_nothing_is_decided(verdict):
    for claim in (UP, DOWN, SAME):
        assert verdict(claim, p6=90, p7=90, n=1) == UNDECIDED


def test_an_effect_within_the_noise_of_the_null_is_undecided(verdict):
    one = dataclasses.replace(UP, contrasts=(("p6", "none"),))
    assert verdict(one, p6=83, p7=80) == HOLDS
    # The null's pair differs by ten points: it is noise that does so.
    assert verdict(one, p6=83, p7=70, nulls=[("none", "p7")]) == UNDECIDED


@pytest.mark.parametrize("n", [3, 5])
def test_its_own_contrasts_are_no_noise_to_a_claim_of_no_difference(verdict, n):
    nulls = [("p6", "none"), ("p7", "none")]
    assert verdict(SAME, p6=83, p7=84, n=n, nulls=nulls) == NOT
    assert verdict(SAME, n=n, nulls=nulls) == verdict(SAME, n=n)


def test_a_contrast_that_was_not_run_counts_in_the_correction(rows_of_job):
    # The difference is -1 point, p = 0.047: told alone, and not as one of two.
    spread = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    accuracies = {"none": [0.8] * 5, "p6": (79 + spread) / 100}
    rows = rows_of_job(PART, accuracies)
    one = dataclasses.replace(UP, contrasts=(("p6", "none"),))
    assert judge(one, rows, NAMES).verdict == NOT
    assert judge(UP, rows, NAMES).verdict == UNDECIDED


def test_seeds_are_told_where_contrasts_differ_in_them(rows_of_job):
    accuracies = {"none": [0.8] * 5, "p6": [0.81] * 3, "p7": [0.8] * 5}
    assert judge(UP, rows_of_job(PART, accuracies), NAMES).n == "3 to 5"


@pytest.mark.parametrize("claim", [UP, DOWN])
def test_chance_alone_decides_as_seldom_as_is_said(verdict, claim):
    """Each verdict has a chance of 2.5 % at most; more than 20 in 400 of either: below 0.2 %."""
    found = [verdict(claim, seed=seed) for seed in range(400)]
    assert found.count(HOLDS) <= 20
    assert found.count(NOT) <= 20
    assert found.count(NOT) > 0


def test_a_contrast_that_was_not_run_is_named_and_leaves_it_undecided(rows_of_job):
    accuracies = {"none": [0.80, 0.81, 0.80], "p6": [0.85, 0.861, 0.85]}
    rows = rows_of_job(PART, accuracies)
    found = judge(UP, rows, NAMES)
    assert (found.verdict, found.missing, found.n) == (UNDECIDED, ("p7 - none",), "3")
    # One that the config does not have is not missed; one on the other side decides at once.
    assert judge(UP, rows, ("none", "p6")).verdict == HOLDS
    assert judge(DOWN, rows, NAMES).verdict == NOT
    assert judge(UP, [], NAMES).effects == {}


def test_diverged_cells_are_missing(rows_of_job):
    accuracies = {"none": [0.8, 0.8], "p6": [float("nan")] * 2, "p7": [0.9, float("nan")]}
    found = judge(UP, rows_of_job(PART, accuracies), NAMES)
    assert (found.verdict, found.missing, found.n) == (UNDECIDED, ("p6 - none",), "1")


def test_the_head_is_judged_by_the_variance_of_its_logits(rows_of_job):
    job = next(job for job in all_jobs() if job.name == "head_cifar10:small")
    claim = next(claim for claim in CLAIMS if claim.quantity is LOG_VARIANCE)
    rows = [
        dataclasses.replace(row, measured={VARIANCE: size ** (1 + 0.1 * (row.seed - 1))})
        for place, size in (("h4", 1.0), ("h5", 3.0))
        for rate in ("0.2", "0.5")
        for row in rows_of_job(job, {f"{place} {rate}": [0.8, 0.8, 0.8]})
    ]
    found = judge(claim, rows, job.every_variant)
    assert found.verdict == HOLDS
    assert [effect.mean for effect in found.effects.values()] == pytest.approx([-np.log(3)] * 2)
    unmeasured = [dataclasses.replace(row, measured={}) for row in rows]
    assert judge(claim, unmeasured, job.every_variant).effects == {}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.words)
def test_every_contrast_is_of_variants_of_its_study(claim):
    known = {
        variant
        for job in all_jobs()
        if job.study.name == claim.study
        for variant in job.every_variant
    }
    assert {variant for pair in claim.contrasts for variant in pair} <= known
