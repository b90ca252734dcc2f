"""Writes golden_densenet_keras.npz: what DenseNet121 of keras.applications makes of random weights.

Needs keras, jax and numpy only:

    KERAS_BACKEND=jax python tests/models/make_golden_densenet_keras.py

The file has `x`, the images; `features` and `logits`, what the network makes of them; and
`weights`, in JSON: the weights' names and shapes in Keras's order, each with its range. They are
uniform in it, `low + (high - low) * RandomState(0).random_sample(shape)` one after the other, in
f32; NumPy has frozen that stream.
"""

import json
import pathlib

import keras
import numpy as np

FILE = pathlib.Path(__file__).with_name("golden_densenet_keras.npz")


def uniform_range(kind: str, shape: tuple[int, ...], variance: float) -> tuple[float, float]:
    """Keeps the size of the numbers through the network, at any scale of the running variance."""
    if kind == "kernel":
        bound = (6 / np.prod(shape[:-1])) ** 0.5
        return -bound, bound
    return {
        "gamma": (0.5 * variance**0.5, 1.5 * variance**0.5),
        "moving_variance": (0.5 * variance, 1.5 * variance),
    }.get(kind, (-0.5, 0.5))


def main() -> None:
    network = keras.applications.DenseNet121(weights=None, classifier_activation=None)
    # The same layers on smaller images, of an odd side: pooling leaves a row and a column out.
    small = keras.applications.DenseNet121(
        weights=None, include_top=False, pooling="avg", input_shape=(45, 45, 3)
    )
    random = np.random.RandomState(0)
    weights = {}
    for number, layer in enumerate(layer for layer in network.layers if layer.weights):
        variance = 10.0 ** -(number % 6)  # down to 1e-5, where the epsilon counts
        for weight in layer.weights:
            low, high = uniform_range(weight.name, weight.shape, variance)
            values = low + (high - low) * random.random_sample(weight.shape)
            weight.assign(values.astype(np.float32))
            weights[f"{layer.name}/{weight.name}"] = (weight.shape, low, high)
    small.set_weights(network.get_weights()[:-2])
    x = random.standard_normal((2, 45, 45, 3)).astype(np.float32)
    features = small.predict(x, verbose=0)
    logits = features @ network.get_weights()[-2] + network.get_weights()[-1]
    np.savez_compressed(
        FILE, x=x, features=features, logits=logits, weights=np.array(json.dumps(weights))
    )


if __name__ == "__main__":
    main()
