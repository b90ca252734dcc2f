"""Pictures of a study: accuracy and effect by variant, and the learning curves."""

import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots import multiples, style
from flaxdrop.plots.block import HEIGHT, block_parts, draw_block
from flaxdrop.plots.forest import Rows, draw_effects, line, make_rows, note
from flaxdrop.plots.verdict import LEVEL, SEED, verdict, verdict_key
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.ledger import Row
from flaxdrop.results.outcome import Outcome
from flaxdrop.results.statistics import summary
from flaxdrop.results.table import measure_name

_NAME = 2.3  # inches, of a variant
_START = 0.2  # of the epochs, which the learning curves leave out
_OTHER = 0.34  # of the panels, which may have another scale
_ROW = 1.75  # height of a row of panels, inches


def draw_positions(
    comparison: Comparison,
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
    labels: Mapping[str, str] | None = None,
    layout: str = "",
) -> Figure:
    """Writes a PNG of every variant's result, and of every network's difference to the baseline.

    Left: mean with its 95 % interval, and each seed as a dot. Right, where there is something to
    compare: the difference with its 95 % interval, coloured by its verdict.

    Args:
      comparison: of the rows.
      labels: variant -> what it is, in few words; they are written behind its name.
      layout: of a block, as of `flaxdrop.plots.block.block_parts`, where variants are called as
        their slots; a strip shows it where there is room.
    """
    effects = comparison.effects["accuracy"]
    words = {o.variant: _name(o, labels or {}) for o in comparison.outcomes}
    rows = make_rows(comparison, words, width=_NAME)
    key = [style.Entry("mean of a variant", LEVEL), style.Entry("a seed", SEED)]
    if not any(outcome.n for outcome in comparison.outcomes):
        key = []
    parts, gap = block_parts(layout, rows.middle, style.INNER)
    figure = style.new_figure(
        style.WIDTH,
        0.75 + max(rows.height, 0.6),
        title,
        subtitle,
        key=key + verdict_key(effects.values()),
        note=note(comparison, list(effects.values())),
        strip=HEIGHT if parts else 0.0,
    )
    [axes] = style.panels(figure, 1, 2 if effects else 1, grid="x", sharey=True)
    _draw_levels(axes[0], rows, comparison)
    if effects:
        draw_effects(axes[1], rows, effects)
        style.label_axis(axes[1].xaxis, f"difference to {comparison.baseline}, points")
    if parts:
        own = {variant: effects.get(comparison.network(variant)) for variant in rows.middle}
        verdicts = {variant: verdict(effect) for variant, effect in own.items() if effect}
        draw_block(style.strip_of(figure, HEIGHT), parts, gap, verdicts, width=style.INNER)
    axes[0].set_yticks(
        list(rows.middle.values()), rows.names, parse_math=False, fontsize=style.SMALL
    )
    return style.save(figure, path)


