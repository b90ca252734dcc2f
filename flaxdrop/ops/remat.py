"""What a part of a network keeps for the backward pass; it computes the rest again.

A part ends with a convolution: what goes into it is kept, and the sums that a batch norm takes,
which are dear; normalisation, ReLU and dropout are cheap where they are fused. To compute them once
more takes less time than to write and read what they gave, and half the memory.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name

_KEPT = "kept"


def save_for_backward(x: jax.Array) -> jax.Array:
    """`x` itself; in a block under `remat_block`, it is kept for the backward pass.

    Args:
      x: of any shape, but small: it is copied.
    """
    return checkpoint_name(x, _KEPT)


def remat_block(part: Callable[..., Any]) -> Callable[..., Any]:
    """A part of a network that keeps its arguments and `save_for_backward`'s, and nothing else.

    Args:
      part: a function of a module and arrays.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
    # A scan of blocks separates the two ways: no barrier has to keep the compiler from merging
    # them. Outside one it may: then the block keeps more.
    return nn.remat(part, prevent_cse=False, policy=policy)
