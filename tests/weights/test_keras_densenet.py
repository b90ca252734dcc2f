"""Agreement with a DenseNet of keras.applications, by a file that Keras itself writes."""

import importlib

import jax
import numpy as np
import pytest

from flaxdrop.models.densenet import DenseNet
from flaxdrop.weights.densenet import load_pretrained

EPSILON = 1.001e-5  # of Keras's batch norms
CLASSES = 9
BLOCKS = (1, 10, 1, 1)  # a number of two digits, and otherwise as few layers as there can be

# Keras gives NumPy 2 its variables by NumPy 1's protocol.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:keras"
)


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "jax")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("home")))
        import keras
    return keras


def fill(network, random):
    """Random weights and statistics that keep the size of the numbers through the network."""
    for number, layer in enumerate(layer for layer in network.layers if layer.weights):
        variance = 10.0 ** -(number % 6)  # down to 1e-5, where the epsilon counts
        for weight in layer.weights:
            bound = (6 / np.prod(weight.shape[:-1])) ** 0.5 if weight.name == "kernel" else 0.5
            low, high = {
                "gamma": (0.5 * variance**0.5, 1.5 * variance**0.5),
                "moving_variance": (0.5 * variance, 1.5 * variance),
            }.get(weight.name, (-bound, bound))
            weight.assign(random.uniform(low, high, weight.shape))


def test_features_and_logits(keras, tmp_path, monkeypatch):
    # fill() gives the weights; Keras would compile a draw for every shape, in 12 seconds.
    monkeypatch.setattr(
        keras.initializers.GlorotUniform,
        "__call__",
        lambda _, shape, dtype=None: np.zeros(shape, dtype),
    )
    densenet = importlib.import_module("keras.src.applications.densenet")  # blocks of any length
    # On an odd side pooling leaves a row and a column out.
    theirs = densenet.DenseNet(
        BLOCKS, weights=None, input_shape=(45, 45, 3), classes=CLASSES, classifier_activation=None
    )
    random = np.random.default_rng(0)
    fill(theirs, random)
    theirs.save(tmp_path / "densenet.h5")
    x = random.standard_normal((2, 45, 45, 3)).astype(np.float32)
    pooled = theirs.get_layer("avg_pool").output
    features, logits = keras.Model(theirs.input, [pooled, theirs.output]).predict(x, verbose=0)

    ours = DenseNet(BLOCKS, CLASSES, epsilon=EPSILON)
    variables = load_pretrained(ours, tmp_path / "densenet.h5")
    classifier = variables["params"].pop("classifier")
    found = jax.jit(ours.clone(num_classes=0).apply)(variables, x).mean((1, 2))
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-4)
    found = found @ classifier["kernel"] + classifier["bias"]
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-4)
