"""A picture of the block depth study: by configuration, and by block and rate."""

import os
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from flaxdrop.plots import style
from flaxdrop.plots.forest import PUBLISHED, draw_effects, make_rows, note
from flaxdrop.plots.labels import name_lines
from flaxdrop.plots.lines import FULL, draw_lines
from flaxdrop.plots.verdict import verdict_key
from flaxdrop.results.comparison import Comparison

_NAME = 1.9  # inches, of a variant
_MEASURE = "best"  # as the source reports it
_APART = 0.1  # the rates of a block, in blocks


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
      published: variant -> published accuracy in [0, 1]; may be empty.
      by_block: rate -> the variants with it in one block only, the first block's first.
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
    names = {variant: variant for variant in comparison.order}
    rows = make_rows(comparison, names, width=_NAME, networks=list(whole))
    key = verdict_key(whole.values())
    if any(name in theirs for name in effects):
        key.append(style.Entry("published", PUBLISHED))
    figure = style.new_figure(
        style.WIDTH,
        0.95 + max(rows.height, 2.6 if single or not whole else 0.6),
        title,
        subtitle,
        key=key,
        note=note(comparison, list(effects.values()))
        + (f" By block: {FULL[0].lower()}{FULL[1:]}" if single else ""),
    )
    [axes] = style.panels(figure, 1, max(1, bool(whole) + bool(single)))
    difference = f"best accuracy minus that of {base}, points"
    if whole:
        axis = axes[0]
        draw_effects(axis, rows, whole, theirs)
        ticks = list(rows.middle.values())
        axis.set_yticks(ticks, rows.names, parse_math=False, fontsize=style.SMALL)
        style.label_axis(axis.xaxis, difference)
        style.head(axis, "the whole network")
    if single:
        axis = axes[-1]
        axis.grid(axis="y", color=style.BAND, linewidth=0.6)
        style.label_axis(axis.yaxis, difference, width=3.0)
        style.head(axis, "dropout in one block only")
        count = max(map(len, single.values()))
        lines = {f"rate {rate:g}": found for rate, found in single.items()}
        named, values = draw_lines(axis, range(1, count + 1), lines, apart=_APART)
        for i, (rate, end) in enumerate(zip(single, named, strict=True)):
            first = 1 + _APART * (i - (len(single) - 1) / 2) + 0.04
            known = {first + k: theirs[v] for k, v in enumerate(by_block[rate]) if v in theirs}
            marks = PUBLISHED | {"color": end.colour}
            axis.plot(list(known), list(known.values()), **marks, zorder=3.5)
            values += known.values()
        axis.set_xlim(0.6, count + 0.3)
        axis.set_xticks(range(1, count + 1), [f"block {block}" for block in range(1, count + 1)])
        axis.set_ylim(*style.widen(min(values), max(values), least=0.2))
        name_lines(figure, {axis: named})
    if not (whole or single):
        style.say(axes[0], f"nothing to compare with {base}")
    return style.save(figure, path)