def draw_curves(
    comparison: Comparison,
    path: str | os.PathLike[str],
    *,
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG of the learning curves of the finished cells, a panel a variant.

    Test accuracy by epoch, mean over the seeds with its 95 % interval, and training accuracy, with
    dropout; behind them, the baseline's. The steep first fifth of the training is left out.
    """
    cells: dict[str, list[Row]] = {o.variant: [] for o in comparison.outcomes if o.n}
    for row in comparison.rows:
        if row.status == "finished":
            cells[row.variant].append(row)
    base = cells.get(comparison.baseline)
    shown = [name for name in cells if name != comparison.baseline] or list(cells)
    effects = comparison.effects["accuracy"]
    colours = {}
    for name in shown:
        effect = effects.get(comparison.network(name))
        colours[name] = verdict(effect).colour if effect and effect.significant else style.INK
    epochs = max(
        (len(row.curve["test_accuracy"]) for own in cells.values() for row in own), default=0
    )
    first = 1 + int(_START * epochs) if epochs >= 10 else 1
    figure = multiples.new_figure(
        len(shown),
        _ROW if len(shown) > 1 else 3.0,
        title,
        subtitle,
        key=_curve_key(comparison, shown, colours, base is not None) if shown else (),
        note=_curve_note(first) if shown else "",
    )
    axes = multiples.panels(figure, len(shown))
    if not shown:
        style.say(axes[0], "no finished cell")
        return style.save(figure, path)
    spans: dict[Axes, tuple[float, float]] = {}
    for axis, name in zip(axes, shown, strict=True):
        found = _draw_curves(axis, cells[name], colours[name], first)
        if base is not None and name != comparison.baseline:
            found += _draw_curves(axis, base, style.BEHIND, first, behind=True)
        spans[axis] = min(found, default=0.0), max(found, default=100.0)
    options: dict[str, Any] = {"colours": colours, "percent": True, "most": _OTHER}
    multiples.finish(spans, shown, "epoch", "accuracy, %", **options)
    axes[0].set_xlim(first - 0.5 * (first == epochs), epochs + 0.5 * (first == epochs))
    axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    return style.save(figure, path)


def _name(outcome: Outcome, labels: Mapping[str, str]) -> str:
    words = outcome.variant
    if label := labels.get(outcome.variant):
        words += f": {label}"
    parts = [
        f"{count} {what}"
        for count, what in ((outcome.diverged, "diverged"), (outcome.at_chance, "at chance"))
        if count
    ]
    return words + (f" ({', '.join(parts)})" if parts else "")


def _draw_levels(axis: Axes, rows: Rows, comparison: Comparison) -> None:
    when = measure_name(comparison, "accuracy")
    when = when if " " in when else f"{when} epoch"
    style.label_axis(axis.xaxis, f"test accuracy, {when}, %")
    values: list[float] = []
    for variant, y in rows.middle.items():
        seeds = list(comparison.by_variant[variant].values["accuracy"].values())
        if not seeds:
            continue
        level = comparison.level(variant)
        low, high = level.ends
        values += [low, high, *seeds]
        axis.plot(seeds, [y + 0.06] * len(seeds), clip_on=False, **SEED)
        axis.plot([low, high], [y - 0.04] * 2, clip_on=False, **line(style.INK))
        axis.plot([level.mean], [y - 0.04], clip_on=False, zorder=3, gid=variant, **LEVEL)
    if values:
        axis.set_xlim(*style.widen(min(values), max(values), least=0.5, percent=True))
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        style.say(axis, "no finished cell")
    rows.shade(axis)


def _curve_key(
    comparison: Comparison, shown: Sequence[str], colours: Mapping[str, str], base: bool
) -> list[style.Entry]:
    key = [
        style.Entry("test accuracy", {"color": style.INK, "linewidth": 1.6}),
        style.Entry(
            "training accuracy, with dropout", {"color": style.INK, "linestyle": (0, (3, 2))}
        ),
    ]
    if base and list(shown) != [comparison.baseline]:
        name = textwrap.shorten(comparison.baseline, 50, placeholder=" ...")
        key.append(style.Entry(f"{name}, likewise", {"color": style.BEHIND, "linewidth": 1.6}))
    effects = comparison.effects["accuracy"].values()
    key += [
        style.Entry(entry.label, {"color": entry.style["color"], "linewidth": 1.6})
        for entry in verdict_key(effects)
        if entry.style["color"] in colours.values()
    ]
    return key


def _curve_note(first: int) -> str:
    words = "Means over the seeds; bands: 95 % t intervals of the test accuracy."
    if first > 1:
        words += f" The steep start, before epoch {first}, is left out."
    return words


def _by_epoch(cells: Sequence[Row], curve: str) -> np.ndarray:
    """`[seeds, epochs]` in percent; cells of fewer epochs end in NaN."""
    epochs = max(len(row.curve[curve]) for row in cells)
    return 100 * np.array(
        [[*row.curve[curve], *[math.nan] * (epochs - len(row.curve[curve]))] for row in cells]
    )


def _draw_curves(
    axis: Axes, cells: Sequence[Row], colour: str, first: int, *, behind: bool = False
) -> list[float]:
    """Draws both accuracies from an epoch on; returns all that is shown."""
    shown: list[float] = []
    looks: dict[str, dict[str, Any]] = {
        "train_accuracy": {"linestyle": (0, (3, 2)), "linewidth": 1.0},
        "test_accuracy": {"linewidth": 1.0 if behind else 1.6},
    }
    for curve, look in looks.items():
        values = _by_epoch(cells, curve)
        epoch = np.arange(first, values.shape[1] + 1)
        # Rounded, so that the axis of a constant does not show the floating point.
        points = [summary(at[np.isfinite(at)].round(6)) for at in values.T[first - 1 :]]
        mean = np.array([point.mean for point in points])
        look = {"color": colour, "zorder": 1.5 if behind else 2, "clip_on": False, **look}
        axis.plot(epoch, mean, marker="o" if len(epoch) == 1 else "", markersize=4, **look)
        shown += mean[np.isfinite(mean)].tolist()
        if curve == "test_accuracy" and not behind:
            low = np.clip([point.low for point in points], 0, 100)
            high = np.clip([point.high for point in points], 0, 100)
            axis.fill_between(epoch, low, high, color=colour, alpha=0.15, linewidth=0)
            shown += [x for x in (*low, *high) if math.isfinite(x)]
    return shown
