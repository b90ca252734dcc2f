"""Masks: which units dropout zeroes together."""

import re

MASKS = ("element", "channel", "block", "sample")


def parse_mask(mask: str) -> tuple[str, int]:
    """Splits a mask's name into its kind and its block size.

    Args:
      mask: "element", "channel" (spatial dropout), "sample" (stochastic depth), "block"
        (DropBlock, 7x7 as in Ghiasi et al. 2018) or "block<size>".

    Returns:
      (kind, side of a block in pixels; 1 for the other kinds).

    Raises:
      ValueError: an unknown mask.

    >>> parse_mask("channel"), parse_mask("block3")
    (('channel', 1), ('block', 3))
    """
    if match := re.fullmatch(r"block([1-9]\d*)?", mask):
        return "block", int(match[1] or 7)
    if mask not in MASKS:
        raise ValueError(f"mask: unknown {mask!r}, choose one of {', '.join(MASKS)}, block<size>")
    return mask, 1
