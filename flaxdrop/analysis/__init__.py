"""What dropout does to activations: closed forms, and measurements beside them.

`variance_shift` measures what dropout does to what a network's batch norms see, `advise` says where
it would do less, `recalibrate` repairs the running statistics; `closed_forms` says why.
"""

from flaxdrop.analysis.advice import Advice, advise
from flaxdrop.analysis.probing import Probe, probe, variance_shift
from flaxdrop.analysis.recalibration import recalibrate
from flaxdrop.analysis.shift import NormShift, Shift

__all__ = [
    "Advice",
    "NormShift",
    "Probe",
    "Shift",
    "advise",
    "probe",
    "recalibrate",
    "variance_shift",
]
