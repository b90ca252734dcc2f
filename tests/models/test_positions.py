"""The positions of our network are boundaries of plain ones: the same masks, the same gradients."""

import functools
import sys
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flaxdrop.boundaries.interception
from benchmarks.throughput.baselines import flax_networks
from flaxdrop import Placement, hashing, with_slots
from flaxdrop.boundaries.patterns import matcher
from flaxdrop.models import PreResNet

pytestmark = pytest.mark.slow

BLOCKS = 2  # a stage: one of our scans has one turn, and its path tells the block
POSITIONS = {
    "p0": "{block}_*:in",
    "p1": "{block}_*/BatchNorm_0:in",
    "p2": "{block}_*/BatchNorm_0:out",
    "p3": "{block}_*/Conv_0:in",
    "p4": "{block}_*/BatchNorm_1:in",
    "p5": "{block}_*/BatchNorm_1:out",
    "p6": "{block}_*/Conv_1:in",
    "p7": "{block}_*/Conv_1:out",
    "h5": "Dense_0:in",
    "logits": "Dense_0:out",
}


class PreActBlock(nn.Module):
    """As the blocks of Flax's ResNet example are written, with the norms first."""

    filters: int
    conv: Callable
    norm: Callable
    act: Callable
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        residual = x
        y = self.act(self.norm()(x))
        y = self.conv(self.filters, (3, 3), self.strides)(y)
        y = self.act(self.norm()(y))
        y = self.conv(self.filters, (3, 3))(y)
        if residual.shape != y.shape:
            residual = self.conv(self.filters, (1, 1), self.strides, padding=0)(residual)
        return residual + y


class ExampleStyle(nn.Module):
    """A network in the style of Flax's examples, without dropout."""

    blocks: int
    num_classes: int

    @nn.compact
    def __call__(self, x, train=True):
        conv = functools.partial(nn.Conv, padding=1, use_bias=False, dtype=jnp.float32)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = conv(16, (3, 3))(x)
        for i, filters in enumerate((16, 32, 64)):
            for j in range(self.blocks):
                strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                x = PreActBlock(filters, conv, norm, nn.relu, strides)(x)
        x = jnp.mean(nn.relu(norm()(x)), axis=(1, 2))
        return nn.Dense(self.num_classes)(x)


PLAIN = {
    "Block": flax_networks.PreResNet(BLOCKS, 5, rate=0.0),
    "PreActBlock": ExampleStyle(BLOCKS, 5),
}


def to_plain(tree, block):
    """Parameters, statistics or gradients of our network, named as those of a plain one."""
    names = {
        "norm1": "BatchNorm_0",
        "conv1": "Conv_0",
        "norm2": "BatchNorm_1",
        "conv2": "Conv_1",
        "projection": "Conv_2",
        "stem": "Conv_0",
        "norm": "BatchNorm_0",
        "classifier": "Dense_0",
    }
    plain = {}
    for name, part in tree.items():
        if not name.startswith("stage"):
            plain[names[name]] = part
            continue
        stage, place = int(name[5]) - 1, name[7:]
        part = part if place == "first" else jax.tree.map(lambda leaf: leaf[0], part)
        number = BLOCKS * stage + (place == "rest")
        plain[f"{block}_{number}"] = {names[own]: leaf for own, leaf in part.items()}
    return plain


@pytest.fixture
def same_words(monkeypatch):
    """Both draw masks from the number of the block and the name of the position."""

    def words(number, position):
        key = hashing.key_to_words(jax.random.key(3))
        return hashing.fold_in(key, hashing.name_word(str(number), position))

    def of_slot(module):
        *around, layer = module.path
        number = BLOCKS * (int(around[0][5]) - 1) + ("rest" in around[0]) if around else -1
        return words(number, layer.removesuffix("_dropout"))

    def of_place(module, side, _):
        name = "/".join(module.path)
        around, number = module.path[0].split("_")
        for position, pattern in POSITIONS.items():
            block = around if around in PLAIN else "none"
            if matcher(pattern.format(block=block))(f"{name}:{side}"):
                return words(int(number) if around in PLAIN else -1, position)
        raise AssertionError(name)

    # `flaxdrop.dropout` is the function, not its module.
    monkeypatch.setattr(sys.modules["flaxdrop.dropout"], "_slot_key", of_slot)
    monkeypatch.setattr(flaxdrop.boundaries.interception, "place_words", of_place)


def gradients(model, params, statistics, x, placement):
    def loss(params):
        logits, updated = model.apply(
            {"params": params, "batch_stats": statistics},
            x,
            train=True,
            placement=placement,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )
        losses = jax.nn.log_softmax(logits)[jnp.arange(len(x)), jnp.arange(len(x)) % 5]
        return -jnp.mean(losses), (logits, updated["batch_stats"])

    return jax.grad(loss, has_aux=True)(params)


@pytest.mark.usefixtures("same_words")
@pytest.mark.parametrize("block", list(PLAIN))
def test_the_positions_are_boundaries_of_plain_networks(block, filled):
    ours = PreResNet(6 * BLOCKS + 2, 5)
    x = jnp.asarray(np.random.RandomState(1).randn(4, 8, 8, 3), jnp.float32)
    variables = filled(ours, x)
    plain = with_slots(PLAIN[block], x, train=True)
    patterns = {position: pattern.format(block=block) for position, pattern in POSITIONS.items()}
    assert {position: plain.slots[pattern] for position, pattern in patterns.items()} == {
        position: ours.slots[position] for position in POSITIONS
    }
    of_ours = jax.jit(functools.partial(gradients, ours))
    of_plain = jax.jit(functools.partial(gradients, plain))
    translated = {name: to_plain(tree, block) for name, tree in variables.items()}
    undropped = None
    for on in (None, *POSITIONS):
        rates = {
            position: np.linspace(0.1, 0.6, ours.slots[position], dtype=np.float32)
            * (position == on)
            for position in POSITIONS
        }
        rates = {name: rate if rate.size > 1 else rate[0] for name, rate in rates.items()}
        mine, (logits, statistics) = of_ours(
            variables["params"], variables["batch_stats"], x, Placement(rates)
        )
        theirs, (plain_logits, plain_statistics) = of_plain(
            translated["params"],
            translated["batch_stats"],
            x,
            Placement({patterns[name]: rate for name, rate in rates.items()}),
        )
        np.testing.assert_allclose(plain_logits, logits, rtol=1e-3, atol=1e-3, err_msg=on)
        for one, other in ((theirs, mine), (plain_statistics, statistics)):
            jax.tree.map(
                functools.partial(np.testing.assert_allclose, rtol=1e-2, atol=2e-3, err_msg=on),
                one,
                to_plain(other, block),
            )
        undropped = logits if on is None else undropped
        assert on is None or np.max(np.abs(logits - undropped)) > 0.01
