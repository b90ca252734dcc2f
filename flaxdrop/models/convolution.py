"""A convolution whose gradients are plain convolutions, so that it may stand in a loop.

XLA rewrites the gradients of a convolution into the form its CPU kernels need in the outermost
computation only; inside `lax.scan` they run 24 to 230 times slower (jax-ml/jax#12868). Here both
gradients are written in that form from the start.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")
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
    return _plain(x, kernel, strides, pads, precision)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(x, kernel, strides, pads, precision), (x, kernel)


def _backward(
    strides: tuple[int, int],
    pads: Padding,
    precision: Any,
    residuals: tuple[jax.Array, jax.Array],
    g: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    # Rows and columns that the strides skipped come back as zeros: as if the stride had been 1.
    sizes = [x.shape[axis + 1] + sum(pads[axis]) - kernel.shape[axis] + 1 for axis in range(2)]
    gaps = [
        (0, size - ((length - 1) * stride + 1), stride - 1)
        for size, length, stride in zip(sizes, g.shape[1:3], strides, strict=True)
    ]
    spread = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])

    around = tuple(
        (kernel.shape[axis] - 1 - pads[axis][0], kernel.shape[axis] - 1 - pads[axis][1])
        for axis in range(2)
    )
    flipped = lax.rev(kernel, (0, 1)).transpose(0, 1, 3, 2)
    dx = _plain(spread, flipped, (1, 1), around, precision)  # type: ignore[arg-type]

    # The batch is summed over, as channels are: it takes their place.
    dkernel = _plain(x.transpose(3, 1, 2, 0), spread.transpose(1, 2, 0, 3), (1, 1), pads, precision)
    return dx, dkernel.transpose(1, 2, 0, 3)


_conv.defvjp(_forward, _backward)
