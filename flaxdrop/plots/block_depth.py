"""A picture of the block depth study: by configuration, and by block and rate."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flaxdrop.plots.forest import PUBLISHED, draw_effects, make_rows, note
from flaxdrop.plots.labels import LineEnd, name_lines
from flaxdrop.plots.lines import FULL, draw_line
from flaxdrop.plots.style import (
    BAND,
    COLOURS,
    INK,
    MARKERS,
    SMALL,
    WIDTH,
    Entry,
    head,
    label_axis,
    new_figure,
    panels,
    save,
    say,
    widen,
)
from flaxdrop.plots.verdict import ends, verdict_key
from flaxdrop.results.comparison import Comparison, Effect

_NAME = 1.9  # inches, of a variant
_MEASURE = "best"  # as the source reports it


def draw_depth(
    comparison: Comparison,
    path: str | os.PathLike[str],
    *,
    published: Mapping[str, float],
    by_block: Mapping[float, Sequence[str]],
    title: str,
    subtitle: str = "",
) -> Figure:
    """Writes a PNG of the best accuracy minus the baseline's, in points; published beside ours.

    One panel has the configurations of the whole network, another one dropout in one block only, by
    block, a line for every rate. A panel without cells is left out.

    Args:
      comparison: of the rows.
      path: of the PNG.
      published: variant -> published accuracy in [0, 1]; may be empty.
      by_block: rate -> the variants with it in one block only, the first block's first.
      title: the question.
      subtitle: on what it was measured.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    effects = comparison.effects[_MEASURE]
    base = comparison.baseline
    theirs = {
        name: 100 * (accuracy - published[base])
        for name, accuracy in published.items()
        if name != base and base in published
    }
    blocks = {comparison.network(name) for names in by_block.values() for name in names}
    whole = {name: effect for name, effect in effects.items() if name not in blocks}
    single = {
        rate: [effects.get(comparison.network(name)) for name in names]
        for rate, names in by_block.items()
        if any(comparison.network(name) in effects for name in names)
    }
    rows = make_rows(
        comparison, {v: v for v in comparison.order}, width=_NAME, networks=list(whole)
    )
    key = verdict_key(whole.values())
    if any(name in theirs for name in effects):
        key.append(Entry("published", PUBLISHED))
    figure = new_figure(
        WIDTH,
        0.95 + max(rows.height, 2.6 if single or not whole else 0.6),
        title,
        subtitle,
        key=key,
        note=note(comparison, list(effects.values()))
        + (f" By block: {FULL[0].lower()}{FULL[1:]}" if single else ""),
    )
    names = [name for name, there in (("whole", whole), ("single", single)) if there]
    [axes] = panels(figure, 1, max(1, len(names)))
    by_name = dict(zip(names, axes, strict=False))
    difference = f"best accuracy minus that of {base}, points"
    if whole:
        axis = by_name["whole"]
        draw_effects(axis, rows, whole, theirs)
        axis.set_yticks(list(rows.middle.values()), rows.names, parse_math=False, fontsize=SMALL)
        label_axis(axis.xaxis, difference)
        head(axis, "the whole network")
    if single:
        axis = by_name["single"]
        label_axis(axis.yaxis, difference, width=3.0)
        head(axis, "dropout in one block only")
        _draw_blocks(figure, axis, by_block, single, theirs)
    if not names:
        say(axes[0], f"nothing to compare with {base}")
    return save(figure, path)


def _draw_blocks(
    figure: Figure,
    axis: Axes,
    by_block: Mapping[float, Sequence[str]],
    single: Mapping[float, Sequence[Effect | None]],
    theirs: Mapping[str, float],
) -> None:
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.axhline(0, color=INK, linewidth=0.9)
    count = max(map(len, single.values()))
    values, named = [0.0], []
    for i, (rate, found) in enumerate(single.items()):
        # The rates of a block stand apart, so that no interval hides another.
        x = np.arange(1, len(found) + 1) + 0.1 * (i - (len(single) - 1) / 2)
        colour = COLOURS[i % len(COLOURS)]
        draw_line(axis, x, found, colour, MARKERS[i % len(MARKERS)])
        values += [value for effect in found if effect for value in ends(effect)]
        known = [
            (at, theirs[name]) for at, name in zip(x, by_block[rate], strict=True) if name in theirs
        ]
        if known:
            xs, ys = zip(*known, strict=True)
            axis.plot(np.array(xs) + 0.04, ys, **PUBLISHED | {"color": colour}, zorder=3.5)
            values += ys
        at, last = [(at, effect) for at, effect in zip(x, found, strict=True) if effect][-1]
        named.append(LineEnd((at, last.mean), f"rate {rate:g}", colour))
    axis.set_xlim(0.6, count + 0.3)
    axis.set_xticks(range(1, count + 1), [f"block {block}" for block in range(1, count + 1)])
    axis.set_ylim(*widen(min(values), max(values), least=0.2))
    name_lines(figure, {axis: named})
