"""A dropout layer of NNX, whose rate and key come from outside."""

from typing import Any

from flax import nnx

from flaxdrop.slots import note_reached


class Dropout(nnx.Module):
    """A dropout slot in an NNX network: a named place where a placement can put dropout.

    The layer is the identity. `flaxdrop.nnx.with_slots` makes a network of the same modules and
    parameters that takes a placement and a key, and drops at the layers whose slots the placement
    names. The mask depends on the key, on the path of the module that has the layer, and on the
    slot, as for `flaxdrop.Dropout`: with the same key, path and slot, both draw the same mask.

    `train()` and `eval()` change nothing here: dropout is on exactly when a placement is given.

    Attributes:
      slot: the name of the slot. Where a module has several layers of this slot, each draws its own
        mask: they are numbered in the order of their names.

    >>> import jax, jax.numpy as jnp
    >>> from flaxdrop import Placement
    >>> from flaxdrop.nnx import with_slots
    >>> layer, x = Dropout("p6"), jnp.ones((2, 4))
    >>> slotted = with_slots(layer, x)
    >>> slotted(x, placement=Placement.parse("p6=0.5"), key=jax.random.key(1)).shape
    (2, 4)
    >>> bool((layer(x) == x).all())
    True
    """

    def __init__(self, slot: str) -> None:
        self.slot = slot

    def __call__(self, x: Any) -> Any:
        """Returns `x`: what drops is around the call."""
        note_reached(self.slot)
        return x
