"""Effects over something that has an order: lines, broken where nothing was trained."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from flaxdrop.plots.forest import line
from flaxdrop.plots.labels import LineEnd
from flaxdrop.plots.style import INK, kind
from flaxdrop.plots.verdict import ends
from flaxdrop.results.effect import Effect

FULL = "Full marks are significant, hollow ones are not."
_MARK: dict[str, Any] = {
    "markersize": 6.0,
    "markeredgewidth": 1.4,
    "linestyle": "none",
    "clip_on": False,
}


def draw_lines(
    axis: Axes,
    x: Sequence[float],
    lines: Mapping[str, Sequence[Effect | None]],
    *,
    apart: float,
    start: tuple[float, float] | None = None,
) -> tuple[list[LineEnd], list[float]]:
    """Draws lines through effects, with their intervals; full marks are significant.

    Args:
      axis: the panel.
      x: where the effects are.
      lines: name -> effects in the order of `x`; None, where nothing was trained: the line has a
        gap there. One without any effect is left out.
      apart: by how much lines stand beside each other, so that no interval hides another.
      start: a point that all lines come from, if there is one.

    Returns:
      The ends of the lines, to name them; and all values that are shown.
    """
    axis.axhline(0, color=INK, linewidth=0.9)
    values, named = [0.0], []
    for i, (name, effects) in enumerate(lines.items()):
        if not any(effects):
            continue
        mark = kind(i, **_MARK)
        colour = mark["color"]
        own = np.array(x) + apart * (i - (len(lines) - 1) / 2)
        means = [effect.mean if effect else math.nan for effect in effects]
        points = [*([start] if start else ()), *zip(own, means, strict=True)]
        axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.3, clip_on=False)
        for at, effect in zip(own, effects, strict=True):
            if effect is None:
                continue
            axis.plot([at, at], ends(effect), clip_on=False, zorder=2.5, **line(colour))
            mark["markerfacecolor"] = colour if effect.significant else "white"
            axis.plot([at], [effect.mean], zorder=3, gid=effect.name, **mark)
            values += ends(effect)
            end = LineEnd((at, effect.mean), name, colour)
        named.append(end)
    return named, values
