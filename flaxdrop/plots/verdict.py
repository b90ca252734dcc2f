"""How an effect is shown: one colour and one mark for every verdict, in all pictures."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

from flaxdrop.plots.style import FAINT, INK, Entry
from flaxdrop.results.claims import MARGIN
from flaxdrop.results.effect import Effect, in_points

_LARGEST = 100.0  # points: no difference of accuracies is larger, and no interval goes on beyond


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an effect is, as far as the cells tell it.

    Attributes:
      words: in plain English.
      colour: of its mark and interval.
      marker: of matplotlib.
      filled: the mark is.
    """

    words: str
    colour: str
    marker: str
    filled: bool

    @property
    def style(self) -> dict[str, Any]:
        """Of its mark, as of `matplotlib.lines.Line2D`."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgewidth": 1.4,
            "markersize": 7.0,
        }


# Blue and orange: the colour-blind tell them apart, and the marks tell the same without colour.
GAIN = Verdict("statistically significant gain", "#0068AC", "^", True)
LOSS = Verdict("statistically significant loss", "#C84E00", "v", True)
SAME = Verdict(f"the same to within {MARGIN:g} point", FAINT, "s", True)
UNDECIDED = Verdict("not significant", FAINT, "o", False)
VERDICTS = (GAIN, LOSS, SAME, UNDECIDED)


def verdict(effect: Effect) -> Verdict:
    """What an effect is: by its corrected p first, then by the test for a small difference.

    Args:
      effect: in any measure; by "nll" a fall is a gain.
    """
    if effect.significant:
        return GAIN if (effect.mean < 0) == (effect.measure == "nll") else LOSS
    same = in_points(effect.measure) and effect.same(MARGIN)
    return SAME if same else UNDECIDED


def ends(effect: Effect) -> tuple[float, float]:
    """The ends of the interval as it is drawn; the mean itself where there is none."""
    low, high = effect.interval()
    if math.isnan(low):
        return effect.mean, effect.mean
    if in_points(effect.measure):
        low, high = max(low, -_LARGEST), min(high, _LARGEST)
    return low, high


def verdict_key(effects: Iterable[Effect]) -> list[Entry]:
    """The key of the verdicts that are there."""
    there = {verdict(effect) for effect in effects}
    return [Entry(one.words, one.style | {"linewidth": 1.6}) for one in VERDICTS if one in there]


SEED: dict[str, Any] = {
    "color": FAINT,
    "marker": "o",
    "markersize": 3.5,
    "markeredgewidth": 0,
    "alpha": 0.55,
    "linestyle": "none",
}
LEVEL: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 5.0}
