"""Pictures by rate of dropout: all places of it in one panel, or a panel for every place."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from flaxdrop.plots.style import BAND, INK, legend_below, new_figure, save, say
from flaxdrop.results.comparison import (
    CONFIDENCE,
    Effect,
    Outcome,
    effects_by_rate,
    outcomes,
)
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import BySeed, Paired, paired

# Colour, marker, line.
_STYLES = (
    ("#332288", "o", "-"),
    ("#CC6677", "s", "--"),
    ("#117733", "^", "-."),
    ("#AA7700", "D", ":"),
)
_LINEAR = 5  # points
_TICKS = (-100, -50, -20, -10, -5, -2.5, 0, 2.5, 5, 10, 20, 50, 100)
_NOISE = "noise"
_INTERVAL = "mean [95 % t interval]"
_TOLD, _NOT_TOLD = "significant (Holm), above known noise", "not told from chance"
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


def draw_each_place(
    rows: Mapping[float, Iterable[Row]],
    path: str | os.PathLike[str],
    *,
    order: Sequence[str],
    baseline: str,
    nulls: Sequence[tuple[str, str]],
    title: str,
) -> Figure:
    """Writes a PNG with a panel a variant: its difference to the baseline over the rates.

    Test accuracy after the last epoch, in points (linear up to 5, logarithmic beyond), paired by
    seed, with its 95 % t interval; a grey bar is the noise of a rate, where a null tells it. A full
    mark stands out: it is significant after Holm over the variants of its rate, and larger than
    that noise.

    Args:
      rows: rate -> the rows of one config.
      path: of the PNG.
      order: the variants, in the panels' order.
      baseline: the variant without dropout, which is drawn at rate 0.
      nulls: pairs of variants that are one network with different masks.
      title: above the picture.

    Returns:
      The figure.

    Raises:
      ValueError: a variant has two rows of one seed at one rate.
      OSError: `path` cannot be written.
    """
    effects = effects_by_rate(rows, "last", baseline, nulls)
    shown = [v for v in order if any(v in of and of[v].difference.n for of in effects.values())]
    columns = 4
    lines = max(1, -(-len(shown) // columns))
    figure = new_figure(10, 0.9 + 2.3 * lines, title)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axis, variant in zip(panels, shown, strict=False):
        of = {rate: found[variant] for rate, found in sorted(effects.items()) if variant in found}
        there = {rate: effect for rate, effect in of.items() if effect.difference.n}
        _draw_place(axis, variant, there, width=0.08 * max(effects))
    panels[0].set_xlim(0, 1.08 * max(effects))  # of all panels, whichever rates they have
    panels[0].set_xticks([0.0, *effects])
    # One place may do a hundred times the harm of another, whose effects are to be seen too.
    low, high = panels[0].get_ylim()
    panels[0].set_yscale("symlog", linthresh=_LINEAR)
    panels[0].set_yticks([y for y in _TICKS if low <= y <= high], minor=False)
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].yaxis.set_major_formatter("{x:g}")
    legend_below(figure, panels[0], "outside lower center", columns, line=2)
    for axis in panels[len(shown) :]:
        axis.set_axis_off()
    for axis in panels[-columns:]:
        axis.set_xlabel("rate")
    label = f"last accuracy minus that of {baseline}, points"
    figure.supylabel(f"{label} (beyond ± {_LINEAR}: logarithmic)", fontsize=10, color=INK)
    return save(figure, path)


def _draw_place(axis: Axes, variant: str, effects: Mapping[float, Effect], width: float) -> None:
    colour, marker, _ = _STYLES[0]
    rates = list(effects)
    means = [effect.difference.mean for effect in effects.values()]
    noise = np.array([effect.noise for effect in effects.values()])  # NaN draws nothing
    axis.bar(rates, 2 * noise, width, bottom=-noise, color=BAND, label=_NOISE)
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.plot([0.0, *rates], [0.0, *means], color=colour, linewidth=1.2)
    # A single seed has no interval: half-width 0, which draws nothing.
    half = np.nan_to_num([e.difference.mean - e.difference.low for e in effects.values()])
    axis.errorbar(
        rates, means, half, linestyle="none", color=colour, label=_INTERVAL, capsize=3, zorder=2
    )
    for label, face, stands_out in ((_TOLD, colour, True), (_NOT_TOLD, "white", False)):
        marks = [(r, e.difference.mean) for r, e in effects.items() if e.stands_out is stands_out]
        style: dict[str, Any] = {"color": colour, "markerfacecolor": face, "label": label}
        axis.plot(*np.array(marks).reshape(-1, 2).T, marker, zorder=3, **style)
    axis.set_title(variant, fontsize=10, color=INK, parse_math=False)


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
    # A single seed has no interval: NaN, which leaves a gap in the band.
    half = np.array([0.0, *(of.mean - of.low for _, of in line)])
    axis.fill_between(rates, means - half, means + half, color=colour, alpha=0.15, linewidth=0)
    axis.plot(rates, means, markersize=5, label=place, clip_on=False, **options)
