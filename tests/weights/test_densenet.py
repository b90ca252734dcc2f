import pathlib
import re
import sys

import chex
import h5py
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from flaxdrop.models.densenet import DenseNet
from flaxdrop.weights.densenet import load_pretrained, save_pretrained

FILE = pathlib.Path(__file__).with_name("densenet.safetensors")
MODEL = DenseNet(depth=(2, 1, 2), num_classes=5, growth=4)
KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@pytest.fixture(scope="module")
def state():
    return load_file(FILE)


@pytest.fixture(scope="module")
def variables():
    return load_pretrained(MODEL, FILE)


def save(path, tensors):
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)
    return path


KERAS_MODEL = DenseNet(depth=(1,), num_classes=5, growth=4)
KERAS_SHAPES = {
    "conv1_conv": {"kernel": (7, 7, 3, 8)},
    "conv1_bn": dict.fromkeys(KERAS_NORM, (8,)),
    "conv2_block1_0_bn": dict.fromkeys(KERAS_NORM, (8,)),
    "conv2_block1_1_conv": {"kernel": (1, 1, 8, 16)},
    "conv2_block1_1_bn": dict.fromkeys(KERAS_NORM, (16,)),
    "conv2_block1_2_conv": {"kernel": (3, 3, 16, 4)},
    "bn": dict.fromkeys(KERAS_NORM, (12,)),
    "predictions": {"kernel": (12, 5), "bias": (5,)},
}


def save_keras(path, shapes):
    """Writes random weights as Keras does; gives them by "layer/weight"."""
    random, weights = np.random.default_rng(0), {}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = list(shapes)
        for layer, inside in shapes.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{leaf}" for leaf in inside]
            for leaf, shape in inside.items():
                weights[f"{layer}/{leaf}"] = random.random(shape, np.float32)
                group[f"{layer}/{leaf}"] = weights[f"{layer}/{leaf}"]
    return weights


def refused(model, path, match, **options):
    with pytest.raises(ValueError, match=match) as caught:
        load_pretrained(model, path, **options)
    assert "\n" not in str(caught.value)


def test_variables_are_those_of_the_network(variables):
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    chex.assert_trees_all_equal_shapes_and_dtypes(variables, shapes)


def test_names_of_the_first_checkpoints(variables, state, tmp_path):
    first = {
        re.sub(r"(denselayer\d+\.[a-z]+)([12])", r"\1.\2", name): array
        for name, array in state.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in first
    found = load_pretrained(MODEL, save(tmp_path / "first.safetensors", first))
    chex.assert_trees_all_equal(found, variables)


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.module.", "state_dict.net."])
def test_prefixes_of_wrappers(variables, state, tmp_path, prefix):
    wrapped = {prefix + name: array for name, array in state.items()}
    found = load_pretrained(MODEL, save(tmp_path / "wrapped.safetensors", wrapped))
    chex.assert_trees_all_equal(found, variables)


def test_two_networks_in_a_file(state, tmp_path):
    both = {prefix + name: array for prefix in ("model.", "ema.") for name, array in state.items()}
    path = save(tmp_path / "both.safetensors", both)
    refused(MODEL, path, r"must hold one network, got (model\. and ema\.|ema\. and model\.)$")
    path = save(tmp_path / "more.safetensors", {"loss.scale": np.ones(2, np.float32), **state})
    refused(MODEL, path, r"tensor loss.scale \(2,\) is not in the network$")


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_becomes_f32(variables, state, tmp_path, dtype):
    half = {name: array.astype(dtype) for name, array in state.items()}
    found = load_pretrained(MODEL, save(tmp_path / "half.safetensors", half))
    rounded = jax.tree.map(
        lambda array: np.asarray(array).astype(dtype).astype(np.float32), variables
    )
    chex.assert_trees_all_equal(found, rounded)


def test_keras(tmp_path):
    path = tmp_path / "weights.h5"
    weights = save_keras(path, KERAS_SHAPES)
    found = load_pretrained(KERAS_MODEL, path)
    params, statistics = found["params"], found["batch_stats"]
    layer = params["block1_layer1"]
    for ours, theirs in [
        (params["stem"]["kernel"], "conv1_conv/kernel"),
        (params["stem_norm"]["scale"], "conv1_bn/gamma"),
        (layer["norm1"]["bias"], "conv2_block1_0_bn/beta"),
        (layer["conv1"]["kernel"], "conv2_block1_1_conv/kernel"),
        (statistics["block1_layer1"]["norm2"]["mean"], "conv2_block1_1_bn/moving_mean"),
        (layer["conv2"]["kernel"], "conv2_block1_2_conv/kernel"),
        (statistics["norm"]["var"], "bn/moving_variance"),
        (params["classifier"]["kernel"], "predictions/kernel"),
        (params["classifier"]["bias"], "predictions/bias"),
    ]:
        np.testing.assert_array_equal(ours, weights[theirs])


def test_names_of_the_published_keras_files(tmp_path):
    names = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
    ours, theirs = tmp_path / "ours.h5", tmp_path / "theirs.h5"
    save_keras(ours, KERAS_SHAPES)
    save_keras(theirs, {names.get(name, name): array for name, array in KERAS_SHAPES.items()})
    chex.assert_trees_all_equal(
        load_pretrained(KERAS_MODEL, theirs), load_pretrained(KERAS_MODEL, ours)
    )


def test_what_is_saved_is_what_torch_calls_so(tmp_path, variables, state):
    path = tmp_path / "ours.safetensors"
    save_pretrained(variables, path)
    chex.assert_trees_all_equal(load_pretrained(MODEL, path), variables)
    theirs = {
        name: array for name, array in state.items() if not name.endswith("num_batches_tracked")
    }
    chex.assert_trees_all_equal(load_file(path), theirs)
    assert list(tmp_path.iterdir()) == [path]


def test_saving_in_another_format(tmp_path, variables):
    with pytest.raises(ValueError, match=r"can write only \.safetensors"):
        save_pretrained(variables, tmp_path / "ours.pth")


def test_keras_without_top(tmp_path):
    path, whole = tmp_path / "notop.h5", tmp_path / "top.h5"
    save_keras(path, {name: KERAS_SHAPES[name] for name in KERAS_SHAPES if name != "predictions"})
    save_keras(whole, KERAS_SHAPES)
    refused(KERAS_MODEL, path, re.escape("tensor predictions/bias (5,) is missing"))
    features = KERAS_MODEL.clone(num_classes=0)
    chex.assert_trees_all_equal(load_pretrained(features, path), load_pretrained(features, whole))


@pytest.mark.parametrize("classes", [5, 9])
def test_new_classifier(variables, classes):
    key = jax.random.key(3)
    model = MODEL.clone(num_classes=classes)
    found = load_pretrained(model, FILE, new_classifier=key)
    fresh = found["params"].pop("classifier")
    kept = {name: leaf for name, leaf in variables["params"].items() if name != "classifier"}
    chex.assert_trees_all_equal(found, {**variables, "params": kept})
    assert fresh["kernel"].shape == (14, classes)
    assert not jnp.any(fresh["bias"])
    bound = 14**-0.5
    assert bound / 2 < jnp.abs(fresh["kernel"]).max() <= bound


def test_other_classes():
    refused(
        MODEL.clone(num_classes=9),
        FILE,
        re.escape("tensor classifier.bias is float32 (5,), the network needs floating-point (9,)"),
    )


def test_missing_tensor(state, tmp_path):
    name = "features.denseblock3.denselayer2.conv2.weight"
    left = {key: array for key, array in state.items() if key != name}
    path = save(tmp_path / "model.safetensors", left)
    refused(MODEL, path, re.escape(f"tensor {name} (4, 16, 3, 3) is missing") + "$")
    others = {f"stray{i}": np.ones(1, np.float32) for i in range(5)}
    path = save(tmp_path / "strays.safetensors", left | others)
    refused(MODEL, path, r"is missing; .* stray\d, stray\d, stray\d and 2 more$")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("features.conv0.weight", np.nan, "finite, got nan"),
        ("features.norm5.bias", -np.inf, "finite, got -inf"),
        ("features.norm5.running_var", -1e-6, "finite, at least 0, got -1e-06"),
    ],
)
def test_numbers_that_no_training_leaves(state, tmp_path, name, value, said):
    array = state[name].copy()
    array.flat[3] = value
    path = save(tmp_path / "model.safetensors", {**state, name: array})
    refused(MODEL, path, f"tensor {name} must be {said}$")


