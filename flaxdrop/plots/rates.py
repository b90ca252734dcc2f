"""Pictures by rate of dropout: all places of it in one panel, or a panel for every network."""

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots.forest import covered, line, note
from flaxdrop.plots.labels import LineEnd, name_lines
from flaxdrop.plots.lines import FULL, draw_line
from flaxdrop.plots.scales import OTHER_SCALE, set_scales
from flaxdrop.plots.style import (
    BAND,
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    WIDTH,
    columns_for,
    head,
    label_axis,
    new_figure,
    panels,
    save,
    say,
    widen,
)
from flaxdrop.plots.verdict import ends, verdict, verdict_key
from flaxdrop.results.comparison import UNITS, Comparison, Effect
from flaxdrop.results.rates import RateComparison, at_rate

_HEIGHT = 3.3  # of the panels of `draw_rates`, inches
_ROW = 1.9  # of a row of panels, inches
_NAMES = {"accuracy": "test accuracy", "nll": "negative log-likelihood"}


def draw_rates(
    comparison: Comparison,
    path: str | os.PathLike[str],
    *,
    places: Mapping[str, Mapping[float, str]],
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG of the differences to the baseline by rate, a line for every place.

    Left: test accuracy, in points. Right: negative log-likelihood of the test set, in nats.

    Args:
      comparison: of the rows; its baseline is drawn at rate 0.
      path: of the PNG.
      places: place -> rate -> variant; at most five places.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    found = {
        measure: {
            place: {
                rate: effect
                for rate, variant in sorted(variants.items())
                if (effect := comparison.effects[measure].get(comparison.network(variant)))
            }
            for place, variants in places.items()
        }
        for measure in _NAMES
    }
    every = [
        effect
        for by_place in found.values()
        for own in by_place.values()
        for effect in own.values()
    ]
    figure = new_figure(
        WIDTH,
        _HEIGHT + 0.5,
        title,
        subtitle,
        note=f"{note(comparison, every)} {FULL}" if every else "",
    )
    [axes] = panels(figure, 1, len(_NAMES) if every else 1)
    if not every:
        say(axes[0], f"nothing to compare with {comparison.baseline}")
        return save(figure, path)
    named = {}
    for axis, (measure, by_place) in zip(axes, found.items(), strict=True):
        better = "above 0: better" if measure == "accuracy" else "below 0: better"
        axis.set_xlabel("rate of dropout")
        words = f"difference to {comparison.baseline}, {UNITS[measure]} ({better})"
        label_axis(axis.yaxis, words, width=2.8)
        head(axis, _NAMES[measure])
        named[axis] = _draw_places(axis, by_place)
    name_lines(figure, named, width=1.1)
    return save(figure, path)


def draw_each_place(
    rates: RateComparison,
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG with a panel a network: its difference to the baseline over the rates.

    Test accuracy, in points, with 95 % intervals, coloured by the verdict of each rate. All panels
    have one scale, but where a network would make the others flat: its panel is shaded and says it.

    Args:
      rates: the comparison; its baseline is drawn at rate 0.
      path: of the PNG.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    found = {
        network: {
            rate: rates.effects[rate][network]
            for rate in rates.rates
            if network in rates.effects[rate]
        }
        for network in rates.networks
    }
    found = {network: own for network, own in found.items() if own}
    every = [effect for own in found.values() for effect in own.values()]
    columns = columns_for(len(found))
    lines = max(1, math.ceil(len(found) / columns))
    key = verdict_key(every)
    figure = new_figure(
        WIDTH if columns > 1 else 6.0,
        0.5 + _ROW * lines,
        title,
        subtitle,
        key=key if len(key) > 1 else (),
        note=_note(rates, every) + (f" Every one is: {key[0].label}." if len(key) == 1 else ""),
    )
    grid = panels(figure, lines, columns, sharex=True)
    flat = [axis for row in grid for axis in row]
    if not found:
        say(flat[0], f"nothing to compare with {rates.joint.baseline}")
        return save(figure, path)
    spans = {
        axis: _draw_network(axis, own, rates.rates)
        for axis, own in zip(flat, found.values(), strict=False)
    }
    apart = set_scales(spans, columns, least=1.0)
    for axis, network, other in zip(spans, found, apart, strict=True):
        words = " and ".join(_variants(rates, network)) + (OTHER_SCALE if other else "")
        head(axis, words, width=9.0 / columns)
    flat[0].set_xlim(0, 1.06 * max(rates.rates))
    flat[0].set_xticks([0.0, *rates.rates], [f"{rate:g}" for rate in (0.0, *rates.rates)])
    for axis in flat[len(found) :]:
        axis.set_axis_off()
    for i, axis in enumerate(spans):
        axis.tick_params(labelbottom=i + columns >= len(found))
        if i // columns == lines - 1:
            axis.set_xlabel("rate of dropout")
        if i % columns == 0:
            axis.set_ylabel("points")
    return save(figure, path)


def _note(rates: RateComparison, effects: Sequence[Effect]) -> str:
    if not effects:
        return ""
    return (
        f"Test accuracy minus that of {rates.joint.baseline}, which is at rate 0. Lines: 95 %"
        f" intervals; they cover {covered(effects)}. Significant: p < 0.05 after"
        " Holm's correction for all networks of a rate."
    )


def _variants(rates: RateComparison, network: str) -> list[str]:
    """The variants that are a network, without their rate."""
    for rate in rates.rates:
        if own := rates.joint.networks.get(at_rate(network, rate)):
            return sorted(name.removesuffix(at_rate("", rate)) for name in own)
    return [network]


def _draw_network(
    axis: Axes, effects: Mapping[float, Effect], rates: Sequence[float]
) -> tuple[float, float]:
    """Draws one network's effects; returns the smallest and the largest value."""
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.axhline(0, color=INK, linewidth=0.9)
    means = [effects[rate].mean if rate in effects else math.nan for rate in rates]
    axis.plot([0.0, *rates], [0.0, *means], color=FAINT, linewidth=1.1)
    values = [0.0]
    for rate, effect in effects.items():
        style, limits = verdict(effect), ends(effect)
        values += [*limits, effect.mean]
        axis.plot([rate, rate], limits, zorder=2.5, **line(style.colour))
        axis.plot([rate], [effect.mean], zorder=3, gid=effect.name, **style.style)
    return min(values), max(values)


def _draw_places(axis: Axes, found: Mapping[str, Mapping[float, Effect]]) -> list[LineEnd]:
    """Draws the lines of all places; returns their ends."""
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.axhline(0, color=INK, linewidth=0.9)
    rates = sorted({rate for own in found.values() for rate in own})
    apart = 0.02 * rates[-1]
    values, named = [0.0], []
    for i, (place, own) in enumerate(found.items()):
        if not own:
            continue
        # The places of a rate stand apart, so that no interval hides another.
        x = np.array(rates) + apart * (i - (len(found) - 1) / 2)
        effects = [own.get(rate) for rate in rates]
        colour = COLOURS[i % len(COLOURS)]
        draw_line(axis, x, effects, colour, MARKERS[i % len(MARKERS)], start=(0.0, 0.0))
        values += [value for effect in own.values() for value in ends(effect)]
        at, last = [(at, effect) for at, effect in zip(x, effects, strict=True) if effect][-1]
        named.append(LineEnd((at, last.mean), place, colour))
    axis.set_xlim(0, rates[-1] + apart * (len(found) + 1) / 2)
    axis.set_xticks([0.0, *rates], [f"{rate:g}" for rate in (0.0, *rates)])
    axis.set_ylim(*widen(min(values), max(values), least=0.01))
    return named
