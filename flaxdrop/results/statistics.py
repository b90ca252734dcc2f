"""Means with intervals, paired differences of one network, and Holm's correction.

Student's t throughout: the seeds of a study are few.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy import special

CONFIDENCE = 0.95  # of every interval, if nothing else is said
BySeed = Mapping[int, float]
_ROUNDING = 4 * float(np.finfo(float).eps)  # of two differences, relative to what they are of


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean of `n` values, their standard deviation (ddof 1) and the mean's t interval.

    In the unit of the values. What `n` is too small for is NaN: the mean of 0 values, the
    standard deviation and the interval of 1.
    """

    n: int
    mean: float = math.nan
    std: float = math.nan
    low: float = math.nan
    high: float = math.nan

    @property
    def ends(self) -> tuple[float, float]:
        """Of the interval, to be drawn; the mean itself where there is none."""
        return (self.mean, self.mean) if math.isnan(self.low) else (self.low, self.high)

    def __format__(self, form: str) -> str:
        """The mean and its interval, if it has one, as `form` writes a number; - without values.

        >>> f"{summary([1.0, 2.0, 3.0]):+.2f}", f"{summary([1.0]):+.2f}", f"{summary([]):+.2f}"
        ('+2.00 [-0.48, +4.48]', '+1.00', '-')
        """
        return with_interval(self.mean, self.low, self.high, form) if self.n else "-"


@dataclasses.dataclass(frozen=True)
class Paired(Summary):
    """`Summary` of the differences of `n` pairs, with the two-sided p of the paired t test."""

    p_value: float = math.nan


def summary(values: Iterable[float]) -> Summary:
    """Mean, standard deviation and 95 % t interval of `values`.

    Raises:
      ValueError: a value that is not finite.

    >>> s = summary([1.0, 2.0, 3.0])
    >>> s.mean, s.std, round(s.low, 3), round(s.high, 3)
    (2.0, 1.0, -0.484, 4.484)
    """
    x = np.asarray(list(values), float)
    if not np.isfinite(x).all():
        raise ValueError(f"values: {x[~np.isfinite(x)][0]}, must be finite")
    n = len(x)
    if n < 2:
        return Summary(n, *x.tolist())
    if np.ptp(x) == 0:
        # The rounded mean of equal values may differ from them: here it must not.
        return Summary(n, float(x[0]), 0.0, float(x[0]), float(x[0]))
    mean, std = float(x.mean()), float(x.std(ddof=1))
    half = quantile(CONFIDENCE, n - 1) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def paired(a: BySeed, b: BySeed) -> Paired:
    """The differences a - b over the seeds that both have, tested against 0; 95 % t interval.

    a, b: seed to value. With differences that are all 0, as of one network, p is 1. Fewer than two
    have neither interval nor p, and so have differences that are all equal, to rounding, and not
    0: they tell no spread, and accuracies are of few images, and often agree by chance.

    Raises:
      ValueError: as `summary`.

    >>> paired({0: 0.9, 1: 0.8, 2: 0.7}, {0: 0.8, 1: 0.6, 7: 0.1}).n
    2
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    s = summary(differences)
    largest = max(
        (abs(by_seed[seed]) for seed in a.keys() & b.keys() for by_seed in (a, b)), default=0.0
    )
    if s.n < 2 or (s.mean != 0 and np.ptp(differences) <= _ROUNDING * largest):
        return Paired(s.n, s.mean, 0.0 if s.n > 1 else s.std)
    p_value = two_sided_p(s.mean / (s.std / math.sqrt(s.n)), s.n - 1) if s.std else 1.0
    return Paired(s.n, s.mean, s.std, s.low, s.high, p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given; NaN stays NaN and counts as no test.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    tested = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    floor = 0.0
    for rank, i in enumerate(sorted(tested, key=lambda i: p_values[i])):
        floor = max(floor, min(1.0, (len(tested) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def chance_level(labels: np.ndarray) -> float:
    """The accuracy that guessing stays within, in [0, 1].

    A network that says one class whatever it sees has at most the share of the commonest class. One
    that guesses each image anew, by any rule, has at most this expectation, and goes beyond the
    result with a chance of 2.5 % or less.

    Args:
      labels: int `[M]` of the test set, from 0.

    >>> chance_level(np.arange(1000) % 10)
    0.119
    """
    n = len(labels)
    share = float(np.bincount(labels).max()) / n
    # The quantile of a binomial distribution, as a real number; it is NaN where the share is 1.
    return min(n, math.ceil(special.bdtrik(0.975, n, share))) / n if share < 1 else 1.0


def with_interval(mean: float, low: float, high: float, form: str) -> str:
    """A mean and its interval, if it has one, as `form` writes a number."""
    if math.isnan(low):
        return format(mean, form)
    return f"{mean:{form}} [{low:{form}}, {high:{form}}]"


def quantile(confidence: float, freedom: float) -> float:
    """Half-width of Student's two-sided interval, in standard errors."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def two_sided_p(statistic: float, freedom: float) -> float:
    """The two-sided p of a t statistic."""
    return float(2 * special.stdtr(freedom, -abs(statistic)))
