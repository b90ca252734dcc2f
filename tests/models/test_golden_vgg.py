"""Agreement with Keras's own layers, by the file that make_golden_vgg.py writes."""

import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from flaxdrop.data.augment import normalise
from flaxdrop.models import VGG, ConvNet

FILE = pathlib.Path(__file__).with_name("golden_vgg.npz")
MODELS = {
    "vgg": VGG(3, widths=(3, 4, 5), units=6),
    "vgg_without_norm": VGG(3, widths=(3, 4, 5), units=6, batch_norm=False),
    "max": ConvNet(3, pooling="max", widths=(3, 4), units=6),
    "average": ConvNet(3, pooling="average", widths=(3, 4), units=6),
}
VARIABLES = {
    "gamma": ("params", "scale"),
    "beta": ("params", "bias"),
    "moving_mean": ("batch_stats", "mean"),
    "moving_variance": ("batch_stats", "var"),
    "kernel": ("params", "kernel"),
    "bias": ("params", "bias"),
}


def path_of(network, name):
    """ "norm_conv1_2/gamma" -> ("params", "conv1_2", "norm", "scale")."""
    layer, _, variable = name.partition("/")
    collection, leaf = VARIABLES[variable]
    if layer == "classifier" or layer == "hidden":
        return collection, layer, leaf
    if not network.startswith("vgg"):
        return collection, *layer.split("_"), leaf
    normalises = layer.startswith("norm_")
    return collection, layer.removeprefix("norm_"), "norm" if normalises else "linear", leaf


@pytest.fixture(scope="module", params=MODELS)
def both(request):
    """(what Keras gave, what the network of ours gives), by the same names."""
    network, model = request.param, MODELS[request.param]
    with np.load(FILE) as file:
        arrays = {
            name.removeprefix(f"{network}/"): file[name]
            for name in file
            if name.startswith(f"{network}/")
        }

    def tree(kind):
        own = [name for name in arrays if name.startswith(f"{kind}/")]
        return {path_of(network, name.removeprefix(f"{kind}/")): arrays[name] for name in own}

    variables = unflatten_dict(tree("before"))
    x = normalise(jnp.asarray(arrays["pixels"]), (0.0, 0.0, 0.0), (256 / 255,) * 3)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), x))
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, shapes)

    def loss_of(params):
        logits, after = model.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(arrays["y"]))
        return losses.mean(), (logits, after)

    @jax.jit
    def run():
        (loss, (logits, after)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            variables["params"]
        )
        return {
            "loss": loss,
            "logits_training": logits,
            "logits_inference": model.apply(variables, x),
            "after": flatten_dict(after),
            "gradients": flatten_dict({"params": gradients}),
        }

    theirs = {name: arrays[name] for name in ("loss", "logits_training", "logits_inference")}
    return theirs | {kind: tree(kind) for kind in ("after", "gradients")}, run()


@pytest.mark.parametrize(
    "what", ["loss", "logits_training", "logits_inference", "after", "gradients"]
)
def test_agrees_with_keras(both, what):
    theirs, ours = (values[what] for values in both)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=3e-5)
