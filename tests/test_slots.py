"""A misspelt slot, in networks of a user's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from flaxdrop import Dropout, Placement, find_slots
from flaxdrop.models import ConvNet, PreResNet
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.steps import initial_state, train_step
from flaxdrop.training.task import Cell, Images, Task

X = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
RNGS = {"dropout": jax.random.key(1)}


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, placement=None):
        return Dropout("inner")(nn.relu(x), placement)


class Undeclared(nn.Module):
    """A network that says nothing of its slots."""

    lift: str = "remat"

    @nn.compact
    def __call__(self, x, train=False, placement=None):
        x = {"remat": nn.remat, "jit": nn.jit}[self.lift](Block)()(x, placement)
        x = nn.Dense(3)(x.mean((1, 2)))
        return Dropout("outer")(x, placement) if train else x


class Declared(Undeclared):
    @property
    def slots(self):
        return {"inner": 1, "outer": 1}


def refused(slot, known):
    return pytest.raises(ValueError, match=rf"^placement: unknown slot '{slot}'.* has {known}")


@pytest.mark.parametrize("lift", ["remat", "jit"])
def test_slots_are_found_by_tracing_a_call(lift):
    for _ in range(2):  # `nn.jit` traces once for calls that are alike
        assert find_slots(Undeclared(lift), X) == ("inner",)
        assert find_slots(Undeclared(lift), X, train=True) == ("inner", "outer")


@pytest.mark.parametrize("model", [PreResNet(8, 3, widths=(2,) * 3), ConvNet(3, widths=(2,))])
def test_networks_declare_the_slots_that_they_reach(model):
    assert set(find_slots(model, X)) == set(model.slots)


def test_a_network_that_declares_its_slots_refuses_others():
    def call(placement):
        variables = Declared().init(jax.random.key(0), jnp.zeros(X.shape))
        return Declared().apply(variables, jnp.zeros(X.shape), True, placement, rngs=RNGS)

    call(Placement.parse("outer=0.5,inner=0.5"))
    with refused("outter", "inner, outer") as error:
        call(Placement.parse("outter=0.5"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("lift", ["remat", "jit"])
def test_a_training_step_refuses_a_slot_that_the_network_does_not_reach(lift):
    images = Images(
        x_train=jnp.zeros((4, 8, 8, 3), jnp.uint8),
        y_train=jnp.zeros(4, jnp.int32),
        x_test=jnp.zeros((4, 8, 8, 3), jnp.uint8),
        y_test=jnp.zeros(4, jnp.int32),
        mean=jnp.zeros(3),
        std=jnp.ones(3),
    )
    task = Task(Undeclared(lift), Recipe(epochs=1, batch=2), examples=4)

    def step(slot):
        cell = Cell(jax.random.key(0), Placement({slot: 0.5}).broadcast({slot: 1}))
        state = jax.eval_shape(lambda: initial_state(task, images, cell))
        return jax.eval_shape(lambda state: train_step(task, images, cell, state), state)

    for slot in ("outer", "inner"):
        step(slot)
    with refused("outter", "inner, outer"):
        step("outter")
