"""The networks under test, and small ones with variables, for tests of networks and operations."""

import dataclasses
import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from docs.templates.network import Network as Template
from flaxdrop import Placement
from flaxdrop.models import VGG, ConvNet, DenseNet, Head, PreResNet


class Forms(NamedTuple):
    """Two forms of a network, each with the shape of its images.

    Attributes:
      small: for what is compiled and run many times; with several places for the slots of blocks.
      wide: as wide as people use it: a convolution takes its kernels by width and image.
    """

    small: nn.Module
    small_image: tuple[int, int, int]
    wide: nn.Module
    wide_image: tuple[int, int, int]


# A new network is one line here.
NETWORKS = {
    "vgg": Forms(VGG(5, widths=(4, 8), units=16), (10, 10, 3), VGG(10), (22, 22, 3)),
    "preresnet": Forms(PreResNet(14, 5, widths=(4, 8)), (8, 8, 3), PreResNet(14, 10), (32, 32, 3)),
    "bottleneck": Forms(
        PreResNet(8, 5, "bottleneck", widths=(4, 8)),
        (8, 8, 3),
        PreResNet(11, 10, "bottleneck"),
        (16, 16, 3),
    ),
    "preresnet_imagenet": Forms(
        PreResNet((2, 1), 5, "bottleneck", widths=(4, 8), stem="imagenet"),
        (17, 17, 3),
        PreResNet((1, 1), 10, "bottleneck", widths=(64, 128), stem="imagenet"),
        (32, 32, 3),
    ),
    "densenet": Forms(
        DenseNet((2, 1), 5, growth=4, stem="cifar"),
        (8, 8, 3),
        DenseNet(10, 10, stem="cifar"),
        (16, 16, 3),
    ),
    "convnet": Forms(ConvNet(5, widths=(4, 8), units=16), (16, 17, 3), ConvNet(10), (32, 32, 3)),
    "head": Forms(Head(5), (2, 3, 8), Head(10), (4, 4, 64)),
    "template": Forms(Template(5, widths=(4, 8)), (8, 8, 3), Template(10), (16, 16, 3)),
}


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
    """A small network with variables and images; its programs are compiled once."""

    model: nn.Module
    x: jax.Array
    variables: dict

    @property
    def off(self):
        """Every slot is there, and drops nothing."""
        return Placement(dict.fromkeys(self.model.slots, 0.0))

    def forward(self, variables, placement, key):
        """Logits and updated statistics, in training."""
        return self.model.apply(
            variables,
            self.x,
            train=True,
            placement=placement,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )

    def gradients(self, variables, placement, key):
        """Gradients of the loss, and (logits, updated statistics), in training."""

        labels = jnp.arange(len(self.x))

        def loss(params):
            logits, updated = self.forward({**variables, "params": params}, placement, key)
            losses = -jax.nn.log_softmax(logits)[labels, labels]
            return jnp.mean(losses), (logits, updated.get("batch_stats", {}))

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
        placement = placement.broadcast(self.model.slots)
        return self._train(self.variables, placement, jax.random.key(seed))

    def infer(self, placement, seed=2):
        return self._infer(self.variables, placement, jax.random.key(seed))


@functools.cache
def small_network(name):
    """The small form of a network, for a whole run of pytest."""
    model, image, _, _ = NETWORKS[name]
    x = jnp.asarray(np.random.RandomState(1).randn(4, *image), jnp.float32)
    return Small(model, x, variables_of(model, x))


@pytest.fixture(scope="session")
def small():
    """A network with a stride, a projection and a scan over two blocks in each of two stages."""
    return small_network("preresnet")
