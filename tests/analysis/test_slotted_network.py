"""What else is measured of a network with slots at its boundaries."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement, with_slots
from flaxdrop.analysis import advise, mc_predict, recalibrate, variance_shift
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.steps import Cell, Images, Task, initial_state, train_step


class Network(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(16)(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(3)(x)


@pytest.fixture(scope="module")
def network(initialise):
    x = jnp.asarray(np.random.RandomState(0).randn(256, 4, 4, 3), jnp.float32)
    return with_slots(Network(), x), initialise(Network(), x), x


@pytest.mark.parametrize(("slot", "ratio"), [("BatchNorm_0:in", 0.5), ("Dense_0:out", 0.5)])
def test_its_shift_is_that_of_dropout_before_the_norm(network, slot, ratio):
    shift = variance_shift(*network, Placement({slot: 0.5}), masks=2)
    assert shift.norms[0].geometric_mean == pytest.approx(ratio, abs=0.05)
    assert shift.dropout_layers == (slot,)


def test_its_slots_are_judged_and_others_tried(network):
    model, variables, x = network
    [wrong] = advise(model, variables, x, Placement.parse("BatchNorm_0:in=0.5"))
    assert wrong.move_to == "BatchNorm_0:out"
    assert wrong.size < 1e-4 < wrong.shift.mean_abs_log_ratio
    [right] = advise(model, variables, x, Placement.parse("Dense_1:in=0.5"))
    assert right.move_to is None
    [pattern] = advise(model, variables, x, Placement.parse("BatchNorm_*:in=0.5"))
    assert pattern.shift.mean_abs_log_ratio == pytest.approx(wrong.shift.mean_abs_log_ratio)


def test_dropout_stays_on_to_tell_what_it_does_not_know(network):
    model, variables, x = network
    placement = Placement.parse("Dense_1:in=0.5")
    options = {"key": jax.random.key(1), "samples": 8}
    made = mc_predict(model, variables, x[:4], placement, **options)
    assert made.probabilities.shape == (4, 3)
    assert np.all(made.mutual_information > 1e-4)
    with pytest.raises(ValueError, match=r"^placement: 'Dense_7:in' names no place"):
        mc_predict(model, variables, x[:4], Placement.parse("Dense_7:in=0.5"), **options)


def test_it_is_recalibrated_as_the_network_is(network):
    model, variables, x = network
    one, other = (recalibrate(each, variables, [x]) for each in (model, model.model))
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("text", ["Dense_*:in=0.5", "Dense_0:out=0.5"])
def test_it_is_trained_by_patterns_and_aliases(network, text):
    images = Images(
        x_train=jnp.zeros((4, 4, 4, 3), jnp.uint8),
        y_train=jnp.zeros(4, jnp.int32),
        x_test=jnp.zeros((4, 4, 4, 3), jnp.uint8),
        y_test=jnp.zeros(4, jnp.int32),
        mean=jnp.zeros(3),
        std=jnp.ones(3),
    )
    task = Task(network[0], Recipe(epochs=1, batch=2), examples=4)

    def step(text):
        cell = Cell(jax.random.key(0), Placement.parse(text))
        state = jax.eval_shape(lambda: initial_state(task, images, cell))
        return jax.eval_shape(lambda state: train_step(task, images, cell, state), state)

    step(text)
    with pytest.raises(ValueError, match=r"^placement: 'Dense_7:in' names no place"):
        step("Dense_7:in=0.5")
