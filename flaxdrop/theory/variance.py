"""What dropout does to the variance that a batch norm sees, in closed form.

Dropout at rate p multiplies a unit x by b / (1 - p), where b is 1 with probability 1 - p and else
0, whatever x is. The mean stays E[x]; the mean square becomes E[x^2] / (1 - p). So the variance
grows by

    Var(dropped) - Var(x) = E[x^2] / (1 - p) - E[x^2] = q E[x^2],    q = p / (1 - p).

A batch norm divides by the standard deviation that it sees in training, dropout on. At inference
dropout is off and the norm still divides by it: its output then has the variance

    Delta = Var(inference) / Var(training) = Var / (Var + noise)

instead of 1. Delta is what every function here named `shift...` returns: 1 is no shift. The
forms are for independent units with the moments given, averaged over random weights: numerator and
denominator each. Source of the propositions: Kim et al., UAI 2023; derivations are ours.

Where the formulas need a ReLU's output, u = ReLU(z) with z ~ N(0, 1): E[u] = 1 / sqrt(2 pi) and,
as z^2 is split evenly between both signs, E[u^2] = 1/2; so Var(u) / E[u^2] = 1 - 1 / pi = .6817.
"""

import dataclasses
import math

_PHI = 1 / math.sqrt(2 * math.pi)  # the normal density at 0, which is E[u]


@dataclasses.dataclass(frozen=True)
class Moments:
    """Second-order moments of a unit over examples.

    Attributes:
      variance: at least 0.
      square: the mean square, at least the variance; the two differ by the squared mean.

    Raises:
      ValueError: moments that no unit has.
    """

    variance: float
    square: float

    def __post_init__(self) -> None:
        if not 0 <= self.variance <= self.square * (1 + 1e-9) or not math.isfinite(self.square):
            raise ValueError(
                f"variance: must be in [0, square], got {self.variance} with square {self.square}"
            )

    @property
    def squared_mean(self) -> float:
        """E[x]^2; averaged over the weights, where they are random."""
        return max(self.square - self.variance, 0.0)


def noise_factor(rate: float) -> float:
    """q = p / (1 - p): what dropout adds to the variance, in units of the mean square.

    Raises:
      ValueError: a rate outside [0, 1).

    >>> noise_factor(0.5)
    1.0
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate: must be in [0, 1), got {rate}")
    return rate / (1 - rate)


def rectified(skewness: float = 0.0, kurtosis: float = 0.0) -> Moments:
    """The moments of u = ReLU(z) for z of mean 0 and variance 1, normal or nearly so.

    For z that is not quite normal, the density's first corrections (Gram and Charlier) are
    phi(z) (1 + skewness / 6 He3(z) + kurtosis / 24 He4(z)). Integrated against z and z^2 from 0 on,
    with the half moments of the normal (z^1, z^3, z^5: 1, 2, 8 times phi(0)):

        E[u]   = phi(0) (1 - kurtosis / 24)       He3 adds nothing, He4: (8 - 12 + 3) phi(0)
        E[u^2] = 1/2 + skewness phi(0) / 3        He3: (8 - 6) phi(0), He4 adds nothing

    Args:
      skewness: of z.
      kurtosis: of z, its excess over the normal's.

    >>> u = rectified()
    >>> round(u.variance / u.square, 4)
    0.6817
    """
    mean = _PHI * (1 - kurtosis / 24)
    square = 0.5 + skewness * _PHI / 3
    return Moments(square - mean**2, square)


def rectified_covariance(correlation: float) -> float:
    """Cov(ReLU(z1), ReLU(z2)) of standard normals with a correlation r (Cho and Saul 2009).

        E[ReLU(z1) ReLU(z2)] = (sqrt(1 - r^2) + r (pi - arccos r)) / (2 pi)

    minus E[u]^2 = 1 / (2 pi); for small r, r / 4 + r^2 / (4 pi).

    Raises:
      ValueError: a correlation outside [-1, 1].

    >>> round(rectified_covariance(1.0), 4), round(rectified_covariance(0.1), 4)
    (0.3408, 0.0258)
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"correlation: must be in [-1, 1], got {correlation}")
    angle = math.acos(correlation)
    product = math.sqrt(1 - correlation**2) + correlation * (math.pi - angle)
    return (product - 1) / (2 * math.pi)


