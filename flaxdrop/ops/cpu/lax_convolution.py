"""Convolutions as `lax` does them; all take NHWC and HWIO."""

from typing import Any

import jax
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")
Padding = tuple[tuple[int, int], tuple[int, int]]


def convolve(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    """Computes a convolution."""
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=LAYOUT, precision=precision
    )


def kernel_gradient(
    x: jax.Array,
    g: jax.Array,
    pads: Padding,
    precision: Any,
    strides: tuple[int, int] = (1, 1),
) -> jax.Array:
    """The gradient of the kernel, where the strides leave no pixel over."""
    # The batch is summed over, as channels are: it takes their place.
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (1, 1),
        pads,
        rhs_dilation=strides,
        dimension_numbers=LAYOUT,
        precision=precision,
    )
    return gradient.transpose(1, 2, 0, 3)
