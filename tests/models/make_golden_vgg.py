"""Writes golden_vgg.npz: small forms of the VGG-like network and of the pooling study's, in Keras.

Written from the definitions of their authors, with Keras's own layers and defaults. Needs Keras 3
and jax, and is run by hand:

    KERAS_BACKEND=jax python tests/models/make_golden_vgg.py

For each network the file has the images `<network>/pixels` (it sees them divided by 256), labels
`/y`, the variables before (`/before/<layer>/<variable>`) and the moving statistics after
(`/after/...`) a step on the batch, the logits at inference and in training, the loss in training,
and its gradients (`/gradients/...`).
"""

import pathlib

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers

FILE = pathlib.Path(__file__).with_name("golden_vgg.npz")
CLASSES = 3


def vgg(widths, units, side, batch_norm):
    def activated(x, name):
        if batch_norm:
            x = layers.BatchNormalization(name=f"norm_{name}")(x)
        return layers.Activation("relu")(x)

    x = inputs = keras.Input((side, side, 3))
    for block, width in enumerate(widths, start=1):
        for i, padding in enumerate(("same", "valid"), start=1):
            x = layers.Conv2D(width, (3, 3), padding=padding, name=f"conv{block}_{i}")(x)
            x = activated(x, f"conv{block}_{i}")
        x = layers.MaxPooling2D((2, 2))(x)
    x = layers.Flatten()(x)
    for i in (1, 2):
        x = activated(layers.Dense(units, name=f"dense{i}")(x), f"dense{i}")
    return keras.Model(inputs, layers.Dense(CLASSES, name="classifier")(x))


def convnet(widths, units, side, pooling):
    pool = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}[pooling]
    x = inputs = keras.Input((side, side, 3))
    for block, width in enumerate(widths, start=1):
        for i in (1, 2):
            x = layers.Conv2D(width, (3, 3), activation="relu", name=f"block{block}_conv{i}")(x)
        x = pool((2, 2))(x)
    x = layers.Dense(units, activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, name="classifier")(x))


def named(prefix, variables, values):
    paths = ("/".join(variable.path.split("/")[-2:]) for variable in variables)
    return {f"{prefix}/{p}": np.asarray(v) for p, v in zip(paths, values, strict=True)}


def record(model, seed):
    random = np.random.RandomState(seed)
    side = model.input_shape[1]
    pixels = random.randint(0, 256, (5, side, side, 3)).astype(np.uint8)
    x, y = pixels.astype(np.float32) / 256, random.randint(0, CLASSES, len(pixels))
    for variable in model.variables:
        if variable.path.endswith(("gamma", "moving_variance")):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
        elif not variable.path.endswith("kernel"):
            variable.assign(0.3 * random.randn(*variable.shape))
    trained = [v.value for v in model.trainable_variables]
    fixed = [v.value for v in model.non_trainable_variables]

    def loss(trained):
        logits, after = model.stateless_call(trained, fixed, x, training=True)
        losses = -jax.nn.log_softmax(logits)[jnp.arange(len(y)), y]
        return losses.mean(), (logits, after)

    with jax.default_matmul_precision("float32"):
        (value, (logits, after)), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
        inference, _ = model.stateless_call(trained, fixed, x, training=False)
    return {
        "pixels": pixels,
        "y": y.astype(np.int32),
        "loss": np.asarray(value),
        "logits_training": np.asarray(logits),
        "logits_inference": np.asarray(inference),
        **named("before", model.trainable_variables, trained),
        **named("before", model.non_trainable_variables, fixed),
        **named("after", model.non_trainable_variables, after),
        **named("gradients", model.trainable_variables, gradients),
    }


def main():
    keras.utils.set_random_seed(0)
    models = {
        "vgg": vgg((3, 4, 5), 6, 31, batch_norm=True),
        "vgg_without_norm": vgg((3, 4, 5), 6, 30, batch_norm=False),
        "max": convnet((3, 4), 6, 21, "max"),
        "average": convnet((3, 4), 6, 20, "average"),
    }
    arrays = {}
    for seed, (network, model) in enumerate(models.items()):
        own = record(model, seed)
        arrays |= {f"{network}/{name}": array for name, array in own.items()}
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
