"""Convolutions with few channels, two pixels of a row at a time.

The pixels of a pair see the same columns but one at either end, so a convolution with a stride of
two and a kernel one column wider gives both: its outputs are those of the kernel and, side by side,
those of the kernel moved by one. A quarter of its products is with 0, but it has twice the outputs
to fill the registers of a CPU with, which needs more than 16 of them to run at full speed.
"""

from typing import Any

import jax
import jax.numpy as jnp

from flaxdrop.ops.cpu import lax_convolution
from flaxdrop.ops.cpu.lax_convolution import Padding


def convolve(x: jax.Array, kernel: jax.Array, pads: Padding, precision: Any) -> jax.Array:
    """The convolution with stride 1, where `W'` is even."""
    pairs = lax_convolution.convolve(x, _twice(kernel), (1, 2), pads, precision)
    examples, rows, columns, channels = pairs.shape
    return pairs.reshape(examples, rows, 2 * columns, channels // 2)


def kernel_gradient(x: jax.Array, g: jax.Array, pads: Padding, precision: Any) -> jax.Array:
    """The gradient of the kernel, where `W'` is even."""
    examples, rows, columns, channels = g.shape
    pairs = g.reshape(examples, rows, columns // 2, 2 * channels)
    of_twice = lax_convolution.kernel_gradient(x, pairs, pads, precision, strides=(1, 2))
    first, second = of_twice[:, :-1, :, :channels], of_twice[:, 1:, :, channels:]
    return first + second


def _twice(kernel: jax.Array) -> jax.Array:
    """As the first pixel of a pair needs it and as the second does: `[h, w + 1, C, 2 O]`."""
    still = [(0, 0)] * 2
    first, second = (jnp.pad(kernel, [(0, 0), ends, *still]) for ends in ((0, 1), (1, 0)))
    return jnp.concatenate([first, second], axis=-1)
