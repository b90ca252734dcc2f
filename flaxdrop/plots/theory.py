"""Pictures of the module tests: simulated points with intervals over the closed forms."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flaxdrop.plots.labels import LineEnd, name_lines
from flaxdrop.plots.style import BAND, COLOURS, MARKERS, WIDTH, head, new_figure, panels, save
from flaxdrop.results.comparison import CONFIDENCE


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
    by_panel: Mapping[str, Mapping[str, Series]],
    path: str | os.PathLike[str],
    *,
    label: str,
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG with a panel of series beside the other; lines are the closed forms.

    Args:
      by_panel: name -> label of a series -> series; at most five series in a panel.
      path: of the PNG.
      label: of the x axes.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    figure = new_figure(
        WIDTH if len(by_panel) > 1 else 7.0,
        3.8,
        title,
        subtitle,
        note="Lines: closed forms. Marks: simulated, with 95 % intervals.",
    )
    [axes] = panels(figure, 1, len(by_panel), sharey=True)
    ends = {}
    for axis, (name, by_label) in zip(axes, by_panel.items(), strict=True):
        head(axis, name, width=3.6)
        axis.set_xlabel(label)
        axis.grid(color=BAND, linewidth=0.6)
        ends[axis] = [
            _draw(axis, series, words, COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
            for i, (words, series) in enumerate(by_label.items())
        ]
    axes[0].set_ylabel("variance without dropout / with dropout")
    name_lines(figure, ends)
    return save(figure, path)


def _draw(axis: Axes, series: Series, name: str, colour: str, marker: str) -> LineEnd:
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
        zorder=3,
    )
    return LineEnd((float(grid[-1]), series.closed_form(float(grid[-1]))), name, colour)
