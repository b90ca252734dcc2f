"""The VGG-like network in which Chlis asked where dropout belongs, and how much of it (2017).

Blocks of two 3x3 convolutions, the first of a block 'same', the second 'valid', each followed by
BN, ReLU and a dropout layer; 2x2 max pooling after each block; two dense layers of the same kind.
Source: N. Chlis, "Applying Dropout in Convolutional Neural Nets: Where and to what extent?".
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.dropout import Dropout
from flaxdrop.models.images import check_images
from flaxdrop.models.layers import batch_norm
from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.ops.pooling import pool
from flaxdrop.placement import Placement, resolve_placement

_LAYERS = 2  # a block's convolutions; also how many dense layers there are


class Layer(nn.Module):
    """A linear map, then BN if there is one, ReLU and a dropout layer.

    Attributes:
      linear: makes the convolution or the dense layer.
      norm: makes the normalisation, or None.
      slot: the slot of the dropout layer.
    """

    linear: Callable[..., Any]
    norm: Callable[..., Any] | None
    slot: str

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, ..., C]`, with one rate for the slot, to `[N, ..., features]`."""
        x = self.linear(name="linear")(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x)
        return Dropout(self.slot)(nn.relu(x), placement)


class VGG(nn.Module):
    """Three blocks of two convolutions and two dense layers, with a dropout layer after each.

    The slots are `conv1`, `conv2`, ..., one for each block, and `dense`; each has two places, one
    after each of its two layers. With the default fields there are 1,941,834 trainable parameters
    for 32x32x3 images, 3,260,746 with 1024 units.

    Attributes:
      num_classes: size of the output.
      widths: filters of the blocks; as many blocks.
      units: of each dense layer.
      batch_norm: whether the layers have BN; its epsilon is 1e-3, as in Keras.
      momentum: of BN's statistics, in [0, 1); Keras's is too slow for trainings of 100 steps.
      dtype: of the computation; parameters and batch statistics are f32.

    >>> import jax, jax.numpy as jnp
    >>> model, x = VGG(num_classes=10, widths=(4, 8), units=16), jnp.zeros((1, 10, 10, 3))
    >>> logits, _ = jax.eval_shape(lambda: model.init_with_output(jax.random.key(0), x))
    >>> logits.shape
    (1, 10)
    >>> model.slots
    {'conv1': 2, 'conv2': 2, 'dense': 2}
    """

    num_classes: int
    widths: tuple[int, ...] = (64, 128, 256)
    units: int = 512
    batch_norm: bool = True
    momentum: float = 0.99
    dtype: Any = jnp.float32

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it."""
        blocks = (f"conv{block}" for block in range(1, len(self.widths) + 1))
        return dict.fromkeys([*blocks, "dense"], _LAYERS)

    @property
    def smallest_image(self) -> int:
        """The shorter side, in pixels, of the smallest image that the blocks leave a pixel of."""
        side = 1
        for _ in self.widths:
            side = 2 * side + 2
        return side

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        between = "BN -> ReLU" if self.batch_norm else "ReLU"
        blocks = {
            f"block {block}": f"Conv3x3 same, {width} -> {between} -> {{conv{block}}} ->"
            f" Conv3x3 valid, {width} -> {between} -> {{conv{block}}} -> max over 2x2"
            for block, width in enumerate(self.widths, start=1)
        }
        layer = f"Dense {self.units} -> {between} -> {{dense}} -> "
        return blocks | {"head": f"flatten -> {layer * _LAYERS}Dense {self.num_classes}"}

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits of images whose pixels were divided by 256, as in the source."""
        check_images(x, self.smallest_image, f"{len(self.widths)} blocks")
        placement = resolve_placement(placement, self.slots)
        norm = batch_norm(train, self.dtype, 1e-3, self.momentum)
        layer = functools.partial(Layer, norm=norm if self.batch_norm else None)
        x = x.astype(self.dtype)
        for block, width in enumerate(self.widths, start=1):
            for place, padding in enumerate(("SAME", "VALID")):
                conv = functools.partial(_conv, width, padding=padding, dtype=self.dtype)
                named = layer(conv, slot=f"conv{block}", name=f"conv{block}_{place + 1}")
                x = named(x, placement.at(place))
            x = pool(x, "max")
        x = x.reshape(x.shape[0], -1)
        for place in range(_LAYERS):
            dense = functools.partial(_dense, self.units, dtype=self.dtype)
            named = layer(dense, slot="dense", name=f"dense{place + 1}")
            x = named(x, placement.at(place))
        return _dense(self.num_classes, name="classifier")(x.astype(jnp.float32))


def _conv(features: int, **options: Any) -> nn.Conv:
    return nn.Conv(
        features,
        (3, 3),
        kernel_init=nn.initializers.glorot_uniform(),
        conv_general_dilated=conv_general_dilated,
        **options,
    )


def _dense(features: int, **options: Any) -> nn.Dense:
    return nn.Dense(features, kernel_init=nn.initializers.glorot_uniform(), **options)
