"""Pictures by rate of dropout: all places of it in one panel, or a panel for every network."""

import math
import os
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots import multiples, style
from flaxdrop.plots.forest import covered, line, note
from flaxdrop.plots.labels import name_lines
from flaxdrop.plots.lines import FULL, draw_lines
from flaxdrop.plots.verdict import ends, verdict, verdict_key
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.effect import UNITS, Effect
from flaxdrop.results.rates import RateComparison, at_rate

_HEIGHT = 3.8  # of the panels of `draw_rates`, inches
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
      places: place -> rate -> variant; at most five places.
    """
    networks = {
        place: {rate: comparison.network(variant) for rate, variant in own.items()}
        for place, own in places.items()
    }
    known = comparison.effects["accuracy"]
    trained = sorted({r for own in networks.values() for r, name in own.items() if name in known})
    lines = {
        measure: {
            place: [comparison.effects[measure].get(own.get(rate, "")) for rate in trained]
            for place, own in networks.items()
        }
        for measure in _NAMES
    }
    every = [e for by_place in lines.values() for own in by_place.values() for e in own if e]
    words = f"{note(comparison, every)} {FULL}" if every else ""
    figure = style.new_figure(style.WIDTH, _HEIGHT, title, subtitle, note=words)
    [axes] = style.panels(figure, 1, len(_NAMES) if every else 1, grid="y")
    if not every:
        style.say(axes[0], f"nothing to compare with {comparison.baseline}")
        return style.save(figure, path)
    named = {}
    apart = 0.02 * trained[-1]
    for axis, measure in zip(axes, _NAMES, strict=True):
        named[axis], values = draw_lines(axis, trained, lines[measure], apart=apart, start=(0, 0))
        axis.set_xlim(0, trained[-1] + apart * (len(places) + 1) / 2)
        axis.set_xticks([0.0, *trained], [f"{rate:g}" for rate in (0.0, *trained)])
        axis.set_ylim(*style.widen(min(values), max(values), least=0.01))
        axis.set_xlabel("rate of dropout")
        better = "above 0: better" if measure == "accuracy" else "below 0: better"
        words = f"difference to {comparison.baseline}, {UNITS[measure]} ({better})"
        style.label_axis(axis.yaxis, words, width=2.8)
        style.head(axis, _NAMES[measure])
    name_lines(figure, named, width=1.1)
    return style.save(figure, path)


def draw_each_place(
    rates: RateComparison, path: str | os.PathLike[str], *, title: str, subtitle: str = ""
) -> Figure:
    """Writes a PNG with a panel a network: its difference to the baseline over the rates.

    Test accuracy, in points, with 95 % intervals, coloured by the verdict of each rate. All panels
    have one scale, but where a network would make the others flat: its panel is shaded and says it.

    Args:
      rates: the comparison; its baseline is drawn at rate 0.
    """
    found = {
        network: {r: rates.effects[r][network] for r in rates.rates if network in rates.effects[r]}
        for network in rates.networks
    }
    found = {network: own for network, own in found.items() if own}
    every = [effect for own in found.values() for effect in own.values()]
    key = verdict_key(every)
    figure = multiples.new_figure(
        len(found),
        _ROW,
        title,
        subtitle,
        key=key if len(key) > 1 else (),
        note=_note(rates, every) + (f" Every one is: {key[0].label}." if len(key) == 1 else ""),
    )
    axes = multiples.panels(figure, len(found))
    if not found:
        style.say(axes[0], f"nothing to compare with {rates.joint.baseline}")
        return style.save(figure, path)
    spans = {
        axis: _draw_network(axis, own, rates.rates)
        for axis, own in zip(axes, found.values(), strict=True)
    }
    names = [" and ".join(_variants(rates, network)) for network in found]
    multiples.finish(spans, names, "rate of dropout", "points")
    axes[0].set_xlim(0, 1.06 * max(rates.rates))
    axes[0].set_xticks([0.0, *rates.rates], [f"{rate:g}" for rate in (0.0, *rates.rates)])
    return style.save(figure, path)


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
    axis.axhline(0, color=style.INK, linewidth=0.9)
    means = [effects[rate].mean if rate in effects else math.nan for rate in rates]
    axis.plot([0.0, *rates], [0.0, *means], color=style.FAINT, linewidth=1.1)
    values = [0.0]
    for rate, effect in effects.items():
        shown, limits = verdict(effect), ends(effect)
        values += [*limits, effect.mean]
        axis.plot([rate, rate], limits, zorder=2.5, **line(shown.colour))
        axis.plot([rate], [effect.mean], zorder=3, gid=effect.name, **shown.style)
    return min(values), max(values)
