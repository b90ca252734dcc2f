"""The module tests of Kim et al. 2023 as simulations: variances with dropout off and on.

A draw has its own input, weights and masks; variances are over the batch and averaged over the
channels. Ratios are taken after averaging over the draws, with the jackknife's standard error.

What a simulation takes: the key of the draw, the rate of the dropout, the examples of its batch,
and its width, the channels everywhere.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from flaxdrop.dropout import dropout
from flaxdrop.theory.variance import he_std

SLOTS = ("p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7")
NORMS = ("BN1", "BN2", "next BN1")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A ratio of means over draws.

    Attributes:
      ratio: the estimate, with the jackknife's correction of its bias.
      error: its standard error.
      draws: how many it is from.
    """

    ratio: float
    error: float
    draws: int


def jackknife(above: ArrayLike, below: ArrayLike) -> Estimate:
    """Estimates mean(above) / mean(below) from draws of both.

    Args:
      above: one value a draw.
      below: likewise, of the same draws.

    Raises:
      ValueError: fewer than two draws.

    >>> jackknife([1.0, 2.0], [2.0, 4.0])
    Estimate(ratio=0.5, error=0.0, draws=2)
    """
    a, b = np.asarray(above, np.float64), np.asarray(below, np.float64)
    n = len(a)
    if n < 2:
        raise ValueError(f"draws: must be at least 2, got {n}")
    without = (a.sum() - a) / (b.sum() - b)
    ratio = n * a.sum() / b.sum() - (n - 1) * without.mean()
    error = np.sqrt((n - 1) / n * np.sum((without - without.mean()) ** 2))
    return Estimate(float(ratio), float(error), n)


def _variance(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.var(x, axis=0))


def _norm(x: jax.Array) -> jax.Array:
    return (x - jnp.mean(x, axis=0)) / jnp.std(x, axis=0)


def _weights(key: jax.Array, width: int, w_mean: jax.Array | float) -> jax.Array:
    return w_mean + he_std(width) * jax.random.normal(key, (width, width))


@functools.partial(jax.jit, static_argnames=("batch", "width"))
def weight_order(
    key: jax.Array, w_mean: jax.Array, rate: jax.Array, *, batch: int, width: int
) -> jax.Array:
    """Figure 1: y = W1 x behind x = ReLU(BN(W0 ReLU(BN(X)))), the dropout on x or on y.

    Args:
      w_mean: of all weights.

    Returns:
      f32 [3], the variance of y: without dropout, dropout before the weight, dropout after it.
    """
    keys = jax.random.split(key, 5)
    x = jax.random.normal(keys[0], (batch, width))
    x = jax.nn.relu(_norm(jax.nn.relu(_norm(x)) @ _weights(keys[1], width, w_mean)))
    weights = _weights(keys[2], width, w_mean)
    y = x @ weights
    before = dropout(keys[3], x, rate) @ weights
    return jnp.stack([_variance(y), _variance(before), _variance(dropout(keys[4], y, rate))])


@functools.partial(jax.jit, static_argnames=("batch", "width"))
def residual_sum(
    key: jax.Array, std: jax.Array, rates: jax.Array, *, batch: int, width: int
) -> jax.Array:
    """Figure 2: the branch of Figure 1 with the dropout before its last weight, and X + branch.

    Weights have mean 0. The rates share everything but their masks.

    Args:
      std: of X.
      rates: [R], of the dropout.

    Returns:
      f32 [R, 2, 2], variances without and with dropout: of the branch alone, and of the sum.
    """
    keys = jax.random.split(key, 4)
    own = std * jax.random.normal(keys[0], (batch, width))
    x = jax.nn.relu(_norm(jax.nn.relu(_norm(own)) @ _weights(keys[1], width, 0.0)))
    weights = _weights(keys[2], width, 0.0)

    def variances(x: jax.Array) -> jax.Array:
        branch = x @ weights
        return jnp.stack([_variance(branch), _variance(own + branch)])

    without = variances(x)

    def at(i: jax.Array) -> jax.Array:
        dropped = dropout(jax.random.fold_in(keys[3], i), x, rates[i])
        return jnp.stack([without, variances(dropped)], axis=1)

    return jax.lax.map(at, jnp.arange(len(rates)))


@functools.partial(jax.jit, static_argnames=("batch", "width"))
def block(
    key: jax.Array, place: jax.Array, rate: jax.Array, *, batch: int, width: int
) -> jax.Array:
    """A basic block with one dropout: what its norms and the one after it see.

    The norms divide by the statistics that they have in training, in both passes. The input is
    standard normal, weights have mean 0.

    Args:
      place: of the dropout, an index of `SLOTS`.

    Returns:
      f32 [3, 2]: for BN1, BN2 and the next block's BN1, the variance of their input at inference
      and in training.
    """
    keys = jax.random.split(key, 4)
    first, second = (_weights(key, width, 0.0) for key in keys[:2])
    mask_key = jax.random.fold_in(keys[2], place)

    def run(x: jax.Array, trained: list[jax.Array] | None) -> list[jax.Array]:
        """The statistics that each norm sees; in training, where none are known from it."""
        statistics: list[jax.Array] = []

        def drop(slot: str, x: jax.Array) -> jax.Array:
            if trained:
                return x
            here = place == SLOTS.index(slot)
            return jax.lax.cond(here, lambda x: dropout(mask_key, x, rate), lambda x: x, x)

        def norm(x: jax.Array) -> jax.Array:
            own = jnp.stack([jnp.mean(x, axis=0), jnp.var(x, axis=0)])
            mean, variance = trained[len(statistics)] if trained else own
            statistics.append(own)
            return (x - mean) * jax.lax.rsqrt(variance)

        x = drop("p0", x)
        y = drop("p2", norm(drop("p1", x)))
        y = drop("p3", jax.nn.relu(y)) @ first
        y = drop("p5", norm(drop("p4", y)))
        y = drop("p6", jax.nn.relu(y)) @ second
        norm(x + drop("p7", y))
        return statistics

    x = jax.random.normal(keys[3], (batch, width))
    training = run(x, None)
    inference = run(x, training)
    return jnp.mean(jnp.array([inference, training])[:, :, 1], axis=-1).T


@functools.partial(jax.jit, static_argnames=("mask", "batch", "channels", "side"))
def head(
    key: jax.Array,
    correlation: jax.Array,
    rate: jax.Array,
    *,
    mask: str,
    batch: int,
    channels: int,
    side: int,
) -> jax.Array:
    """Global average pooling of ReLU(z) with dropout before or after it.

    Args:
      correlation: between the z of any two pixels of a channel, in [0, 1].
      mask: what is dropped together.
      channels: of the feature.
      side: of the image, in pixels.

    Returns:
      f32 [3], the variance of the pooled feature: without dropout, dropout before the pooling,
      dropout after it.
    """
    keys = jax.random.split(key, 4)
    common = jax.random.normal(keys[0], (batch, 1, 1, channels))
    own = jax.random.normal(keys[1], (batch, side, side, channels))
    x = jax.nn.relu(jnp.sqrt(correlation) * common + jnp.sqrt(1 - correlation) * own)
    feature = jnp.mean(x, axis=(1, 2), keepdims=True)
    before = jnp.mean(dropout(keys[2], x, rate, mask), axis=(1, 2))
    after = dropout(keys[3], feature, rate, mask)[:, 0, 0]
    return jnp.stack([_variance(feature[:, 0, 0]), _variance(before), _variance(after)])
