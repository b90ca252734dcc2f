"""A convolution that is fast on a CPU: inside loops, and backwards.

XLA rewrites the gradients of a convolution into the form its CPU kernels need in the outermost
computation only; inside `lax.scan` they run 24 to 230 times slower (jax-ml/jax#12868). On a CPU
`flaxdrop.ops.cpu.convolution` takes the place of `lax`, elsewhere nothing changes.
"""

import functools
from typing import Any

import jax
from jax import lax

from flaxdrop.ops.cpu import convolution as cpu_convolution
from flaxdrop.ops.cpu import lax_convolution
from flaxdrop.ops.cpu.lax_convolution import LAYOUT, Padding


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: tuple[int, int],
    padding: str | Padding,
    lhs_dilation: tuple[int, int] | None = None,
    rhs_dilation: tuple[int, int] | None = None,
    dimension_numbers: Any = LAYOUT,
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
    if asked != lax.conv_dimension_numbers(lhs.shape, rhs.shape, LAYOUT):
        raise ValueError(f"dimension_numbers: must be {LAYOUT}, got {dimension_numbers}")
    if feature_group_count != 1:
        raise ValueError(f"feature_group_count: must be 1, got {feature_group_count}")
    if isinstance(padding, str):
        rows, columns = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
    else:
        rows, columns = padding
    pads = (int(rows[0]), int(rows[1])), (int(columns[0]), int(columns[1]))
    strides = (int(window_strides[0]), int(window_strides[1]))
    return _traced_once(lhs, rhs, strides, pads, precision)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> jax.Array:
    options = {"strides": strides, "pads": pads, "precision": precision}
    if not _has_known_size(x):
        return lax_convolution.convolve(x, kernel, **options)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(cpu_convolution.convolve, **options),
        default=functools.partial(lax_convolution.convolve, **options),
    )


def _has_known_size(x: jax.Array) -> bool:
    """Whether it is known while tracing, as it is not where a program is exported for any batch."""
    return all(isinstance(size, int) for size in x.shape)


def _forward(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Padding, precision: Any
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _traced_once(x, kernel, strides, pads, precision), (x, kernel)


def _backward(
    strides: tuple[int, int],
    pads: Padding,
    precision: Any,
    residuals: tuple[jax.Array, jax.Array],
    g: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    options = {"strides": strides, "pads": pads, "precision": precision}

    def of_lax(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        plain = functools.partial(lax_convolution.convolve, **options)
        return jax.vjp(plain, x, kernel)[1](g)

    if not _has_known_size(residuals[0]):
        return of_lax(*residuals, g)
    on_cpu = functools.partial(cpu_convolution.gradients, **options)
    return lax.platform_dependent(*residuals, g, cpu=on_cpu, default=of_lax)


_conv.defvjp(_forward, _backward)
# Once for all layers of a shape: tracing is much of the time to the first step.
_traced_once = jax.jit(_conv, static_argnums=(2, 3, 4))
