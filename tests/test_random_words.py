"""The words of masks, through batteries of tests by published definitions, on every platform.

The short form of what `make torture` does with 10^9 words. Seeds are fixed: the outcome never
changes. Perfect words would give an alarm with a probability of 1e-4 in this file.
"""

import functools
import hashlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from flaxdrop import hashing
from tests.torture.batteries import TESTS, Battery
from tests.torture.masks import AXES, MaskWords, block

COUNT = 1 << 19
DIGESTS = {
    "element": "a0b5cc5123f61ee8",
    "slot": "1a3399c0e2963fb5",
    "step": "c2f92cfcdbcb40e9",
    "seed": "d98ce3115259e1d9",
}


def ordinary():
    """Words of a good generator, of another kind."""
    return np.random.default_rng(0).integers(0, 1 << 32, COUNT, np.uint32)


def counting():
    return np.arange(COUNT, dtype=np.uint32)


def copied():
    """Every eighth word is the one before."""
    words = ordinary()
    words[8::8] = words[7:-1:8]
    return words


def uneven():
    """A bit in a thousand more is 1."""
    return ordinary() | (np.random.default_rng(1).random(COUNT) < 0.03).astype(np.uint32)


def narrow():
    """Words of 31 bits: the ranks of their matrices are too low, and their spacings too equal."""
    return ordinary() & np.uint32((1 << 31) - 1)


@functools.cache
def alarms(words):
    battery = Battery()
    battery.add(words())
    return set(battery.alarms())


def test_a_good_generator_passes():
    assert alarms(ordinary) == set()


@pytest.mark.parametrize("bad", [counting, copied, uneven, narrow])
def test_a_bad_generator_gives_an_alarm(bad):
    assert alarms(bad)


@pytest.mark.parametrize("name", TESTS)
def test_every_test_can_fail(name):
    assert name in alarms(counting) | alarms(narrow)


@pytest.mark.parametrize("axis", AXES)
def test_words_are_the_same_with_every_version_of_jax(axis):
    assert hashlib.sha256(block(axis, 0).astype("<u4").tobytes()).hexdigest()[:16] == DIGESTS[axis]


def test_words_along_every_axis_pass():
    words = MaskWords()
    words.add(1)
    assert words.faults() == {}


def test_every_platform_computes_the_same_integers():
    def words(key, number):
        return hashing.bits(hashing.fold_in(key, number), (4, 8, 3))

    texts = [
        export.export(jax.jit(words), platforms=[platform])(
            jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.uint32)
        ).mlir_module()
        for platform in ("cpu", "cuda", "tpu")
    ]
    assert texts[0] == texts[1] == texts[2]
    assert set(re.findall(r"tensor<(?:\d+x)*(\w+)>", texts[0])) == {"ui32"}
    assert set(re.findall(r"stablehlo\.(\w+)", texts[0])) == {
        *("add", "multiply", "shift_right_logical", "xor", "constant", "iota"),
        *("broadcast_in_dim", "concatenate", "optimization_barrier", "reshape", "slice"),
    }
