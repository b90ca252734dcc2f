"""A small convolutional network with dropout around its poolings: before them or after?

Two blocks of two 'valid' 3x3 convolutions with ReLU, each with a 2x2 pooling, then one dense layer.
The network of the question puts dropout of 0.25 after each pooling and of 0.5 after the dense
layer, and pools by the maximum.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.dropout import Dropout
from flaxdrop.models.images import check_images
from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.pooling import pool
from flaxdrop.placement import Placement, resolve_placement

_CONVOLUTIONS = 2  # a block's


class Block(nn.Module):
    """Two convolutions, and a pooling between two slots.

    Attributes:
      width: filters.
      pooling: "max" or "average".
      dtype: of the computation.
    """

    width: int
    pooling: str
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H // 2 - 2, W // 2 - 2, width]`."""
        for i in range(_CONVOLUTIONS):
            x = nn.Conv(
                self.width,
                (3, 3),
                padding="VALID",
                kernel_init=nn.initializers.glorot_uniform(),
                conv_general_dilated=conv_general_dilated,
                dtype=self.dtype,
                name=f"conv{i + 1}",
            )(x)
            x = nn.relu(x)
        x = Dropout("before_pool")(x, placement)
        return Dropout("after_pool")(pool(x, self.pooling), placement)


class ConvNet(nn.Module):
    """Two blocks of convolutions with slots before and after their poolings, and a dense layer.

    The slots `before_pool` and `after_pool` have a place in every block, `dense` has one. With the
    default fields there are 7,998,250 parameters for 100x100x3 images.

    Attributes:
      num_classes: size of the output.
      pooling: "max" or "average".
      widths: filters of the blocks; as many blocks.
      units: of the dense layer.
      dtype: of the computation; parameters are f32.

    >>> import jax, jax.numpy as jnp
    >>> model, x = ConvNet(num_classes=10, widths=(4, 8), units=16), jnp.zeros((1, 16, 16, 3))
    >>> logits, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x))
    >>> logits.shape
    (1, 10)
    >>> model.slots
    {'before_pool': 2, 'after_pool': 2, 'dense': 1}
    """

    num_classes: int
    pooling: str = "max"
    widths: tuple[int, ...] = (32, 64)
    units: int = 256
    dtype: Any = jnp.float32

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it."""
        return dict.fromkeys(("before_pool", "after_pool"), len(self.widths)) | {"dense": 1}

    @property
    def smallest_image(self) -> int:
        """The shorter side, in pixels, of the smallest image that the blocks leave a pixel of."""
        side = 1
        for _ in self.widths:
            side = 2 * side + 2 * _CONVOLUTIONS
        return side

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        blocks = {
            f"block {block}": f"Conv3x3 valid, {width} -> ReLU -> Conv3x3 valid, {width} -> ReLU ->"
            f" {{before_pool}} -> {self.pooling} over 2x2 -> {{after_pool}}"
            for block, width in enumerate(self.widths, start=1)
        }
        return blocks | {
            "head": f"flatten -> Dense {self.units} -> ReLU -> {{dense}} ->"
            f" Dense {self.num_classes}"
        }

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits; `train` changes nothing, for there is no batch norm."""
        del train
        check_images(x, self.smallest_image, f"{len(self.widths)} blocks")
        placement = resolve_placement(placement, self.slots)
        around = placement.only(("before_pool", "after_pool"))
        x = x.astype(self.dtype)
        for i, width in enumerate(self.widths):
            block = Block(width, self.pooling, self.dtype, name=f"block{i + 1}")
            x = block(x, around.at(i))
        x = x.reshape(x.shape[0], -1)
        init = nn.initializers.glorot_uniform()
        x = nn.Dense(self.units, kernel_init=init, dtype=self.dtype, name="hidden")(x)
        x = Dropout("dense")(nn.relu(x), placement)
        x = x.astype(jnp.float32)
        return nn.Dense(self.num_classes, kernel_init=init, name="classifier")(x)
