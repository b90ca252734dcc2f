"""A reliability diagram: is a network right as often as it is confident?"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flaxdrop.metrics import BINS, Reliability
from flaxdrop.plots.style import (
    BAND,
    COLOURS,
    INK,
    MARKERS,
    Entry,
    new_figure,
    panels,
    save,
)
from flaxdrop.results.comparison import CONFIDENCE

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
      path: of the PNG.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    line: dict[str, Any] = {"color": INK, "linewidth": 0.8}
    styles: dict[str, dict[str, Any]] = {
        name: {"color": colour, "marker": marker, "markersize": 5}
        for name, colour, marker in zip(found, COLOURS, MARKERS, strict=False)
    }
    key = [
        Entry(f"{name}: calibration error {100 * found[name].ece:.1f} %", style)
        for name, style in styles.items()
    ]
    figure = new_figure(
        6,
        5.2,
        title,
        subtitle,
        key=[*key, Entry("calibrated", line)],
        note="Bars: 95 % intervals (Wilson). Below: how many examples each bin has.",
    )
    [upper], [lower] = panels(figure, 2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], **line)
    for i, (name, style) in enumerate(styles.items()):
        _draw_bins(upper, lower, found[name], style, place=i, shown=len(found))
    for axis in (upper, lower):
        axis.grid(axis="y", color=BAND, linewidth=0.6)
    upper.set_ylabel("accuracy")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1)
    lower.set_xlabel("confidence")
    lower.set_ylabel("examples")
    return save(figure, path)


def _draw_bins(
    upper: Axes,
    lower: Axes,
    bins: Reliability,
    style: Mapping[str, Any],
    *,
    place: int,
    shown: int,
) -> None:
    there = bins.count > 0
    low, high = _wilson(bins.accuracy[there], bins.count[there])
    confidence, accuracy = bins.confidence[there], bins.accuracy[there]
    upper.vlines(confidence, low, high, color=style["color"], linewidth=1.2, clip_on=False)
    upper.plot(confidence, accuracy, linewidth=1, clip_on=False, **style)
    centres = (np.arange(BINS) + 0.5) / BINS + (place - (shown - 1) / 2) * _WIDTH / shown
    lower.bar(centres, bins.count, width=_WIDTH / shown, color=style["color"])


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of Wilson 1927 for a share of `count` examples."""
    z = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return np.minimum(middle - half, share), np.maximum(middle + half, share)
