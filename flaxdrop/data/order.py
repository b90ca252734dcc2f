"""The order in which the training examples are seen."""

import jax
import jax.numpy as jnp


def epoch_order(key: jax.Array, epoch: jax.typing.ArrayLike, examples: int) -> jax.Array:
    """The permutation of the examples in one epoch.

    It depends on the key and the epoch alone, so that all variants of a seed see the same order. It
    sorts, which takes longer than a step's augmentation: compute it once an epoch.

    Args:
        key: typed key (`jax.random.key`) of the data order, the same in every epoch.
        epoch: int [], counted from 0; may be traced.
        examples: their number.

    Returns:
        int32 [examples], a permutation of 0..examples-1.

    >>> sorted(epoch_order(jax.random.key(0), 3, 4).tolist())
    [0, 1, 2, 3]
    """
    return jax.random.permutation(
        jax.random.fold_in(key, epoch), jnp.arange(examples, dtype=jnp.int32)
    )


def batch_indices(order: jax.Array, step_in_epoch: jax.typing.ArrayLike, batch: int) -> jax.Array:
    """The examples of one step: a slice of the epoch's order.

    Args:
        order: int32 [examples], of `epoch_order`.
        step_in_epoch: int [], 0..examples // batch - 1; may be traced.
        batch: examples a step.

    Returns:
        int32 [batch].

    >>> batch_indices(jnp.arange(10), 2, 3).tolist()
    [6, 7, 8]
    """
    return jax.lax.dynamic_slice_in_dim(order, step_in_epoch * batch, batch)
