"""Small networks with variables, for tests of networks, operations and weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flaxdrop import Placement
from flaxdrop.models import PreResNet


def variables_of(model, x):
    """Variables with positive variances: quicker than to compile the initialisation."""
    random = np.random.RandomState(0)

    def fill(path, leaf):
        if path[-1].key in ("scale", "var"):
            return jnp.asarray(random.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
        fan_in = max(int(np.prod(leaf.shape[:-1])), 9)
        return jnp.asarray(random.randn(*leaf.shape) * fan_in**-0.5, leaf.dtype)

    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.fixture
def filled():
    return variables_of


@dataclasses.dataclass(frozen=True)
class Small:
    """A network with a stride, a projection and a scan over two blocks in each of two stages."""

    model: PreResNet
    x: jax.Array
    variables: dict

    @property
    def off(self):
        """Every slot is there, and drops nothing."""
        return Placement(dict.fromkeys(self.model.slots, 0.0))

    def gradients(self, variables, placement, key):
        """Gradients of the loss, and (logits, updated statistics), in training."""

        labels = jnp.arange(len(self.x))

        def loss(params):
            logits, updated = self.model.apply(
                {**variables, "params": params},
                self.x,
                train=True,
                placement=placement,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            losses = -jax.nn.log_softmax(logits)[labels, labels]
            return jnp.mean(losses), (logits, updated["batch_stats"])

        return jax.grad(loss, has_aux=True)(variables["params"])

    @functools.cached_property
    def _train(self):
        return jax.jit(self.gradients)

    @functools.cached_property
    def _infer(self):
        return jax.jit(
            lambda variables, placement, key: self.model.apply(
                variables, self.x, placement=placement, rngs={"dropout": key}
            )
        )

    def train(self, placement, seed=2):
        return self._train(self.variables, placement, jax.random.key(seed))

    def infer(self, placement, seed=2):
        return self._infer(self.variables, placement, jax.random.key(seed))


@pytest.fixture(scope="session")
def small():
    model = PreResNet(14, 5, widths=(4, 8))
    x = jnp.asarray(np.random.RandomState(1).randn(4, 8, 8, 3), jnp.float32)
    return Small(model, x, variables_of(model, x))