def he_std(fan_in: int) -> float:
    """The standard deviation of He's weights, sqrt(2 / fan_in).

    Raises:
      ValueError: no input.
    """
    _check_fan_in(fan_in)
    return math.sqrt(2 / fan_in)


def hidden(fan_in: int, w_mean: float, w_std: float) -> tuple[Moments, float]:
    """The units x = ReLU(BN(W u)) behind random weights, for independent u = ReLU(N(0, 1)).

    The sum z_j = sum_i w_ji u_i, normalised, is normal but for its cumulants, which add up. Those
    of u, from its moments phi(0), 1/2, 2 phi(0), 3/2, are a skewness of 1.638 and an excess
    kurtosis of 2.41; with n = fan_in and s^2 = E[w^2]

        skewness(z) = skewness(u) E[w^3] / (sqrt(n) s^3)
        kurtosis(z) = kurtosis(u) E[w^4] / (n s^4).

    Two sums share their u. Their joint cumulants, averaged over the weights, are

        r   = cos(w_j, w_k) with E[r] = w_mean^2 / s^2 and Var(r) = (1 - E[r]^2) / n
        k12 = skewness(u) w_mean / (sqrt(n) s)
        k22 = kurtosis(u) / n

    and with ReLU(z) = phi(0) + z / 2 + phi(0) / 2 He2(z) + 0 He3(z) + ... two units behind it have

        Cov(x_j, x_k) = r / 4 + phi(0) / 2 k12 + phi(0)^2 / 4 (2 r^2 + k22).

    Args:
      fan_in: how many u there are.
      w_mean: of the weights.
      w_std: of the weights.

    Returns:
      (moments of a unit, covariance of two of them), averaged over the weights.

    Raises:
      ValueError: no input, or weights that are all 0.

    >>> unit, covariance = hidden(128, 0.02, he_std(128))
    >>> round(unit.variance / unit.square, 3), round(covariance, 4)
    (0.689, 0.0122)
    """
    _check_fan_in(fan_in)
    second = w_mean**2 + w_std**2
    if not second > 0:
        raise ValueError(f"w_std: must be above 0 where w_mean is 0, got {w_std}")
    third = w_mean**3 + 3 * w_mean * w_std**2
    fourth = w_mean**4 + 6 * w_mean**2 * w_std**2 + 3 * w_std**4
    mean, variance = _PHI, 0.5 - _PHI**2
    skewness = (2 * _PHI - 3 * mean * 0.5 + 2 * mean**3) / variance**1.5
    kurtosis = (1.5 - 8 * mean * _PHI + 6 * mean**2 * 0.5 - 3 * mean**4) / variance**2 - 3
    unit = rectified(
        skewness * third / (math.sqrt(fan_in) * second**1.5),
        kurtosis * fourth / (fan_in * second**2),
    )
    cosine = w_mean**2 / second
    squared_cosine = cosine**2 + (1 - cosine**2) / fan_in
    covariance = cosine / 4
    covariance += _PHI / 2 * skewness * w_mean / math.sqrt(fan_in * second)
    covariance += _PHI**2 / 4 * (2 * squared_cosine + kurtosis / fan_in)
    return unit, covariance


def weighted(
    unit: Moments, fan_in: int, w_mean: float, w_std: float, covariance: float = 0.0
) -> Moments:
    """The moments of y = sum_i w_i x_i, averaged over the weights.

    With E[w_i^2] = w_mean^2 + w_std^2 and E[w_i w_j] = w_mean^2, and E[y] = sum_i w_i E[x]:

        Var(y)  = n E[w^2] Var(x) + n (n - 1) w_mean^2 Cov(x_i, x_j)
        E[y]^2  = (n^2 w_mean^2 + n w_std^2) E[x]^2

    Args:
      unit: of x.
      fan_in: n.
      w_mean: of the weights.
      w_std: of the weights.
      covariance: of two different x, averaged.

    >>> y = weighted(rectified(), 128, 0.0, he_std(128))
    >>> round(y.variance, 4), round(y.square, 4)
    (0.6817, 1.0)
    """
    variance = fan_in * (w_mean**2 + w_std**2) * unit.variance
    variance += fan_in * (fan_in - 1) * w_mean**2 * covariance
    squared_mean = (fan_in**2 * w_mean**2 + fan_in * w_std**2) * unit.squared_mean
    return Moments(variance, variance + squared_mean)


