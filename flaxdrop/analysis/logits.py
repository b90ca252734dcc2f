"""How much the masks of a dropout move a network's output."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.placement import Placement


def logit_variance(
    model: nn.Module,
    variables: Any,
    x: jax.Array,
    placement: Placement,
    *,
    key: jax.Array,
    masks: int,
) -> jax.Array:
    """The variance of the logits over masks, with batch norm at inference.

    Kim et al. 2023 hold that dropout before global average pooling gives a more stable output than
    after it: the mean over H x W pixels averages the masks of a channel.

    Args:
      model: takes `(x, train, placement)` and returns logits.
      variables: its parameters and batch statistics.
      x: normalised images `[N, H, W, C]`.
      placement: what is on; without a dropout the variance is 0.
      key: what the masks are drawn from.
      masks: how many are drawn, at least 2.

    Returns:
      f32 scalar: the unbiased variance over masks of each logit of each image, their mean.

    Raises:
      ValueError: fewer than two masks.
    """
    if masks < 2:
        raise ValueError(f"masks: must be at least 2, got {masks}")

    def moments(sums: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[Any, None]:
        logits: Any = model.apply(variables, x, placement=placement, rngs={"dropout": key})
        shifted = (logits - base).astype(jnp.float32)
        return (sums[0] + shifted, sums[1] + shifted**2), None

    base: Any = model.apply(variables, x)  # subtracted first: no cancellation in the squares
    zero = jnp.zeros(base.shape, jnp.float32)
    (first, second), _ = jax.lax.scan(moments, (zero, zero), jax.random.split(key, masks))
    return jnp.mean((second - first**2 / masks) / (masks - 1))
