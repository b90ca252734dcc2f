"""Dropout by a pattern in a training loop of a user's own: one compilation for all rates."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training import train_state

from flaxdrop import Placement, with_slots
from flaxdrop.schedule import rate_share, schedule_index

X = jnp.asarray(np.random.RandomState(0).randn(32, 8), jnp.float32)
Y = jnp.asarray(np.random.RandomState(1).randint(0, 3, 32))


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(2):
            x = x + Block(name=f"block{i}")(x)
        return nn.Dense(3)(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(8)(nn.relu(nn.LayerNorm()(x)))


def test_a_train_state_trains_under_a_schedule_that_does_not_recompile():
    model = with_slots(Network(), X)
    variables = model.init(jax.random.key(0), X)
    state = train_state.TrainState.create(
        apply_fn=model.apply, params=variables["params"], tx=optax.adam(1e-2)
    )
    placement = Placement.parse("block*/Dense_0:in=0.1..0.3")
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(state, placement, key):
        def loss(params):
            logits = state.apply_fn(
                {"params": params}, X, placement=placement, rngs={"dropout": key}
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()

        value, gradients = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradients), value

    losses = []
    for i in range(30):
        share = rate_share(schedule_index("early"), i / 30, 0.5)
        now = jax.tree.map(lambda rate, share=share: share * rate, placement)
        state, value = step(state, now, jax.random.fold_in(jax.random.key(1), i))
        losses.append(float(value))
    assert losses[-1] < 0.7 * losses[0]
    chex.assert_trees_all_equal_structs(state.params, variables["params"])
