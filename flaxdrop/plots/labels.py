"""Names beside what they name: at the end of a line, or beside a mark, and never on each other."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from scipy import optimize

from flaxdrop.plots.style import INK, SMALL, balance

_BESIDE = 1.03  # the left end of names, in widths of their panel
_LINE = 1.3  # height of a line of text, in sizes of it


@dataclasses.dataclass(frozen=True)
class LineEnd:
    """The end of a line that is to be named.

    Attributes:
      point: where it ends, in the units of the axes.
      name: of the line.
      colour: of the line.
    """

    point: tuple[float, float]
    name: str
    colour: str = INK


def name_lines(
    figure: Figure, ends: Mapping[Axes, Sequence[LineEnd]], *, width: float = 1.3
) -> None:
    """Writes the names of lines right of their panels, each as near to its end as others allow.

    Call it last: it lays the page out.

    Args:
      figure: the page.
      ends: panel -> the ends of its lines.
      width: of a name, inches; a longer one is broken.
    """
    made = {axis: [_name_line(axis, end, width) for end in own] for axis, own in ends.items()}
    figure.draw_without_rendering()
    for axis, own in ends.items():
        box = axis.get_window_extent()
        wanted = [axis.transData.transform(end.point)[1] for end in own]
        lines = [text.get_text().count("\n") + 1 for text in made[axis]]
        heights = [_LINE * SMALL * count * figure.dpi / 72 for count in lines]
        found = spread(wanted, heights, box.y0, box.y1)
        for text, y in zip(made[axis], found, strict=True):
            text.xyann = (_BESIDE, (y - box.y0) / box.height)


def _name_line(axis: Axes, end: LineEnd, width: float) -> Annotation:
    return axis.annotate(
        "\n".join(balance(end.name, width, SMALL)),
        end.point,
        xytext=(_BESIDE, 0.5),
        textcoords="axes fraction",
        fontsize=SMALL,
        color=end.colour,
        va="center",
        annotation_clip=False,
        parse_math=False,
        arrowprops={
            "arrowstyle": "-",
            "color": end.colour,
            "linewidth": 0.7,
            "shrinkA": 0,
            "shrinkB": 5,
            "relpos": (0, 0.5),
        },
    )


def spread(
    wanted: Sequence[float], heights: Sequence[float], low: float, high: float
) -> list[float]:
    """Moves the middles of texts apart until none lies on another, in all as little as can be.

    Args:
      wanted: where each would be best.
      heights: of each.
      low: where the lowest may begin.
      high: where the highest may end, if there is room.

    >>> spread([1.0, 1.0, 9.0], [2.0, 2.0, 2.0], 0.0, 10.0)
    [1.0, 3.0, 9.0]
    """
    if not wanted:
        return []
    order = np.argsort(wanted, kind="stable")
    tall = np.asarray(heights, float)[order]
    # Without the heights below them the texts may touch, but not change places.
    below = np.cumsum(tall) - tall / 2
    flat = optimize.isotonic_regression(np.asarray(wanted, float)[order] - below).x
    flat = np.maximum(np.minimum(flat, high - tall.sum()), low)
    found = np.empty(len(flat))
    found[order] = flat + below
    return found.tolist()


def name_points(
    figure: Figure, axis: Axes, points: Mapping[str, tuple[float, float]], *, colour: str = INK
) -> None:
    """Writes the names of marks beside them, where there is room; far ones with a thin line.

    Call it last: it lays the page out.

    Args:
      figure: the page.
      axis: the panel.
      points: name -> its mark.
      colour: of the names.
    """
    figure.draw_without_rendering()
    scale = figure.dpi / 72
    marks = {name: axis.transData.transform(point) for name, point in points.items()}
    page = axis.get_window_extent()
    taken = [(x - 4 * scale, y - 4 * scale, x + 4 * scale, y + 4 * scale) for x, y in marks.values()]
    renderer = figure.canvas.get_renderer()
    for name, (x, y) in sorted(marks.items(), key=lambda item: item[1][1]):
        text = axis.annotate(
            name,
            points[name],
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SMALL,
            color=colour,
            va="center",
            ha="left",
            parse_math=False,
        )
        box = text.get_window_extent(renderer)
        wide, tall = box.width, box.height
        best = min(_places(wide, tall, scale), key=lambda at: _cost(x, y, at, wide, tall, taken, page))
        left, middle = best
        taken.append((x + left, y + middle - tall / 2, x + left + wide, y + middle + tall / 2))
        text.xyann = (left / scale, middle / scale)
        if np.hypot(max(left, -left - wide, 0.0), middle) > 14 * scale:
            axis.annotate(
                "",
                points[name],
                xytext=((left + (0 if left > 0 else wide)) / scale, middle / scale),
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6},
            )


def _places(wide: float, tall: float, scale: float) -> list[tuple[float, float]]:
    """Left ends and middles of a text about its mark, pixels."""
    found = []
    for distance in (7, 16, 28, 42, 60):
        d = distance * scale
        for angle in np.deg2rad([0, 180, 90, -90, 45, -45, 135, -135, 22, -22, 158, -158]):
            across, up = d * np.cos(angle), d * np.sin(angle)
            if abs(across) < 1e-6:
                left = -wide / 2
            else:
                left = across if across > 0 else across - wide
            found.append((left, up + np.sign(round(np.sin(angle), 6)) * tall / 3))
    return found


def _cost(
    x: float,
    y: float,
    at: tuple[float, float],
    wide: float,
    tall: float,
    taken: Sequence[tuple[float, float, float, float]],
    page: object,
) -> float:
    left, middle = at
    x0, x1 = x + left, x + left + wide
    y0, y1 = y + middle - tall / 2, y + middle + tall / 2
    covered = sum(
        max(0.0, min(x1, b[2]) - max(x0, b[0])) * max(0.0, min(y1, b[3]) - max(y0, b[1]))
        for b in taken
    )
    out = max(0.0, page.x0 - x0) + max(0.0, x1 - page.x1)  # type: ignore[attr-defined]
    out += max(0.0, page.y0 - y0) + max(0.0, y1 - page.y1)  # type: ignore[attr-defined]
    return 1e3 * covered + 1e3 * out + float(np.hypot(left + wide / 2, middle)) * 1e-3 + abs(middle) * 1e-3
