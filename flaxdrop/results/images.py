"""The part of an accuracy's variance that comes from which test images were drawn.

Networks and test images are two samples. Other images would have given other accuracies, and the
differences between networks would have moved, too, for they are measured on few or many images.
"""

import math
from collections.abc import Sequence

import numpy as np


def image_variance(a: Sequence[np.ndarray], b: Sequence[np.ndarray] = ()) -> float:
    """Variance, through the drawn images alone, of the mean accuracy of `a` minus that of `b`.

    What the cells of one network differ in at an image is of the seeds, and is taken out: it counts
    with their variance.

    Args:
      a: of each cell of the first network, f32 `[images]`: right or wrong, or a mean of epochs.
      b: likewise of the second network; empty: the accuracy of `a` itself.

    Returns:
      The variance, of fractions in [0, 1], at least 0; NaN where the images are not known.

    References:
      A. Owen, The pigeonhole bootstrap, 2007, for two crossed samples.
    """
    sides = [side for side in (a, b) if len(side)]
    if not len(a) or any(len(cell) == 0 for side in sides for cell in side):
        return math.nan
    difference = np.mean(a, axis=0) - (np.mean(b, axis=0) if len(b) else 0.0)
    within = sum(
        float(np.mean(np.var(side, axis=0, ddof=1, dtype=np.float64))) / len(side)
        for side in sides
        if len(side) > 1
    )
    return max(0.0, float(np.var(difference, ddof=1)) - within) / len(difference)
