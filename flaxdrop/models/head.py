"""The head of residual and dense networks: pooling and classifier, with its dropout slots.

H4 and H5 are the places of Kim et al. 2023; dropout on the logits is there to warn of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.dropout import Dropout
from flaxdrop.models.images import check_images
from flaxdrop.models.layers import slots_in
from flaxdrop.placement import Placement, resolve_placement

HEAD_LAYOUT = "{h4} -> mean over pixels -> {h5} -> Dense -> {logits}"
HEAD_SLOTS = slots_in(HEAD_LAYOUT)

Initialiser = Callable[..., Any]


def classify(
    x: jax.Array,
    placement: Placement,
    num_classes: int,
    kernel_init: Initialiser,
    bias_init: Initialiser = nn.initializers.zeros,
) -> jax.Array:
    """Pools and classifies features, within the compact method of a network.

    Args:
      x: features `[N, H, W, C]`.
      placement: where dropout is on.
      num_classes: size of the output.
      kernel_init: of the classifier's weights.
      bias_init: of its biases.

    Returns:
      Logits `[N, num_classes]`, f32.
    """
    x = Dropout("h4")(x, placement)
    x = Dropout("h5")(jnp.mean(x.astype(jnp.float32), axis=(1, 2)), placement)
    dense = nn.Dense(num_classes, kernel_init=kernel_init, bias_init=bias_init, name="classifier")
    return Dropout("logits")(dense(x), placement)


class Head(nn.Module):
    """A head alone, to be trained on the features of a network that is frozen.

    Attributes:
      num_classes: size of the output.

    >>> head, features = Head(num_classes=9), jnp.zeros((1, 7, 7, 1024))
    >>> head.apply(head.init(jax.random.key(0), features), features).shape
    (1, 9)
    >>> list(head.slots)
    ['h4', 'h5', 'logits']
    """

    num_classes: int

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it."""
        return dict.fromkeys(HEAD_SLOTS, 1)

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        return {"head": HEAD_LAYOUT}

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits of features; `train` changes nothing, for there is no batch norm."""
        del train
        check_images(x)
        placement = resolve_placement(placement, self.slots)
        return classify(x, placement, self.num_classes, nn.initializers.glorot_uniform())
