"""Pre-activation residual networks (He et al. 2016) with every candidate dropout slot.

The branch of the basic block is BN1-ReLU-Conv1-BN2-ReLU-Conv2; Kim et al. 2023 (UAI, Section 3)
number the positions in it. P6 and H4 are confirmed, the other labels are inferred:

  p0 trunk, before it splits   p1 before BN1   p2 before ReLU   p3 before Conv1   p4 before BN2
  p5 before the second ReLU    p6 before Conv2 (the recommended one)   p7 before the addition

The blocks of a stage after its first run in one `nn.scan`: they compile once, and compute all but
their convolutions again in the backward pass.
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
from flaxdrop.ops.remat import remat_block
from flaxdrop.placement import Placement, resolve_placement

BASIC_LAYOUT = (
    "{p0} -> [ {p1} -> BN -> {p2} -> ReLU -> {p3} -> Conv3x3 -> {p4} -> BN -> {p5} -> ReLU ->"
    " {p6} -> Conv3x3 -> {p7} ] + {shortcut} -> {post_add}"
)
# Named after the module they follow; only P6, before the last convolution, is confirmed here.
BOTTLENECK_LAYOUT = (
    "{trunk} -> [ {branch} -> BN -> {norm1} -> ReLU -> {relu1} -> Conv1x1 -> {conv1} -> BN ->"
    " {norm2} -> ReLU -> {relu2} -> Conv3x3 -> {conv2} -> BN -> {norm3} -> ReLU -> {p6} -> Conv1x1"
    " -> {conv3} ] + {shortcut} -> {post_add}"
)
BASIC_SLOTS, BOTTLENECK_SLOTS = slots_in(BASIC_LAYOUT), slots_in(BOTTLENECK_LAYOUT)
STEMS = {"imagenet": "Conv7x7/2 -> maximum of 3x3/2", "cifar": "Conv3x3"}
WIDTHS = {"imagenet": (64, 128, 256, 512), "cifar": (16, 32, 64)}

# Depth -> blocks of the stages, of bottlenecks: He et al. 2016a, Table 1.
PUBLISHED = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}

Layer = Callable[..., Any]
he_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions.

    Attributes:
      width: channels of the output.
      stride: of the first convolution.
      conv: makes a convolution from (features, kernel size, strides=...).
      norm: makes a normalisation.
    """

    width: int
    stride: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H / stride, W / stride, width]`."""
        drop = functools.partial(layers.drop, placement)
        unit = functools.partial(_unit, self, placement)
        x = drop("p0", x)
        y = unit(1, ("p1", "p2", "p3"), x, self.width, 3, self.stride)
        y = unit(2, ("p4", "p5", "p6"), y, self.width, 3)
        y = drop("p7", y)
        return drop("post_add", _shortcut(self, x, self.width, drop) + y)


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolutions; the last one has four times the width.

    Attributes:
      width: channels of the inner convolutions.
      stride: of the 3x3 convolution.
      conv: makes a convolution from (features, kernel size, strides=...).
      norm: makes a normalisation.
    """

    width: int
    stride: int
    conv: Layer
    norm: Layer

    @nn.compact
    def __call__(self, x: jax.Array, placement: Placement) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H / stride, W / stride, 4 width]`."""
        drop = functools.partial(layers.drop, placement)
        unit = functools.partial(_unit, self, placement)
        x = drop("trunk", x)
        y = unit(1, ("branch", "norm1", "relu1"), x, self.width, 1)
        y = unit(2, ("conv1", "norm2", "relu2"), y, self.width, 3, self.stride)
        y = unit(3, ("conv2", "norm3", "p6"), y, 4 * self.width, 1)
        y = drop("conv3", y)
        return drop("post_add", _shortcut(self, x, 4 * self.width, drop) + y)


class PreResNet(nn.Module):
    """Pre-activation ResNet in the forms for CIFAR and for ImageNet.

    PreResNet-110 has 1,730,522 parameters for 10 classes; PreResNet-50 with bottlenecks and the
    stem for ImageNet has 25,549,352 for 1000.

    Attributes:
      depth: 6n + 2 with basic blocks (20, 32, 44, 56, 110, 1202), 9n + 2 with bottlenecks
        (164, 1001); with the stem for ImageNet 50, 101 or 152; or the blocks of every stage.
      num_classes: size of the output.
      block: "basic" or "bottleneck".
      widths: channels of the stages; one stage each, every one after the first halves the image.
        None: 16-32-64 with the stem for CIFAR, 64-128-256-512 with the one for ImageNet.
      stem: "cifar" (all of the image's side) or "imagenet" (a quarter of it).
      unroll: blocks a loop iteration runs: more compile time for less loop overhead.
      dtype: of the computation; parameters and batch statistics are f32.

    Raises:
      ValueError: when called, for a depth, a block or a stem that does not exist.

    >>> import jax, jax.numpy as jnp
    >>> model = PreResNet(depth=8, num_classes=10)
    >>> x = jnp.zeros((1, 8, 8, 3))
    >>> logits, variables = jax.eval_shape(model.init_with_output, jax.random.key(0), x)
    >>> logits.shape
    (1, 10)
    >>> model.slots["p6"]
    3
    """

    depth: int | tuple[int, ...]
    num_classes: int
    block: str = "basic"
    widths: tuple[int, ...] | None = None
    stem: str = "cifar"
    unroll: int = 1
    dtype: Any = jnp.float32

    @property
    def stage_widths(self) -> tuple[int, ...]:
        """The channels of the stages, as given or as published."""
        return WIDTHS[self.stem] if self.widths is None else self.widths

    @property
    def stage_sizes(self) -> tuple[int, ...]:
        """How many blocks each stage has.

        Raises:
          ValueError: a depth, a block or a stem that does not exist.
        """
        if self.block not in ("basic", "bottleneck"):
            raise ValueError(f"block: unknown {self.block!r}, choose basic or bottleneck")
        if self.stem not in STEMS:
            raise ValueError(f"stem: unknown {self.stem!r}, choose {' or '.join(STEMS)}")
        stages = len(self.stage_widths)
        if not isinstance(self.depth, int):
            if len(self.depth) != stages or min(self.depth) < 1:
                raise ValueError(
                    f"depth: must be the blocks of each of {stages} stages, got {self.depth}"
                )
            return tuple(self.depth)
        if self.stem == "imagenet":
            if self.block == "basic" or self.depth not in PUBLISHED or stages != 4:
                known = ", ".join(map(str, PUBLISHED))
                raise ValueError(
                    f"depth: must be one of {known} with bottleneck blocks in 4 stages and the stem"
                    f" for ImageNet (or the blocks of every stage), got {self.depth} with"
                    f" {self.block} blocks in {stages}"
                )
            return PUBLISHED[self.depth]
        every = stages * (2 if self.block == "basic" else 3)
        blocks, rest = divmod(self.depth - 2, every)
        if blocks < 1 or rest:
            raise ValueError(
                f"depth: must be {every}n + 2 with {self.block} blocks"
                f" ({every + 2}, {2 * every + 2}, {3 * every + 2}, ...), got {self.depth}"
            )
        return (blocks,) * stages

    @property
    def slots(self) -> Mapping[str, int]:
        """Slot -> how many places the network has for it: its blocks, or 1 in the head."""
        names = BASIC_SLOTS if self.block == "basic" else BOTTLENECK_SLOTS
        return dict.fromkeys(names, sum(self.stage_sizes)) | dict.fromkeys(HEAD_SLOTS, 1)

    @property
    def layout(self) -> Mapping[str, str]:
        """Part -> chain of its operations, with every slot in braces; for `flaxdrop.describe`."""
        sizes, widths = self.stage_sizes, "-".join(map(str, self.stage_widths))
        blocks = "-".join(map(str, sizes)) if len(set(sizes)) > 1 else sizes[0]
        return {
            "network": f"depth {self.depth}: {STEMS[self.stem]} -> {len(sizes)} stages of"
            f" {blocks} {self.block} blocks, widths {widths} -> head",
            "block": BASIC_LAYOUT if self.block == "basic" else BOTTLENECK_LAYOUT,
            "head": f"BN -> ReLU -> {HEAD_LAYOUT}",
        }

    @nn.compact
    def __call__(
        self, x: jax.Array, train: bool = False, placement: Placement | None = None
    ) -> jax.Array:
        """Computes the logits; also refuses a depth or a block that does not exist."""
        check_images(x)
        placement = resolve_placement(placement, self.slots)
        conv = functools.partial(layers.conv, kernel_init=he_fan_out, dtype=self.dtype)
        norm = layers.batch_norm(train, self.dtype, 1e-5)
        sizes, widths = self.stage_sizes, self.stage_widths
        x = x.astype(self.dtype)
        if self.stem == "imagenet":
            x = conv(widths[0], (7, 7), strides=2, name="stem")(x)
            x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        else:
            x = conv(widths[0], (3, 3), name="stem")(x)
        done = 0
        in_blocks = placement.only(self.slots.keys() - set(HEAD_SLOTS))
        for stage, (count, width) in enumerate(zip(sizes, widths, strict=True), start=1):
            block = _BLOCKS[self.block]
            own = in_blocks.at(slice(done, done + count))
            done += count
            first = block(width, 1 if stage == 1 else 2, conv, norm, name=f"stage{stage}_first")
            x = first(x, own.at(0))
            if count > 1:
                rest = block(width, 1, conv, norm, name=f"stage{stage}_rest")
                x, _ = _scan(count - 1, self.unroll)(rest, x, own.at(slice(1, None)))
        uniform = _torch_uniform(x.shape[-1])
        x = nn.relu(norm(name="norm")(x))
        return classify(x, placement, self.num_classes, uniform, uniform)


_BLOCKS: dict[str, Callable[..., Any]] = {"basic": BasicBlock, "bottleneck": BottleneckBlock}


def _unit(
    block: nn.Module,
    placement: Placement,
    number: int,
    slots: tuple[str, str, str],
    x: jax.Array,
    features: int,
    side: int,
    stride: int = 1,
) -> jax.Array:
    """Norm, ReLU and convolution, with a slot before each."""

    def unit(block: Any, x: jax.Array) -> jax.Array:
        y = layers.drop(placement, slots[0], x)
        y = layers.drop(placement, slots[1], block.norm(name=f"norm{number}")(y))
        y = layers.drop(placement, slots[2], nn.relu(y))
        return block.conv(features, (side, side), strides=stride, name=f"conv{number}")(y)

    return remat_block(unit)(block, x)


def _shortcut(block: Any, x: jax.Array, features: int, drop: Layer) -> jax.Array:
    if block.stride != 1 or x.shape[-1] != features:
        x = block.conv(features, (1, 1), strides=block.stride, name="projection")(x)
    return drop("shortcut", x)


def _scan(length: int, unroll: int) -> Callable[..., Any]:
    return nn.scan(
        lambda block, x, placement: (block(x, placement), None),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True, "dropout": True},
        length=length,
        unroll=unroll,
        check_constancy_invariants=False,  # the check traces a block once more
    )


def _torch_uniform(fan_in: int) -> Callable[..., jax.Array]:
    bound = fan_in**-0.5
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
