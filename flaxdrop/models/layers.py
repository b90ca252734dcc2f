"""Layers that several networks have, and the slots that a chain of layers names."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax

from flaxdrop.dropout import Dropout
from flaxdrop.ops.batch_norm import BatchNorm
from flaxdrop.ops.convolution import conv_general_dilated
from flaxdrop.placement import Placement


def slots_in(layout: str) -> tuple[str, ...]:
    """The slots that stand in braces in a chain of operations.

    >>> slots_in("Conv -> {conv1} -> ReLU -> {relu1}")
    ('conv1', 'relu1')
    """
    return tuple(re.findall(r"{(\w+)}", layout))


def drop(placement: Placement, slot: str, x: jax.Array) -> jax.Array:
    """Dropout at a slot."""
    return Dropout(slot)(x, placement)


def conv(features: int, size: tuple[int, int], strides: int = 1, **options: Any) -> nn.Conv:
    """A convolution without bias, padded so that a stride of 1 keeps the size."""
    return nn.Conv(
        features,
        size,
        strides=strides,
        padding=[(side // 2, side // 2) for side in size],
        use_bias=False,
        conv_general_dilated=conv_general_dilated,
        **options,
    )


def batch_norm(train: bool, dtype: Any, epsilon: float, momentum: float = 0.9) -> Any:
    """What makes the batch norms of a network; they use the batch's statistics in training."""
    return functools.partial(
        BatchNorm,
        use_running_average=not train,
        momentum=momentum,
        epsilon=epsilon,
        dtype=dtype,
    )
