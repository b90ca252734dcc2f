"""Pictures of the variance shift: over the depth of a network, and against accuracies."""

import os
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from flaxdrop.analysis.shift import NormShift, Shift
from flaxdrop.plots import style
from flaxdrop.plots.labels import Point, name_points
from flaxdrop.results.correlation import RankCorrelation
from flaxdrop.results.statistics import Summary

_KINDS = 4  # of norms, that are told apart
_FLAT = 0.8  # an axis shows at least so small a ratio, so that an unshifted network is flat
_DECADES = 30  # from where on the axis is marked by powers of ten
_NAMED = 24  # norms that have room for their names


def draw_shift(shift: Shift, path: str | os.PathLike[str], *, title: str) -> Figure:
    """Writes a PNG of the variance ratio over the depth of the network.

    A mark a norm, at the geometric mean over its channels, with the range from the 5th to the 95th
    percentile of the channels; norms of one name (`norm1`, `norm2`) share a mark, where there are
    few names.
    """
    named = len(shift.norms) <= _NAMED
    kinds = list(dict.fromkeys(_kind(norm) for norm in shift.norms))
    # A kind for every norm tells nothing.
    kinds = kinds if 1 < len(kinds) <= _KINDS else [""]
    hollow = {"linestyle": "none", "markersize": 5, "markerfacecolor": "white"}
    marks = [style.kind(i, **hollow) for i in range(len(kinds))]
    figure = style.new_figure(
        style.WIDTH,
        4.8 if named else 3.8,
        title,
        key=[style.Entry(*one) for one in zip(kinds, marks, strict=True)] if len(kinds) > 1 else (),
        note="Marks: geometric mean over the channels. Lines: their 5th to 95th percentile.",
    )
    [[axis]] = style.panels(figure, 1, 1, grid="y")
    axis.set_yscale("log")
    axis.axhline(1, color=style.INK, linewidth=0.8)
    for kind, mark in zip(kinds, marks, strict=True):
        own = [(x, n) for x, n in enumerate(shift.norms, 1) if kind in ("", _kind(n))]
        middle = np.array([norm.geometric_mean for _, norm in own])
        low, high = np.array([np.quantile(norm.ratio, [0.05, 0.95]) for _, norm in own]).T
        axis.errorbar(
            [x for x, _ in own],
            middle,
            # A geometric mean may lie outside of the quantiles.
            yerr=np.maximum([middle - low, high - middle], 0),
            elinewidth=1,
            **mark,
        )
    ratio_axis(axis, *axis.get_ylim())
    axis.set_xlim(0.3, len(shift.norms) + 0.7)
    if named:
        names = [norm.norm for norm in shift.norms]
        axis.set_xticks(range(1, len(names) + 1), names, rotation=60, ha="right", parse_math=False)
    else:
        axis.set_xlabel("batch norm, in the order of the network")
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    return style.save(figure, path)


def ratio_axis(axis: Axes, low: float, high: float) -> None:
    """Makes the vertical axis one of the variance ratio, and logarithmic.

    Args:
      axis: the panel.
      low: it goes down to.
      high: it goes up to.
    """
    low, high = min(low, _FLAT), max(high, 1 / _FLAT)
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    subs = (1,) if high / low > _DECADES else (1, 1.5, 2, 3, 4, 5, 6, 8)
    axis.yaxis.set_major_locator(LogLocator(subs=subs))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylabel("variance at inference / in training")


def draw_prediction(
    by_time: Mapping[str, tuple[Mapping[str, float], RankCorrelation]],
    differences: Mapping[str, Summary],
    path: str | os.PathLike[str],
    *,
    baseline: str,
    subtitle: str,
) -> Figure:
    """Writes a PNG of accuracy differences over predicted shifts, a named mark a variant.

    Args:
      by_time: when it was predicted -> (variant -> shift of the network, rank correlation).
      differences: variant -> difference of accuracy to the baseline, points, with its interval.
      baseline: name of the variant that the others are compared with.
      subtitle: what the variants were trained on.
    """
    figure = style.new_figure(
        style.WIDTH if len(by_time) > 1 else 6.0,
        4.2,
        "Does the shift predict the harm?",
        subtitle,
        note="Lines: 95 % intervals of the difference.",
    )
    [axes] = style.panels(figure, 1, len(by_time), grid="both", sharey=True)
    hollow = {"linestyle": "none", "markersize": 6, "markerfacecolor": "white"}
    points: dict[Axes, dict[str, Point]] = {}
    for axis, (when, (shifts, correlation)) in zip(axes, by_time.items(), strict=True):
        style.head(axis, f"{when}: rank correlation {correlation}", width=4.2)
        axis.set_xlabel("shift of the network, mean |log ratio|")
        axis.axhline(0, color=style.INK, linewidth=0.8)
        points[axis] = {}
        for variant, shift in shifts.items():
            own = differences[variant]
            at = points[axis][variant] = Point(shift, own.mean, *own.ends)
            looks = style.kind(0, **hollow)
            axis.errorbar([at.x], [at.y], yerr=[at.y - at.low], elinewidth=1.2, **looks)
        axis.set_xlim(left=0, right=1.12 * max(shifts.values(), default=1.0) or 1.0)
    style.label_axis(axes[0].yaxis, f"accuracy minus that of {baseline}, points")
    for axis, named in points.items():
        name_points(figure, axis, named)
    return style.save(figure, path)


def _kind(norm: NormShift) -> str:
    return norm.norm.split("[")[0].split("/")[-1]
