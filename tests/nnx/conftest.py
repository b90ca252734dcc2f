"""One network in Linen and in NNX, with the same names and the same weights."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import flaxdrop
from flaxdrop.nnx import Dropout, with_slots

WIDTH = 8
SLOTS = ("p4", "p6")


class LinenBlock(nn.Module):
    train: bool
    placement: Any = None
    turn: bool = False

    @nn.compact
    def __call__(self, x, _=None):
        def norm(name):
            return nn.BatchNorm(use_running_average=not self.train, name=name)

        y = nn.Dense(WIDTH, use_bias=False, name="dense1")(nn.relu(norm("norm1")(x)))
        y = norm("norm2")(flaxdrop.Dropout("p4")(y, self.placement))
        y = flaxdrop.Dropout("p6")(nn.relu(y), self.placement)
        x = x + nn.Dense(WIDTH, use_bias=False, name="dense2")(y)
        return (x, None) if self.turn else x


class LinenNetwork(nn.Module):
    scanned: bool = False

    @nn.compact
    def __call__(self, x, train=False, placement=None):
        x = nn.Dense(WIDTH, name="stem")(x)
        if self.scanned:
            scan = nn.scan(
                LinenBlock,
                variable_axes={"params": 0, "batch_stats": 0},
                split_rngs={"params": True, "dropout": True},
                length=2,
            )
            x, _ = scan(train, placement, True, name="blocks")(x, None)
        else:
            for i in range(2):
                x = LinenBlock(train, placement, name=f"block_{i}")(x)
        x = nn.BatchNorm(use_running_average=not train, name="norm")(x)
        return nn.Dense(3, name="head")(x)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.norm1 = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.dense1 = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.dense2 = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.p4, self.p6 = Dropout("p4"), Dropout("p6")

    def __call__(self, x):
        y = self.dense1(nnx.relu(self.norm1(x)))
        return x + self.dense2(self.p6(nnx.relu(self.norm2(self.p4(y)))))


@nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
def through(block, x):
    return block(x)


class Network(nnx.Module):
    def __init__(self, rngs, *, scanned=False):
        self.stem = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.scanned = scanned
        if scanned:
            self.blocks = nnx.split_rngs(splits=2)(nnx.vmap(Block, in_axes=(0,)))(rngs)
        else:
            self.block_0, self.block_1 = Block(rngs), Block(rngs)
        self.norm = nnx.BatchNorm(WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, 3, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        x = through(self.blocks, x) if self.scanned else self.block_1(self.block_0(x))
        return self.head(self.norm(x))


@dataclasses.dataclass(frozen=True)
class Pair:
    """A network in Linen, its variables, the same one in NNX, and a batch."""

    linen: nn.Module
    variables: dict
    nnx: nnx.Module
    x: jax.Array


def copy_variables(variables, network):
    """Puts the values of Linen where NNX has the same names."""
    for path, variable in nnx.iter_graph(network):
        if isinstance(variable, nnx.Param | nnx.BatchStat):
            kind = "params" if isinstance(variable, nnx.Param) else "batch_stats"
            value = variables[kind]
            for name in path:
                value = value[str(name)]
            variable[...] = jnp.asarray(value)


def make_pair(scanned):
    random = np.random.RandomState(0)
    x = jnp.asarray(random.randn(64, WIDTH), jnp.float32)
    linen = LinenNetwork(scanned)
    shapes = jax.eval_shape(lambda: linen.init(jax.random.key(0), x))

    def fill(path, leaf):
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(random.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        return jnp.asarray(random.randn(*leaf.shape) * 0.3, leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(fill, shapes)
    network = Network(nnx.Rngs(0), scanned=scanned)
    copy_variables(variables, network)
    return Pair(linen, variables, network, x)


@pytest.fixture(params=["unrolled", "scanned"])
def pair(request):
    return make_pair(request.param == "scanned")


@pytest.fixture
def unrolled():
    return make_pair(False)


@pytest.fixture
def scanned():
    return make_pair(True)


@pytest.fixture
def slotted(unrolled):
    return with_slots(unrolled.nnx, unrolled.x)
