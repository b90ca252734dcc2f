"""A convolution whose gradients are plain convolutions, so that it may stand in a loop.

XLA rewrites the gradients of a convolution into the form its CPU kernels need in the outermost
computation only; inside `lax.scan` they run 24 to 230 times slower (jax-ml/jax#12868). Here, on a
CPU, both gradients are written in that form from the start; of a strided convolution they are those
of an equal one without strides (`_split`). The gradient of the kernel is summed over a few examples
at a time, which stay in the caches: 1.5 to 6 times faster from 16 to 64 channels. A few at a time
an unpadded convolution is 2.5 times faster as well. Other platforms do as `lax` does.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_CHUNK = 12  # examples, at most
Padding = tuple[tuple[int, int], tuple[int, int]]


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: str | Padding,
    lhs_dilation: tuple[int, int] | None = None,
    rhs_dilation: tuple[int, int] | None = None,
    dimension_numbers: Any = _LAYOUT,
    feature_group_count: int = 1,
    precision: Any = None,
) -> jax.Array:
    """`lax.conv_general_dilated` for undilated 2-D convolutions in one group.

    Made for `flax.linen.Conv(conv_general_dilated=...)`.

    Args:
      lhs: `[N, H, W, C]`.
      rhs: the kernel, `[h, w, C, O]`.
      window_strides: of the two spatial axes.
      padding: "SAME", "VALID", or pixels (before, after) for both axes.
      lhs_dilation: None or 1 for both axes: as Flax passes it, nothing else is supported.
      rhs_dilation: likewise.
      dimension_numbers: NHWC, HWIO, NHWC, likewise.
      feature_group_count: 1, likewise.
      precision: of the products and sums, as in `lax`.

    Returns:
      `[N, H', W', O]`.

    Raises:
      ValueError: a dilated or grouped convolution, or another layout.
    """
    if lhs.ndim != 4 or rhs.ndim != 4:
        raise ValueError(f"lhs: expected [N, H, W, C], got an array of shape {lhs.shape}")
    for name, dilation in (("lhs_dilation", lhs_dilation), ("rhs_dilation", rhs_dilation)):
        if dilation is not None and tuple(dilation) != (1, 1):
            raise ValueError(f"{name}: must be 1, got {dilation}")
    asked = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    if asked != lax.conv_dimension_numbers(lhs.shape, rhs.shape, _LAYOUT):
        raise ValueError(f"dimension_numbers: must be {_LAYOUT}, got {dimension_numbers}")
    if feature_group_count != 1:
        raise ValueError(f"feature_group_count: must be 1, got {feature_group_count}")
    if isinstance(padding, str):
        rows, columns = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    else:
        rows, columns = padding
    pads = (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))
    strides = (int(window_strides[0]), int(window_strides[1]))
    return _conv(lhs, rhs, strides, pads, precision)


def _plain(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=_LAYOUT, precision=precision
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    def as_lax_does(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _plain(x, kernel, strides, pads, precision)

    def in_chunks(x: jax.Array, kernel: jax.Array) -> jax.Array:
        size = _chunk(x.shape[0])
        chunks = x.reshape(-1, size, *x.shape[1:])
        y = lax.map(lambda x: as_lax_does(x, kernel), chunks)
        return y.reshape(-1, *y.shape[2:])

    if pads != ((0, 0), (0, 0)) or max(kernel.shape[:2]) == 1 or not _chunk(x.shape[0]):
        return as_lax_does(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=in_chunks, default=as_lax_does)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv(x, kernel, strides, pads, precision), (x, kernel)


def _backward(
    strides: tuple[int, int],
    pads: Padding,
    precision: Any,
    residuals: tuple[jax.Array, jax.Array],
    g: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    def as_lax_does(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.vjp(lambda x, kernel: _plain(x, kernel, strides, pads, precision), x, kernel)[1](
            g
        )

    def on_cpu(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        if strides == (1, 1):
            return _gradients(x, kernel, g, pads, precision)
        split = functools.partial(_split, strides=strides, pads=pads, size=(g.shape[1], g.shape[2]))
        parts, join = jax.vjp(split, x, kernel)
        return join(_gradients(*parts, g, ((0, 0), (0, 0)), precision))

    return lax.platform_dependent(*residuals, g, cpu=on_cpu, default=as_lax_does)


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


def _gradients(
    x: jax.Array, kernel: jax.Array, g: jax.Array, pads: Padding, precision: Any
) -> tuple[jax.Array, jax.Array]:
    """Of a convolution with stride 1."""
    around = tuple(
        (kernel.shape[axis] - 1 - pads[axis][0], kernel.shape[axis] - 1 - pads[axis][1])
        for axis in range(2)
    )
    flipped = lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2)
    dx = _plain(g, flipped, (1, 1), around, precision)  # type: ignore[arg-type]
    return dx, _chunked(functools.partial(_kernel_gradient, pads=pads, precision=precision), x, g)


def _chunk(examples: int) -> int:
    """How many examples at a time; 0: all at once."""
    size = max(n for n in range(1, _CHUNK + 1) if examples % n == 0)
    return 0 if size < _CHUNK // 3 or size == examples else size


def _kernel_gradient(x: jax.Array, g: jax.Array, pads: Padding, precision: Any) -> jax.Array:
    # The batch is summed over, as channels are: it takes their place.
    gradient = _plain(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), (1, 1), pads, precision)
    return gradient.transpose(1, 2, 0, 3)


def _chunked(
    gradient: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, g: jax.Array
) -> jax.Array:
    """The sum of `gradient` over chunks of the examples."""
    size = _chunk(x.shape[0])
    if not size:
        return gradient(x, g)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        own = (lax.dynamic_slice_in_dim(of, i * size, size) for of in (x, g))
        return total + gradient(*own).astype(total.dtype)

    first = gradient(x[:size], g[:size])
    wide = first.astype(jnp.promote_types(first.dtype, jnp.float32))
    return lax.fori_loop(1, x.shape[0] // size, add, wide).astype(first.dtype)


_conv.defvjp(_forward, _backward)
