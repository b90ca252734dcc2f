"""What all pictures share: the page with its title and key, panels, and colours.

Neither pyplot's state nor matplotlib's global settings are touched. A page is 10 inches wide at
most: shown 1000 pixels wide, its smallest text is as large as a caption.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from flaxdrop.plots.text import balance, text_width, wrap

DPI = 150
WIDTH = 10.0  # inches
INK = "#222222"
FAINT = "#767676"  # 4.5 to 1 on white: still text
BAND = "#E4E4E4"
BEHIND = "#9C9C9C"  # of what is drawn for comparison behind something
ZEBRA = "#F4F4F4"
# Of places, rates and other kinds of a thing: of Paul Tol's "muted" scheme
# (personal.sron.nl/~pault), those that differ for the colour-blind. Blue and orange are kept for
# gains and losses (`flaxdrop.plots.verdict`).
COLOURS = ("#332288", "#117733", "#B0479A", "#8A7400", "#4A8FD0")
MARKERS = ("o", "s", "^", "D", "v")

TITLE, TEXT, SMALL = 13.0, 10.0, 9.0  # points
_LEADING = 1.35  # of a line, in sizes of its text
_MARGIN = 0.1  # inches
INNER = WIDTH - 2 * _MARGIN  # of a page of full width, without its margins
_SAMPLE = 0.3  # width of a key's sample, inches
_GAP = 0.3  # between the entries of a key, inches


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of a key.

    Attributes:
      label: what the mark means.
      style: of the mark, as of `matplotlib.lines.Line2D`.
    """

    label: str
    style: Mapping[str, Any]


