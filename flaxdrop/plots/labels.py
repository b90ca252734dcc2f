"""Names beside what they name: at the end of a line, or beside a mark, and never on each other."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import BboxBase
from scipy import optimize

from flaxdrop.plots.style import INK, SMALL
from flaxdrop.plots.text import balance, text_width

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
    if len(wanted) == 0:
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


@dataclasses.dataclass(frozen=True)
class Point:
    """A mark that is to be named, with its upright interval; all in the units of the axes."""

    x: float
    y: float
    low: float
    high: float


def name_points(figure: Figure, axis: Axes, points: Mapping[str, Point]) -> None:
    """Writes the names of marks beside them, where nothing is covered.

    Call it last: it lays the page out.

    Args:
      figure: the page.
      axis: the panel.
      points: name -> its mark.
    """
    figure.draw_without_rendering()
    pixels = figure.dpi / 72
    page = axis.get_window_extent()
    marks = {
        name: axis.transData.transform([(point.x, at) for at in (point.low, point.y, point.high)])
        for name, point in points.items()
    }
    half = 5 * pixels
    taken = [
        box
        for (x, low), (_, y), (_, high) in marks.values()
        for box in ((x - half, y - half, x + half, y + half), (x - pixels, low, x + pixels, high))
    ]
    for name, (_, (x, y), _) in sorted(marks.items(), key=lambda item: item[1][1][1]):
        wide = text_width(name, SMALL) * figure.dpi
        tall = _LINE * SMALL * pixels
        left, middle = min(
            _places(wide, tall, pixels),
            key=lambda at: _cost((x + at[0], y + at[1]), wide, tall, taken, page) + _far(at, wide),
        )
        taken.append((x + left, y + middle - tall / 2, x + left + wide, y + middle + tall / 2))
        far = np.hypot(max(left, -left - wide, 0.0), middle) > 20 * pixels
        axis.annotate(
            name,
            (points[name].x, points[name].y),
            xytext=(left / pixels, middle / pixels),
            textcoords="offset points",
            fontsize=SMALL,
            color=INK,
            va="center",
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.6} if far else None,
        )


_Box = tuple[float, float, float, float]  # left, lower, right, upper


def _places(wide: float, tall: float, pixels: float) -> list[tuple[float, float]]:
    """Left ends and middles of a text about its mark, pixels."""
    found = []
    for distance in (8, 14, 22, 32, 44, 60, 80):
        for angle in np.deg2rad([0, 180, 90, -90, 45, -45, 135, -135, 22, -22, 158, -158]):
            across, up = distance * pixels * np.cos(angle), distance * pixels * np.sin(angle)
            if abs(across) < 1e-6:
                across = -wide / 2
            elif across < 0:
                across -= wide
            found.append((across, up + np.sign(round(up, 6)) * tall / 3))
    return found


def _far(at: tuple[float, float], wide: float) -> float:
    """How far a text is from its mark, so little that room comes first."""
    return 1e-3 * float(np.hypot(at[0] + wide / 2, at[1]))


def _cost(
    corner: tuple[float, float], wide: float, tall: float, taken: Sequence[_Box], page: BboxBase
) -> float:
    """What a text covers, and how far it is outside of its panel."""
    x0, y0, x1, y1 = corner[0], corner[1] - tall / 2, corner[0] + wide, corner[1] + tall / 2
    covered = sum(
        max(0.0, min(x1, right) - max(x0, left)) * max(0.0, min(y1, upper) - max(y0, lower))
        for left, lower, right, upper in taken
    )
    outside = max(0.0, page.x0 - x0) + max(0.0, x1 - page.x1)
    return covered + 10 * (outside + max(0.0, page.y0 - y0) + max(0.0, y1 - page.y1))
