"""flaxdrop for Flax NNX: the same names, meanings and answers as for Linen."""

from flaxdrop.nnx.analysis import advise, mc_predict, recalibrate, variance_shift
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.slots import with_slots

__all__ = ["Dropout", "advise", "mc_predict", "recalibrate", "variance_shift", "with_slots"]
