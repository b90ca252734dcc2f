"""What the pictures of a study share: figures of their own, palette, intervals, legends.

Neither pyplot's state nor matplotlib's global settings are touched. Colours differ for the
colour-blind; markers and line styles tell the same without colour.
"""

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import TextPath

from flaxdrop.results.statistics import Summary

DPI = 150
INK = "#222222"
FAINT = "#999999"
BAND = "#DDDDDD"
LEGEND_SIZE = 9
Place = Literal["outside lower left", "outside lower center", "outside lower right"]


def new_figure(width: float, height: float, title: str) -> Figure:
    """A white figure of `width` by `height` inches with its title."""
    figure = Figure((width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(textwrap.fill(title, 95), fontsize=12, color=INK, parse_math=False)
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> Figure:
    """Writes the figure as a PNG and returns it.

    Raises:
      OSError: `path` cannot be written.
    """
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=9)
        axis.xaxis.label.set_fontsize(10)
        axis.yaxis.label.set_fontsize(10)
    figure.savefig(path, format="png", dpi=DPI)
    return figure


def draw_intervals(axis: Axes, y: np.ndarray, means: Sequence[Summary], **style: Any) -> None:
    """Marks at the means with their intervals, lying, at heights `y`; empty ones are left out."""
    told = [(p, s) for p, s in zip(y, means, strict=True) if s.n]
    if not told:
        return
    # A single value has no interval: half-width 0, which draws nothing.
    half = np.nan_to_num([s.mean - s.low for _, s in told])
    axis.errorbar(
        [s.mean for _, s in told],
        [p for p, _ in told],
        xerr=half,
        linestyle="none",
        elinewidth=1.4,
        **style,
    )


def legend_below(figure: Figure, axis: Axes, place: Place, columns: int, line: float) -> None:
    """A legend of what `axis` shows, below everything else; `line` is a sample's length in em."""
    handles, labels = axis.get_legend_handles_labels()
    if not handles:
        return
    legend = figure.legend(
        handles,
        labels,
        loc=place,
        ncols=columns,
        frameon=False,
        fontsize=LEGEND_SIZE,
        handlelength=line,
        columnspacing=1.4,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def legend_columns(labels: Iterable[str], width: float, line: float) -> int:
    """How many columns of `labels` fit in a legend of `width` inches; at least 1."""
    widths = [
        TextPath((0, 0), part, size=LEGEND_SIZE).get_extents().width
        for label in labels
        for part in label.split("\n")
    ]
    # Beside the text: the sample, its distance, and the space between columns.
    column = max(widths, default=0) + (line + 0.8 + 1.4) * LEGEND_SIZE
    return max(1, int(width * 72 // column))


def say(axis: Axes, words: str) -> None:
    """The words in the middle of axes that have nothing to show."""
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", color=INK)
    axis.set_xticks([])
