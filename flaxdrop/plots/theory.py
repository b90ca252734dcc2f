"""Pictures of the module tests: simulated points with intervals over the closed forms."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots import style
from flaxdrop.plots.labels import LineEnd, name_lines
from flaxdrop.results.statistics import CONFIDENCE, quantile
from flaxdrop.theory.simulation import Estimate


@dataclasses.dataclass(frozen=True)
class Series:
    """Points and the curve that they should lie on.

    Attributes:
      points: x -> simulated ratio.
      closed_form: x -> ratio.
    """

    points: Mapping[float, Estimate]
    closed_form: Callable[[float], float]


def module_test(
    by_panel: Mapping[str, Mapping[str, Series]],
    path: str | os.PathLike[str],
    *,
    label: str,
    title: str,
) -> Figure:
    """Writes a PNG with a panel of series beside the other; lines are the closed forms.

    Args:
      by_panel: name -> label of a series -> series; at most five series in a panel.
      label: of the x axes.
    """
    figure = style.new_figure(
        style.WIDTH if len(by_panel) > 1 else 7.0,
        3.8,
        title,
        note="Lines: closed forms. Marks: simulated, with 95 % intervals.",
    )
    [axes] = style.panels(figure, 1, len(by_panel), grid="both", sharey=True)
    ends = {}
    for axis, (name, by_label) in zip(axes, by_panel.items(), strict=True):
        style.head(axis, name, width=3.6)
        axis.set_xlabel(label)
        ends[axis] = [
            _draw(axis, series, words, style.kind(i))
            for i, (words, series) in enumerate(by_label.items())
        ]
    axes[0].set_ylabel("variance without dropout / with dropout")
    name_lines(figure, ends)
    return style.save(figure, path)


def _draw(axis: Axes, series: Series, name: str, style: dict[str, Any]) -> LineEnd:
    x = np.array(list(series.points))
    grid = np.linspace(x.min(), x.max(), 201)
    curve = [series.closed_form(at) for at in grid]
    axis.plot(grid, curve, color=style["color"], linewidth=1.2)
    found = list(series.points.values())
    half = [quantile(CONFIDENCE, one.draws - 1) * one.error for one in found]
    style |= {"linestyle": "none", "markersize": 6, "markerfacecolor": "white", "zorder": 3}
    axis.errorbar(x, [one.ratio for one in found], yerr=half, **style)
    return LineEnd((float(grid[-1]), curve[-1]), name, style["color"])