def new_figure(
    width: float,
    height: float,
    title: str,
    subtitle: str = "",
    *,
    key: Sequence[Entry] = (),
    note: str = "",
    strip: float = 0.0,
) -> Figure:
    """Makes a white page with its title, what the marks mean above the panels, and a note below.

    Args:
      width: of the page, inches.
      height: of the panels with their axes, inches; the texts come on top of it.
      key: what the marks mean.
      note: below the panels.
      strip: height of a strip between key and panels, inches; `strip_of` makes its panel.
    """
    inner = width - 2 * _MARGIN
    titles = wrap(title, inner, TITLE, "bold")
    subtitles = wrap(subtitle, inner, TEXT)
    notes = wrap(note, inner, SMALL)
    lines = _flow(key, inner)
    parts = (
        _lines(titles, TITLE),
        _lines(subtitles, TEXT),
        sum(_lines([""], SMALL) for _ in lines) + (0.1 if lines else 0.0),
        strip,
    )
    top, bottom = sum(parts) + 0.12, _lines(notes, SMALL) + (_MARGIN if notes else 0.0)
    whole = top + height + bottom
    figure = Figure((width, whole), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_layout_engine(
        ConstrainedLayoutEngine(
            rect=(0.0, bottom / whole, 1.0, height / whole), w_pad=0.06, h_pad=0.06
        )
    )
    at = whole - 0.07
    for texts, size, weight, colour in (
        (titles, TITLE, "bold", INK),
        (subtitles, TEXT, "normal", FAINT),
    ):
        if texts:
            _write(figure, _MARGIN, at, texts, size, color=colour, weight=weight)
        at -= _lines(texts, size)
    at -= 0.1
    for line in lines:
        at -= _lines([""], SMALL)
        _draw_key(figure, line, at + 0.5 * _lines([""], SMALL))
    if notes:
        _write(figure, _MARGIN, bottom - 0.03, notes, SMALL, color=FAINT)
    return figure


def strip_of(figure: Figure, height: float) -> Axes:
    """Makes the panel of the strip that `new_figure` left room for."""
    page_width, page_height = figure.get_size_inches()
    layout = figure.get_layout_engine()
    assert layout is not None
    _, bottom, _, tall = layout.get()["rect"]
    return figure.add_axes(
        (
            _MARGIN / page_width,
            bottom + tall + 0.02 / page_height,
            1 - 2 * _MARGIN / page_width,
            height / page_height,
        )
    )


def panels(
    figure: Figure, rows: int, columns: int, *, grid: str = "", **options: Any
) -> list[list[Axes]]:
    """Makes `[rows][columns]` panels with plain axes.

    Args:
      figure: the page.
      rows: of panels.
      columns: likewise.
      grid: the axis that has lines through the panel: "x", "y" or "both"; empty: none.
      **options: as of `Figure.subplots`.
    """
    made = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in made.ravel():
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(FAINT)
        axis.tick_params(colors=INK, labelsize=SMALL, color=FAINT)
        axis.xaxis.label.set(fontsize=TEXT, color=INK)
        axis.yaxis.label.set(fontsize=TEXT, color=INK)
        axis.set_axisbelow(True)
        if grid:
            axis.grid(axis=grid, color=BAND, linewidth=0.6)
    return [list(line) for line in made]


def save(figure: Figure, path: str | os.PathLike[str]) -> Figure:
    """Writes the figure as a PNG and returns it.

    Raises:
      OSError: `path` cannot be written.
    """
    figure.savefig(path, format="png", dpi=DPI)
    return figure


def head(axis: Axes, words: str, *, width: float = 4.0, colour: str = INK) -> None:
    """Writes the name of a panel above its left corner.

    Args:
      axis: the panel.
      words: its name, broken into lines of the width.
      width: inches.
      colour: of the text.
    """
    text = "\n".join(balance(words, width, TEXT))
    axis.set_title(text, loc="left", fontsize=TEXT, color=colour, parse_math=False)


def kind(number: int, **more: Any) -> dict[str, Any]:
    """The colour and the marker of the n-th of several kinds of a thing, and more of its style."""
    i = number % len(COLOURS)
    return {"color": COLOURS[i], "marker": MARKERS[i], **more}


def write_beside(axis: Axes, x: float, y: float, numbers: str, colour: str) -> None:
    """Writes numbers right of a panel, with the minus sign of its ticks; x in widths of it."""
    axis.text(
        x,
        y,
        numbers.replace("-", "\N{MINUS SIGN}"),
        transform=axis.get_yaxis_transform(),
        fontsize=SMALL,
        color=colour,
        va="center_baseline",
    )


def say(axis: Axes, words: str) -> None:
    """Writes words in the middle of a panel that has nothing to show."""
    middle: dict[str, Any] = {"ha": "center", "va": "center", "transform": axis.transAxes}
    axis.text(0.5, 0.5, words, color=INK, fontsize=SMALL, **middle)
    axis.set(xticks=[], yticks=[])


def widen(low: float, high: float, *, least: float, percent: bool = False) -> tuple[float, float]:
    """Limits of an axis that leave air around what is shown.

    Args:
      low: the smallest value shown.
      high: the largest one.
      least: how far the limits are apart at least.
      percent: the values are shares of a hundred, and so are the limits.
    """
    air = max(0.06 * (high - low), (least - (high - low)) / 2)
    low, high = low - air, high + air
    return (max(0.0, low), min(100.0, high)) if percent else (low, high)


def label_axis(side: Axis, words: str, *, width: float = 3.2) -> None:
    """Writes what an axis shows beside it, broken into lines of a width in inches."""
    side.set_label_text("\n".join(balance(words, width, TEXT)), parse_math=False)


def _lines(lines: Sequence[str], size: float) -> float:
    """Height of lines of text, inches."""
    return len(lines) * size * _LEADING / 72


def _write(
    figure: Figure, x: float, y: float, lines: Sequence[str], size: float, **style: Any
) -> None:
    """Writes lines from the left upper corner, in inches."""
    figure.text(
        x,
        y,
        "\n".join(lines),
        transform=figure.dpi_scale_trans,
        fontsize=size,
        linespacing=_LEADING * 0.86,  # of matplotlib: in heights of a line, not sizes
        va="top",
        parse_math=False,
        **style,
    )


def _flow(key: Sequence[Entry], width: float) -> list[list[tuple[float, Entry]]]:
    """The entries of a key, line by line, each with its left end."""
    lines: list[list[tuple[float, Entry]]] = []
    at = width + 1
    for entry in key:
        own = _SAMPLE + 0.06 + text_width(entry.label, SMALL)
        if at + own > width:
            lines.append([])
            at = 0.0
        lines[-1].append((at, entry))
        at += own + _GAP
    return lines


def _draw_key(figure: Figure, line: Sequence[tuple[float, Entry]], y: float) -> None:
    for at, entry in line:
        x = _MARGIN + at
        style = dict(entry.style)
        single = style.get("linestyle") == "none"
        xs = [x + _SAMPLE / 2] if single else [x, x + _SAMPLE / 2, x + _SAMPLE]
        if not single and "marker" in style:
            style.setdefault("markevery", [1])
        figure.add_artist(Line2D(xs, [y] * len(xs), transform=figure.dpi_scale_trans, **style))
        figure.text(
            x + _SAMPLE + 0.06,
            y,
            entry.label,
            transform=figure.dpi_scale_trans,
            fontsize=SMALL,
            color=INK,
            va="center_baseline",
            parse_math=False,
        )
