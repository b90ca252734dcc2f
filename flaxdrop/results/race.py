"""A race: one more seed for every arm that is left, until it is known where dropout helps.

An arm is a place with a rate. In every round each arm that is left, and `none`, is trained with the
next seed. After a round an arm leaves when its interval says so:

- WORSE: it is worse than `none`;
- BELOW: another arm is better;
- SMALL: it gains less than the margin over `none`;
- CLOSE: the leading arm is better than `none`, and this one is not better than it by the margin.

All intervals hold at once, for all arms and pairs of arms, after every round up to `MOST_SEEDS`,
with a probability of 95 % at least. So whatever is done because of them, the chance that any arm
leaves wrongly in the whole race is 5 % at most.

How: were the spread known (an effect of the arm, an effect of the seed, and independent normal
noise), the largest |difference| / standard error over all arms and rounds would have a known
distribution, whatever the effects are. Its quantile is simulated once (`bounds`). It is the same
at every look, as Pocock's, and covers many arms, as Magirr's and others'. The spread of each arm is
estimated from its own values beside what the seed does to all arms (`spreads`), for arms differ in
it: harm often comes with a larger one. A difference has the degrees of freedom of Satterthwaite.
What so few values cost is paid by Student's quantile at the same tail (quantile substitution).

What is assumed: noise that is near normal, which accuracies of some hundred images are. As
simulated (tests/results/test_race.py), an arm leaves wrongly in at most 4 % of races, also where
half of the arms have twice the spread, or a quarter has five times the spread. A spread that all
arms share would be known from fewer seeds; but if they do not share it, an arm leaves wrongly in
12 % of the last races.

References:
  S. Pocock, Group sequential methods in the design and analysis of clinical trials, 1977.
  C. Jennison, B. Turnbull, Group sequential methods with applications to clinical trials, 2000.
  F. Satterthwaite, An approximate distribution of estimates of variance components, 1946.
  D. Magirr, T. Jaki, J. Whitehead, A generalized Dunnett test for multi-arm multi-stage clinical
  studies with treatment selection, 2012.
  E. Even-Dar, S. Mannor, Y. Mansour, Action elimination and stopping conditions for the multi-armed
  bandit and reinforcement learning problems, 2006.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from scipy import special

FIRST_LOOK, MOST_SEEDS = 3, 64  # the intervals hold from so many seeds to so many
RACING, WORSE, BELOW, SMALL, CLOSE, DIVERGED = range(6)
_ERROR = 0.05
_DRAWS = 10_000
_MOST_NUMBERS = 500_000  # that are drawn at a time


@functools.cache
def bounds(arms: int, rounds: range = range(FIRST_LOOK, MOST_SEEDS + 1)) -> tuple[float, float]:
    """How many standard errors the intervals of a race are wide, to one side.

    Args:
      arms: at the start, without `none`.
      rounds: after which there is a look; `range(1, 2)`: the bounds of a table, the number of seeds
        of which was fixed before.

    Returns:
      Of the differences to `none`, and of those between arms; half of the error goes to each.

    >>> round(bounds(1, range(1, 2))[0], 1)  # the two tails of 2.5 % of a normal distribution
    2.2
    """
    generator = np.random.default_rng(0)
    chunk = max(1, min(_DRAWS, _MOST_NUMBERS // (arms + 1)))
    found = []
    for _ in range(math.ceil(_DRAWS / chunk)):
        sums = np.zeros((chunk, arms + 1), np.float32)
        largest = np.zeros((2, chunk))
        for n in range(1, rounds.stop):
            sums += generator.standard_normal(sums.shape, np.float32)
            if n in rounds:
                among = sums[:, 1:]
                seen = np.abs(among - sums[:, :1]).max(axis=1), np.ptp(among, axis=1)
                largest = np.maximum(largest, np.stack(seen) / math.sqrt(2 * n))
        found.append(largest)
    against_none, between = np.quantile(np.concatenate(found, axis=1), 1 - _ERROR / 2, axis=1)
    return float(against_none), float(max(against_none, between))  # of one arm there is no pair


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where the arms of a race are, after some rounds; of many races at once if `...` is not empty.

    Attributes:
      rounds: that are finished.
      status: int `[..., arms]`, of `RACING` and the reasons to leave.
      seeds: int `[..., arms]`, how many an arm has.
      effect: `[..., arms]`, mean difference to `none`, of the arm's own seeds.
      half: `[..., arms]`, half of the width of its interval; infinite where it is not known.
      values: `[..., rounds, 1 + arms]`, of `none` and of each arm.
      variances: `[..., 1 + arms]`, of a value beside what its seed does to all arms.
      freedom: likewise, the degrees of freedom of the variances.
    """

    rounds: int
    status: np.ndarray
    seeds: np.ndarray
    effect: np.ndarray
    half: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    freedom: np.ndarray

    @property
    def racing(self) -> np.ndarray:
        """Which arms are left, bool `[..., arms]`."""
        return self.status == RACING

    @property
    def low(self) -> np.ndarray:
        """Lower ends of the intervals."""
        return self.effect - self.half

    @property
    def high(self) -> np.ndarray:
        """Upper ends of the intervals."""
        return self.effect + self.half

    @property
    def finished(self) -> np.ndarray:
        """Whether no arm is left, or the only one is better than `none`, bool `[...]`."""
        left = self.racing.sum(axis=-1)
        return (left == 0) | ((left == 1) & (self.racing & (self.low > 0)).any(axis=-1))


