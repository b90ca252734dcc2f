"""flaxdrop's convolution in a Linen network that is not edited.

On a CPU, inside loops, the gradients of `lax.conv_general_dilated` are many times slower than ours
(`flaxdrop.ops.convolution`). A training is a loop.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import flax.linen as nn
import jax
from jax import lax

from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.cpu.lax_convolution import LAYOUT


def convolve(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any = None,
    rhs_dilation: Any = None,
    dimension_numbers: Any = LAYOUT,
    feature_group_count: int = 1,
    precision: Any = None,
    **others: Any,
) -> jax.Array:
    """`lax.conv_general_dilated` as layers of Flax call it, by flaxdrop's where it can do it.

    Args:
      lhs: as in `lax.conv_general_dilated`.
      rhs: likewise.
      window_strides: likewise.
      padding: likewise.
      lhs_dilation: likewise.
      rhs_dilation: likewise.
      dimension_numbers: likewise.
      feature_group_count: likewise.
      precision: likewise.
      **others: likewise; None counts as not given.

    Returns:
      Its result. In one group, undilated, of images `[N, H, W, C]` it is computed by
      `flaxdrop.ops.convolution.conv_general_dilated`.
    """
    others = {name: value for name, value in others.items() if value is not None}
    undilated = all(d is None or set(d) == {1} for d in (lhs_dilation, rhs_dilation))
    if lhs.ndim == 4 and feature_group_count == 1 and undilated and not others:
        asked = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        if asked == lax.conv_dimension_numbers(lhs.shape, rhs.shape, LAYOUT):
            return conv_general_dilated(lhs, rhs, window_strides, padding, precision=precision)
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        precision=precision,
        **others,
    )


@contextlib.contextmanager
def fast_convolutions() -> Iterator[None]:
    """Calls every `flax.linen.Conv` inside the context with flaxdrop's convolution.

    One that has a convolution of its own keeps it. The modules stay as they are.

    >>> import jax.numpy as jnp
    >>> x = jnp.ones((2, 8, 8, 3))
    >>> with fast_convolutions():
    ...     y, _ = nn.Conv(4, (3, 3)).init_with_output(jax.random.key(0), x)
    >>> y.shape
    (2, 8, 8, 4)
    """
    with nn.intercept_methods(_substitute):
        yield


def _substitute(
    call: Callable[..., Any],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    context: nn.module.InterceptorContext,
) -> Any:
    module: Any = context.module
    plain = isinstance(module, nn.Conv) and context.method_name == "__call__"
    if not plain or (module.conv_general_dilated or module.conv_general_dilated_cls) is not None:
        return call(*arguments, **options)
    # The field of a module that is bound, by force: Flax lets none be set.
    object.__setattr__(module, "conv_general_dilated", convolve)
    try:
        return call(*arguments, **options)
    finally:
        object.__setattr__(module, "conv_general_dilated", None)
