"""One linear model of a table: a mean for every network, a chance effect for every seed.

With a handful of seeds a row alone says little about its own spread. The networks of a table share
it: one residual variance, from all rows, has many more degrees of freedom than a row has seeds.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from flaxdrop.results.effect import Estimate

# Of the test for equal spreads. At .05 it misses, with three seeds, spreads that make pooled tests
# wrong; Levene's test misses them at .25, too (simulated: tests/results/test_model.py).
_SIGNIFICANCE = 0.1
_ROUNDING = 1e-12  # of a residual variance, relative to the squared values
_LARGEST_RATIO = 1e3  # of the seeds' variance to the residual one

# Network -> seed -> its values: one for every variant that is this network.
Values = Mapping[str, Mapping[int, Sequence[float]]]


@dataclasses.dataclass(frozen=True)
class Fit:
    """The model, fitted to one measure of a table.

    Attributes:
      means: network -> its mean.
      covariance: `[networks, networks]`, of the means, in their order.
      residual: variance of a single value beside network and seed; NaN: unknown.
      seed_ratio: variance of the seeds' common effect over the residual one.
      freedom: degrees of freedom of `residual`.
      equal: the networks share the residual variance, as far as Bartlett's test tells.
      spread_p: p of Bartlett's test; NaN: too few values.
      own: network -> (mean, variance of its values, NaN for a single one, number of them).
    """

    means: Mapping[str, float]
    covariance: np.ndarray
    residual: float
    seed_ratio: float
    freedom: int
    equal: bool
    spread_p: float
    own: Mapping[str, tuple[float, float, int]]

    def contrast(self, a: str, b: str) -> Estimate:
        """Network a minus b, as far as seeds tell it: pooled, or Welch's where spreads differ."""
        if not self.equal:
            return self._welch(a, b)
        i, j = (list(self.means).index(name) for name in (a, b))
        weights = np.eye(len(self.means))[i] - np.eye(len(self.means))[j]
        variance = float(weights @ self.covariance @ weights)
        return Estimate(self.means[a] - self.means[b], variance, self.freedom)

    def _welch(self, a: str, b: str) -> Estimate:
        (mean_a, variance_a, n_a), (mean_b, variance_b, n_b) = self.own[a], self.own[b]
        variance = variance_a / n_a + variance_b / n_b
        if not variance > 0:
            return Estimate(mean_a - mean_b, math.nan, 0)
        squares = (variance_a / n_a) ** 2 / (n_a - 1) + (variance_b / n_b) ** 2 / (n_b - 1)
        return Estimate(mean_a - mean_b, variance, variance**2 / squares)


def fit(values: Values) -> Fit:
    """Fits the model by restricted maximum likelihood.

    A seed's effect is random, not fixed: so the seeds that only one network has count, too. Where
    every network has the same seeds, a contrast is the mean paired difference.

    Args:
      values: of the finished cells, at least one for every network.

    References:
      H. Patterson, R. Thompson, Recovery of inter-block information when block sizes are unequal,
      1971. M. Bartlett, Properties of sufficiency and statistical tests, 1937. B. Welch, The
      generalization of Student's problem when several different population variances are involved,
      1947.

    >>> found = fit({"a": {0: [1.0], 1: [2.0], 2: [3.0]}, "b": {0: [2.0], 1: [3.5], 2: [3.5]}})
    >>> contrast = found.contrast("b", "a")
    >>> round(contrast.mean, 6), round(contrast.error, 6), contrast.seed_freedom
    (1.0, 0.288675, 2)
    """
    cells = [
        (name, seed, value)
        for name, seeds in values.items()
        for seed, several in seeds.items()
        for value in several
    ]
    names, seeds = list(values), sorted({seed for _, seed, _ in cells})
    y = np.array([value for _, _, value in cells], float)
    network = np.array([names.index(name) for name, _, _ in cells], int)
    seed = np.array([seeds.index(seed) for _, seed, _ in cells], int)
    X = np.eye(len(names))[network]
    Z = np.eye(len(seeds))[seed]
    freedom = len(y) - len(names) - (len(seeds) - 1)
    groups = [y[network == i] for i in range(len(names))]
    variances = [float(group.var(ddof=1)) if len(group) > 1 else math.nan for group in groups]
    own = {
        name: (float(group.mean()), variance, len(group))
        for name, group, variance in zip(names, groups, variances, strict=True)
    }
    spread_p = _spread_test(groups)
    if freedom < 1:
        ratio = residual = math.nan
        means, inverse = np.array([mean for mean, *_ in own.values()]), np.eye(len(names))
    else:
        ratio = _seed_ratio(y, X, Z)
        means, inverse, residual = _solve(y, X, Z, ratio)
    if residual <= _ROUNDING * float(np.mean(y**2)):
        # Accuracies are of few images and often agree by chance: that tells no spread.
        residual = math.nan
    return Fit(
        means=dict(zip(names, means.tolist(), strict=True)),
        covariance=residual * inverse,
        residual=residual,
        seed_ratio=ratio,
        freedom=max(0, freedom),
        equal=freedom < 1 or not spread_p < _SIGNIFICANCE,
        spread_p=spread_p,
        own=own,
    )


def _solve(
    y: np.ndarray, X: np.ndarray, Z: np.ndarray, ratio: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Means, their covariance over the residual variance, and that variance, for a known ratio."""
    # The inverse of I + ratio Z Z', seed by seed: Z' Z is diagonal.
    sizes = Z.sum(axis=0)
    shrink = Z * (ratio / (1 + ratio * sizes))
    weighted = X - shrink @ (Z.T @ X)
    inverse = np.linalg.inv(X.T @ weighted)
    means = inverse @ (weighted.T @ y)
    rest = y - X @ means
    square = float(rest @ (rest - shrink @ (Z.T @ rest)))
    return means, inverse, square / (len(y) - X.shape[1])


def _seed_ratio(y: np.ndarray, X: np.ndarray, Z: np.ndarray) -> float:
    """Variance of the seeds' effect over the residual one: the likeliest, 0 at least."""
    if Z.shape[1] < 2 or np.ptp(y) == 0:
        return 0.0

    def deviance(log_ratio: float) -> float:
        ratio = math.expm1(log_ratio)
        _, inverse, residual = _solve(y, X, Z, ratio)
        sizes = Z.sum(axis=0)
        _, information = np.linalg.slogdet(inverse)
        return float(
            (len(y) - X.shape[1]) * math.log(max(residual, 1e-300))
            + np.log1p(ratio * sizes).sum()
            - information
        )

    from scipy import optimize  # here: a study is imported without it, in half a second less

    bounds = (0.0, math.log1p(_LARGEST_RATIO))
    found = optimize.minimize_scalar(deviance, bounds=bounds, method="bounded")
    return math.expm1(found.x) if found.fun < deviance(0.0) else 0.0


def _spread_test(groups: Sequence[np.ndarray]) -> float:
    """p of Bartlett's test for equal variances, over the networks whose values differ."""
    from scipy import stats  # as above

    # Equal accuracies are of few images, and tell no spread.
    several = [group for group in groups if len(group) > 1 and np.ptp(group) > 0]
    if len(several) < 2:
        return math.nan
    return float(stats.bartlett(*several).pvalue)
