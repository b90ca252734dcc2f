"""Pictures of the variance shift: over the depth of a network, and against accuracies."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from flaxdrop.analysis.shift import NormShift, Shift
from flaxdrop.plots.style import BAND, INK, legend_below, new_figure, save
from flaxdrop.plots.variants import COLOURS, MARKERS
from flaxdrop.results.correlation import RankCorrelation
from flaxdrop.results.statistics import Summary

_DECADES = 30  # from where on the axis is marked by powers of ten
_NAMED = 24  # norms that have room for their names


def draw_shift(shift: Shift, path: str | os.PathLike[str], *, title: str) -> Figure:
    """Writes a PNG of the variance ratio over the depth of the network.

    A mark a norm, at the geometric mean over its channels, with the range from the 5th to the 95th
    percentile of the channels; norms of one name (`norm1`, `norm2`) share a mark.

    Raises:
      OSError: `path` cannot be written.
    """
    named = len(shift.norms) <= _NAMED
    figure = new_figure(10, 5.6 if named else 4.6, title)
    axis = figure.subplots()
    axis.set_yscale("log")
    axis.axhline(1, color=INK, linewidth=0.8)
    kinds = list(dict.fromkeys(_kind(norm) for norm in shift.norms))
    # A kind for every norm tells nothing.
    kinds = kinds if len(kinds) <= len(MARKERS) else [""]
    for i, kind in enumerate(kinds):
        own = [(x, n) for x, n in enumerate(shift.norms, 1) if kind in ("", _kind(n))]
        middle = np.array([norm.geometric_mean for _, norm in own])
        low, high = np.array([np.quantile(norm.ratio, [0.05, 0.95]) for _, norm in own]).T
        axis.errorbar(
            [x for x, _ in own],
            middle,
            # A geometric mean may lie outside of the quantiles.
            yerr=np.maximum([middle - low, high - middle], 0),
            linestyle="none",
            elinewidth=1,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i],
            markersize=5,
            markerfacecolor="white",
            label=kind or "a batch norm",
        )
    axis.set_ylabel("variance at inference / in training")
    axis.set_xlim(0.3, len(shift.norms) + 0.7)
    lowest, highest = axis.get_ylim()
    axis.set_ylim(min(lowest, 0.8), max(highest, 1.25))  # an unshifted network is a flat line
    wide = max(highest, 1.25) / min(lowest, 0.8) > _DECADES
    axis.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    if named:
        names = [norm.norm for norm in shift.norms]
        axis.set_xticks(range(1, len(names) + 1), names, rotation=60, ha="right", parse_math=False)
    else:
        axis.set_xlabel("batch norm, in the order of the network")
        axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    if len(kinds) > 1:
        legend_below(figure, axis, "outside lower center", 6, line=1.5)
    return save(figure, path)


def draw_prediction(
    panels: Mapping[str, tuple[Mapping[str, float], RankCorrelation]],
    differences: Mapping[str, Summary],
    path: str | os.PathLike[str],
    *,
    baseline: str,
    title: str,
) -> Figure:
    """Writes a PNG of paired accuracy differences over predicted shifts, a mark a variant.

    Args:
      panels: when it was predicted -> (variant -> shift of the network, rank correlation).
      differences: variant -> difference of accuracy to the baseline, points, with its interval.
      path: of the PNG.
      baseline: name of the variant that the others are compared with.
      title: above the picture.

    Raises:
      OSError: `path` cannot be written.
    """
    figure = new_figure(5 * len(panels) + 1, 5, title)
    axes: Sequence = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (when, (shifts, correlation)) in zip(axes, panels.items(), strict=True):
        axis.set_title(f"{when}\nrank correlation {correlation}", fontsize=10, color=INK)
        axis.set_xlabel("shift of the network, mean |log ratio|")
        axis.axhline(0, color=INK, linewidth=0.8)
        axis.grid(color=BAND, linewidth=0.6)
        axis.set_axisbelow(True)
        for i, (variant, shift) in enumerate(shifts.items()):
            of = differences[variant]
            axis.errorbar(
                [shift],
                [of.mean],
                yerr=np.nan_to_num([of.mean - of.low]),
                linestyle="none",
                color=COLOURS[(i + 1) % len(COLOURS)],  # black is the baseline's
                marker=MARKERS[(i + 1) % len(MARKERS)],
                markersize=7,
                markerfacecolor="none",  # variants that are one network lie on each other
                elinewidth=1.2,
                label=variant,
            )
        axis.set_xlim(left=0)
    axes[0].set_ylabel(f"last accuracy minus that of {baseline}, points")
    legend_below(figure, axes[0], "outside lower center", 9, line=1.5)
    return save(figure, path)


def _kind(norm: NormShift) -> str:
    return norm.norm.split("[")[0].split("/")[-1]
