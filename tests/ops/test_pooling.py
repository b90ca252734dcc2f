import itertools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.ops.pooling import POOLINGS, pool

pytestmark = pytest.mark.optimised

FLAX = {"max": nn.max_pool, "average": nn.avg_pool}
either = pytest.mark.parametrize("kind", POOLINGS)


@either
@pytest.mark.parametrize("size", [(6, 8), (7, 5), (2, 3)])
def test_value_and_gradient_are_those_of_flax(kind, size):
    x = jnp.asarray(np.random.RandomState(0).randn(2, *size, 3), jnp.float32)
    ours, back = jax.vjp(lambda x: pool(x, kind), x)
    theirs, their_back = jax.vjp(lambda x: FLAX[kind](x, (2, 2), (2, 2)), x)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-6)
    chex.assert_trees_all_close(back(ours), their_back(ours), rtol=1e-6)


def test_of_the_largest_pixels_the_first_has_the_gradient():
    pixels = list(itertools.product(range(3), repeat=4))  # every way of four to be equal
    x = jnp.asarray(pixels, jnp.float32).reshape(len(pixels), 2, 2, 1)
    slope, theirs = (
        jax.grad(lambda x, largest=largest: 6 * largest(x).sum())(x)
        for largest in (lambda x: pool(x, "max"), lambda x: nn.max_pool(x, (2, 2), (2, 2)))
    )
    first = np.argmax(np.asarray(pixels), axis=1)
    chex.assert_trees_all_equal(slope.reshape(-1, 4), 6 * jax.nn.one_hot(first, 4))
    chex.assert_trees_all_equal(slope, theirs)


def test_another_kind_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^pooling: unknown 'min', choose one of max, average$"):
        pool(jnp.ones((1, 2, 2, 1)), "min")
