"""What all pictures share: the page with its title and key, text that is measured, and colours.

Neither pyplot's state nor matplotlib's global settings are touched. A page is 10 inches wide at
most: shown 1000 pixels wide, its smallest text is as large as a caption.
"""

import dataclasses
import functools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

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
_HINTING = 1.03  # how much wider drawn text may be than its outlines
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
      title: the question.
      subtitle: on what it was measured.
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


def panels(figure: Figure, rows: int, columns: int, **options: Any) -> list[list[Axes]]:
    """Makes `[rows][columns]` panels with plain axes; options as of `Figure.subplots`."""
    made = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in made.ravel():
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(FAINT)
        axis.tick_params(colors=INK, labelsize=SMALL, color=FAINT)
        axis.xaxis.label.set(fontsize=TEXT, color=INK)
        axis.yaxis.label.set(fontsize=TEXT, color=INK)
        axis.set_axisbelow(True)
    return [list(line) for line in made]


def columns_for(count: int) -> int:
    """How many panels stand beside each other, so that few places stay empty.

    >>> [columns_for(count) for count in (0, 3, 6, 8, 19)]
    [1, 3, 3, 4, 4]
    """
    if count <= 4:
        return max(1, count)
    return min((4, 5, 3), key=lambda columns: -count % columns)


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


def say(axis: Axes, words: str) -> None:
    """Writes words in the middle of a panel that has nothing to show."""
    axis.text(
        0.5,
        0.5,
        words,
        transform=axis.transAxes,
        ha="center",
        va="center",
        color=INK,
        fontsize=SMALL,
    )
    axis.set_xticks([])
    axis.set_yticks([])


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


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, as the ticks of an axis write it.

    >>> signed(-0.5), signed(2.0, 1)
    ('−0.50', '+2.0')
    """  # noqa: RUF002
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


@functools.cache
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text, inches."""
    properties = FontProperties(size=size, weight=weight)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return _HINTING * float(width) / 72


def wrap(text: str, width: float, size: float, weight: str = "normal") -> list[str]:
    """Breaks a text into lines of a width in inches; a word that is longer is broken, too.

    >>> wrap("a b", 100, 10), wrap("", 100, 10)
    (['a b'], [])
    """
    lines: list[str] = []
    for word in _short_words(text.split(), width, size, weight):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def label_axis(side: Axis, words: str, *, width: float = 3.2) -> None:
    """Writes what an axis shows beside it, broken into lines of a width in inches."""
    side.set_label_text("\n".join(balance(words, width, TEXT)), parse_math=False)


def balance(text: str, width: float, size: float) -> list[str]:
    """As `wrap`, into as many lines, but of about one length.

    >>> balance("one two three four", 1.1, 10), wrap("one two three four", 1.1, 10)
    (['one two', 'three four'], ['one two three', 'four'])
    """
    lines = wrap(text, width, size)
    for narrower in (width * share / 20 for share in range(19, 8, -1)):
        tried = wrap(text, narrower, size)
        if len(tried) > len(lines):
            break
        lines = tried
    return lines


def _short_words(words: Iterable[str], width: float, size: float, weight: str) -> Iterable[str]:
    for word in words:
        start = 0
        for end in range(1, len(word) + 1):
            if end - start > 1 and text_width(word[start:end], size, weight) > width:
                yield word[start : end - 1]
                start = end - 1
        yield word[start:]


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
