"""Where dropout belongs in a convolutional network: layers, placements, networks, benchmarks."""

from flaxdrop.boundaries.slotted import SlottedModel, with_slots
from flaxdrop.describe import describe
from flaxdrop.dropout import Dropout, dropout
from flaxdrop.placement import Placement
from flaxdrop.slots import find_slots

__version__ = "0.2.0"

__all__ = [
    "Dropout",
    "Placement",
    "SlottedModel",
    "describe",
    "dropout",
    "find_slots",
    "with_slots",
]
