"""Convolutions and their gradients, as fast as a CPU has them; all take NHWC and HWIO.

Large ones are oneDNN's where it is (`flaxdrop.ops.cpu.onednn`). The others are made of the plain
convolutions of XLA, which are all that it has inside loops. Measured on a single core, against
`lax` outside loops:

- A few examples at a time stay in the caches: the gradient of the kernel is 1.5 to 6 times faster
  from 16 to 64 channels, an unpadded convolution 2.5 times.
- Up to 16 channels, pairs of pixels (`flaxdrop.ops.cpu.pixel_pairs`) are 1.5 times faster, and 1.1
  times in the gradient of the kernel.
- From 64 channels on, Winograd's form (`flaxdrop.ops.cpu.winograd`) is 1.5 to 1.8 times faster; in
  the gradient of the kernel from 128 on, 1.4 to 1.7 times.
- The gradients of a strided convolution are 2.2 times faster as those of an equal one without
  strides, whose channels are the pixels of a stride side by side.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from flaxdrop.ops.cpu import lax_convolution, onednn, pixel_pairs, winograd
from flaxdrop.ops.cpu.lax_convolution import Padding

_WORTH_A_CALL = 2**25  # products: of fewer, the call from Python takes too large a part
_CHUNK = 2**16  # values of the examples that are taken at a time, at most
_PAIRED = range(8, 17)  # channels, such that pairs of pixels are faster
_FEW_CHANNELS = 32  # too few for Winograd's form, twice as many for its gradient of the kernel


def convolve(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    """Computes `lax_convolution.convolve` in the form that is fastest here."""
    if _in_library(x, kernel, strides, pads):
        return onednn.convolve(x, kernel, strides, pads)
    if strides == (1, 1) and _paired(x, kernel, pads):
        return pixel_pairs.convolve(x, kernel, pads, precision)
    if strides == (1, 1) and _wide(x, kernel, pads, _FEW_CHANNELS):
        transformed = winograd.transform_kernel(kernel)
        return _in_chunks(lambda x: winograd.convolve(x, transformed, pads), x)
    direct = functools.partial(
        lax_convolution.convolve, kernel=kernel, strides=strides, pads=pads, precision=precision
    )
    if pads == ((0, 0), (0, 0)) and kernel.shape[:2] != (1, 1):
        return _in_chunks(direct, x)
    return direct(x)


def gradients(
    x: jax.Array,
    kernel: jax.Array,
    g: jax.Array,
    strides: tuple[int, int],
    pads: Padding,
    precision: Any,
) -> tuple[jax.Array, jax.Array]:
    """Computes the gradients of the image and of the kernel."""
    if _in_library(x, kernel, strides, pads):
        return onednn.gradients(x, kernel, g, strides, pads)
    if strides == (1, 1):
        return _without_strides(x, kernel, g, pads, precision)
    split = functools.partial(_split, strides=strides, pads=pads, size=(g.shape[1], g.shape[2]))
    parts, join = jax.vjp(split, x, kernel)
    return join(_without_strides(*parts, g, ((0, 0), (0, 0)), precision))


def _in_library(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding) -> bool:
    """Whether oneDNN is there, has such convolutions, and they are worth the call."""
    if not x.dtype == kernel.dtype == jnp.float32 or min(*pads[0], *pads[1]) < 0:
        return False
    pixels = math.prod(x.shape[:3]) // math.prod(strides)
    return pixels * kernel.size >= _WORTH_A_CALL and onednn.available()


def _without_strides(
    x: jax.Array, kernel: jax.Array, g: jax.Array, pads: Padding, precision: Any
) -> tuple[jax.Array, jax.Array]:
    rows, columns = (
        (side - 1 - before, side - 1 - after)
        for side, (before, after) in zip(kernel.shape[:2], pads, strict=True)
    )
    flipped = lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2)
    with jax.named_scope("of_image"):
        dx = convolve(g, flipped, (1, 1), (rows, columns), precision)
    with jax.named_scope("of_kernel"):
        return dx, _of_kernel(x, kernel, g, pads, precision)


def _of_kernel(
    x: jax.Array, kernel: jax.Array, g: jax.Array, pads: Padding, precision: Any
) -> jax.Array:
    if not _wide(x, kernel, pads, 2 * _FEW_CHANNELS):
        form = pixel_pairs if _paired(x, kernel, pads) else lax_convolution
        gradient = functools.partial(form.kernel_gradient, pads=pads, precision=precision)
        return _sum_of_chunks(gradient, x, g)

    transformed, back = jax.vjp(winograd.transform_kernel, kernel)

    def of_transformed(x: jax.Array, g: jax.Array) -> winograd.Tile:
        of_kernel = functools.partial(winograd.convolve, x, pads=pads)
        return jax.linear_transpose(of_kernel, transformed)(g)[0]

    return back(_sum_of_chunks(of_transformed, x, g))[0]


def _paired(x: jax.Array, kernel: jax.Array, pads: Padding) -> bool:
    """Whether pairs of pixels are for it: few channels, an even row of the result, f32 at least."""
    _, side, inputs, outputs = kernel.shape
    row = x.shape[2] + sum(pads[1]) - side + 1
    if side == 1 or row % 2 or jnp.finfo(x.dtype).bits < 32:
        return False
    return inputs in _PAIRED and outputs in _PAIRED


def _wide(x: jax.Array, kernel: jax.Array, pads: Padding, few: int) -> bool:
    """Whether Winograd's form is for it: 3x3, over `few` channels, enough pixels and digits."""
    *sides, inputs, outputs = kernel.shape
    if sides != [3, 3] or min(inputs, outputs) <= few or jnp.finfo(x.dtype).bits < 32:
        return False
    return all(x.shape[axis + 1] + sum(pads[axis]) - 2 > 1 for axis in range(2))


def _chunk(x: jax.Array) -> int:
    """How many examples of `x` at a time."""
    most = min(max(1, _CHUNK // math.prod(x.shape[1:])), len(x))
    size = max(n for n in range(1, most + 1) if len(x) % n == 0)
    return len(x) if size < most // 3 else size


def _in_chunks(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """`function` of some examples at a time."""
    size = _chunk(x)
    if size == len(x):
        return function(x)
    y = lax.map(function, x.reshape(-1, size, *x.shape[1:]))
    return y.reshape(-1, *y.shape[2:])


def _sum_of_chunks(
    function: Callable[[jax.Array, jax.Array], Any], x: jax.Array, g: jax.Array
) -> Any:
    """The sum over all examples of `function`, a tree; some at a time, in f32 at least."""
    size = _chunk(x)
    if size == len(x):
        return function(x, g)

    def add(i: jax.Array, total: Any) -> Any:
        own = (lax.dynamic_slice_in_dim(array, i * size, size) for array in (x, g))
        return jax.tree.map(
            lambda total, new: total + new.astype(total.dtype), total, function(*own)
        )

    first = function(x[:size], g[:size])
    total = jax.tree.map(
        lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), first
    )
    total = lax.fori_loop(1, len(x) // size, add, total)
    return jax.tree.map(lambda total, leaf: total.astype(leaf.dtype), total, first)


def _split(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int],
    pads: Padding,
    size: tuple[int, int],
) -> tuple[jax.Array, jax.Array]:
    """Pixels of a stride side by side as channels: the same convolution with stride 1, unpadded.

    Its result has the `size` (H', W').
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
