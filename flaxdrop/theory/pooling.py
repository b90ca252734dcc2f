"""Dropout and a 2x2 pooling in either order: what comes out, in closed form and measured.

A window has four units x_i >= 0, as after a ReLU, n of them above 0; m is their maximum or mean.
Each is kept with probability q = 1 - p and then scaled by 1/q; b_i is 1 if it is kept, else 0.

After the pooling, element-wise: y = b m / q, so

    P(y = 0) = p (if m > 0)    E y = m    Var y = (p / q) m^2

Before average pooling: y = sum_i b_i x_i / (4 q), with independent terms, so

    P(y = 0) = p^n             E y = m    Var y = (p / q) sum_i x_i^2 / 16

The unit is rarely zero, and it is noisier the less the four agree: of equal ones the variance is a
quarter of that after the pooling, and it is the same where a single unit is above 0.

Before max pooling, with x_1 >= x_2 >= x_3 >= x_4: y = x_j / q where j is the first unit that is
kept, which has probability q p^(j-1), so

    P(y = 0) = p^n    E y = sum_j p^(j-1) x_j    E y^2 = sum_j p^(j-1) x_j^2 / q

Its mean is not that at inference, x_1, but larger: the maximum forgives the dropped, and the scale
does not know it. The order is not free there.

With a channel-wise mask the b_i of a window are one b, a non-negative factor that both poolings let
through: the orders are one function. Rounding is monotone, so for the maximum they agree to the
bit at every rate. The mean of rounded products is not the rounded product of the mean, except where
products are not rounded: where 1/q is a power of two, as at p = 1/2.
"""

import dataclasses

import jax
import jax.numpy as jnp

from flaxdrop.dropout import dropout
from flaxdrop.ops.pooling import pool

ORDERS = ("before", "after")
_WINDOW = 4  # units


@dataclasses.dataclass(frozen=True)
class Moments:
    """What the pair makes of units, averaged over those that come out.

    Attributes:
      zeros: the fraction that is exactly 0.
      mean: of the units.
      variance: of a unit under its mask.
    """

    zeros: float
    mean: float
    variance: float


def pair(
    key: jax.Array, x: jax.Array, rate: float, *, order: str, pooling: str, mask: str = "element"
) -> jax.Array:
    """Dropout and pooling.

    Args:
      key: of the mask.
      x: `[N, H, W, C]`.
      rate: of the dropout, in [0, 1].
      order: where the dropout is: "before" or "after" the pooling.
      pooling: "max" or "average".
      mask: what is dropped together; with "channel" and the same key both orders drop the same.

    Returns:
      `[N, H // 2, W // 2, C]`.

    Raises:
      ValueError: an unknown order, pooling or mask, or a rate outside [0, 1].
    """
    _check_order(order)
    if order == "before":
        return pool(dropout(key, x, rate, mask), pooling)
    return dropout(key, pool(x, pooling), rate, mask)


def closed_form(
    x: jax.Array, rate: float, *, order: str, pooling: str, mask: str = "element"
) -> Moments:
    """The moments of `pair` over the mask, exactly.

    Args:
      x: units `[N, H, W, C]`, none below 0.
      rate: of the dropout, in [0, 1).
      order: "before" or "after".
      pooling: "max" or "average".
      mask: "element" or "channel".

    Raises:
      ValueError: an argument out of its range.

    >>> closed_form(jnp.ones((1, 2, 2, 1)), 0.5, order="before", pooling="average")
    Moments(zeros=0.0625, mean=1.0, variance=0.25)
    """
    _check_order(order)
    if not 0 <= rate < 1:
        raise ValueError(f"rate: must be in [0, 1), got {rate}")
    if mask not in ("element", "channel"):
        raise ValueError(f"mask: must be element or channel, got {mask!r}")
    if float(jnp.min(x)) < 0:
        raise ValueError(f"x: must have no unit below 0, got {float(jnp.min(x))}")
    # The windows' units side by side, the largest first.
    corners = [x[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    height, width = x.shape[1] // 2, x.shape[2] // 2
    units = jnp.stack([corner[:, :height, :width] for corner in corners])
    units = jnp.flip(jnp.sort(units, axis=0), axis=0)
    pooled = pool(x, pooling)
    odds = rate / (1 - rate)
    if order == "after" or mask == "channel":
        zeros = jnp.where(pooled > 0, rate, 1.0)
        mean, variance = pooled, odds * pooled**2
    elif pooling == "average":
        zeros = rate ** jnp.sum(units > 0, axis=0)
        mean, variance = pooled, odds * jnp.sum(units**2, axis=0) / _WINDOW**2
    else:
        zeros = rate ** jnp.sum(units > 0, axis=0)
        first = (rate ** jnp.arange(_WINDOW)).reshape(-1, 1, 1, 1, 1)
        mean = jnp.sum(first * units, axis=0)
        variance = jnp.sum(first * units**2, axis=0) / (1 - rate) - mean**2
    return Moments(*(float(jnp.mean(values)) for values in (zeros, mean, variance)))


def measured(
    key: jax.Array,
    x: jax.Array,
    rate: float,
    *,
    order: str,
    pooling: str,
    mask: str = "element",
    repeats: int,
) -> tuple[Moments, Moments]:
    """The moments of `pair` as its masks give them.

    Takes what `pair` takes, and more.

    Args:
      repeats: independent pairs of masks, at least 2. The two of a pair give the variance, as half
        of their squared difference, without knowing the mean.

    Returns:
      Unbiased estimates, and their standard errors.

    Raises:
      ValueError: as `pair`, or too few repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats: must be at least 2, got {repeats}")

    def once(key: jax.Array) -> jax.Array:
        a, b = (
            pair(jax.random.fold_in(key, i), x, rate, order=order, pooling=pooling, mask=mask)
            for i in range(2)
        )
        zeros = (jnp.mean(a == 0) + jnp.mean(b == 0)) / 2
        return jnp.stack([zeros, jnp.mean(a + b) / 2, jnp.mean((a - b) ** 2) / 2])

    found = jax.jit(lambda keys: jax.lax.map(once, keys))(jax.random.split(key, repeats))
    errors = jnp.std(found, axis=0, ddof=1) / repeats**0.5
    return Moments(*jnp.mean(found, axis=0).tolist()), Moments(*errors.tolist())


def _check_order(order: str) -> None:
    if order not in ORDERS:
        raise ValueError(f"order: must be one of {', '.join(ORDERS)}, got {order!r}")
