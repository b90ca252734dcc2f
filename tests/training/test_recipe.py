import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxdrop.training.recipe import Recipe

PAPER = Recipe(epochs=164, batch=128, decay_at=(81 / 164, 122 / 164))


def test_an_epoch_has_whole_batches():
    assert Recipe(epochs=1, batch=30).steps_per_epoch(100) == 3
    assert Recipe(epochs=1, batch=100).steps_per_epoch(100) == 1


def test_step_schedule_decays_at_the_first_step_of_the_papers_epochs():
    steps_per_epoch = PAPER.steps_per_epoch(50_000)
    rate = PAPER.rate_schedule(164 * steps_per_epoch)
    for epoch, before, after in ((81, 0.1, 0.01), (122, 0.01, 0.001)):
        assert rate(epoch * steps_per_epoch - 1) == pytest.approx(before)
        assert rate(epoch * steps_per_epoch) == pytest.approx(after)
    assert rate(0) == pytest.approx(0.1)
    assert rate(164 * steps_per_epoch - 1) == pytest.approx(0.001)


def test_every_decay_counts_where_a_short_training_brings_two_to_one_step():
    recipe = Recipe(epochs=1, batch=1, decay_at=(0.5, 0.52, 0.9))
    rate = recipe.rate_schedule(10)
    assert [float(rate(step)) for step in (4, 5, 8, 9)] == pytest.approx([0.1, 1e-3, 1e-3, 1e-4])


def test_one_cycle_rises_to_the_learning_rate_and_ends_at_0():
    recipe = dataclasses.replace(PAPER, schedule="one_cycle")
    rates = [float(recipe.rate_schedule(1000)(step)) for step in range(1001)]
    assert max(rates) == pytest.approx(0.1)
    assert rates[0] < 0.01
    assert rates[-1] < 1e-4
    assert recipe.judged_epochs == 1


def test_cosine_and_constant_schedules():
    cosine = dataclasses.replace(PAPER, schedule="cosine").rate_schedule(1000)
    for step in (0, 1, 250, 500, 999, 1000):
        expected = 0.1 * (1 + math.cos(math.pi * step / 1000)) / 2
        assert cosine(step) == pytest.approx(expected, abs=1e-8)
    constant = dataclasses.replace(PAPER, schedule="constant").rate_schedule(1000)
    assert constant(0) == constant(999) == 0.1


GRADIENTS = np.array([[0.3, -2.0], [-1.0, 0.5], [0.2, 0.1], [2.0, -0.4]])


def follow(recipe, start, gradients):
    """The parameters after each step of the recipe's optimiser."""
    optimizer = recipe.make_optimizer(len(gradients))
    params = {"kernel": jnp.asarray(start)}
    state, path = optimizer.init(params), []
    for gradient in gradients:
        changes, state = optimizer.update({"kernel": jnp.asarray(gradient)}, state, params)
        params = optax.apply_updates(params, changes)
        path.append(np.asarray(params["kernel"]))
    return np.array(path)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_that_of_pytorch(momentum, nesterov):
    recipe = Recipe(
        epochs=1,
        batch=1,
        learning_rate=0.5,
        decay_at=(0.5,),
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=0.1,
    )
    w, velocity, expected = np.array([1.0, -3.0]), np.zeros(2), []
    for step, gradient in enumerate(GRADIENTS):
        # torch.optim.SGD: the decay is part of the gradient, the rate is outside of the velocity.
        gradient = gradient + 0.1 * w
        velocity = momentum * velocity + gradient
        w = w - (0.5 if step < 2 else 0.05) * (
            gradient + momentum * velocity if nesterov else velocity
        )
        expected.append(w)
    np.testing.assert_allclose(follow(recipe, [1.0, -3.0], GRADIENTS), expected, rtol=1e-5)


def test_adam_is_that_of_pytorch():
    recipe = Recipe(
        epochs=1,
        batch=1,
        optimizer="adam",
        learning_rate=0.1,
        schedule="constant",
        weight_decay=0.1,
    )
    w, first, second, expected = np.array([1.0, -3.0]), np.zeros(2), np.zeros(2), []
    for step, gradient in enumerate(GRADIENTS, start=1):
        gradient = gradient + 0.1 * w
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        corrected = first / (1 - 0.9**step), second / (1 - 0.999**step)
        w = w - 0.1 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
        expected.append(w)
    np.testing.assert_allclose(follow(recipe, [1.0, -3.0], GRADIENTS), expected, rtol=1e-5)


def test_weight_decay_is_of_all_parameters():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(2)}
    optimizer = Recipe(epochs=1, batch=1, weight_decay=0.1).make_optimizer(10)
    none = jax.tree.map(jnp.zeros_like, params)
    changes, _ = optimizer.update(none, optimizer.init(params), params)
    for change in jax.tree.leaves(changes):
        np.testing.assert_allclose(change, -0.1 * 0.1, rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch", 0),
        ("optimizer", "lamb"),
        ("schedule", "linear"),
        *[("learning_rate", value) for value in (0.0, -0.1, math.nan, math.inf)],
        *[("momentum", value) for value in (-0.1, 1.0, math.nan)],
        *[("weight_decay", value) for value in (-1e-4, math.nan, math.inf)],
        *[("decay", value) for value in (0.0, 1.1, math.nan)],
        *[("decay_at", value) for value in ((0.0,), (1.0,), (0.7, 0.5), (0.5, 0.5), (math.nan,))],
        ("crop", -1),
        ("std", (0.2,)),
        ("mean", (0.4, 0.4)),
    ],
)
def test_a_field_out_of_its_range_is_named_in_one_line(field, value):
    with pytest.raises(ValueError, match="must be") as caught:
        Recipe(**{"epochs": 1, "batch": 1, field: value})
    message = str(caught.value)
    assert "\n" not in message
    # How many means and standard deviations there are is a matter of both.
    assert message.startswith((f"{field}: ", "std: ") if field == "mean" else f"{field}: ")


@pytest.mark.parametrize("value", [-0.1, 1.1, 125.3, math.nan])
def test_mean_is_of_pixels_in_0_to_1(value):
    with pytest.raises(ValueError, match=r"^mean: must be in \[0, 1\]"):
        Recipe(epochs=1, batch=1, mean=(value,), std=(0.2,))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_std_is_finite_and_above_0(value):
    with pytest.raises(ValueError, match=r"^std: must be finite and above 0"):
        Recipe(epochs=1, batch=1, mean=(0.5,), std=(value,))


def test_a_batch_larger_than_the_training_set():
    with pytest.raises(ValueError, match=r"^batch: must be at most the 100 examples, got 101$"):
        Recipe(epochs=1, batch=101).steps_per_epoch(100)
