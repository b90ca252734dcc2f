"""The optimiser of the pooling study: Keras's SGD with its `decay`, Nesterov's momentum or none."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxdrop.training.recipe import Recipe

GRADIENTS = np.array([[0.3, -2.0], [-1.0, 0.5], [0.2, 0.1], [2.0, -0.4], [0.7, 0.6]])
START = np.array([1.0, -3.0])


def recipe_of(**options):
    return Recipe(
        **{"epochs": 1, "batch": 1, "learning_rate": 0.01, "weight_decay": 0.0, **options}
    )


def follow(recipe):
    """The parameters after each step of the recipe's optimiser."""
    optimizer = recipe.make_optimizer(len(GRADIENTS))
    params = jnp.asarray(START)
    state, path = optimizer.init(params), []
    for gradient in GRADIENTS:
        changes, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, changes)
        path.append(np.asarray(params))
    return np.array(path)


@pytest.mark.parametrize("decay", [1e-6, 0.5])
def test_inverse_time_is_the_rate_over_one_plus_decay_times_step(decay):
    rate = recipe_of(schedule="inverse_time", decay=decay).rate_schedule(10)
    for step in (0, 1, 2, 15_620, 1_000_000):
        assert float(rate(jnp.int32(step))) == pytest.approx(0.01 / (1 + decay * step), rel=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_is_that_of_keras(momentum, nesterov, weight_decay):
    recipe = recipe_of(
        optimizer="keras_sgd",
        schedule="inverse_time",
        decay=0.5,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
    )
    w, velocity, expected = START, np.zeros(2), []
    for step, gradient in enumerate(GRADIENTS):
        gradient = gradient + weight_decay * w
        # keras.optimizers.SGD: the rate is inside of the velocity.
        rate = 0.01 / (1 + 0.5 * step)
        velocity = momentum * velocity - rate * gradient
        w = w + (momentum * velocity - rate * gradient if nesterov else velocity)
        expected.append(w)
    np.testing.assert_allclose(follow(recipe), expected, rtol=1e-6)


@pytest.mark.parametrize("nesterov", [False, True])
def test_it_is_that_of_pytorch_while_the_rate_stays(nesterov):
    constant = {"schedule": "constant", "nesterov": nesterov}
    ours = follow(recipe_of(optimizer="keras_sgd", **constant))
    np.testing.assert_allclose(ours, follow(recipe_of(optimizer="sgd", **constant)), rtol=1e-6)
    changing = {"schedule": "inverse_time", "decay": 0.5, "nesterov": nesterov}
    ours = follow(recipe_of(optimizer="keras_sgd", **changing))
    assert np.abs(ours - follow(recipe_of(optimizer="sgd", **changing))).max() > 1e-3
