"""flaxdrop for Flax NNX: the same names, meanings and answers as for Linen."""

from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.slots import with_slots

__all__ = ["Dropout", "with_slots"]
