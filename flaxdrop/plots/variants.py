"""Pictures of a study: accuracy and effect by variant, and the learning curves."""

import math
import os
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots.style import (
    BAND,
    FAINT,
    INK,
    draw_intervals,
    legend_below,
    legend_columns,
    new_figure,
    save,
    say,
)
from flaxdrop.results.comparison import CONFIDENCE, Effect, Outcome, effects, null_of, outcomes
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import Null, summary

# Black, then Paul Tol's "muted" scheme (personal.sron.nl/~pault), its palest colour left out.
COLOURS = (
    "#000000",
    "#CC6677",
    "#332288",
    "#117733",
    "#88CCEE",
    "#882255",
    "#44AA99",
    "#999933",
    "#AA4499",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h")
DASHES: tuple[str | tuple[int, tuple[int, ...]], ...] = (
    "-",
    "--",
    "-.",
    ":",
    (0, (4, 1, 1, 1, 1, 1)),
)
# Judgement of an effect: label, colour, marker, filled.
HELPS = ("helps", "#332288", ">", True)
HURTS = ("hurts", "#CC6677", "<", True)
UNSURE = ("not told from noise", "#555555", "o", False)


def positions(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    *,
    order: Sequence[str],
    baseline: str,
    nulls: Sequence[tuple[str, str]] = (),
    title: str,
) -> Figure:
    """Writes a PNG of test accuracy by variant, and of the differences to the baseline.

    Left: last and best test accuracy (percent), mean with 95 % interval, and each seed as a dot.
    Right: paired difference of the last accuracy (points) with 95 % interval; shaded, what one
    network gives against itself. Arguments as in `table.study_table`; the figure is returned.

    Raises:
      ValueError: a variant has two rows of one seed.
      OSError: `path` cannot be written.
    """
    found = outcomes(rows, order)
    null = null_of(found, "last", nulls)
    names = [textwrap.fill(_name(outcome), 30) for outcome in found]
    heights = [0.22 + 0.17 * (name.count("\n") + 1) for name in names]
    figure = new_figure(10, 1.9 + max(sum(heights), 1.2), title)
    left, right = figure.subplots(1, 2, sharey=True)
    # Rows as high as their names: the middle of each.
    y = np.cumsum([0, *heights])[:-1] + np.array(heights) / 2
    _draw_accuracy(left, y, found)
    _draw_effects(right, y, heights, found, effects(found, "last", baseline, null), null, baseline)
    legend_below(figure, left, "outside lower left", 3, line=1.5)
    legend_below(figure, right, "outside lower right", 4, line=1.5)
    left.set_yticks(y, names, parse_math=False)
    left.set_ylim(max(sum(heights), 0.1), 0)
    return save(figure, path)


def curves(
    rows: Iterable[Row],
    path: str | os.PathLike[str],
    *,
    order: Sequence[str],
    title: str,
) -> Figure:
    """Writes a PNG of the learning curves of the finished cells, means over the seeds.

    Test accuracy by epoch with its 95 % interval, and the generalisation gaps: training minus
    test accuracy (points), and test minus training loss (nats); training with its dropout.

    Raises:
      OSError: `path` cannot be written.
    """
    cells: dict[str, list[Row]] = {}
    for row in rows:
        if row.status == "finished":
            cells.setdefault(row.variant, []).append(row)
    known = [variant for variant in order if variant in cells]
    drawn = known + [variant for variant in cells if variant not in known]
    names = [textwrap.fill(variant, 40) for variant in drawn]
    legend_rows = math.ceil(len(names) / legend_columns(names, 9.6, line=4))
    text_rows = legend_rows * max((name.count("\n") + 1 for name in names), default=0)
    figure = new_figure(10, 5.6 + 0.2 * text_rows, title)
    axes = figure.subplot_mosaic("AAB;AAC")
    for axis in axes.values():
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes["A"].set_ylabel("test accuracy, %")
    axes["B"].set_ylabel("training - test\naccuracy, points")
    axes["C"].set_ylabel("test - training\nloss, nats")
    for i, (variant, name) in enumerate(zip(drawn, names, strict=True)):
        curve = _by_epoch(cells[variant])
        gap = curve["train_accuracy"] - curve["test_accuracy"]
        _draw_curve(axes["A"], i, name, 100 * curve["test_accuracy"], band=True)
        _draw_curve(axes["B"], i, name, 100 * gap, band=False)
        _draw_curve(axes["C"], i, name, curve["test_nll"] - curve["train_loss"], band=False)
    if drawn:
        epochs = max(len(row.curve["test_accuracy"]) for of in cells.values() for row in of)
        for axis in axes.values():
            axis.set_xlim(0.5, epochs + 0.5)
        _leave_out_start(axes["A"])
        columns = math.ceil(len(names) / legend_rows)
        legend_below(figure, axes["A"], "outside lower center", columns, line=4)
    else:
        for axis in axes.values():
            say(axis, "no finished cell")
            axis.set_yticks([])
    return save(figure, path)


def _name(outcome: Outcome) -> str:
    return outcome.variant + (f" ({outcome.diverged} diverged)" if outcome.diverged else "")


def _draw_accuracy(axis: Axes, y: np.ndarray, found: Sequence[Outcome]) -> None:
    axis.set_xlabel("test accuracy, %")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    styles = {
        "best": {"color": FAINT, "marker": "D", "markerfacecolor": "white"},
        "last": {"color": INK, "marker": "o"},
    }
    # The two marks of a variant stand apart, so that neither hides the other; the seeds below.
    for measure, shift in (("best", -0.1), ("last", 0.04)):
        means = [summary(o.accuracy[measure].values(), CONFIDENCE) for o in found]
        label = f"{measure} epoch"
        draw_intervals(axis, y + shift, means, label=label, markersize=5, **styles[measure])
    seeds = [
        (x, place) for place, o in zip(y, found, strict=True) for x in o.accuracy["last"].values()
    ]
    if not seeds:
        say(axis, "no finished cell")
        return
    axis.plot(
        [x for x, _ in seeds],
        [place + 0.13 for _, place in seeds],
        "o",
        color=FAINT,
        markersize=3.5,
        markeredgewidth=0,
        alpha=0.6,
        label="a seed",
    )


def _draw_effects(
    axis: Axes,
    y: np.ndarray,
    heights: Sequence[float],
    found: Sequence[Outcome],
    effect: Mapping[str, Effect],
    null: Null | None,
    baseline: str,
) -> None:
    label = f"last accuracy minus that of {baseline}, points"
    axis.set_xlabel(textwrap.fill(label, 50), parse_math=False)
    axis.tick_params(axis="y", length=0)
    shown = [
        (place, height, effect[o.variant])
        for place, height, o in zip(y, heights, found, strict=True)
        if o.variant in effect and effect[o.variant].difference.n
    ]
    if not shown:
        say(axis, "nothing to compare")
        return
    axis.grid(axis="x", color=BAND, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.axvline(0, color=INK, linewidth=0.8)
    if null:
        noise = np.array([e.noise for _, _, e in shown])
        axis.barh(
            [place for place, _, _ in shown],
            width=2 * noise,
            left=-noise,
            height=[height for _, height, _ in shown],
            color=BAND,
            zorder=0.5,
            label="noise, by the null",
        )
    for kind in (HELPS, HURTS, UNSURE):
        label, colour, marker, filled = kind
        of_kind = [(place, e.difference) for place, _, e in shown if _judge(e) == kind]
        if of_kind:
            draw_intervals(
                axis,
                np.array([place for place, _ in of_kind]),
                [difference for _, difference in of_kind],
                label=label,
                color=colour,
                marker=marker,
                markersize=7,
                markerfacecolor=colour if filled else "white",
            )


def _judge(effect: Effect) -> tuple[str, str, str, bool]:
    if not effect.stands_out:
        return UNSURE
    return HELPS if effect.difference.mean > 0 else HURTS


def _by_epoch(cells: Sequence[Row]) -> dict[str, np.ndarray]:
    # [seeds, epochs] a curve; cells of fewer epochs end in NaN.
    epochs = max(len(row.curve["test_accuracy"]) for row in cells)
    return {
        name: np.array(
            [row.curve[name] + [math.nan] * (epochs - len(row.curve[name])) for row in cells]
        )
        for name in cells[0].curve
    }


def _draw_curve(axis: Axes, i: int, label: str, values: np.ndarray, *, band: bool) -> None:
    epoch = np.arange(1, values.shape[1] + 1)
    # Rounded, so that the axis of a constant does not show the floating point.
    points = [summary(column[np.isfinite(column)].round(6), CONFIDENCE) for column in values.T]
    colour = COLOURS[i % len(COLOURS)]
    # About eight marks a line, each line's at its own epochs.
    every = max(1, len(epoch) // 8)
    axis.plot(
        epoch,
        [s.mean for s in points],
        color=colour,
        linestyle=DASHES[i % len(DASHES)],
        linewidth=1.5,
        marker=MARKERS[i % len(MARKERS)],
        markersize=5,
        markevery=(i % every, every),
        label=label,
    )
    if band:
        low, high = [s.low for s in points], [s.high for s in points]
        axis.fill_between(epoch, low, high, color=colour, alpha=0.12, linewidth=0)


def _leave_out_start(axis: Axes) -> None:
    # The steep first fifth would press the ends of the curves, which are compared, together.
    means = [np.asarray(line.get_ydata(), float) for line in axis.get_lines()]
    means = [mean[np.isfinite(mean)] for mean in means if np.isfinite(mean).sum() >= 10]
    if means:
        low = min(float(np.quantile(mean, 0.2)) for mean in means)
        high = max(float(mean.max()) for mean in means)
        margin = 0.05 * (high - low) or 1
        axis.set_ylim(low - margin, high + margin)
