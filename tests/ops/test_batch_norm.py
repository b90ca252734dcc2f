import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop.ops.batch_norm import BatchNorm, normalise

pytestmark = pytest.mark.optimised


def both(**options):
    """Ours and that of Flax, with variables that are not those of the start."""
    x = 3 + 2 * jnp.asarray(np.random.RandomState(0).randn(6, 5, 4, 3), jnp.float32)
    norms = [norm(momentum=0.9, epsilon=1e-3, **options) for norm in (BatchNorm, nn.BatchNorm)]
    variables = norms[0].init(jax.random.key(1), x)
    chex.assert_trees_all_equal(variables, norms[1].init(jax.random.key(1), x))
    scattered = jax.tree.map(
        lambda leaf: leaf + jnp.arange(leaf.size, dtype=leaf.dtype) / 5, variables
    )
    return x, norms, scattered


def test_training_is_that_of_flax():
    x, norms, variables = both(use_running_average=False)
    ours, flax = (norm.apply(variables, x, mutable=["batch_stats"]) for norm in norms)
    chex.assert_trees_all_close(ours, flax, rtol=1e-5, atol=1e-5)


def test_inference_is_that_of_flax():
    x, norms, variables = both(use_running_average=True)
    ours, flax = (norm.apply(variables, x) for norm in norms)
    chex.assert_trees_all_close(ours, flax, rtol=1e-6, atol=1e-6)


def test_gradients_are_those_of_flax():
    x, norms, variables = both(use_running_average=False)
    weights = jnp.asarray(np.random.RandomState(2).randn(*x.shape), jnp.float32)

    def gradients(norm):
        def loss(x, params):
            y, updates = norm.apply({**variables, "params": params}, x, mutable=["batch_stats"])
            # The statistics are outputs, too.
            return jnp.sum(weights * jnp.sin(y)) + sum(
                jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(updates)
            )

        return jax.grad(loss, argnums=(0, 1))(x, variables["params"])

    ours, flax = map(gradients, norms)
    chex.assert_trees_all_close(ours, flax, rtol=1e-4, atol=1e-5)


def test_a_constant_channel_stays_finite():
    x = jnp.ones((4, 2))
    y, back = jax.vjp(lambda x: normalise(x, jnp.ones(2), jnp.zeros(2), 1e-5)[0], x)
    chex.assert_tree_all_finite(back(jnp.arange(8.0).reshape(4, 2)))
    chex.assert_trees_all_equal(y, jnp.zeros_like(x))


@pytest.mark.parametrize("training", [False, True])
def test_low_precision_goes_through_statistics_in_f32(training):
    x, norms, variables = both(use_running_average=not training)
    y, updates = norms[0].apply(variables, x.astype(jnp.bfloat16), mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    chex.assert_trees_all_equal_dtypes(updates["batch_stats"], variables["batch_stats"])
    exact = norms[0].apply(variables, x, mutable=["batch_stats"])[0]
    chex.assert_trees_all_close(y.astype(jnp.float32), exact, atol=0.05)
