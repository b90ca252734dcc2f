"""flaxdrop for Flax NNX: the same names, meanings and answers as for Linen.

`with_slots` puts dropout anywhere in a network that is not edited, `variance_shift` and `advise`
say where it does harm, `recalibrate` repairs running statistics, `mc_predict` keeps dropout on at
inference. It is imported by its own name: `import flaxdrop` does not import NNX.
"""

from flaxdrop.nnx.analysis import advise, mc_predict, rank_slots, recalibrate, variance_shift
from flaxdrop.nnx.describe import describe
from flaxdrop.nnx.dropout import Dropout
from flaxdrop.nnx.slots import with_slots

__all__ = [
    "Dropout",
    "advise",
    "describe",
    "mc_predict",
    "rank_slots",
    "recalibrate",
    "variance_shift",
    "with_slots",
]
