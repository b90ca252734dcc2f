"""The examples of docs/nnx.md run as they stand."""

import pathlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "nnx.md"


class Block(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.conv2 = nnx.Conv(4, 4, (3, 3), rngs=rngs)

    def __call__(self, x):
        return x + self.conv2(nnx.relu(self.norm(self.conv1(x))))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.block_0, self.block_1 = Block(rngs), Block(rngs)
        self.head = nnx.Linear(4, 5, rngs=rngs)

    def __call__(self, x):
        x = self.block_1(self.block_0(self.stem(x)))
        return self.head(x.mean((1, 2)))


def test_the_page_runs(capsys):
    scope = {
        "model": Network(nnx.Rngs(0)),
        "x": jax.random.normal(jax.random.key(0), (16, 8, 8, 3)),
        "y": jnp.arange(16) % 5,
    }
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) >= 4
    for block in blocks:
        exec(block, scope)
    assert jnp.isfinite(scope["value"])
    assert "block_*/conv2:in" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["block_*/conv2:in", "p6"])
def test_names_of_the_page_are_there(name):
    assert name in PAGE.read_text()
