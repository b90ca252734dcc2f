"""A picture of what training costs as something grows, with straight lines to measure it by."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from flaxdrop.plots import style


@dataclasses.dataclass(frozen=True)
class Cost:
    """What training costs at one size.

    Attributes:
      size: of what grows.
      step_seconds: of a step.
      compile_seconds: of the programs.
      temporary_bytes: of a device, besides data and states.
    """

    size: int
    step_seconds: float
    compile_seconds: float
    temporary_bytes: int


@dataclasses.dataclass(frozen=True)
class Line:
    """intercept + slope * size; deviation: the largest from it, as a share of the value."""

    intercept: float
    slope: float
    deviation: float


# Name, unit, and how many units a cost is.
QUANTITIES = (
    ("step", "s", lambda cost: cost.step_seconds),
    ("compile", "s", lambda cost: cost.compile_seconds),
    ("temporary memory", "MiB", lambda cost: cost.temporary_bytes / 2**20),
)


def straight(sizes: Sequence[float], values: Sequence[float]) -> Line | None:
    """The line with the least squares of deviations, as shares of the values.

    Args:
      sizes: at least two different ones.
      values: above 0.

    Returns:
      None for fewer than 3 points, which any line meets.

    >>> straight([1, 2, 4], [3.0, 5.0, 9.0]).deviation < 1e-9
    True
    """
    if len(sizes) < 3:
        return None
    x, y = np.asarray(sizes, float), np.asarray(values, float)
    slope, intercept = np.polyfit(x, y, 1, w=1 / y)
    line = intercept + slope * x
    return Line(float(intercept), float(slope), float(np.max(np.abs(line / y - 1))))


def draw_scale(
    costs: Sequence[Cost],
    path: str | os.PathLike[str],
    *,
    what: str,
    title: str,
) -> Figure:
    """Writes a PNG with a panel for every quantity, its straight line and the deviation from it.

    Args:
      costs: by size; at least one.
      what: grows.
    """
    figure = style.new_figure(style.WIDTH, 3.2, title)
    [axes] = style.panels(figure, 1, len(QUANTITIES), grid="both")
    sizes = [cost.size for cost in costs]
    for axis, (name, unit, quantity) in zip(axes, QUANTITIES, strict=True):
        values = [quantity(cost) for cost in costs]
        axis.set_xlabel(what)
        axis.set_ylabel(f"{name}, {unit}")
        if line := straight(sizes, values):
            ends = np.asarray([min(sizes), max(sizes)])
            axis.plot(ends, line.intercept + line.slope * ends, color=style.FAINT, linewidth=1.2)
            style.head(axis, f"off the line by at most {100 * line.deviation:.1f} %", width=3.0)
        axis.plot(sizes, values, linestyle="none", clip_on=False, **style.kind(0))
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0, top=1.1 * max(*values, 1e-9))
    return style.save(figure, path)