def begin(arms: int, races: tuple[int, ...] = ()) -> Standing:
    """The standing before the first round, of one race or of an array of races."""
    of_arms, of_all = (*races, arms), (*races, arms + 1)
    return Standing(
        rounds=0,
        status=np.full(of_arms, RACING),
        seeds=np.zeros(of_arms, int),
        effect=np.full(of_arms, np.nan),
        half=np.full(of_arms, np.inf),
        values=np.zeros((*races, 0, arms + 1)),
        variances=np.zeros(of_all),
        freedom=np.zeros(of_all),
    )


def advance(standing: Standing, values: np.ndarray, margin: float) -> Standing:
    """The standing after one more round.

    Args:
      standing: before it.
      values: `[..., 1 + arms]`, of `none` and of each arm with the next seed; NaN, the cell
        diverged; of arms that left they do not matter.
      margin: what an arm must gain to be worth it, in the unit of the values.
    """
    lost = standing.racing & np.isnan(values[..., 1:])
    every = np.concatenate([standing.values, np.nan_to_num(values)[..., None, :]], axis=-2)
    moved = dataclasses.replace(
        standing,
        rounds=standing.rounds + 1,
        status=np.where(lost, DIVERGED, standing.status),
        values=every,
    )
    racing, means = moved.racing, every.mean(axis=-2)
    moved = dataclasses.replace(
        moved,
        seeds=np.where(racing, moved.rounds, standing.seeds),
        effect=np.where(racing, means[..., 1:] - means[..., :1], standing.effect),
    )
    return _leave(moved, margin) if moved.rounds >= FIRST_LOOK else moved


