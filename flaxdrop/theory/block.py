"""Which dropout of a residual block shifts which of its batch norms, in closed form.

The forms are those of `flaxdrop.theory.variance`.
"""

import math

from flaxdrop.theory.variance import (
    Moments,
    he_std,
    rectified,
    shift,
    shift_before_weight,
    shift_of_sum,
)


def slot_shifts(
    rate: float, trunk_variance: float = 1.0, batch: float = math.inf
) -> dict[str, tuple[float, float, float | None]]:
    """Delta at both norms of a pre-activation basic block, and at the first norm after it.

    The trunk has mean 0, weights are He's with mean 0. A norm is affine, with the same statistics
    in training and at inference, so a mask before BN1, behind it or behind its ReLU is one and the
    same to BN2, but for this: BN1 subtracts the mean of its batch, and a dropped unit, 0 until
    then, comes out as N(0, 1 / batch). Behind the ReLU that adds p phi(0) / sqrt(batch) to E[x] in
    training, which is (1 - p)^(1/2) phi(0), and leaves E[x^2] = 1/2.

    Args:
      rate: of the one dropout, in [0, 1).
      trunk_variance: of the block's input.
      batch: examples in front of a norm.

    Returns:
      Slot -> (BN1, BN2, BN1 of the next block); the last one None where it has no simple form.

    Raises:
      ValueError: a rate outside [0, 1), a variance below 0, or fewer than two examples.

    >>> [round(delta, 2) for delta in slot_shifts(0.3)["p4"] if delta]
    [1.0, 0.61]
    """
    if not batch >= 2:
        raise ValueError(f"batch: must be at least 2, got {batch}")
    unit = rectified()
    first = shift(Moments(1.0, 1.0), rate)
    second = shift_before_weight(unit, rate, 1, 0.0, he_std(1))
    mean = math.sqrt((1 - rate) * unit.squared_mean)
    moved = mean + rate * math.sqrt(unit.squared_mean / batch)
    behind_norm = second * (0.5 - mean**2) / (0.5 - moved**2)
    after = shift_of_sum(trunk_variance, unit, rate, 1)
    return {
        **dict.fromkeys(("p0", "p1"), (first, behind_norm, None)),
        **dict.fromkeys(("p2", "p3", "p4"), (1.0, second, None)),
        **dict.fromkeys(("p5", "p6", "p7"), (1.0, 1.0, after)),
    }
