"""Intervals that are valid at any time: seeds may be added until a question is decided.

An ordinary interval is right for a number of seeds that was fixed before. Who looks after every
seed, and stops when the interval leaves out 0, is wrong far more often than 5 %.
"""

import math
from collections.abc import Sequence

import numpy as np

from flaxdrop.results.statistics import CONFIDENCE

_PRIOR = 1.0  # standard deviation of the effect over that of a difference, where intervals are best


def anytime_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The interval of a confidence sequence for a mean, the variance of which is not known.

    With a probability of 95 % the mean is within all intervals of a sequence at once: after two
    values, after three, and so on, however long it goes on and whenever it is stopped.

    Args:
      differences: independent values of a normal distribution, in the order they came.

    Returns:
      Its two ends; infinite where there are too few values.

    References:
      T. Lai, On confidence sequences, 1976. H. Wang, A. Ramdas, Anytime-valid t-tests and
      confidence sequences for Gaussian means with unknown variance, 2025 (the mixture with a
      Gaussian prior of the standardised effect).

    >>> low, high = anytime_interval([1.0, 1.2, 0.9, 1.1, 1.0])
    >>> 0 < low < 1.04 < high
    True
    >>> anytime_interval([1.0])
    (-inf, inf)
    """
    x = np.asarray(differences, float)
    n, prior = len(x), _PRIOR**-2
    if n < 2:
        return -math.inf, math.inf
    # The mixture martingale is below 1 / (1 - CONFIDENCE) exactly where the mean is within.
    threshold = ((n + prior) / (prior * (1 - CONFIDENCE) ** 2)) ** (1 / n)
    share = (n + prior) * (1 - 1 / threshold)
    if share >= n:
        return -math.inf, math.inf
    half = math.sqrt(share * float(x.var()) / (n - share))
    mean = float(x.mean())
    return mean - half, mean + half


def is_decided(differences: Sequence[float], margin: float) -> bool:
    """Whether a difference is not 0, or within the margin, at any time it may be asked.

    Args:
      differences: one for every seed, in the order they came.
      margin: a difference that is smaller is no difference.
    """
    low, high = anytime_interval(differences)
    return low > 0 or high < 0 or (low > -margin and high < margin)
