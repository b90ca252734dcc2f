"""Effects over something that has an order: a line, broken where nothing was trained."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flaxdrop.plots.forest import line
from flaxdrop.plots.verdict import ends
from flaxdrop.results.comparison import Effect

FULL = "Full marks are significant, hollow ones are not."
_MARK: dict[str, Any] = {
    "markersize": 6.0,
    "markeredgewidth": 1.4,
    "linestyle": "none",
    "clip_on": False,
}


def draw_line(
    axis: Axes,
    x: Sequence[float] | np.ndarray,
    effects: Sequence[Effect | None],
    colour: str,
    marker: str,
    *,
    start: tuple[float, float] | None = None,
) -> None:
    """Draws a line through effects with their intervals; full marks are significant.

    Args:
      axis: the panel.
      x: where each effect is.
      effects: in the order of `x`; None, where nothing was trained: the line has a gap there.
      colour: of the line.
      marker: of the line.
      start: a point that the line comes from, if its first effect is there.
    """
    means = [effect.mean if effect else math.nan for effect in effects]
    across, up = list(map(float, x)), list(means)
    if start is not None:
        across, up = [start[0], *across], [start[1], *up]
    axis.plot(across, up, color=colour, linewidth=1.3, clip_on=False)
    for at, effect in zip(x, effects, strict=True):
        if effect is None:
            continue
        axis.plot([at, at], ends(effect), clip_on=False, zorder=2.5, **line(colour))
        face = colour if effect.significant else "white"
        axis.plot(
            [at],
            [effect.mean],
            color=colour,
            marker=marker,
            markerfacecolor=face,
            zorder=3,
            gid=effect.name,
            **_MARK,
        )
