"""Densely connected networks, DenseNet-BC (Huang et al. 2017), with every candidate dropout slot.

A slot is named after what it follows. The paper drops after both convolutions of a layer (`conv1`,
`conv2`) and of the transition (`transition_conv`) where it trains without augmentation; torchvision
and timm after the second only (`conv2`). H4 and H5 are the places in the head of Kim et al. 2023.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from flaxdrop.models import layers
from flaxdrop.models.head import HEAD_LAYOUT, HEAD_SLOTS, classify
from flaxdrop.models.images import check_images
from flaxdrop.models.layers import slots_in
from flaxdrop.placement import Placement, resolve_placement

LAYER_LAYOUT = (
    "[ {branch} -> BN -> {norm1} -> ReLU -> {relu1} -> Conv1x1 -> {conv1} -> BN -> {norm2} -> ReLU"
    " -> {relu2} -> Conv3x3 -> {conv2} ] beside the input"
)
TRANSITION_LAYOUT = (
    "{transition} -> BN -> {transition_norm} -> ReLU -> {transition_relu} -> Conv1x1 ->"
    " {transition_conv} -> mean of 2x2 -> {transition_pool}"
)
LAYER_SLOTS, TRANSITION_SLOTS = slots_in(LAYER_LAYOUT), slots_in(TRANSITION_LAYOUT)
STEMS = {
    "imagenet": "Conv7x7/2 -> BN -> ReLU -> maximum of 3x3/2",
    "cifar": "Conv3x3",
}

# Depth -> (layers of the blocks, growth): Huang et al. 2017, Table 1; 161 is torchvision's.
PUBLISHED = {
    121: ((6, 12, 24, 16), 32),
    161: ((6, 12, 36, 24), 48),
    169: ((6, 12, 32, 32), 32),
    201: ((6, 12, 48, 32), 32),
}
CIFAR_GROWTH = 12

Layer = Callable[..., Any]


class DenseLayer(nn.Module):
    """A 1x1 and a 3x3 convolution, whose output stands beside the input.

    Attributes:
      growth: channels that are added; the 1x1 convolution has four times as many.
      conv: makes a convolution from (features, kernel size).
      norm: makes a normalisation.
    """

    growth: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H, W, C + growth]`."""
        drop = functools.partial(layers.drop, placement)
        y = drop("branch", x)
        y = drop("norm1", self.norm(name="norm1")(y))
        y = drop("relu1", nn.relu(y))
        y = drop("conv1", self.conv(4 * self.growth, (1, 1), name="conv1")(y))
        y = drop("norm2", self.norm(name="norm2")(y))
        y = drop("relu2", nn.relu(y))
        y = drop("conv2", self.conv(self.growth, (3, 3), name="conv2")(y))
        return jnp.concatenate([x, y], axis=-1)


