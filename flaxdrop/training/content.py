"""What a cell is, beside its variant and seed: config, version of the numerics, data, weights."""

from typing import NamedTuple

# The version of what a config and a seed train. Cells of another version are other cells, and share
# no table with these. Raise it with every change after which the same config and seed train another
# network beyond rounding: other masks, another order of the examples, another augmentation, other
# initial weights, other keys that these are derived from; a correction of what is computed, as of a
# gradient. Not for what only rounds differently: a compiler, a device, a faster kernel.
# 0 is what was recorded before versions were counted.
NUMERICS = 2


class Content(NamedTuple):
    """What two cells of one variant and seed must have in common to be the same.

    Attributes:
      config_hash: of the configuration.
      numerics: version of what a seed draws (`NUMERICS`).
      data: digest of the whole dataset.
      weights: digest of pretrained weights; empty: none.
    """

    config_hash: str
    numerics: int
    data: str
    weights: str
