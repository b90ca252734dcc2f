"""Does a prediction order the variants of a study as their accuracies do?"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from scipy import stats

from flaxdrop.results.statistics import CONFIDENCE, BySeed

_RESAMPLES = 5000


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho with a bootstrap interval; NaN where there is too little to compare.

    Attributes:
      rho: in [-1, 1].
      low: end of the interval.
      high: likewise.
      variants: how many it is over.
    """

    rho: float
    low: float
    high: float
    variants: int

    def __str__(self) -> str:
        return f"{self.rho:+.2f} [{self.low:+.2f}, {self.high:+.2f}], {self.variants} variants"


def rank_correlation(
    predicted: Mapping[str, float], measured: Mapping[str, BySeed]
) -> RankCorrelation:
    """Spearman's rank correlation of predictions with means over seeds.

    The 95 % interval is the percentile bootstrap's. It resamples both what chance gave: the
    variants, and the seeds, the same ones for every variant of a resample.

    Args:
      predicted: variant -> number.
      measured: variant -> seed -> number; seeds that not all variants have are left out.

    Raises:
      ValueError: the variants differ.

    >>> found = rank_correlation(
    ...     {"a": 1.0, "b": 2.0, "c": 3.0}, {"a": {0: 0.9}, "b": {0: 0.5}, "c": {0: 0.1}}
    ... )
    >>> round(found.rho, 6)
    -1.0
    """
    if predicted.keys() != measured.keys():
        odd = ", ".join(sorted(predicted.keys() ^ measured.keys()))
        raise ValueError(f"variants: must be the same ones, these are in one alone: {odd}")
    names = list(predicted)
    seeds = sorted(set.intersection(*(set(measured[name]) for name in names))) if names else []
    if len(names) < 3 or not seeds:
        return RankCorrelation(math.nan, math.nan, math.nan, len(names))
    x = np.array([predicted[name] for name in names], float)
    y = np.array([[measured[name][seed] for seed in seeds] for name in names], float)
    generator = np.random.default_rng(0)
    rows = generator.integers(len(names), size=(_RESAMPLES, len(names)))
    columns = generator.integers(len(seeds), size=(_RESAMPLES, len(seeds)))
    means = y[rows[:, :, None], columns[:, None, :]].mean(axis=2)
    rhos = _spearman(x[rows], means)
    rhos = rhos[np.isfinite(rhos)]  # a resample of equal ones has no order
    tails = (1 - CONFIDENCE) / 2
    low, high = np.quantile(rhos, [tails, 1 - tails]) if len(rhos) else (math.nan, math.nan)
    [rho] = _spearman(x[None], y.mean(axis=1)[None])
    return RankCorrelation(float(rho), float(low), float(high), len(names))


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row; NaN where one of them has no order."""
    a, b = (stats.rankdata(sample, axis=1) for sample in (x, y))
    a, b = (sample - sample.mean(axis=1, keepdims=True) for sample in (a, b))
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(scale > 0, (a * b).sum(axis=1) / np.where(scale > 0, scale, 1), np.nan)