class Transition(nn.Module):
    """Halves the channels by a 1x1 convolution and the image by its mean over 2x2 pixels.

    Attributes:
      conv: makes a convolution from (features, kernel size).
      norm: makes a normalisation.
    """

    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H // 2, W // 2, C // 2]`."""
        drop = functools.partial(layers.drop, placement)
        x = drop("transition", x)
        x = drop("transition_norm", self.norm(name="norm")(x))
        x = drop("transition_relu", nn.relu(x))
        x = drop("transition_conv", self.conv(x.shape[-1] // 2, (1, 1), name="conv")(x))
        return drop("transition_pool", nn.avg_pool(x, (2, 2), strides=(2, 2)))


class DenseNet(nn.Module):
    """DenseNet-BC: bottlenecks in the layers, half the channels after every block.

    DenseNet-121 has 7,978,856 parameters for 1000 classes. Its images are at least 29 pixels wide
    and high with the stem for ImageNet; `flaxdrop.weights.load_pretrained` fills it.

    Attributes:
      depth: 121, 161, 169 or 201 with the stem for ImageNet, 6n + 4 (40, 100, 190, ...: three
        blocks of n layers) with the one for CIFAR; or the layers of every block.
      num_classes: size of the output; 0: no pooling and no classifier, the output is the features.
      growth: channels that a layer adds; None: as published for the depth, 48 for 161, 12 with
        the stem for CIFAR, else 32. The stem has twice as many.
      stem: "imagenet" (a quarter of the image's side) or "cifar" (all of it).
      epsilon: of batch norm; torchvision's 1e-5. Keras has 1.001e-5.
      dtype: of the computation; parameters and batch statistics are f32.

    Raises:
      ValueError: when called, for a depth or a stem that does not exist.

    >>> import jax, jax.numpy as jnp
    >>> model = DenseNet(depth=10, num_classes=10, stem="cifar")
    >>> x = jnp.zeros((1, 8, 8, 3))
    >>> logits, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    >>> logits.shape
    (1, 10)
    >>> DenseNet(depth=121, num_classes=1000).slots["conv2"]
    58
    """

    depth: int | tuple[int, ...]
    num_classes: int
    growth: int | None = None
    stem: str = "imagenet"
    epsilon: float = 1e-5
    dtype: Any = jnp.float32

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """How many layers each block has.

        Raises:
          ValueError: a depth or a stem that does not exist.
        """
        if self.stem not in STEMS:
            raise ValueError(f"stem: unknown {self.stem!r}, choose {' or '.join(STEMS)}")
        if not isinstance(self.depth, int):
            if not self.depth or min(self.depth) < 1:
                raise ValueError(f"depth: every block needs a layer, got {self.depth}")
            return tuple(self.depth)
        if self.stem == "imagenet":
            if self.depth not in PUBLISHED:
                known = ", ".join(map(str, PUBLISHED))
                raise ValueError(
                    f"depth: must be one of {known} (or the layers of every block),"
                    f" got {self.depth}"
                )
            return PUBLISHED[self.depth][0]
        each, rest = divmod(self.depth - 4, 6)
        if each < 1 or rest:
            raise ValueError(
                "depth: must be 6n + 4 (10, 16, 22, ...) with the stem for CIFAR (or the layers"
                f" of every block), got {self.depth}"
            )
        return (each,) * 3

    @property
    def channels_per_layer(self) -> int:
        """The growth, as given or as published."""
        if self.growth is not None:
            return self.growth
        if self.stem == "cifar":
            return CIFAR_GROWTH
        return PUBLISHED[self.depth][1] if isinstance(self.depth, int) else 32

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it: layers, transitions, or 1 in the head."""
        sizes = self.block_sizes
        slots = dict.fromkeys(LAYER_SLOTS, sum(sizes))
        if len(sizes) > 1:
            slots |= dict.fromkeys(TRANSITION_SLOTS, len(sizes) - 1)
        return slots | dict.fromkeys(HEAD_SLOTS if self.num_classes else HEAD_SLOTS[:1], 1)

    @property
    def smallest_image(self) -> int:
        """The shorter side, in pixels, of the smallest image that the stages leave a pixel of."""
        side = 2 ** (len(self.block_sizes) - 1)  # transitions round down, the stem rounds up
        return 4 * side - 3 if self.stem == "imagenet" else side

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        sizes = self.block_sizes
        blocks = "-".join(map(str, sizes))
        return {
            "network": f"{STEMS[self.stem]} -> blocks of {blocks} layers, growth"
            f" {self.channels_per_layer}, a transition between blocks -> head",
            "layer": LAYER_LAYOUT,
            **({"transition": TRANSITION_LAYOUT} if len(sizes) > 1 else {}),
            "head": f"BN -> ReLU -> {HEAD_LAYOUT if self.num_classes else '{h4}'}",
        }

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits, or the features that a network without a classifier ends in.

        Returns:
          Logits `[N, num_classes]`, or features `[N, H / 32, W / 32, channels]` (H / 4, W / 4 with
          the stem for CIFAR and three blocks), f32.

        Raises:
          ValueError: also a depth or a stem that does not exist.
        """
        check_images(x, self.smallest_image, f"{len(self.block_sizes)} blocks behind this stem")
        placement = resolve_placement(placement, self.slots)
        conv = functools.partial(layers.conv, kernel_init=_he_fan_in, dtype=self.dtype)
        norm = layers.batch_norm(train, self.dtype, self.epsilon)
        sizes, growth = self.block_sizes, self.channels_per_layer
        x = x.astype(self.dtype)
        if self.stem == "imagenet":
            x = nn.relu(norm(name="stem_norm")(conv(2 * growth, (7, 7), strides=2, name="stem")(x)))
            # The padding never wins: Keras pads with 0, torch with -inf, and x is at least 0.
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        else:
            x = conv(2 * growth, (3, 3), name="stem")(x)
        done = 0
        for block, size in enumerate(sizes, start=1):
            for layer in range(size):
                name = f"block{block}_layer{layer + 1}"
                here = placement.only(LAYER_SLOTS).at(done + layer)
                x = DenseLayer(growth, conv, norm, name=name)(x, here)
            done += size
            if block < len(sizes):
                here = placement.only(TRANSITION_SLOTS).at(block - 1)
                x = Transition(conv, norm, name=f"transition{block}")(x, here)
        x = nn.relu(norm(name="norm")(x))
        if not self.num_classes:
            return layers.drop(placement, "h4", x.astype(jnp.float32))
        return classify(x, placement, self.num_classes, _torch_uniform)


# The initial weights are torchvision's.
_he_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
_torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
