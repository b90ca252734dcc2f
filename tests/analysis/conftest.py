import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Dropout, Placement
from flaxdrop.analysis import probe
from flaxdrop.models import PreResNet

WIDTH = 128


class DenseBlock(nn.Module):
    """The branch of a basic block on dense layers, with a slot in every place."""

    @property
    def slots(self):
        return {f"p{i}": 1 for i in range(1, 8)}

    @nn.compact
    def __call__(self, x, train=False, placement=None):
        def drop(slot, y):
            return Dropout(slot)(y, placement)

        def dense(y):
            init = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
            return nn.Dense(WIDTH, use_bias=False, kernel_init=init)(y)

        def norm(y, name):
            return nn.BatchNorm(use_running_average=not train, name=name)(y)

        y = drop("p2", norm(drop("p1", x), "norm1"))
        y = dense(drop("p3", nn.relu(y)))
        y = drop("p5", norm(drop("p4", y), "norm2"))
        return x + drop("p7", dense(drop("p6", nn.relu(y))))


def initialised(model, x, **options):
    return jax.jit(lambda key: model.init(key, x, **options))(jax.random.key(1))


def shifts_of(model, variables, x):
    """A function: placement -> shift; compiled once for all slots."""
    off = Placement(dict.fromkeys(model.slots, 0.0))
    made = probe(model, variables, x, Placement(dict.fromkeys(model.slots, 0.1)))

    def measure(text, variables=variables):
        placement = Placement.parse(text)
        slots = placement.slots
        return made.measure(variables, x, off | placement, dropout_layers=slots, masks=2)

    return measure


@pytest.fixture(scope="session")
def dense_block():
    """(model, variables, batch of 4096)."""
    x = jnp.asarray(np.random.RandomState(0).randn(4096, WIDTH), jnp.float32)
    return DenseBlock(), initialised(DenseBlock(), x), x


@pytest.fixture(scope="session")
def dense_block_probe(dense_block):
    """A function: placement -> shift of the block."""
    return shifts_of(*dense_block)


@pytest.fixture(scope="session")
def preresnet():
    """(model, variables, batch of 32): a stage of three blocks."""
    model = PreResNet(depth=8, num_classes=10, widths=(8,))
    x = jnp.asarray(np.random.RandomState(0).randn(32, 8, 8, 3), jnp.float32)
    return model, initialised(model, x), x


@pytest.fixture(scope="session")
def preresnet_probe(preresnet):
    """A function: placement -> shift of the network."""
    return shifts_of(*preresnet)


@pytest.fixture(scope="session")
def initialise():
    return initialised
