"""Pictures of the module tests: simulated points with intervals over the closed forms."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flaxdrop.plots.style import BAND, INK, legend_below, new_figure, save
from flaxdrop.results.comparison import CONFIDENCE

# Paul Tol's "muted" scheme, as the pictures of the studies.
_COLOURS = ("#332288", "#CC6677", "#117733", "#882255", "#44AA99")
_MARKERS = ("o", "s", "^", "D", "v")


@dataclasses.dataclass(frozen=True)
class Point:
    """A simulated ratio.

    Attributes:
      x: where it is drawn.
      ratio: the estimate.
      error: its standard error.
      draws: how many it is from.
    """

    x: float
    ratio: float
    error: float
    draws: int


@dataclasses.dataclass(frozen=True)
class Series:
    """Points and the curve that they should lie on.

    Attributes:
      points: simulated.
      closed_form: x -> ratio.
    """

    points: Sequence[Point]
    closed_form: Callable[[float], float]


def module_test(
    panels: Mapping[str, Mapping[str, Series]],
    path: str | os.PathLike[str],
    *,
    label: str,
    title: str,
) -> Figure:
    """Writes a PNG with a panel of series beside the other; lines are the closed forms.

    Args:
      panels: name -> label of a series -> series; the same labels in every panel.
      path: of the PNG.
      label: of the x axes.
      title: above the picture.

    Raises:
      OSError: `path` cannot be written.
    """
    figure = new_figure(5 * len(panels) + 1, 4.6, title)
    axes: list[Axes] = list(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0])
    for axis, (name, by_label) in zip(axes, panels.items(), strict=True):
        axis.set_title(name, fontsize=10, color=INK)
        axis.set_xlabel(label)
        axis.grid(color=BAND, linewidth=0.6)
        axis.set_axisbelow(True)
        for i, (words, series) in enumerate(by_label.items()):
            _draw(axis, series, words, _COLOURS[i % 5], _MARKERS[i % 5])
    axes[0].set_ylabel("variance without dropout / with dropout")
    legend_below(figure, axes[0], "outside lower center", 5, line=2)
    return save(figure, path)


def _draw(axis: Axes, series: Series, label: str, colour: str, marker: str) -> None:
    x = np.array([point.x for point in series.points])
    grid = np.linspace(x.min(), x.max(), 201)
    axis.plot(grid, [series.closed_form(at) for at in grid], color=colour, linewidth=1.2)
    half = [
        stats.t.ppf((1 + CONFIDENCE) / 2, point.draws - 1) * point.error for point in series.points
    ]
    axis.errorbar(
        x,
        [point.ratio for point in series.points],
        yerr=half,
        linestyle="none",
        marker=marker,
        markersize=6,
        markerfacecolor="white",
        color=colour,
        capsize=3,
        label=label,
    )
