"""Dropout around global average pooling, in closed form: which place is the more stable one?

The units and `noise_factor` are those of `flaxdrop.theory.variance`.
"""

from flaxdrop.theory.variance import Moments, noise_factor


def pooled(unit: Moments, pixels: int, correlation: float = 0.0) -> Moments:
    """The moments of g, the mean of a channel over its pixels.

    With `correlation` the mean one between two different pixels of a channel,

        Var(g) = Var(x) (1 + (pixels - 1) correlation) / pixels,    E[g]^2 = E[x]^2.

    Raises:
      ValueError: no pixel, or a correlation that so many pixels cannot have.

    >>> pooled(Moments(1.0, 2.0), 4, correlation=1.0)
    Moments(variance=1.0, square=2.0)
    """
    if not pixels >= 1:
        raise ValueError(f"pixels: must be at least 1, got {pixels}")
    least = -1 / max(pixels - 1, 1)
    if not least <= correlation <= 1:
        raise ValueError(
            f"correlation: of {pixels} pixels, must be in [{least:g}, 1], got {correlation}"
        )
    variance = unit.variance * (1 + (pixels - 1) * correlation) / pixels
    return Moments(variance, variance + unit.squared_mean)


def pooling_noise(
    unit: Moments,
    rate: float,
    pixels: int,
    *,
    before: bool,
    correlation: float,
    mask: str = "element",
) -> float:
    """What dropout adds to the variance of the pooled feature g, before or after the pooling.

    After it: q E[g^2]. Before it, with a mask of its own for each pixel, the noise is averaged
    away: q E[x^2] / pixels, whatever the correlation. As E[g^2] >= E[x^2] / pixels where the
    correlation is not negative, before is the more stable place. With one mask a channel the factor
    b / (1 - p) can be drawn out of the mean over the pixels: both places are one.

    Args:
      unit: of x, a pixel.
      rate: in [0, 1).
      pixels: H W.
      before: the pooling, else after it.
      correlation: as in `pooled`.
      mask: "element" or "channel".

    Raises:
      ValueError: another mask, a rate outside [0, 1), or as `pooled`.

    >>> unit = Moments(1.0, 2.0)
    >>> [pooling_noise(unit, 0.5, 64, before=b, correlation=0.0) for b in (True, False)]
    [0.03125, 1.015625]
    """
    if mask not in ("element", "channel"):
        raise ValueError(f"mask: must be element or channel, got {mask!r}")
    whole = pooled(unit, pixels, correlation)
    square = unit.square / pixels if before and mask == "element" else whole.square
    return noise_factor(rate) * square
