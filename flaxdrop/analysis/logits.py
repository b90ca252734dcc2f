"""How much the masks of dropout move a network's output."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.analysis.masked import masked_call
from flaxdrop.placement import Placement


def logit_variance(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    placement: Placement,
    *,
    key: jax.Array,
    masks: int,
    inference: Mapping[str, Any] | None = None,
) -> jax.Array:
    """The variance of the logits over masks, with batch norm at inference.

    Kim et al. 2023 hold that dropout before global average pooling gives a more stable output than
    after it: the mean over H x W pixels averages the masks of a channel.

    Arguments are those of `flaxdrop.analysis.mc_predict`, with `masks`, at least 2, for samples;
    without a slot the variance is 0.

    Returns:
      f32 scalar: the unbiased variance over masks of each logit of each image, their mean.

    Raises:
      ValueError: fewer than two masks; otherwise as `flaxdrop.analysis.mc_predict`.
    """
    if masks < 2:
        raise ValueError(f"masks: must be at least 2, got {masks}")

    apply, _ = masked_call(model, variables, x, placement, inference)

    def moments(sums: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, None]:
        shifted = (apply(key) - base).astype(jnp.float32)
        return (sums[0] + shifted, sums[1] + shifted**2), None

    # Subtracted first: no cancellation in the squares.
    base: Any = model.apply(variables, x, **(inference or {}))
    zero = jnp.zeros(base.shape, jnp.float32)
    (first, second), _ = jax.lax.scan(moments, (zero, zero), jax.random.split(key, masks))
    return jnp.mean((second - first**2 / masks) / (masks - 1))
