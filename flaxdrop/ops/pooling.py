"""Pooling over 2x2 pixels, without overlap.

Written with four strided slices: the gradient of `lax.reduce_window`'s maximum runs 10 to 25 times
slower on a CPU. The gradient of the slices' maximum is written out: XLA would compute the maximum,
and what leads up to it, anew for every pixel.

The forward pass keeps which pixel was the largest. To find it by comparing pixels with the maximum
in the backward pass is wrong: the compiler may compute the pixels anew, rounded in another way, and
then none of them equals the maximum.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

POOLINGS = ("max", "average")


def pool(x: jax.Array, kind: str) -> jax.Array:
    """Halves the image; of an odd side the last row or column is left out, as in "valid" pooling.

    Where several of the four pixels are the maximum, the first of them, in row-major order, has the
    gradient, as in `flax.linen.max_pool`, PyTorch and Keras.

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
    x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return _maximum(x) if kind == "max" else _joined(lambda a, b: (a + b) / 2, x)


def _joined(join: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    corners = _corners(x)
    return join(join(corners[0], corners[1]), join(corners[2], corners[3]))


def _corners(x: jax.Array) -> list[jax.Array]:
    return [x[:, row::2, column::2] for row in range(2) for column in range(2)]


@jax.custom_vjp
def _maximum(x: jax.Array) -> jax.Array:
    return _joined(jnp.maximum, x)


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    corners = _corners(x)
    top, bottom = jnp.maximum(*corners[:2]), jnp.maximum(*corners[2:])
    right_of_top, right_of_bottom = corners[1] > corners[0], corners[3] > corners[2]
    largest = jnp.where(bottom > top, 2 + right_of_bottom, right_of_top)
    return jnp.maximum(top, bottom), largest.astype(jnp.uint8)


def _backward(largest: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    examples, rows, columns, channels = g.shape
    shares = [jnp.where(largest == corner, g, 0) for corner in range(4)]
    pairs = [jnp.stack(shares[row : row + 2], axis=3) for row in (0, 2)]
    return (jnp.stack(pairs, axis=2).reshape(examples, 2 * rows, 2 * columns, channels),)


_maximum.defvjp(_forward, _backward)