def shift(unit: Moments, rate: float) -> float:
    """Delta of a norm right behind a dropout layer: Var(x) / (Var(x) + q E[x^2]).

    Of x with mean 0 it is 1 - p, whatever the variance.

    Raises:
      ValueError: a rate outside [0, 1), or a unit that is always 0.

    >>> round(shift(Moments(1.0, 1.0), 0.3), 4)
    0.7
    """
    return _ratio(unit.variance, noise_factor(rate) * unit.square)


def shift_before_weight(
    unit: Moments, rate: float, fan_in: int, w_mean: float, w_std: float, covariance: float = 0.0
) -> float:
    """Delta of y = sum_i w_i x_i with the dropout on x, before the weight (Proposition 2).

    The masks of the x are independent, so their noise has no cross terms: n E[w^2] q E[x^2],
    whatever the mean of the weights. For independent x the weights cancel,

        Delta = Var(x) / (Var(x) + q E[x^2]),    for a ReLU's output .6817 / (.6817 + q),

    flat in w_mean. Arguments as in `weighted`.

    >>> round(shift_before_weight(rectified(), 0.5, 128, 0.02, he_std(128)), 4)
    0.4054
    """
    noise = noise_factor(rate) * fan_in * (w_mean**2 + w_std**2) * unit.square
    return _ratio(weighted(unit, fan_in, w_mean, w_std, covariance).variance, noise)


def shift_after_weight(
    unit: Moments, rate: float, fan_in: int, w_mean: float, w_std: float, covariance: float = 0.0
) -> float:
    """Delta of y = sum_i w_i x_i with the dropout on y, after the weight (Proposition 2).

        Delta = Var(y) / (Var(y) + q (Var(y) + E[y]^2))

    At w_mean = 0 it is that of the dropout before the weight; a mean of the weights makes E[y]^2
    grow with the square of the fan-in, and Delta fall. Arguments as in `weighted`.

    >>> round(shift_after_weight(rectified(), 0.5, 128, 0.0, he_std(128)), 4)
    0.4054
    >>> round(shift_after_weight(rectified(), 0.5, 128, 0.02, he_std(128)), 4)
    0.2533
    """
    return shift(weighted(unit, fan_in, w_mean, w_std, covariance), rate)


def shift_of_sum(trunk_variance: float, unit: Moments, rate: float, fan_in: int) -> float:
    """Delta of trunk + sum_i w_i x_i, the dropout on x, weights of He (Propositions 3 and 4).

    Trunk and branch are uncorrelated, averaged over weights of mean 0: the variances add,

        Delta = (s^2 + Var(y)) / (s^2 + Var(y) + 2 q E[x^2]),

    for a ReLU's output (s^2 + .6817) / (s^2 + .6817 + q): towards 1 as the trunk's variance s^2
    grows, as it does from block to block.

    Raises:
      ValueError: a variance below 0, or a rate outside [0, 1).

    >>> [round(shift_of_sum(s**2, rectified(), 0.5, 128), 3) for s in (0, 1, 5)]
    [0.405, 0.627, 0.963]
    """
    if not trunk_variance >= 0:
        raise ValueError(f"trunk_variance: must be at least 0, got {trunk_variance}")
    branch = weighted(unit, fan_in, 0.0, he_std(fan_in))
    return _ratio(trunk_variance + branch.variance, 2 * noise_factor(rate) * unit.square)


def _check_fan_in(fan_in: int) -> None:
    if not fan_in >= 1:
        raise ValueError(f"fan_in: must be at least 1, got {fan_in}")


def _ratio(variance: float, noise: float) -> float:
    if variance + noise == 0:
        raise ValueError("unit: must vary or have a mean, its variance and square are 0")
    return variance / (variance + noise)
