"""Small multiples: alike panels on one scale, but for those that would make the others flat."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots import style

_OTHER_SCALE = " (another scale)"  # behind the name of a panel that has one
_RATIO = 3.0


def columns_for(count: int) -> int:
    """How many panels stand beside each other, so that few places stay empty.

    >>> [columns_for(count) for count in (0, 3, 6, 8, 19)]
    [1, 3, 3, 4, 4]
    """
    if count <= 4:
        return max(1, count)
    return min((4, 5, 3), key=lambda columns: -count % columns)


def new_figure(count: int, row: float, title: str, subtitle: str, **options: Any) -> Figure:
    """Makes a page for panels.

    Args:
      count: how many.
      row: height of a row of them, inches.
      title: the question.
      subtitle: on what it was measured.
      **options: as of `flaxdrop.plots.style.new_figure`.
    """
    width = style.WIDTH if count > 1 else 6.0
    height = 0.5 + row * math.ceil(max(1, count) / columns_for(count))
    return style.new_figure(width, height, title, subtitle, **options)


def panels(figure: Figure, count: int) -> list[Axes]:
    """Makes so many panels, at least one, which share their horizontal axis."""
    columns, count = columns_for(count), max(1, count)
    grid = style.panels(figure, math.ceil(count / columns), columns, grid="y", sharex=True)
    made = [axis for row in grid for axis in row]
    for axis in made[count:]:
        axis.set_axis_off()
    return made[:count]


def finish(
    shown: Mapping[Axes, tuple[float, float]],
    names: Sequence[str],
    x: str,
    y: str,
    *,
    colours: Mapping[str, str] | None = None,
    **scales: Any,
) -> None:
    """Sets the scales of panels, and writes their names and what their axes show.

    Args:
      shown: panel -> the smallest and the largest value in it; in the order of the page.
      names: of the panels.
      x: what the horizontal axes show.
      y: what the vertical ones do.
      colours: name -> its colour; None: that of other text.
      **scales: as of `set_scales`.
    """
    columns = columns_for(len(shown))
    lines = math.ceil(len(shown) / columns)
    apart = set_scales(shown, columns, **scales)
    for i, (axis, name, other) in enumerate(zip(shown, names, apart, strict=True)):
        colour = colours[name] if colours else style.INK
        words = name + (_OTHER_SCALE if other else "")
        style.head(axis, words, width=9.0 / columns, colour=colour)
        if i + columns >= len(shown):
            axis.tick_params(labelbottom=True)
        if i // columns == lines - 1:
            axis.set_xlabel(x)
        if i % columns == 0:
            axis.set_ylabel(y)


def outliers(spans: Sequence[float], most: float = 0.5) -> list[bool]:
    """Which panels need another scale: they span three times what all the others do, or more.

    Args:
      spans: of each panel.
      most: the largest share of panels that may have another scale.

    >>> outliers([1.0, 2.0, 40.0, 30.0]), outliers([1.0, 2.0, 4.0]), outliers([1.0, 9.0, 9.0])
    ([False, False, True, True], [False, False, False], [False, False, False])
    """
    ordered = sorted(spans)
    for i in range(1, len(ordered)):
        if ordered[i] >= _RATIO * ordered[i - 1] > 0 and len(ordered) - i <= most * len(ordered):
            return [bool(span >= ordered[i]) for span in spans]
    return [False] * len(spans)


def set_scales(
    shown: Mapping[Axes, tuple[float, float]],
    columns: int,
    *,
    percent: bool = False,
    most: float = 0.5,
) -> list[bool]:
    """Sets the vertical limits of panels, and shades those that have another scale.

    Args:
      shown: panel -> the smallest and the largest value in it; in the order of the page.
      columns: of the page.
      percent: as of `widen`.
      most: as of `outliers`.

    Returns:
      Which panels have another scale than most.
    """
    apart = outliers([high - low for low, high in shown.values()], most)
    for other in (False, True):
        own = [limits for limits, out in zip(shown.values(), apart, strict=True) if out is other]
        if not own:
            continue
        low, high = min(low for low, _ in own), max(high for _, high in own)
        limits = style.widen(low, high, least=1.0, percent=percent)
        rows: set[int] = set()
        for i, (axis, out) in enumerate(zip(shown, apart, strict=True)):
            if out is other:
                axis.set_ylim(*limits)
                # The numbers stand at the first panel of a scale in every row.
                axis.tick_params(labelleft=i // columns not in rows)
                rows.add(i // columns)
                if other:
                    axis.set_facecolor(style.ZEBRA)
    return apart
