"""A trained network that stays as it is: others are trained on its features."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from flaxdrop.data.augment import normalise
from flaxdrop.training.task import Images

_BATCH = 100


@dataclasses.dataclass(frozen=True, eq=False)
class FrozenNetwork:
    """A network with its variables, for inference alone.

    Attributes:
      model: maps normalised RGB images to features `[N, h, w, C]`; grey ones are made RGB.
      variables: of the model.
      digest: of the file that they come from; empty: they are drawn.
    """

    model: nn.Module
    variables: Any
    digest: str = ""

    def feature_shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of an image's features.

        Raises:
          ValueError: the network does not take such images.
        """
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        return jax.eval_shape(self._apply, self.variables, image).shape[1:]

    def features(self, images: Images) -> Images:
        """Runs every image through the network once.

        Returns:
          The same labels, with features f32 `[N, h, w, C]` in the place of pixels: `normalise`
          leaves them as they are.
        """

        @jax.jit
        def batch_features(variables: Any, x: jax.Array) -> jax.Array:
            return self._apply(variables, normalise(x, images.mean, images.std))

        def all_features(x: np.ndarray) -> np.ndarray:
            rows = [
                np.minimum(np.arange(first, first + _BATCH), len(x) - 1)  # one shape, one program
                for first in range(0, len(x), _BATCH)
            ]
            found = [np.asarray(batch_features(self.variables, x[batch])) for batch in rows]
            return np.concatenate(found)[: len(x)]

        x_train = all_features(images.x_train)
        channels = x_train.shape[-1]
        return images.replace(
            x_train=x_train,
            x_test=all_features(images.x_test),
            mean=np.zeros(channels, np.float32),
            std=np.ones(channels, np.float32),
        )

    def _apply(self, variables: Any, x: jax.Array) -> jax.Array:
        rgb = jnp.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x
        features: Any = self.model.apply(variables, rgb)
        return features
