"""Agreement with an independent PyTorch implementation, by the file that make_golden.py writes."""

import json
import pathlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flaxdrop.models import PreResNet

FILE = pathlib.Path(__file__).with_name("golden_preresnet.npz")
MODELS = {
    "basic14": PreResNet(14, 10, block="basic", widths=(4, 8, 16)),
    "bottleneck11": PreResNet(11, 10, block="bottleneck", widths=(4, 8, 16)),
    "imagenet": PreResNet((2, 1), 10, block="bottleneck", widths=(4, 8), stem="imagenet"),
}
MOMENTUM = 0.1  # torch's: the weight of the new statistics
LEAVES = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def load(network):
    with np.load(FILE) as file:
        shapes = json.loads(str(file[f"{network}/arrays"]))
        values = file[f"{network}/values"]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(values, ends[:-1])
    assert ends[-1] == values.size
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def under(arrays, prefix):
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def module_path(name):
    """ "stages.1.0.bn2" -> ("stage2_first", "norm2"), 0; the number counts the scanned blocks."""
    if name.startswith("stages."):
        _, stage, block, module = name.split(".")
        module = module.replace("bn", "norm").replace("downsample", "projection")
        place = "first" if block == "0" else "rest"
        return (f"stage{int(stage) + 1}_{place}", module), int(block) - 1
    return ({"conv": "stem", "bn": "norm", "fc": "classifier"}[name],), -1


def to_flax(arrays):
    """The nested tree of our names; blocks after the first of a stage are stacked."""
    tree, stacked = {}, {}
    for name, array in arrays.items():
        module, leaf = name.rsplit(".", 1)
        path, scanned = module_path(module)
        if array.ndim == 4:
            path, array = (*path, "kernel"), array.transpose(2, 3, 1, 0)
        elif array.ndim == 2:
            path, array = (*path, "kernel"), array.T
        else:
            path = (*path, LEAVES[leaf])
        if scanned < 0:
            tree[path] = array
        else:
            stacked.setdefault(path, {})[scanned] = array
    for path, blocks in stacked.items():
        tree[path] = np.stack([blocks[i] for i in range(len(blocks))])
    nested = {}
    for path, array in tree.items():
        node = nested
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    return nested


@pytest.fixture(scope="module", params=MODELS)
def network(request):
    arrays = load(request.param)
    state = under(arrays, "state/")
    running = {name: array for name, array in state.items() if "running" in name}
    weights = {name: array for name, array in state.items() if "running" not in name}
    variables = {"params": to_flax(weights), "batch_stats": to_flax(running)}
    return MODELS[request.param], arrays, jax.tree.map(jnp.asarray, variables)


@pytest.fixture(scope="module")
def trained(network):
    """(loss, (logits, updated statistics)), gradients."""
    model, arrays, variables = network
    labels = arrays["labels"].astype(np.int32)

    @jax.jit
    def run(variables, x):
        def loss(params):
            logits, updated = model.apply(
                {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return jnp.mean(losses), (logits, updated["batch_stats"])

        return jax.value_and_grad(loss, has_aux=True)(variables["params"])

    return run(variables, arrays["x"])


def close(got, expected):
    chex.assert_trees_all_close(got, expected, rtol=1e-5, atol=1e-5)


def test_both_have_the_same_parameters(network):
    model, arrays, variables = network
    shapes = jax.eval_shape(model.init, jax.random.key(0), arrays["x"])
    chex.assert_trees_all_equal_shapes_and_dtypes(shapes, variables)


def test_inference(network):
    model, arrays, variables = network
    close(jax.jit(model.apply)(variables, arrays["x"]), arrays["logits_eval"])


def test_forward_pass_of_training(network, trained):
    _, arrays, _ = network
    (loss, (logits, _)), _ = trained
    close(logits, arrays["logits_train"])
    close(loss, arrays["loss"])


def test_gradients(network, trained):
    _, arrays, _ = network
    expected = to_flax(under(arrays, "gradient/"))
    close(trained[1], expected)
    for leaf in jax.tree.leaves(expected):
        assert np.abs(leaf).max() > 1e-4  # so that 1e-5 means something


def test_running_statistics(network, trained):
    _, arrays, _ = network
    expected = under(arrays, "updated/")
    for name, variance in expected.items():
        if name.endswith("running_var"):
            # torch adds the unbiased variance of the batch, n / (n - 1) times the one used here.
            n = arrays["count/" + name.removesuffix(".running_var")]
            before = (1 - MOMENTUM) * arrays[f"state/{name}"]
            expected[name] = before + (variance - before) * (n - 1) / n
    close(trained[0][1][1], to_flax(expected))
