"""Agreement with Keras and PyTorch, by the files that the make_golden_densenet*.py write."""

import json
import pathlib

import h5py
import jax
import numpy as np
import pytest

from flaxdrop.models.densenet import DenseNet
from flaxdrop.models.pretrained import load_pretrained

FOLDER = pathlib.Path(__file__).parent
KERAS_EPSILON = 1.001e-5


@pytest.fixture(scope="module")
def keras():
    with np.load(FOLDER / "golden_densenet_keras.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def keras_weights(keras, tmp_path_factory):
    """The weights that Keras had, as the published file of DenseNet121 lays them out."""
    random = np.random.RandomState(0)
    path = tmp_path_factory.mktemp("keras") / "densenet121.h5"
    layers = {}
    for name, (shape, low, high) in json.loads(str(keras["weights"])).items():
        layer, weight = name.split("/")
        published = {"conv1_conv": "conv1/conv", "conv1_bn": "conv1/bn", "predictions": "fc1000"}
        layer = published.get(layer, layer)
        values = low + (high - low) * random.random_sample(shape)
        layers.setdefault(layer, {})[f"{layer}/{weight}:0"] = values.astype(np.float32)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in ["input_1", *layers]]
        for layer, weights in [("input_1", {}), *layers.items()]:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in weights]
            for name, values in weights.items():
                group[name] = values
    return path


def test_densenet121_of_keras(keras, keras_weights):
    whole = load_pretrained(DenseNet(121, 1000, epsilon=KERAS_EPSILON), keras_weights)
    classifier = whole["params"].pop("classifier")
    features = jax.jit(DenseNet(121, 0, epsilon=KERAS_EPSILON).apply)(whole, keras["x"])
    features = features.mean((1, 2))
    np.testing.assert_allclose(features, keras["features"], rtol=1e-4, atol=1e-4)
    logits = features @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(logits, keras["logits"], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def torch():
    with np.load(FOLDER / "golden_densenet.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def network():
    model = DenseNet(depth=(2, 1, 2), num_classes=5, growth=4)
    return model, load_pretrained(model, FOLDER / "densenet.pth")


def test_logits_of_torch(network, torch):
    model, variables = network
    logits = jax.jit(model.apply)(variables, torch["x"])
    np.testing.assert_allclose(logits, torch["logits"], rtol=1e-5, atol=1e-5)


def test_features_of_torch(torch):
    model = DenseNet(depth=(2, 1, 2), num_classes=0, growth=4)
    variables = load_pretrained(model, FOLDER / "densenet.pth")
    features = jax.jit(model.apply)(variables, torch["x"])
    np.testing.assert_allclose(features.mean((1, 2)), torch["features"], rtol=1e-5, atol=1e-5)


def test_logits_of_torch_in_training(network, torch):
    model, variables = network

    @jax.jit
    def train(variables, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    logits = train(variables, torch["x"])
    np.testing.assert_allclose(logits, torch["logits_train"], rtol=1e-5, atol=1e-5)
