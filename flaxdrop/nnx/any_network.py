"""flaxdrop's convolution in an NNX network, as `flaxdrop.ops.any_network` has it for Linen."""

from typing import Any

from flax import nnx
from jax import lax

from flaxdrop.nnx.hooks import modules_of
from flaxdrop.ops.any_network import convolve


def use_fast_convolutions(network: Any) -> None:
    """Gives every `nnx.Conv` of a network flaxdrop's convolution, in place.

    Args:
      network: of NNX. A convolution that has its own function keeps it.
    """
    for _, module in modules_of(network):
        if isinstance(module, nnx.Conv) and module.conv_general_dilated is lax.conv_general_dilated:
            module.conv_general_dilated = convolve
