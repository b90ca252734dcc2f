"""Which test examples a network was right about, as a row has it: packed bits, as texts."""

import base64
import binascii

import numpy as np


def pack_right(right: np.ndarray) -> list[str]:
    """Which test examples were right, as a row has it: a text an epoch, the oldest first.

    Args:
      right: uint8 `[epochs, test examples / 8]`, as `numpy.packbits` makes them of bool.
    """
    return [base64.b64encode(epoch.tobytes()).decode() for epoch in right]


def unpack_right(line: str, examples: int) -> bytes:
    """The packed bits of an epoch of `right`.

    Args:
      line: the text of the epoch.
      examples: of the test set.

    Raises:
      ValueError: they are damaged, or of another number of examples.
    """
    try:
        packed = base64.b64decode(line, validate=True)
    except binascii.Error as error:
        raise ValueError(f"right: {error}") from None
    if not packed or len(packed) != -(-examples // 8) or packed[-1] & 0xFF >> (examples % 8 or 8):
        raise ValueError(f"right: {8 * len(packed)} bits, must be of {examples} examples")
    return packed
