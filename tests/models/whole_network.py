"""Gradients of whole networks, each one compiled program: of ours, and of library operations alone.

What stands between two operations decides how the compiler fuses them, and so how it rounds: an
operation that is right alone may be wrong inside a network.

    echo NETWORK FILE.npz | python tests/models/whole_network.py [without-onednn]    # at XLA_FLAGS
"""

import contextlib
import sys
import types
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from flaxdrop import Placement
from flaxdrop.models import head
from flaxdrop.ops.cpu import onednn
from flaxdrop.training.environment import compiler_options
from tests.networks import NETWORKS

BATCH, DRAWS = 32, 4


def gradients(name, dtype=jnp.float32, options=None):
    """Of the training loss, with dropout in every slot, for several draws of weights and examples.

    Args:
      name: of the network.
      dtype: of parameters and computation.
      options: of the compiler.

    Returns:
      Path of the parameter -> `[draws, ...]`.
    """
    network, image = NETWORKS[name].wide, NETWORKS[name].wide_image
    model = network.clone(dtype=dtype) if hasattr(network, "dtype") else network
    placement = Placement(dict.fromkeys(model.slots, np.float32(0.1)))
    example = jnp.zeros((1, *image))
    shapes = jax.eval_shape(network.init, jax.random.key(0), example)

    def loss(params, others, x, y, placement, key):
        logits, _ = model.apply(
            {"params": params, **others},
            x,
            train=True,
            placement=placement,
            rngs={"dropout": key},
            mutable=["batch_stats"],
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def arguments(draw):
        random = np.random.RandomState(draw)
        x = jnp.asarray(random.randn(BATCH, *image), dtype)
        y = jnp.asarray(random.randint(network.num_classes, size=BATCH))
        others = jax.tree_util.tree_map_with_path(
            lambda *leaf: _drawn(random, *leaf, dtype), shapes
        )
        return others.pop("params"), others, x, y, placement, jax.random.key(draw)

    program = jax.jit(jax.grad(loss)).lower(*arguments(0)).compile(options)
    draws = [program(*arguments(draw)) for draw in range(DRAWS)]
    leaves, _ = jax.tree_util.tree_flatten_with_path(
        jax.tree.map(lambda *leaf: np.stack(leaf), *draws)
    )
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _drawn(random, path, leaf, dtype):
    if path[-1].key in ("scale", "var"):
        return jnp.asarray(random.uniform(0.5, 1.5, leaf.shape), dtype)
    fan_in = max(int(np.prod(leaf.shape[-4:-1])), 9)
    return jnp.asarray(random.randn(*leaf.shape) * (2 / fan_in) ** 0.5, dtype)


@contextlib.contextmanager
def library_operations(dtype):
    """The networks are made of Flax's and XLA's operations; what they say is f32 is `dtype`."""
    pools = {"max": nn.max_pool, "average": nn.avg_pool}
    replaced = {
        "jnp": types.SimpleNamespace(**{**vars(jnp), "float32": dtype}),
        "BatchNorm": nn.BatchNorm,
        "conv_general_dilated": lax.conv_general_dilated,
        "pool": lambda x, kind: pools[kind](x, (2, 2), (2, 2)),
        "remat_block": lambda part: part,
    }
    with contextlib.ExitStack() as stack:
        networks = (type(forms.wide).__module__ for forms in NETWORKS.values())
        for module in {head, *(sys.modules[name] for name in networks)}:
            for name in replaced.keys() & vars(module).keys():
                stack.enter_context(mock.patch.object(module, name, replaced[name]))
        stack.callback(jax.config.update, "jax_enable_x64", False)
        jax.config.update("jax_enable_x64", dtype == jnp.float64)
        yield


@contextlib.contextmanager
def without_onednn():
    """All convolutions are XLA's, pairs of pixels, or Winograd's."""
    with mock.patch.object(onednn, "available", return_value=False):
        jax.clear_caches()
        yield
    jax.clear_caches()


def errors(found, true):
    """Of every kernel's gradient in every draw, relative to its size: path -> `[draws]`."""

    def norm(x):
        return np.linalg.norm(x.reshape(len(x), -1), axis=1)

    return {
        path: norm(found[path] - value) / norm(value)
        for path, value in true.items()
        if path.endswith("['kernel']")
    }


def main(*words):
    """Writes the gradients of ours that each line asks for, and says when they are there."""
    context = without_onednn() if words else contextlib.nullcontext()
    with context:
        for line in sys.stdin:
            name, file = line.split()
            np.savez(file, **gradients(name, options=compiler_options(jax.devices()[0])))
            print(file, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
