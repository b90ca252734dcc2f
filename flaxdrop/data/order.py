"""The order in which the training examples are seen.

A keyed bijection of the index takes the place of a sorted array of random numbers: an example's
place is computed alone, where it is needed, and there is no sort to compile or to run. On the
host, where images are read while a network trains, the order is the same.
"""

import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop import hashing
from flaxdrop.hashing import Words

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
    keys = _round_keys(words)

    def walk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        index, outside = state
        index = jnp.where(outside, _once(words[0], keys, index, size), index)
        return index, index >= size

    index = jnp.asarray(index, jnp.uint32)
    start = index, jnp.ones(index.shape, bool)
    inside, _ = jax.lax.while_loop(lambda state: jnp.any(state[1]), walk, start)
    return inside.astype(jnp.int32)


def _round_keys(words: jax.Array) -> jax.Array:
    return jax.vmap(lambda i: hashing.fold_in(words, i))(jnp.arange(_ROUNDS, dtype=jnp.uint32))


def _once(word: Words, keys: Words, index: Words, size: int) -> Words:
    """The Feistel network, over the next power of two."""
    bits = max(2, (size - 1).bit_length())
    low, high = bits // 2, bits - bits // 2
    # Rounds alone are even permutations, half of all: 0 and 1 change places, or do not.
    index = index ^ ((word & 1) * (index < 2))
    left, right = index >> low, index & ((1 << low) - 1)
    for i in range(0, _ROUNDS, 2):
        left = left ^ (hashing.mix(right ^ keys[i, 0], keys[i, 1]) >> (32 - high))
        right = right ^ (hashing.mix(left ^ keys[i + 1, 0], keys[i + 1, 1]) >> (32 - low))
    return (left << low) | right


class HostOrder:
    """The order of `batch_indices`, computed by NumPy for all epochs of a training.

    It holds no array of jax: it may go to another process.

    Args:
      key: of the data order.
      epochs: of the training.
      size: examples in the training set.

    >>> on_host = HostOrder(jax.random.key(0), epochs=4, size=50).examples(3, np.arange(8))
    >>> on_host.tolist() == batch_indices(jax.random.key(0), 3, 0, 8, 50).tolist()
    True
    """

    def __init__(self, key: jax.Array, epochs: int, size: int) -> None:
        own = hashing.key_to_words(key)
        each = jax.vmap(lambda epoch: hashing.fold_in(own, epoch))(jnp.arange(epochs))
        self._words = np.asarray(each)
        self._keys = np.asarray(jax.vmap(_round_keys)(each))
        self._size = size

    def examples(self, epoch: int, places: np.ndarray) -> np.ndarray:
        """The examples at some places of an epoch.

        Args:
          epoch: counted from 0.
          places: int `[n]`, each in 0..size-1.

        Returns:
          int64 `[n]`.
        """
        index = np.asarray(places, np.uint32)
        outside = np.ones(index.shape, bool)
        while outside.any():
            inner = _once(self._words[epoch, :1], self._keys[epoch], index[outside], self._size)
            index = index.copy()
            index[outside] = inner
            outside = index >= self._size
        return index.astype(np.int64)


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
