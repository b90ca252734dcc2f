"""Dropout placed by a pattern in a training loop of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from flaxdrop import Placement
from flaxdrop.nnx import Dropout, with_slots
from flaxdrop.schedule import rate_share, schedule_index

X = jnp.asarray(np.random.RandomState(0).randn(64, 8), jnp.float32)
Y = jnp.asarray(np.random.RandomState(1).randint(0, 3, 64))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(8, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.norm(self.dense(x))))


def train(steps, rate_of, model=None):
    """(network, losses, how often the step was traced)."""
    model = model or with_slots(Network(nnx.Rngs(0)), X)
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)
    traces = []

    @nnx.jit
    def step(model, optimizer, placement, key):
        traces.append(placement)

        def loss(model):
            logits = model(X, placement=placement, key=key)
            return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()

        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    model.train()
    losses = []
    for i in range(steps):
        placement = Placement({"head:in": rate_of(i)})
        losses.append(float(step(model, optimizer, placement, jax.random.key(i))))
    return model, losses, len(traces)


def test_a_rate_schedule_does_not_recompile():
    schedule = schedule_index("linear")
    _, losses, traces = train(8, lambda i: 0.5 * rate_share(schedule, i / 8, 0.5))
    assert traces == 1
    assert len(set(losses)) == 8


def test_training_learns_and_trains_the_network_itself():
    plain = Network(nnx.Rngs(0))
    before = np.asarray(plain.head.kernel[...])
    model, losses, _ = train(30, lambda _: 0.1, with_slots(plain, X))
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert (np.asarray(plain.head.kernel[...]) != before).all()
    assert (np.asarray(plain.norm.mean[...]) != 0).any()
    model.eval()
    np.testing.assert_array_equal(model(X), plain(X))


def test_a_rate_of_zero_trains_as_without_dropout():
    _, losses, _ = train(5, lambda _: 0.0)

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)

    def loss(model):
        return optax.softmax_cross_entropy_with_integer_labels(model(X), Y).mean()

    expected = []
    for _ in range(5):
        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        expected.append(float(value))
    assert losses == pytest.approx(expected, rel=1e-5)


def test_steps_give_the_same_result_each_time():
    first, second = (train(3, lambda _: 0.3)[1] for _ in range(2))
    assert first == second


def test_a_checkpoint_has_nothing_but_the_network():
    model, _, _ = train(2, lambda _: 0.3)
    state = nnx.to_pure_dict(nnx.state(model))
    assert set(state) == {"dense", "norm", "head"}
    restored = with_slots(Network(nnx.Rngs(1)), X)
    nnx.update(restored, nnx.state(model))
    np.testing.assert_array_equal(restored.head.kernel[...], model.head.kernel[...])


def test_nnx_dropout_cannot_take_a_traced_rate_but_this_one_can():
    class Own(nnx.Module):
        def __init__(self):
            self.drop = Dropout("p6")

        def __call__(self, x):
            return self.drop(x)

    model = with_slots(Own(), X)

    @jax.jit
    def share(rate):
        return jnp.mean(model(X, placement=Placement({"p6": rate}), key=jax.random.key(0)) == 0)

    assert [round(float(share(rate)), 1) for rate in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]

    @jax.jit
    def fails(rate):
        return nnx.Dropout(rate, rngs=nnx.Rngs(0))(X)

    with pytest.raises(jax.errors.TracerBoolConversionError):
        fails(0.5)
