"""A picture of where dropout would shift the norms of a network: the best and the worst place."""

import os
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from flaxdrop.analysis.own_dropout import recommended
from flaxdrop.analysis.ranking import Ranking
from flaxdrop.plots.style import BAND, COLOURS, INK, MARKERS, WIDTH, Entry, new_figure, panels, save

_FLAT = 0.8  # of training: an axis shows at least so much, so that an unshifted network is flat
_DECADES = 30  # from where on the axis is marked by powers of ten


def draw_ranking(ranking: Ranking, path: str | os.PathLike[str], *, title: str) -> Figure:
    """Writes a PNG of the variance ratio over the depth, with dropout at the best and worst group.

    The best is the one that `flaxdrop.analysis.advise` recommends.

    Args:
      ranking: of a network.
      path: of the PNG.
      title: the question.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    best, worst = recommended(ranking), ranking.worst
    norms = [slot.shift.norms or slot.renormalised.norms for slot in (best, worst)]
    ratios = [np.array([norm.geometric_mean for norm in own]) for own in norms]
    styles: list[dict[str, Any]] = [
        {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 4, "linewidth": 1}
        for i in range(2)
    ]
    figure = new_figure(
        WIDTH,
        3.8,
        title,
        f"{ranking.network}, dropout at rate {ranking.rate:g}, {best.shift.examples} examples",
        key=[
            Entry(f"{what}: {slot.slot}", style)
            for what, slot, style in zip(("best", "worst"), (best, worst), styles, strict=True)
        ],
        note="Geometric mean over the channels. 1 is no shift.",
    )
    [[axis]] = panels(figure, 1, 1)
    axis.set_yscale("log")
    axis.axhline(1, color=INK, linewidth=0.8)
    for ratio, style in zip(ratios, styles, strict=True):
        axis.plot(range(1, len(ratio) + 1), ratio, **style)
    low = min(_FLAT, *(ratio.min() / 1.1 for ratio in ratios))
    high = max(1 / _FLAT, *(ratio.max() * 1.1 for ratio in ratios))
    axis.set_ylim(low, high)
    wide = high / low > _DECADES
    axis.yaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.set_ylabel("variance at inference / in training")
    axis.set_xlabel("norm, in the order of the network")
    return save(figure, path)
