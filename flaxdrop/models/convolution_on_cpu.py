"""Convolutions and their gradients, as fast as a CPU has them; all take NHWC and HWIO.

Where oneDNN is (`flaxdrop.models.onednn`), they are oneDNN's. The others are made of plain
convolutions, for XLA has no other kernels inside loops. Measured on a single core, against `lax`
outside loops:

- The gradient of the kernel, a few examples at a time, which stay in the caches: 1.5 to 6 times
  faster from 16 to 64 channels.
- The gradients of a strided convolution, as those of an equal one without strides, whose channels
  are the pixels of a stride side by side: 2.2 times.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from flaxdrop.models import onednn, plain_convolution
from flaxdrop.models.plain_convolution import Padding

_CHUNK = 2**16  # values of the examples that are taken at a time, at most


def convolve(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    """The same as `plain_convolution.convolve`."""
    if _in_library(x, kernel, pads):
        return onednn.convolve(x, kernel, strides, pads)
    return plain_convolution.convolve(x, kernel, strides, pads, precision)


def gradients(
    x: jax.Array,
    kernel: jax.Array,
    g: jax.Array,
    strides: tuple[int, int],
    pads: Padding,
    precision: Any,
) -> tuple[jax.Array, jax.Array]:
    """Of the image and of the kernel.

    Args:
      x: `[N, H, W, C]`.
      kernel: `[h, w, C, O]`.
      g: of the result, `[N, H', W', O]`.
      strides: of the convolution.
      pads: likewise.
      precision: likewise.
    """
    if _in_library(x, kernel, pads):
        return onednn.gradients(x, kernel, g, strides, pads)
    if strides == (1, 1):
        return _without_strides(x, kernel, g, pads, precision)
    split = functools.partial(_split, strides=strides, pads=pads, size=(g.shape[1], g.shape[2]))
    parts, join = jax.vjp(split, x, kernel)
    return join(_without_strides(*parts, g, ((0, 0), (0, 0)), precision))


def _in_library(x: jax.Array, kernel: jax.Array, pads: Padding) -> bool:
    """Whether oneDNN is there and has such convolutions."""
    f32 = x.dtype == kernel.dtype == jnp.float32
    return f32 and x.size > 0 and min(*pads[0], *pads[1]) >= 0 and onednn.available()


def _without_strides(
    x: jax.Array, kernel: jax.Array, g: jax.Array, pads: Padding, precision: Any
) -> tuple[jax.Array, jax.Array]:
    rows, columns = (
        (side - 1 - before, side - 1 - after)
        for side, (before, after) in zip(kernel.shape[:2], pads, strict=True)
    )
    flipped = lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2)
    with jax.named_scope("of_image"):
        dx = plain_convolution.convolve(g, flipped, (1, 1), (rows, columns), precision)
    with jax.named_scope("of_kernel"):
        return dx, _of_kernel(x, g, pads, precision)


def _of_kernel(x: jax.Array, g: jax.Array, pads: Padding, precision: Any) -> jax.Array:
    """A sum over all examples; some at a time, in f32 at least."""
    size = _chunk(x)
    gradient = functools.partial(plain_convolution.kernel_gradient, pads=pads, precision=precision)
    if size == len(x):
        return gradient(x, g)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        own = (lax.dynamic_slice_in_dim(of, i * size, size) for of in (x, g))
        return total + gradient(*own).astype(total.dtype)

    first = gradient(x[:size], g[:size])
    wide = first.astype(jnp.promote_types(first.dtype, jnp.float32))
    return lax.fori_loop(1, len(x) // size, add, wide).astype(first.dtype)


def _chunk(x: jax.Array) -> int:
    """How many examples of `x` at a time."""
    most = min(max(1, _CHUNK // math.prod(x.shape[1:])), len(x))
    size = max(n for n in range(1, most + 1) if len(x) % n == 0)
    return len(x) if size < most // 3 else size


def _split(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int],
    pads: Padding,
    size: tuple[int, int],
) -> tuple[jax.Array, jax.Array]:
    """Pixels of a stride side by side as channels: the same convolution with stride 1, unpadded.

    Args:
      x: `[N, H, W, C]`.
      kernel: `[h, w, C, O]`.
      strides: of the convolution.
      pads: likewise.
      size: `(H', W')` of its result.
    """
    for axis in range(2):
        stride, side = strides[axis], kernel.shape[2 * axis]
        used = min(stride, side)  # a smaller kernel skips the other pixels
        taps = -(-side // stride)
        length = (size[axis] + taps - 1) * stride
        before = pads[axis][0]
        after = length - x.shape[2 * axis + 1] - before
        x = _pad(x, 2 * axis + 1, before, after)
        x = x.reshape(*x.shape[: 2 * axis + 1], length // stride, stride, *x.shape[2 * axis + 2 :])
        x = lax.slice_in_dim(x, 0, used, axis=2 * axis + 2)
        kernel = _pad(kernel, 2 * axis, 0, taps * used - side)
        kernel = kernel.reshape(
            *kernel.shape[: 2 * axis], taps, used, *kernel.shape[2 * axis + 1 :]
        )
    # x [N, H', r, W', s, C], kernel [h', r, w', s, C, O]
    x, kernel = x.transpose(0, 1, 3, 2, 4, 5), kernel.transpose(0, 2, 1, 3, 4, 5)
    return x.reshape(*x.shape[:3], -1), kernel.reshape(*kernel.shape[:2], -1, kernel.shape[-1])


def _pad(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (before, after, 0)
    return lax.pad(x, jnp.zeros((), x.dtype), widths)