@pytest.mark.parametrize("head", ["dense_7", "classifier"])
def test_a_head_of_another_name_gives_way_to_a_new_one(tmp_path, head):
    path, other = tmp_path / "named.h5", tmp_path / "other.h5"
    save_keras(path, KERAS_SHAPES)
    named = {head if name == "predictions" else name: array for name, array in KERAS_SHAPES.items()}
    save_keras(other, named)
    key, model = jax.random.key(3), KERAS_MODEL.clone(num_classes=2)
    chex.assert_trees_all_equal(*(load_pretrained(model, source, key) for source in (path, other)))
    refused(KERAS_MODEL, other, rf"predictions/bias \(5,\) is missing; .* are {head}/kernel")


def test_unexpected_tensor(state, tmp_path):
    name = "features.denseblock1.denselayer3.norm1.weight"
    path = save(tmp_path / "model.safetensors", {**state, name: np.ones(16, np.float32)})
    refused(MODEL, path, re.escape(f"tensor {name} (16,) is not in the network"))


def test_a_tensor_under_two_names(state, tmp_path):
    name = "features.denseblock1.denselayer1.norm1.weight"
    old = name.replace("norm1", "norm.1")
    path = save(tmp_path / "model.safetensors", {**state, old: state[name]})
    refused(MODEL, path, f"tensor {name} is there twice, also as")


def test_every_tensor_is_looked_at(tmp_path):
    path = tmp_path / "weights.h5"
    for layer, inside in KERAS_SHAPES.items():
        for leaf, shape in inside.items():
            longer = (*shape[:-1], shape[-1] + 1)
            save_keras(path, {**KERAS_SHAPES, layer: {**inside, leaf: longer}})
            words = f"tensor {layer}/{leaf} is float32 {longer}, the network needs floating-point"
            refused(KERAS_MODEL, path, re.escape(f"{words} {shape}"))


def test_numbers_that_are_no_weights(state, tmp_path):
    name = "features.conv0.weight"
    path = save(tmp_path / "model.safetensors", {**state, name: state[name].astype(np.int64)})
    refused(MODEL, path, f"tensor {name} is int64")


def test_another_depth():
    refused(MODEL.clone(depth=(2, 1)), FILE, "tensor .* the network needs")


def test_unknown_kind_of_file(tmp_path):
    refused(MODEL, tmp_path / "model.onnx", re.escape("cannot read .onnx, only .h5, .pth"))
    refused(MODEL, tmp_path / "model", "cannot read a file without a suffix, only ")


def test_damaged_safetensors(state, tmp_path):
    path = save(tmp_path / "model.safetensors", state)
    path.write_bytes(path.read_bytes()[:-10])
    refused(MODEL, path, "not a readable .safetensors file")
    refused(MODEL, tmp_path / "none.safetensors", "No such file")


def test_without_safetensors(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused(MODEL, tmp_path / "m.safetensors", re.escape('pip install "flaxdrop[pretrained]"'))
