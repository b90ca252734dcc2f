"""A reliability diagram: is a network right as often as it is confident?"""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flaxdrop.metrics import BINS, Reliability
from flaxdrop.plots.style import BAND, INK, legend_below, new_figure, save
from flaxdrop.results.comparison import CONFIDENCE

# Colour, marker.
_STYLES = (("#332288", "o"), ("#CC6677", "s"), ("#117733", "^"))
_WIDTH = 0.8 / BINS


def draw_reliability(
    found: Mapping[str, Reliability], path: str | os.PathLike[str], *, title: str
) -> Figure:
    """Writes a PNG of accuracy against confidence, with the examples of every bin below.

    Bars are 95 % Wilson intervals of the accuracy of a bin; a calibrated network is on the line.

    Args:
      found: what is compared, at most three; name -> its bins.
      path: of the PNG.
      title: above the picture.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    figure = new_figure(6, 6.4, title)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], color=INK, linewidth=0.8, label="calibrated")
    for i, (name, of) in enumerate(found.items()):
        _draw_bins(upper, lower, name, of, place=i, shown=len(found))
    for axis in (upper, lower):
        axis.grid(axis="y", color=BAND, linewidth=0.6)
        axis.set_axisbelow(True)
    upper.set_ylabel("accuracy")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    lower.set_xlabel("confidence")
    lower.set_ylabel("examples")
    legend_below(figure, upper, "outside lower center", 2, line=2)
    return save(figure, path)


def _draw_bins(
    upper: Axes, lower: Axes, name: str, of: Reliability, *, place: int, shown: int
) -> None:
    colour, marker = _STYLES[place]
    there = of.count > 0
    low, high = _wilson(of.accuracy[there], of.count[there])
    accuracy = of.accuracy[there]
    upper.errorbar(
        of.confidence[there],
        accuracy,
        yerr=[accuracy - low, high - accuracy],
        color=colour,
        marker=marker,
        markersize=5,
        elinewidth=1.2,
        linewidth=1,
        label=f"{name}: calibration error {100 * of.ece:.1f} %",
    )
    centres = (np.arange(BINS) + 0.5) / BINS + (place - (shown - 1) / 2) * _WIDTH / shown
    lower.bar(centres, of.count, width=_WIDTH / shown, color=colour)


def _wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval of Wilson 1927 for a share of `count` examples."""
    z = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return np.minimum(middle - half, share), np.maximum(middle + half, share)
