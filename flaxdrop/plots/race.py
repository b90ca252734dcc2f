"""A picture of a race of places: every arm with its interval, the largest effect on top."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots import style
from flaxdrop.plots.verdict import GAIN, LOSS, UNDECIDED, Verdict
from flaxdrop.results import race
from flaxdrop.results.race import Standing

_ROW = 0.26  # inches
_LEFT = Verdict("left the race: gains less, or another is better", style.FAINT, "s", True)
_OPEN = Verdict("still open", UNDECIDED.colour, UNDECIDED.marker, False)
_GAIN = Verdict("better than none", GAIN.colour, GAIN.marker, True)
_LOSS = Verdict("worse than none", LOSS.colour, LOSS.marker, True)


def draw_race(
    standing: Standing,
    names: Sequence[str],
    path: str | os.PathLike[str],
    *,
    margin: float,
    subtitle: str = "",
    best: int | None = None,
) -> Figure:
    """Writes a PNG of the arms of a race.

    Args:
      standing: of one race.
      names: of its arms.
      margin: what an arm must gain to be worth it, points.
      best: number of the arm that the answer names; it is in bold type.
    """
    shown = [i for i in np.argsort(-standing.effect, kind="stable") if standing.seeds[i] > 0]
    verdicts = [_verdict(standing, i) for i in shown]
    figure = style.new_figure(
        style.WIDTH,
        0.9 + _ROW * len(shown),
        "Where should dropout go?",
        subtitle,
        key=[
            style.Entry(kind.words, _style(kind) | {"linewidth": 1.6})
            for kind in (_GAIN, _LOSS, _LEFT, _OPEN)
            if kind in verdicts
        ],
        note="Lines: intervals that hold at once, after every round, with a probability of 95 %;"
        f" with an arrow they go on. Dashed: the margin, {margin:g}.",
    )
    [[axis]] = style.panels(figure, 1, 1)
    axis.axvline(0, color=style.INK, linewidth=0.9)
    axis.axvline(margin, color=style.FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    effects = [float(standing.effect[i]) for i in shown]
    # An interval of two seeds may be far wider than all effects.
    low, high = style.widen(min([0.0, *effects]), max([margin, *effects]), least=1.0)
    room = 0.5 * (high - low)
    edges = (low - room, high + room)
    axis.set_xlim(*edges)
    for row, (i, verdict) in enumerate(zip(shown, verdicts, strict=True)):
        if row % 2:
            axis.axhspan(row - 0.5, row + 0.5, color=style.ZEBRA, linewidth=0, zorder=0)
        ends = (float(standing.low[i]), float(standing.high[i]))
        if np.isfinite(ends).all():
            axis.plot(np.clip(ends, *edges), [row, row], color=verdict.colour, linewidth=1.6)
            for end, edge, marker in zip(ends, edges, "<>", strict=True):
                if np.clip(end, *edges) != end:
                    axis.plot([edge], [row], marker, color=verdict.colour, clip_on=False)
        axis.plot([effects[row]], [row], zorder=3, gid=names[i], **_style(verdict))
        words = f"{effects[row]:+.1f}"
        if np.isfinite(ends).all():
            words += f" [{ends[0]:+.1f}, {ends[1]:+.1f}], n = {standing.seeds[i]}"
        style.write_beside(axis, 1.02, row, words, verdict.colour)
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_yticks(range(len(shown)), [names[i] for i in shown])
    for i, label in zip(shown, axis.get_yticklabels(), strict=True):
        label.set(parse_math=False, fontweight="bold" if i == best else "normal")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=style.BAND, linewidth=0.6)
    axis.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axis.set_xlabel("accuracy - accuracy of none, points")
    return style.save(figure, path)


def _verdict(standing: Standing, arm: int) -> Verdict:
    if standing.low[arm] > 0:
        return _GAIN
    if standing.high[arm] < 0:
        return _LOSS
    return _OPEN if standing.status[arm] == race.RACING else _LEFT


def _style(verdict: Verdict) -> dict[str, Any]:
    return verdict.style | {"markersize": 6.0}
