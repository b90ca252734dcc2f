"""A reliability diagram: is a network right as often as it is confident?"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flaxdrop.metrics import BINS, Reliability
from flaxdrop.plots import style
from flaxdrop.results.statistics import CONFIDENCE

_WIDTH = 0.8 / BINS


def draw_reliability(
    found: Mapping[str, Reliability],
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG of accuracy against confidence, with the examples of every bin below.

    Bars are 95 % Wilson intervals of the accuracy of a bin; a calibrated network is on the line.

    Args:
      found: what is compared, at most five; name -> its bins.
    """
    line: dict[str, Any] = {"color": style.INK, "linewidth": 0.8}
    marks = [style.kind(i, markersize=5) for i in range(len(found))]
    key = [
        style.Entry(f"{name}: calibration error {100 * bins.ece:.1f} %", mark)
        for (name, bins), mark in zip(found.items(), marks, strict=True)
    ]
    figure = style.new_figure(
        6,
        5.2,
        title,
        subtitle,
        key=[*key, style.Entry("calibrated", line)],
        note="Bars: 95 % intervals (Wilson). Below: how many examples each bin has.",
    )
    [upper], [lower] = style.panels(figure, 2, 1, grid="y", height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], **line)
    for i, bins in enumerate(found.values()):
        _draw_bins(upper, lower, bins, marks[i], place=i, shown=len(found))
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    lower.set(xlabel="confidence", ylabel="examples")
    return style.save(figure, path)


def _draw_bins(
    upper: Axes, lower: Axes, bins: Reliability, mark: Mapping[str, Any], *, place: int, shown: int
) -> None:
    there = bins.count > 0
    count, confidence, accuracy = bins.count[there], bins.confidence[there], bins.accuracy[there]
    right = np.round(accuracy * count).astype(int)
    tests = (stats.binomtest(int(k), int(n)) for k, n in zip(right, count, strict=True))
    low, high = np.array([test.proportion_ci(CONFIDENCE, "wilson") for test in tests]).T
    upper.vlines(confidence, low, high, color=mark["color"], linewidth=1.2, clip_on=False)
    upper.plot(confidence, accuracy, linewidth=1, clip_on=False, **mark)
    centres = (np.arange(BINS) + 0.5) / BINS + (place - (shown - 1) / 2) * _WIDTH / shown
    lower.bar(centres, bins.count, width=_WIDTH / shown, color=mark["color"])
