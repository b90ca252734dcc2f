"""3x3 convolutions with stride 1 in 2.25 times fewer products: Winograd's F(2x2, 3x3).

The output is computed in tiles of 2x2 pixels from the 4x4 that they see: both are transformed by
sums alone, and between them 16 products of matrices over the channels take the place of 36. From
Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1. In f32
it is exact to about 1e-6 of the largest value, as the plain sum is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Tile = list[list[jax.Array]]  # rows of places


def convolve(x: jax.Array, kernel: Tile, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """The convolution, linear in both, with a kernel as `transform_kernel` gives it."""
    examples, channels = x.shape[0], x.shape[-1]
    size = [x.shape[axis + 1] + sum(pads[axis]) - 2 for axis in range(2)]
    # Where a side is odd, the last tile is over its end by one.
    around = [
        (before, after + length % 2) for (before, after), length in zip(pads, size, strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *around, (0, 0)))
    rows, columns = (-(-length // 2) for length in size)
    seen = [
        [
            x[:, row : row + 2 * rows - 1 : 2, column : column + 2 * columns - 1 : 2]
            for column in range(4)
        ]
        for row in range(4)
    ]
    parts = _both_axes(_of_input, seen)
    products = [
        [part.reshape(-1, channels) @ weights for part, weights in zip(*row, strict=True)]
        for row in zip(parts, kernel, strict=True)
    ]
    pixels = [jnp.stack(row, axis=1) for row in _both_axes(_of_output, products)]
    y = jnp.stack([row.reshape(examples, rows, 2 * columns, -1) for row in pixels], axis=2)
    return y.reshape(examples, 2 * rows, 2 * columns, -1)[:, : size[0], : size[1]]


def transform_kernel(kernel: jax.Array) -> Tile:
    """A kernel `[3, 3, C, O]` as 4x4 matrices `[C, O]`."""
    return _both_axes(
        _of_kernel, [[kernel[row, column] for column in range(3)] for row in range(3)]
    )


def _both_axes(transform: Callable[[Any], list[jax.Array]], tile: Tile) -> Tile:
    columns = [transform(column) for column in zip(*tile, strict=True)]
    return [transform(row) for row in zip(*columns, strict=True)]


# The matrices B', G and A' of the paper.
def _of_input(d: Sequence[jax.Array]) -> list[jax.Array]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _of_kernel(g: Sequence[jax.Array]) -> list[jax.Array]:
    return [g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2]]


def _of_output(m: Sequence[jax.Array]) -> list[jax.Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]
