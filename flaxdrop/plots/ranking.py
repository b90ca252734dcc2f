"""A picture of where dropout would shift the norms of a network: the best and the worst place."""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.analysis.own_dropout import recommended
from flaxdrop.analysis.ranking import Ranking
from flaxdrop.plots import style
from flaxdrop.plots.shift import ratio_axis


def draw_ranking(ranking: Ranking, path: str | os.PathLike[str], *, title: str) -> Figure:
    """Writes a PNG of the variance ratio over the depth, with dropout at the best and worst group.

    The best is the one that `flaxdrop.analysis.advise` recommends.
    """
    shown = {"best": recommended(ranking), "worst": ranking.worst}
    marks = [style.kind(i, markersize=4, linewidth=1) for i in range(len(shown))]
    key = [
        style.Entry(f"{what}: {ranked.slot}", mark)
        for (what, ranked), mark in zip(shown.items(), marks, strict=True)
    ]
    examples = ranking.worst.shift.examples
    figure = style.new_figure(
        style.WIDTH,
        3.8,
        title,
        f"{ranking.network}, dropout at rate {ranking.rate:g}, {examples} examples",
        key=key,
        note="Geometric mean over the channels. 1 is no shift.",
    )
    [[axis]] = style.panels(figure, 1, 1, grid="y")
    norms = [ranked.shift.norms or ranked.renormalised.norms for ranked in shown.values()]
    ratios = [np.array([norm.geometric_mean for norm in own]) for own in norms]
    axis.axhline(1, color=style.INK, linewidth=0.8)
    ratio_axis(axis, min(map(np.min, ratios)) / 1.1, max(map(np.max, ratios)) * 1.1)
    for ratio, mark in zip(ratios, marks, strict=True):
        axis.plot(range(1, len(ratio) + 1), ratio, **mark)
    axis.xaxis.set_major_locator(MaxNLocator(12, integer=True))
    axis.set_xlabel("norm, in the order of the network")
    return style.save(figure, path)
