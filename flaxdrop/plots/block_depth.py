"""A picture of the block depth study: differences by configuration, and by block and rate."""

import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots.style import BAND, INK, legend_below, new_figure, save, say
from flaxdrop.results.comparison import Effect, effects, outcomes
from flaxdrop.results.ledger import Row

_BAR = "#88CCEE"
# By rate: colour, marker, line.
_STYLES = (("#332288", "o", "-"), ("#CC6677", "s", "--"), ("#117733", "^", "-."))
_PUBLISHED: dict[str, Any] = {
    "linestyle": "none",
    "markerfacecolor": "white",
    "markeredgewidth": 1.4,
    "markersize": 6,
}


def draw_depth(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    *,
    order: Sequence[str],
    baseline: str,
    published: Mapping[str, float],
    by_block: Mapping[float, Sequence[str]],
    title: str,
) -> Figure:
    """Writes a PNG of the best accuracy minus the baseline's, in points; published beside ours.

    Left: a bar for every configuration, with its 95 % interval. Right: dropout in one block only,
    by block, a line for every rate. A published difference is that of the published accuracies.

    Args:
      rows: of the study, any part of it.
      path: of the PNG.
      order: the variants from top to bottom.
      baseline: the variant that the others are compared with, seed by seed.
      published: variant -> published accuracy in [0, 1]; may be empty.
      by_block: rate -> the variants with it in one block only, the first block's first.
      title: above the picture.

    Returns:
      The figure.

    Raises:
      ValueError: a variant has two rows of one seed.
      OSError: `path` cannot be written.
    """
    ours = {
        name: effect
        for name, effect in effects(outcomes(rows, order), "best", baseline, None).items()
        if effect.difference.n
    }
    theirs = {
        name: 100 * (accuracy - published[baseline])
        for name, accuracy in published.items()
        if name != baseline and baseline in published
    }
    shown = [name for name in order if name in ours]
    names = [textwrap.fill(name, 40) for name in shown]
    height = 1.7 + 0.24 * max(8, sum(name.count("\n") + 1 for name in names))
    figure = new_figure(10, height, title)
    left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
    difference = f"best accuracy minus that of {baseline}, points"
    left.set_xlabel(difference, parse_math=False)
    right.set_xlabel("dropout in one block only", parse_math=False)
    right.set_ylabel(difference, parse_math=False)
    _draw_bars(left, shown, names, ours, theirs)
    _draw_blocks(right, by_block, ours, theirs)
    legend_below(figure, left, "outside lower left", 2, line=1.5)
    legend_below(figure, right, "outside lower right", 2, line=3)
    return save(figure, path)


def _draw_bars(
    axis: Axes,
    shown: Sequence[str],
    names: Sequence[str],
    ours: Mapping[str, Effect],
    theirs: Mapping[str, float],
) -> None:
    if not shown:
        say(axis, "nothing to compare")
        axis.set_yticks([])
        return
    y = np.arange(len(shown))
    differences = [ours[name].difference for name in shown]
    axis.grid(axis="x", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.axvline(0, color=INK, linewidth=0.8)
    # A single value has no interval: half-width 0, which draws nothing.
    half = np.nan_to_num([d.mean - d.low for d in differences])
    axis.barh(
        y,
        [d.mean for d in differences],
        xerr=half,
        height=0.7,
        color=_BAR,
        error_kw={"ecolor": INK, "elinewidth": 1.2},
        label="ours",
    )
    known = [(place, theirs[name]) for place, name in zip(y, shown, strict=True) if name in theirs]
    if known:
        axis.plot(
            [x for _, x in known],
            [place for place, _ in known],
            marker="D",
            color=INK,
            label="published",
            **_PUBLISHED,
        )
    axis.tick_params(axis="y", length=0)
    axis.set_yticks(y, names, parse_math=False)
    axis.set_ylim(len(shown) - 0.4, -0.6)


def _draw_blocks(
    axis: Axes,
    by_block: Mapping[float, Sequence[str]],
    ours: Mapping[str, Effect],
    theirs: Mapping[str, float],
) -> None:
    if not any(name in ours for names in by_block.values() for name in names):
        say(axis, "nothing to compare")
        axis.set_yticks([])
        return
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.axhline(0, color=INK, linewidth=0.8)
    blocks = max(map(len, by_block.values()))
    for i, (rate, names) in enumerate(by_block.items()):
        colour, marker, line = _STYLES[i % len(_STYLES)]
        # The rates of a block stand apart, so that no interval hides another.
        at = np.arange(blocks) + 1 + 0.08 * (i - (len(by_block) - 1) / 2)
        found = [
            (x, ours[name].difference) for x, name in zip(at, names, strict=True) if name in ours
        ]
        if found:
            axis.errorbar(
                [x for x, _ in found],
                [d.mean for _, d in found],
                yerr=np.nan_to_num([d.mean - d.low for _, d in found]),
                color=colour,
                marker=marker,
                linestyle=line,
                elinewidth=1.2,
                label=f"rate {rate:g}",
            )
        known = [(x, theirs[name]) for x, name in zip(at, names, strict=True) if name in theirs]
        if known:
            axis.plot(
                [x + 0.16 for x, _ in known],
                [value for _, value in known],
                color=colour,
                marker=marker,
                label=f"rate {rate:g}, published",
                **_PUBLISHED,
            )
    axis.set_xlim(0.6, blocks + 0.5)
    axis.set_xticks(range(1, blocks + 1), [f"block {block}" for block in range(1, blocks + 1)])