def spreads(values: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variance of each arm beside what a seed does to all of them.

    What a seed does is a weighted mean over the arms. Weights are those of the variances beside
    the median arm, so that one that varies much does not blur what is known of the others; but none
    counts as quieter than the median, for a variance of so few values may be small by chance. Of
    two arms it is the paired t test, whatever the weights.

    Args:
      values: `[..., seeds, arms]`, two seeds or more.
      inside: bool `[..., arms]`, which arms there are.

    Returns:
      The variances, and their degrees of freedom; `[..., arms]`, 0 for arms that are not inside.
    """
    among, most = inside[..., None, :], values.shape[-2] - 1
    deviations = np.where(among, values - values.mean(axis=-2, keepdims=True), 0.0)
    beside = deviations - _median(deviations, among)
    beside -= beside.mean(axis=-2, keepdims=True)
    first = np.square(beside).sum(axis=-2) / most
    weights = np.where(inside, 1 / np.maximum(np.maximum(first, _median(first, inside)), 1e-300), 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    of_seed = (deviations * weights[..., None, :]).sum(axis=-1, keepdims=True)
    squares = np.square(np.where(among, deviations - of_seed, 0.0)).sum(axis=-2)
    freedom = np.where(inside, most * (1 - weights), 0.0)
    return squares / np.maximum(freedom, 1e-9), freedom


def _median(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Over the last axis, of those that are inside."""
    ordered = np.sort(np.where(inside, values, np.inf), axis=-1)
    count = np.broadcast_to(inside, values.shape).sum(axis=-1, keepdims=True)
    middle = [np.take_along_axis(ordered, at, axis=-1) for at in ((count - 1) // 2, count // 2)]
    return (middle[0] + middle[1]) / 2


def _leave(standing: Standing, margin: float) -> Standing:
    racing, effect = standing.racing, standing.effect
    against_none, between = bounds(racing.shape[-1])
    inside = np.concatenate([np.ones_like(racing[..., :1]), racing], axis=-1)
    variances, freedom = spreads(standing.values, inside)
    variances = np.where(inside, variances, standing.variances)
    freedom = np.where(inside, freedom, standing.freedom)
    none, each = variances[..., :1], variances[..., 1:]
    free_none, free = freedom[..., :1], freedom[..., 1:]
    half = half_width(against_none, (each, free), (none, free_none), standing.rounds)
    half = np.where(racing, half, standing.half)
    leading = np.where(racing, effect, -np.inf)
    leader = leading.argmax(axis=-1)[..., None]
    is_leader = np.arange(racing.shape[-1]) == leader
    best = np.take_along_axis(effect, leader, axis=-1)
    of_best = (np.take_along_axis(each, leader, axis=-1), np.take_along_axis(free, leader, axis=-1))
    behind = effect - best + half_width(between, (each, free), of_best, standing.rounds)
    leader_helps = best - np.take_along_axis(half, leader, axis=-1) > 0
    reasons = (
        (effect + half < 0, WORSE),
        (behind < 0, BELOW),
        (effect + half < margin, SMALL),
        (leader_helps & ~is_leader & (behind < margin), CLOSE),
    )
    status = standing.status
    for holds, reason in reasons:
        status = np.where(racing & (status == RACING) & holds, reason, status)
    return dataclasses.replace(
        standing, status=status, half=half, variances=variances, freedom=freedom
    )


def half_width(
    bound: float,
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    seeds: Any,
) -> np.ndarray:
    """Half of the width of the interval of a difference between two means.

    Args:
      bound: in standard errors, were they known.
      first: variance of a value, and its degrees of freedom.
      second: likewise, of the other.
      seeds: how many values each mean is of.

    Returns:
      The half; infinite where nothing varied.
    """
    total = first[0] + second[0]
    parts = [variance**2 / np.maximum(free, 1e-9) for variance, free in (first, second)]
    freedom = total**2 / np.maximum(parts[0] + parts[1], 1e-300)
    half: np.ndarray = student(bound, np.maximum(freedom, 1e-9)) * np.sqrt(total / seeds)
    return np.where(total > 0, half, np.inf)


def student(bound: Any, freedom: Any) -> Any:
    """The quantile of Student's distribution that cuts off the tail a normal one has at `bound`."""
    return -special.stdtrit(freedom, special.ndtr(-bound))


def needed_seeds(standing: Standing, margin: float) -> np.ndarray:
    """How many seeds each arm that is left needs until it is decided, if its effect is as measured.

    Args:
      standing: of one race.
      margin: as in `advance`.

    Returns:
      `[..., arms]`; NaN for those that left, or where nothing is known yet.
    """
    gap = np.maximum(np.abs(standing.effect), margin - standing.effect)
    seeds = standing.seeds * (standing.half / gap) ** 2
    return np.where(standing.racing & np.isfinite(standing.half), np.ceil(seeds), np.nan)


def table_seeds(standing: Standing) -> float:
    """Seeds that a table needs so that it knows each arm as well as a race does.

    A table of which the number of seeds is fixed before pays for no looks. All its arms get as many
    seeds as the one that needs most.

    Args:
      standing: of one race.
    """
    known = np.isfinite(standing.half)
    once, _ = bounds(standing.racing.shape[-1], range(1, 2))
    none, each = standing.variances[:1], standing.variances[1:][known]
    for n in range(2, 100 * MOST_SEEDS):
        free = np.array([n - 1.0])
        if (half_width(once, (each, free), (none, free), n) <= standing.half[known]).all():
            return n if known.any() else math.nan
    return math.nan
