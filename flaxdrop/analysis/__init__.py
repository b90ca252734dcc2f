"""What dropout does to activations: closed forms, and measurements beside them.

`variance_shift` measures what dropout does to what a network's batch norms see, `advise` says where
it would do less, `rank_slots` ranks every place of a network, `recalibrate` repairs the running
statistics; `closed_forms` says why.
`mc_predict` keeps dropout on at inference, for what a network does not know.
"""

from flaxdrop.analysis.advice import Advice, advise
from flaxdrop.analysis.probing import Probe, probe, variance_shift
from flaxdrop.analysis.ranking import RankedSlot, Ranking, rank_slots
from flaxdrop.analysis.recalibration import recalibrate, recalibrator
from flaxdrop.analysis.shift import NormShift, Shift
from flaxdrop.analysis.uncertainty import Prediction, mc_predict

__all__ = [
    "Advice",
    "NormShift",
    "Prediction",
    "Probe",
    "RankedSlot",
    "Ranking",
    "Shift",
    "advise",
    "mc_predict",
    "probe",
    "rank_slots",
    "recalibrate",
    "recalibrator",
    "variance_shift",
]
