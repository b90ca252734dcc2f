import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxdrop
from flaxdrop.placement import Placement
from flaxdrop.results.provenance import digest
from flaxdrop.training.cells import compile_programs, to_images
from flaxdrop.training.recipe import Recipe
from flaxdrop.training.task import Cell, Task


class SmallNetwork(nn.Module):
    """Everything that the steps deal with, and nothing that takes long to compile.

    A rate at the slot `lost` makes the loss of a cell something that is not a number.
    """

    num_classes: int = 10

    @property
    def slots(self):
        return {"hidden": 1, "lost": 1}

    @nn.compact
    def __call__(self, x, train=False, placement=None):
        x = nn.Dense(16)(x.reshape(len(x), -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        placement = (placement or Placement()).broadcast(self.slots)
        x = nn.Dense(self.num_classes)(flaxdrop.Dropout("hidden")(x, placement))
        if "lost" in placement:
            x = jnp.where(placement.rate("lost") > 0, jnp.nan, x)
        return x


@pytest.fixture(scope="session")
def network():
    return SmallNetwork()


@pytest.fixture(scope="session")
def dataset():
    """70 digits to train, 60 to test."""
    return flaxdrop.data.load("digits").first(70, 60)


@pytest.fixture(scope="session")
def images(dataset):
    return jax.device_put(to_images(dataset, (), ()))


@pytest.fixture(scope="session")
def task(network):
    """Three epochs of four steps; six examples are left over in every epoch."""
    return Task(network, Recipe(epochs=3, batch=16, crop=1, flip=True), examples=70)


@pytest.fixture(scope="session")
def make_cell(task):
    def make(rate=0.0, seed=0, lost=0.0):
        placement = Placement({"hidden": rate, "lost": lost}).broadcast(task.model.slots)
        return Cell(key=jax.random.key(seed), placement=placement)

    return make


@pytest.fixture(scope="session")
def programs_of(images, make_cell):
    """The compiled programs of a task, made once for each number of devices."""

    @functools.cache
    def compiled(task, cells_in_parallel):
        return compile_programs(task, images, make_cell(), jax.devices("cpu")[:cells_in_parallel])

    return compiled


@pytest.fixture(scope="session")
def bits_of():
    """The digest of everything in a state."""
    return lambda state: digest(jax.tree.map(np.asarray, state))
