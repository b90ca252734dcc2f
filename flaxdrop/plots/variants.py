"""Pictures of a study: accuracy and effect by variant, and the learning curves."""

import math
import os
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots.block import HEIGHT, block_parts, draw_block
from flaxdrop.plots.forest import Rows, draw_effects, line, make_rows, note
from flaxdrop.plots.scales import OTHER_SCALE, set_scales
from flaxdrop.plots.style import (
    BAND,
    BEHIND,
    INK,
    INNER,
    SMALL,
    WIDTH,
    Entry,
    columns_for,
    head,
    label_axis,
    new_figure,
    panels,
    save,
    say,
    strip_of,
    widen,
)
from flaxdrop.plots.verdict import LEVEL, SEED, UNDECIDED, verdict, verdict_key
from flaxdrop.results.comparison import CONFIDENCE, UNITS, Comparison, Outcome
from flaxdrop.results.ledger import Row
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
    measure: str = "accuracy",
    labels: Mapping[str, str] | None = None,
    layout: str = "",
) -> Figure:
    """Writes a PNG of every variant's result, and of every network's difference to the baseline.

    Left: mean with its 95 % interval, and each seed as a dot. Right, where there is something to
    compare: the difference with its 95 % interval, coloured by its verdict.

    Args:
      comparison: of the rows.
      path: of the PNG.
      title: the question.
      subtitle: on what it was measured.
      measure: "accuracy", "best" or "nll".
      labels: variant -> what it is, in few words; they are written behind its name.
      layout: of a block, as of `flaxdrop.plots.block.block_parts`, where variants are called as
        their slots; a strip shows it where there is room.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    effects = comparison.effects[measure]
    words = {o.variant: _name(o, labels or {}) for o in comparison.outcomes}
    rows = make_rows(comparison, words, width=_NAME)
    finished = any(outcome.n for outcome in comparison.outcomes)
    key = []
    if finished:
        key = [Entry("mean of a variant", LEVEL), Entry("a seed", SEED)]
    parts, gap = block_parts(layout, rows.variants, INNER)
    figure = new_figure(
        WIDTH,
        0.75 + max(rows.height, 0.6),
        title,
        subtitle,
        key=key + verdict_key(effects.values()),
        note=note(comparison, list(effects.values())),
        strip=HEIGHT if parts else 0.0,
    )
    [axes] = panels(figure, 1, 2 if effects else 1, sharey=True)
    _draw_levels(axes[0], rows, comparison, measure)
    if effects:
        draw_effects(axes[1], rows, effects)
        better = " (below 0: better)" if measure == "nll" else ""
        label_axis(axes[1].xaxis, f"difference to {comparison.baseline}, {UNITS[measure]}{better}")
    if parts:
        draw_block(
            strip_of(figure, HEIGHT),
            parts,
            gap,
            {
                variant: verdict(effect)
                if (effect := effects.get(comparison.network(variant)))
                else None
                for variant in rows.variants
            },
            width=INNER,
        )
    axes[0].set_yticks(list(rows.middle.values()), rows.names, parse_math=False, fontsize=SMALL)
    return save(figure, path)


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

    Args:
      comparison: of the rows.
      path: of the PNG.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    cells = {o.variant: _finished(comparison, o.variant) for o in comparison.outcomes if o.n}
    base = cells.get(comparison.baseline)
    shown = [name for name in cells if name != comparison.baseline] or list(cells)
    effects = comparison.effects["accuracy"]
    colours = {}
    for name in shown:
        effect = effects.get(comparison.network(name))
        one = verdict(effect) if effect else UNDECIDED
        colours[name] = one.colour if effect and effect.significant else INK
    epochs = max(
        (len(row.curve["test_accuracy"]) for own in cells.values() for row in own), default=0
    )
    first = 1 + int(_START * epochs) if epochs >= 10 else 1
    columns = columns_for(len(shown))
    lines = max(1, math.ceil(len(shown) / columns))
    figure = new_figure(
        WIDTH if columns > 1 else 6.0,
        0.5 + (_ROW if columns > 1 else 3.0) * lines,
        title,
        subtitle,
        key=_curve_key(comparison, shown, colours, base is not None) if shown else (),
        note=_curve_note(first) if shown else "",
    )
    grid = panels(figure, lines, columns, sharex=True)
    flat = [axis for line in grid for axis in line]
    if not shown:
        say(flat[0], "no finished cell")
        return save(figure, path)
    spans: dict[Axes, tuple[float, float]] = {}
    for axis, name in zip(flat, shown, strict=False):
        found = _draw_curves(axis, cells[name], colours[name], first)
        if base is not None and name != comparison.baseline:
            found += _draw_curves(axis, base, BEHIND, first, behind=True)
        spans[axis] = min(found, default=0.0), max(found, default=100.0)
        axis.grid(axis="y", color=BAND, linewidth=0.6)
    apart = set_scales(spans, columns, least=1.0, percent=True, most=_OTHER)
    for axis, name, other in zip(spans, shown, apart, strict=True):
        words = name + (OTHER_SCALE if other else "")
        head(axis, words, width=9.0 / columns, colour=colours[name])
    flat[0].set_xlim(first - 0.5 * (first == epochs), epochs + 0.5 * (first == epochs))
    flat[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    for axis in flat[len(shown) :]:
        axis.set_axis_off()
    for i, axis in enumerate(flat[: len(shown)]):
        if i + columns >= len(shown):
            axis.tick_params(labelbottom=True)
        if i // columns == lines - 1:
            axis.set_xlabel("epoch")
        if i % columns == 0:
            axis.set_ylabel("accuracy, %")
    return save(figure, path)


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


def _draw_levels(axis: Axes, rows: Rows, comparison: Comparison, measure: str) -> None:
    percent = UNITS[measure] == "points"
    label_axis(axis.xaxis, _level_label(comparison, measure))
    axis.grid(axis="x", color=BAND, linewidth=0.6)
    values: list[float] = []
    for variant, y in rows.middle.items():
        seeds = list(comparison.by_variant[variant].values[measure].values())
        if not seeds:
            continue
        level = comparison.level(variant, measure)
        low, high = (x if math.isfinite(x) else level.mean for x in (level.low, level.high))
        values += [low, high, *seeds]
        axis.plot(seeds, [y + 0.06] * len(seeds), clip_on=False, **SEED)
        axis.plot([low, high], [y - 0.04] * 2, clip_on=False, **line(INK))
        axis.plot([level.mean], [y - 0.04], clip_on=False, zorder=3, gid=variant, **LEVEL)
    if values:
        axis.set_xlim(
            *widen(min(values), max(values), least=0.5 if percent else 0.02, percent=percent)
        )
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    else:
        say(axis, "no finished cell")
    rows.shade(axis)


def _level_label(comparison: Comparison, measure: str) -> str:
    when = measure_name(comparison, measure)
    if measure == "nll":
        return "negative log-likelihood of the test set, nats"
    if measure == "best":
        return "best test accuracy over the epochs, %"
    return f"test accuracy, {when if ' ' in when else f'{when} epoch'}, %"


def _finished(comparison: Comparison, variant: str) -> list[Row]:
    return [r for r in comparison.rows if r.variant == variant and r.status == "finished"]


def _curve_key(
    comparison: Comparison, shown: Sequence[str], colours: Mapping[str, str], base: bool
) -> list[Entry]:
    key = [
        Entry("test accuracy", {"color": INK, "linewidth": 1.6}),
        Entry("training accuracy, with dropout", {"color": INK, "linestyle": (0, (3, 2))}),
    ]
    if base and list(shown) != [comparison.baseline]:
        key.append(
            Entry(f"{_short(comparison.baseline)}, likewise", {"color": BEHIND, "linewidth": 1.6})
        )
    effects = comparison.effects["accuracy"].values()
    key += [
        Entry(entry.label, {"color": entry.style["color"], "linewidth": 1.6})
        for entry in verdict_key(effects)
        if entry.style["color"] in colours.values()
    ]
    return key


def _short(name: str) -> str:
    return textwrap.shorten(name, 50, placeholder=" ...")


def _curve_note(first: int) -> str:
    words = "Means over the seeds; bands: 95 % t intervals of the test accuracy."
    if first > 1:
        words += f" The steep start, before epoch {first}, is left out."
    return words


def _by_epoch(cells: Sequence[Row], curve: str) -> np.ndarray:
    """`[seeds, epochs]` in percent; cells of fewer epochs end in NaN."""
    epochs = max(len(row.curve[curve]) for row in cells)
    return 100 * np.array(
        [row.curve[curve] + [math.nan] * (epochs - len(row.curve[curve])) for row in cells]
    )


def _draw_curves(
    axis: Axes, cells: Sequence[Row], colour: str, first: int, *, behind: bool = False
) -> list[float]:
    """Draws both accuracies from an epoch on; returns all that is shown."""
    shown: list[float] = []
    for curve, style in (
        ("train_accuracy", {"linestyle": (0, (3, 2)), "linewidth": 1.0}),
        ("test_accuracy", {"linewidth": 1.0 if behind else 1.6}),
    ):
        values = _by_epoch(cells, curve)
        epoch = np.arange(first, values.shape[1] + 1)
        # Rounded, so that the axis of a constant does not show the floating point.
        points = [
            summary(column[np.isfinite(column)].round(6), CONFIDENCE)
            for column in values.T[first - 1 :]
        ]
        mean = np.array([point.mean for point in points])
        marker = "o" if len(epoch) == 1 else ""
        axis.plot(
            epoch,
            mean,
            color=colour,
            zorder=1.5 if behind else 2,
            marker=marker,
            markersize=4,
            clip_on=False,
            **style,
        )
        shown += mean[np.isfinite(mean)].tolist()
        if curve == "test_accuracy" and not behind:
            low = np.clip([point.low for point in points], 0, 100)
            high = np.clip([point.high for point in points], 0, 100)
            axis.fill_between(epoch, low, high, color=colour, alpha=0.15, linewidth=0)
            shown += [x for x in (*low, *high) if math.isfinite(x)]
    return shown
