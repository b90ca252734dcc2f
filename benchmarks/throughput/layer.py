"""The dropout layer alone, forward and backward, beside Flax's and beside a plain product."""

import functools
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

import flaxdrop
from benchmarks.harness.arguments import Flag
from benchmarks.throughput.contest import Prepared, in_rounds, take_part
from flaxdrop.training.environment import compiler_options

SHAPE = (128, 32, 32, 16)
_RATE = 0.3

Function = Callable[[jax.Array, jax.Array], jax.Array]  # key, x -> y


def _flaxdrop(key: jax.Array, x: jax.Array) -> jax.Array:
    return flaxdrop.dropout(key, x, jnp.float32(_RATE))


def _flax(key: jax.Array, x: jax.Array) -> jax.Array:
    y: Any = nn.Dropout(_RATE, deterministic=False).apply({}, x, rngs={"dropout": key})
    return y


def _product(key: jax.Array, x: jax.Array) -> jax.Array:
    del key
    return x * jnp.float32(1 / (1 - _RATE))


KINDS: Mapping[str, Function] = {"flaxdrop": _flaxdrop, "flax": _flax, "product": _product}


def prepare(options: SimpleNamespace) -> Prepared:
    """Compiles a pass forward and backward; the round does some of them, a unit of work each."""
    dropped = KINDS[options.kind]
    x, g = (jax.random.normal(jax.random.key(i), SHAPE) for i in range(2))

    # Compiled as the programs are in which it has its place.
    @functools.partial(jax.jit, compiler_options=compiler_options(jax.devices()[0]))
    def both(key: jax.Array, x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        y, back = jax.vjp(lambda x: dropped(key, x), x)
        return y, back(g)[0]

    keys = jax.random.split(jax.random.key(2), 16)

    def passes(count: int) -> None:
        for i in range(count):
            jax.block_until_ready(both(keys[i % len(keys)], x, g))

    work, first_seconds = in_rounds(passes, options.seconds)
    return work, {"compile_seconds": first_seconds}


FLAGS = (
    Flag("kind", "flaxdrop", "whose layer", tuple(KINDS)),
    Flag("seconds", 1.0, "how long a round lasts, about"),
)


if __name__ == "__main__":
    take_part(FLAGS, prepare)
