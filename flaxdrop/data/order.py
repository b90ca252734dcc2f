"""The order in which the training examples are seen.

A keyed bijection of the index takes the place of a sorted array of random numbers: an example's
place is computed alone, where it is needed, and there is no sort to compile or to run.
"""

import jax
import jax.numpy as jnp

from flaxdrop import hashing

_ROUNDS = 24  # of 5 examples, 8 rounds have some orders too often, and 16 have none


def permuted(words: jax.Array, index: jax.Array, size: int) -> jax.Array:
    """Where a random permutation takes an index.

    A Feistel network permutes the next power of two; what falls outside of `size` goes through it
    again until it falls inside (cycle walking), at most twice on average.

    Args:
      words: uint32 `[2]`, of `flaxdrop.hashing`; they choose the permutation.
      index: int, any shape, each in 0..size-1.
      size: how many indices there are, at least 1.

    Returns:
      int32 of the shape of `index`; over all indices, each of 0..size-1 once.

    References:
      Luby and Rackoff, "How to Construct Pseudorandom Permutations from Pseudorandom Functions"
      (1988). Black and Rogaway, "Ciphers with Arbitrary Finite Domains" (2002). Mitchell et al.,
      "Bandwidth-Optimal Random Shuffling for GPUs" (2021).

    >>> words = hashing.key_to_words(jax.random.key(0))
    >>> sorted(permuted(words, jnp.arange(5), 5).tolist())
    [0, 1, 2, 3, 4]
    """
    bits = max(2, (size - 1).bit_length())
    low, high = bits // 2, bits - bits // 2
    keys = jax.vmap(lambda i: hashing.fold_in(words, i))(jnp.arange(_ROUNDS, dtype=jnp.uint32))

    def once(index: jax.Array) -> jax.Array:
        # Rounds alone are even permutations, half of all: 0 and 1 change places, or do not.
        index = jnp.where(index < 2, index ^ (words[0] & 1), index)
        left, right = index >> low, index & ((1 << low) - 1)
        for i in range(0, _ROUNDS, 2):
            left ^= hashing.mix(right ^ keys[i, 0], keys[i, 1]) >> (32 - high)
            right ^= hashing.mix(left ^ keys[i + 1, 0], keys[i + 1, 1]) >> (32 - low)
        return (left << low) | right

    def walk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        index, outside = state
        index = jnp.where(outside, once(index), index)
        return index, index >= size

    index = jnp.asarray(index, jnp.uint32)
    start = index, jnp.ones(index.shape, bool)
    inside, _ = jax.lax.while_loop(lambda state: jnp.any(state[1]), walk, start)
    return inside.astype(jnp.int32)


def batch_indices(
    key: jax.Array, epoch: jax.Array | int, step: jax.Array | int, batch: int, size: int
) -> jax.Array:
    """The examples of one step.

    They depend on the key, the epoch and the step alone, so that all variants of a seed see the
    same order. Within an epoch no example comes twice.

    Args:
      key: of the data order, the same in every epoch.
      epoch: int `[]`, counted from 0; may be traced.
      step: int `[]`, within the epoch, 0..size // batch - 1; may be traced.
      batch: examples a step.
      size: examples in the training set.

    Returns:
      int32 `[batch]`.

    >>> steps = [batch_indices(jax.random.key(0), 3, step, 2, 4) for step in range(2)]
    >>> sorted(jnp.concatenate(steps).tolist())
    [0, 1, 2, 3]
    """
    words = hashing.fold_in(hashing.key_to_words(key), epoch)
    return permuted(words, step * batch + jnp.arange(batch, dtype=jnp.uint32), size)
