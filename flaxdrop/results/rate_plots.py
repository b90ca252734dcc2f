"""A picture of accuracy and likelihood by rate of dropout, with a line for every place of it."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.results.comparison import CONFIDENCE, Outcome, outcomes
from flaxdrop.results.drawing import BAND, INK, legend_below, new_figure, save, say
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import BySeed, Paired, paired

# Colour, marker, line.
_STYLES = (
    ("#332288", "o", "-"),
    ("#CC6677", "s", "--"),
    ("#117733", "^", "-."),
    ("#AA7700", "D", ":"),
)
_PANELS: tuple[tuple[str, Callable[[Outcome], BySeed]], ...] = (
    ("last accuracy minus that of {}, points", lambda outcome: outcome.accuracy["last"]),
    ("NLL minus that of {}, nats", lambda outcome: outcome.nll),
)


def draw_rates(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    *,
    places: Mapping[str, Mapping[float, str]],
    baseline: str,
    title: str,
) -> Figure:
    """Writes a PNG of the differences to the baseline by rate; bands are 95 % t intervals.

    Left: test accuracy after the last epoch, in points. Right: negative log-likelihood of the test
    set, in nats. Differences are paired by seed.

    Args:
      rows: of the study, any part of it.
      path: of the PNG.
      places: place -> rate -> variant; at most four places.
      baseline: the variant without dropout, which is drawn at rate 0.
      title: above the picture.

    Returns:
      The figure.

    Raises:
      ValueError: a variant has two rows of one seed.
      OSError: `path` cannot be written.
    """
    found = {outcome.variant: outcome for outcome in outcomes(rows, ())}
    figure = new_figure(10, 4.6, title)
    axes = figure.subplots(1, len(_PANELS))
    for axis, (label, values) in zip(axes, _PANELS, strict=True):
        axis.set_xlabel("rate of the dropout")
        axis.set_ylabel(label.format(baseline), parse_math=False)
        _draw_places(axis, found, places, baseline, values)
    legend_below(figure, axes[0], "outside lower center", len(places), line=3)
    return save(figure, path)


def _draw_places(
    axis: Axes,
    found: Mapping[str, Outcome],
    places: Mapping[str, Mapping[float, str]],
    baseline: str,
    values: Callable[[Outcome], BySeed],
) -> None:
    drawn = False
    for (place, variants), style in zip(places.items(), _STYLES, strict=False):
        line: list[tuple[float, Paired]] = []
        for rate, variant in sorted(variants.items()):
            if variant in found and baseline in found:
                difference = paired(values(found[variant]), values(found[baseline]), CONFIDENCE)
                line += [(rate, difference)] if difference.n else []
        if line:
            drawn = True
            _draw_line(axis, place, line, style)
    if not drawn:
        say(axis, "nothing to compare")
        axis.set_yticks([])
        return
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlim(left=0)


def _draw_line(
    axis: Axes, place: str, line: list[tuple[float, Paired]], style: tuple[str, str, str]
) -> None:
    colour, marker, dashes = style
    options: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes}
    rates = [0.0, *(rate for rate, _ in line)]
    means = np.array([0.0, *(of.mean for _, of in line)])
    # A single seed has no interval: half-width 0, which draws nothing.
    half = np.nan_to_num([0.0, *(of.mean - of.low for _, of in line)])
    axis.fill_between(rates, means - half, means + half, color=colour, alpha=0.15, linewidth=0)
    axis.plot(rates, means, markersize=5, label=place, clip_on=False, **options)
