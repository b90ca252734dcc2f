"""Effects with their intervals, one below the other, with the numbers beside them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots.style import BAND, INK, SMALL, ZEBRA, widen, write_beside
from flaxdrop.plots.text import balance
from flaxdrop.plots.verdict import ends, verdict
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import Effect

PUBLISHED: dict[str, Any] = {
    "color": INK,
    "marker": "D",
    "markersize": 5.0,
    "markerfacecolor": "white",
    "markeredgewidth": 1.2,
    "linestyle": "none",
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where the variants of a picture are: the variants of one network beside each other.

    Attributes:
      names: of the variants as they are written, broken into lines; from top to bottom.
      middle: variant -> height of its middle, inches from the top.
      networks: network -> (upper end, lower end) of its rows.
    """

    names: tuple[str, ...]
    middle: Mapping[str, float]
    networks: Mapping[str, tuple[float, float]]

    @property
    def height(self) -> float:
        """Of all rows, inches."""
        return max((low for _, low in self.networks.values()), default=0.3)

    def shade(self, axis: Axes) -> None:
        """Sets the limits of a panel, and shades every second network over its whole width."""
        for i, (high, low) in enumerate(self.networks.values()):
            if i % 2 == 0:
                axis.axhspan(high, low, color=ZEBRA, linewidth=0, zorder=0)
        axis.set_ylim(self.height, 0)
        axis.tick_params(axis="y", length=0)


def make_rows(
    comparison: Comparison,
    words: Mapping[str, str],
    *,
    width: float,
    networks: Sequence[str] | None = None,
) -> Rows:
    """Places the variants of networks.

    Args:
      comparison: of the rows.
      words: variant -> what is written for it.
      width: of a name, inches.
      networks: those that are shown; None: all that have rows.
    """
    names = []
    middle: dict[str, float] = {}
    places = {}
    at = 0.0
    for network, own in comparison.networks.items():
        if networks is not None and network not in networks:
            continue
        top = at
        for variant in sorted(own, key=comparison.order.index):
            lines = balance(words[variant], width, SMALL)
            height = 0.14 + 0.155 * len(lines)
            names.append("\n".join(lines))
            middle[variant] = at + height / 2
            at += height
        places[network] = (top, at)
    return Rows(tuple(names), middle, places)


def draw_effects(
    axis: Axes,
    rows: Rows,
    effects: Mapping[str, Effect],
    published: Mapping[str, float] | None = None,
) -> None:
    """Draws the effect of every network in the middle of its rows, with its numbers on the right.

    Args:
      axis: the panel.
      rows: where the networks are.
      effects: network -> its effect.
      published: network -> published difference, in the same unit.
    """
    published = published or {}
    shown = {name: effect for name, effect in effects.items() if name in rows.networks}
    axis.grid(axis="x", color=BAND, linewidth=0.6)
    axis.axvline(0, color=INK, linewidth=0.9)
    values = [0.0]
    for name, effect in shown.items():
        high, low = rows.networks[name]
        y, (left, right), style = (high + low) / 2, ends(effect), verdict(effect)
        values += [left, right, *([published[name]] if name in published else [])]
        axis.plot([left, right], [y, y], clip_on=False, **line(style.colour))
        axis.plot([effect.mean], [y], clip_on=False, zorder=3, gid=name, **style.style)
        if name in published:
            axis.plot([published[name]], [y + 0.075], clip_on=False, zorder=3, **PUBLISHED)
        own = [at for variant, at in rows.middle.items() if high < at < low]
        if len(own) > 1:
            # One effect for several rows: a bracket holds them together.
            axis.plot(
                [1.0, 1.012, 1.012, 1.0],
                [own[0] - 0.06, own[0] - 0.06, own[-1] + 0.06, own[-1] + 0.06],
                color=style.colour,
                linewidth=1.0,
                transform=axis.get_yaxis_transform(),
                clip_on=False,
            )
        write_beside(axis, 1.03, y, str(effect), style.colour)
    axis.set_xlim(*widen(min(values), max(values), least=0.2))
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    rows.shade(axis)


def line(colour: str) -> dict[str, Any]:
    """The style of an interval."""
    return {"color": colour, "linewidth": 1.6, "solid_capstyle": "butt"}


def covered(effects: Sequence[Effect]) -> str:
    """What the intervals cover, in words."""
    images = {not np.isnan(effect.image_variance) for effect in effects}
    if images == {True}:
        return "seeds and drawn test images"
    return "seeds and, for accuracies, drawn test images" if True in images else "the seeds alone"


def note(comparison: Comparison, effects: Sequence[Effect]) -> str:
    """What the lines and the verdicts are, and which variants are one network."""
    words = []
    if any(not np.isnan(effect.error) for effect in effects):
        words.append(f"Lines: 95 % intervals; they cover {covered(effects)}.")
    if any(not np.isnan(effect.corrected) for effect in effects):
        words.append("Significant: p < 0.05 after Holm's correction for all networks.")
    if comparison.merged:
        groups = [sorted(own, key=comparison.order.index) for own in comparison.merged.values()]
        named = "; ".join(" and ".join(own) for own in groups)
        words.append(f"One network with other masks, and compared as one: {named}.")
    return " ".join(words)
