"""Agreement with PyTorch, by the files that make_golden_densenet.py writes."""

import pathlib

import jax
import numpy as np
import pytest

from flaxdrop.models.densenet import DenseNet
from flaxdrop.weights.densenet import load_pretrained

FOLDER = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def torch():
    with np.load(FOLDER / "golden_densenet.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def network():
    model = DenseNet(depth=(2, 1, 2), num_classes=5, growth=4)
    return model, load_pretrained(model, FOLDER / "densenet.safetensors")


def test_logits_of_torch(network, torch):
    model, variables = network
    logits = jax.jit(model.apply)(variables, torch["x"])
    np.testing.assert_allclose(logits, torch["logits"], rtol=1e-5, atol=1e-5)


def test_features_of_torch(torch):
    model = DenseNet(depth=(2, 1, 2), num_classes=0, growth=4)
    variables = load_pretrained(model, FOLDER / "densenet.safetensors")
    features = jax.jit(model.apply)(variables, torch["x"])
    np.testing.assert_allclose(features.mean((1, 2)), torch["features"], rtol=1e-5, atol=1e-5)


def test_logits_of_torch_in_training(network, torch):
    model, variables = network

    @jax.jit
    def train(variables, x):
        return model.apply(variables, x, train=True, mutable=["batch_stats"])[0]

    logits = train(variables, torch["x"])
    np.testing.assert_allclose(logits, torch["logits_train"], rtol=1e-5, atol=1e-5)
