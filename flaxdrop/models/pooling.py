"""Pooling over 2x2 pixels, without overlap.

Written with four strided slices: the gradient of `lax.reduce_window`'s maximum runs 10 to 25 times
slower on a CPU. The gradient of the slices' maximum is written out: XLA would compute the maximum,
and what leads up to it, anew for every pixel.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

POOLINGS = ("max", "average")


def pool(x: jax.Array, kind: str) -> jax.Array:
    """Halves the image; of an odd side the last row or column is left out, as in "valid" pooling.

    Where several of the four pixels are the maximum, they share its gradient equally.

    Args:
      x: `[N, H, W, C]`.
      kind: "max" or "average".

    Returns:
      `[N, H // 2, W // 2, C]`.

    Raises:
      ValueError: another kind.

    >>> pool(jnp.arange(4.0).reshape(1, 2, 2, 1), "average").item()
    1.5
    """
    if kind not in POOLINGS:
        raise ValueError(f"pooling: unknown {kind!r}, choose one of {', '.join(POOLINGS)}")
    return _maximum(x) if kind == "max" else _joined(lambda a, b: (a + b) / 2, x)


def _joined(join: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    corners = [
        x[:, row : x.shape[1] // 2 * 2 : 2, column : x.shape[2] // 2 * 2 : 2]
        for row in range(2)
        for column in range(2)
    ]
    return join(join(corners[0], corners[1]), join(corners[2], corners[3]))


_largest = functools.partial(_joined, jnp.maximum)
_maximum = jax.custom_vjp(_largest)


def _forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    y = _largest(x)
    return y, (x, y)


def _backward(residuals: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array]:
    x, y = residuals
    examples, height, width, channels = x.shape
    rows, columns = y.shape[1:3]
    pairs = x[:, : 2 * rows, : 2 * columns].reshape(examples, rows, 2, columns, 2, channels)
    hit = pairs == y[:, :, None, :, None]
    ties = sum(hit[:, :, row, :, column].astype(g.dtype) for row in range(2) for column in range(2))
    shares = jnp.where(hit, (g / ties)[:, :, None, :, None], 0)
    dx = shares.reshape(examples, 2 * rows, 2 * columns, channels)
    return (jnp.pad(dx, ((0, 0), (0, height - 2 * rows), (0, width - 2 * columns), (0, 0))),)


_maximum.defvjp(_forward, _backward)
