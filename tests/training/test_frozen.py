import flax.linen as nn
import jax
import numpy as np
import pytest

from flaxdrop.data.augment import normalise
from flaxdrop.training.cells import to_images
from flaxdrop.training.frozen import FrozenNetwork


class Backbone(nn.Module):
    """With batch norm, whose statistics must stay those of its training."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(4, (3, 3), strides=2)(x)
        return nn.BatchNorm(use_running_average=not train)(x)


@pytest.fixture(scope="module")
def frozen():
    return FrozenNetwork(
        Backbone(), jax.jit(Backbone().init)(jax.random.key(0), np.zeros((1, 8, 8, 3)))
    )


def test_features_are_those_of_every_image_at_inference(frozen, dataset):
    """The data sets have 70 and 60 images, less than a batch; and 140, more than one."""
    pixels = to_images(dataset, (0.4,), (0.3,))
    pixels = pixels.replace(x_train=np.concatenate([pixels.x_train] * 2))
    images = frozen.features(pixels)
    for split, count in (("x_train", 140), ("x_test", 60)):
        x = np.repeat(np.asarray(normalise(getattr(pixels, split), 0.4, 0.3)), 3, axis=-1)
        found = getattr(images, split)
        assert found.shape == (count, *frozen.feature_shape(dataset.image_shape))
        expected = frozen.model.apply(frozen.variables, x)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(images.y_train, pixels.y_train)


def test_the_steps_take_features_as_they_are(frozen, dataset):
    images = frozen.features(to_images(dataset, (), ()))
    np.testing.assert_array_equal(normalise(images.x_test, images.mean, images.std), images.x_test)
