"""Counter-based random words: a few integer operations an element, the same on every backend.

A mask needs no cryptographic generator, only words without visible structure that XLA can compute
inside the neighbouring element-wise loop. A word is a hash of (key, element index); keys are
refined by hashing names and numbers into them. The mixer is `triple32` (C. Wellons, "Prospecting
for Hash Functions", 2018). Its three multiplications are most of what a mask costs, so an element
has no more: one word of the key joins the index before them, the other before the last of them.

Batteries of published tests (`make torture`) find nothing in 10^9 words along elements, slots,
steps and seeds. They refuse mixers of two multiplications: of `lowbias32`, a bit of an element
differs from that of one some places before with a probability of 1/2 within 0.001, not closer.
"""

import functools
import math
import zlib
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

_GOLDEN = 0x9E3779B9  # 2^32 / golden ratio: separates inputs that differ by small integers

Words = TypeVar("Words", jax.Array, np.ndarray)


def mix(word: Words, between: Words | int = 0) -> Words:
    """Hashes 32-bit words one to one (triple32).

    Args:
      word: uint32, any shape, of jax or NumPy.
      between: uint32, joins before the last multiplication: of another value, another hash.

    Returns:
      uint32 of the same shape; a bijection, so distinct words stay distinct.
    """
    word = word ^ (word >> 17)
    word = word * np.uint32(0xED5AD4BB)
    word = word ^ (word >> 11)
    word = word * np.uint32(0xAC4C1B51)
    word = word ^ (word >> 15)
    word = (word ^ between) * np.uint32(0x31848BAB)
    return word ^ (word >> 14)


def key_to_words(key: jax.Array) -> jax.Array:
    """Condenses a PRNG key of any implementation to two words.

    Args:
      key: one typed key (`jax.random.key`) or one raw key (`jax.random.PRNGKey`).

    Returns:
      uint32 [2].

    Raises:
      ValueError: `key` is not one key.
    """
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    data = jax.random.key_data(key) if typed else key
    if data.ndim != 1 or data.dtype != jnp.uint32:
        raise ValueError(f"key: expected one PRNG key, got {data.dtype} of shape {data.shape}")
    if data.shape[0] == 2:
        return data
    first, second = data[0], data[1]
    for i in range(2, data.shape[0]):
        first, second = second, mix(first + jnp.uint32(_GOLDEN)) ^ data[i]
    return jnp.stack([first, second])


def fold_in(words: jax.Array, data: jax.Array | int) -> jax.Array:
    """Derives new words from words and a number.

    Args:
      words: uint32 [2].
      data: a 32-bit number, a Python integer or a (traced) uint32 scalar.

    Returns:
      uint32 [2].
    """
    return _fold_in(words, jnp.asarray(data, jnp.uint32))


@jax.jit  # as `bits`: traced once, for tracing is much of the time to the first step
def _fold_in(words: jax.Array, data: jax.Array) -> jax.Array:
    first = mix(words[0] ^ mix(data + jnp.uint32(_GOLDEN)))
    return jnp.stack([first, mix(words[1] + first)])


def name_word(*names: str) -> int:
    """The number that stands for a path of names: CRC-32, fixed for all time, unlike `hash`.

    >>> name_word("stage1", "p6") == name_word("stage1", "p6") != name_word("stage1", "p5")
    True
    """
    return zlib.crc32("/".join(names).encode())


@functools.partial(jax.jit, static_argnames="shape")
def bits(words: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """One random word for every element.

    Args:
      words: uint32 [2], what the words depend on.
      shape: up to 2^32 elements.

    Returns:
      uint32 of `shape`; the word of an element depends on `words` and on its row-major index only.

    Raises:
      ValueError: more elements.
    """
    size = math.prod(shape)  # not known where a program is exported for any batch
    if isinstance(size, int) and size > 1 << 32:
        raise ValueError(f"x: must have at most 2^32 elements, got {size}")
    # One operation: jax would take the index out of a loop, to be written and read at every step.
    plain = functools.partial(_bits, shape=shape)
    whole = jax.custom_batching.custom_vmap(plain)

    @whole.def_vmap
    def for_many_keys(_: int, batched: list[bool], words: jax.Array) -> tuple[jax.Array, bool]:
        assert all(batched)
        return jax.vmap(plain)(words), True

    return whole(words)


def _bits(words: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    strides = tuple(jnp.uint32(math.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    strides, words = jax.lax.optimization_barrier((strides, words))  # so would XLA
    # Once a mask, not once an element: keys as close as `key(1)` and `key(2)` come apart.
    first, second = _fold_in(words, words[1])
    index = jnp.zeros(shape, jnp.uint32)
    for axis, stride in enumerate(strides):
        index = index + jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * stride
    return mix(index ^ first, second)
