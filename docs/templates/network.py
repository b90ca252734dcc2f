"""A template of a network with dropout slots.

1. Copy this file to `flaxdrop/models/`, give the class a name, and change its layers.
2. Add the class to `flaxdrop/models/__init__.py`.
3. Add a line to `NETWORKS` in `tests/networks.py`. `tests/models/test_contract.py` then says what
   is not right yet.

The class has four things that the rest of flaxdrop relies on: a field `num_classes`, the properties
`slots` and `layout`, and a call with `(x, train, placement)`.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.dropout import Dropout
from flaxdrop.models.head import HEAD_LAYOUT, HEAD_SLOTS, classify
from flaxdrop.models.images import check_images
from flaxdrop.ops.batch_norm import BatchNorm
from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.placement import Placement, resolve_placement

BLOCK_SLOTS = ("conv", "relu")


class Network(nn.Module):
    """Convolutions with batch norm and ReLU, each with a slot before its norm and one at its end.

    Attributes:
      num_classes: size of the output.
      widths: channels of the blocks; every block halves the image.
      dtype: type of the computation; parameters and batch statistics are f32.
    """

    num_classes: int
    widths: tuple[int, ...] = (32, 64)
    dtype: Any = jnp.float32

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it."""
        return dict.fromkeys(BLOCK_SLOTS, len(self.widths)) | dict.fromkeys(HEAD_SLOTS, 1)

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        widths = "-".join(map(str, self.widths))
        return {
            "network": f"{len(self.widths)} blocks, widths {widths} -> head",
            "block": "Conv3x3/2 -> {conv} -> BN -> ReLU -> {relu}",
            "head": HEAD_LAYOUT,
        }

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits.

        Args:
          x: normalised images `[N, H, W, C]`.
          train: batch norm uses the batch's statistics (apply with `mutable=["batch_stats"]`).
          placement: where dropout is on (apply with `rngs={"dropout": key}`); None: nowhere.

        Returns:
          Logits `[N, num_classes]`, f32.

        Raises:
          ValueError: an unknown slot, or no images.
        """
        check_images(x)
        placement = resolve_placement(placement, self.slots)
        x = x.astype(self.dtype)
        for block, width in enumerate(self.widths):
            rates = placement.only(BLOCK_SLOTS).at(block)
            x = nn.Conv(
                width,
                (3, 3),
                strides=2,
                padding=[(1, 1), (1, 1)],
                use_bias=False,
                conv_general_dilated=conv_general_dilated,
                dtype=self.dtype,
                name=f"conv{block + 1}",
            )(x)
            x = Dropout("conv")(x, rates)
            norm = BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                dtype=self.dtype,
                name=f"norm{block + 1}",
            )
            x = Dropout("relu")(nn.relu(norm(x)), rates)
        return classify(x, placement, self.num_classes, nn.initializers.lecun_normal())
