"""What every picture must be: a PNG whose texts can be read."""

import itertools
import os

from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from flaxdrop.plots.style import SMALL


def visible_texts(figure: Figure):
    """The texts that the picture shows."""
    found = list(figure.texts)
    for axis in figure.axes:
        found += axis.texts
        if not axis.axison:
            continue
        found += [axis.xaxis.label, axis.yaxis.label, axis.title, axis._left_title]
        found += [axis.xaxis.get_offset_text(), axis.yaxis.get_offset_text()]
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            low, high = sorted(limits)
            found += [
                tick.label1 for tick in side.get_major_ticks() if low <= tick.get_loc() <= high
            ]
    return [text for text in found if text.get_text().strip() and text.get_visible()]


def words(figure: Figure) -> list[str]:
    """The texts, each in one line."""
    return [text.get_text().replace("\n", " ") for text in visible_texts(figure)]


def check(figure: Figure, path: str | os.PathLike[str]) -> None:
    """A PNG of the figure; no text lies on another or outside, none is small."""
    page = figure.bbox
    texts = visible_texts(figure)
    # Boxes of slanted texts overlap where the texts do not. That of an annotation has its line.
    boxes = [
        (text.get_text(), Text.get_window_extent(text))
        for text in texts
        if not text.get_rotation() % 90
    ]
    for (a, box), (b, other) in itertools.combinations(boxes, 2):
        overlap = box.intersection(box, other)
        assert overlap is None or overlap.width < 1 or overlap.height < 1, (a, b)
    for text, box in boxes:
        inside = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert inside, text
    for text in texts:
        assert text.get_fontsize() >= SMALL == 9, text
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.width <= 1500
        assert image.convert("L").getextrema()[0] < 128


def marks(figure: Figure):
    """Name -> its marks, each with its panel."""
    found: dict = {}
    for axis in figure.axes:
        for line in axis.get_lines():
            if line.get_gid():
                found.setdefault(line.get_gid(), []).append((axis, line))
    return found


def check_inside(figure: Figure) -> None:
    """Every mark and every interval is inside the limits of its panel."""
    for axis in figure.axes:
        for line in axis.get_lines():
            if line.get_transform() != axis.transData:
                continue  # lines through the whole panel, and brackets
            for limits, values in (
                (axis.get_xlim(), line.get_xdata()),
                (axis.get_ylim(), line.get_ydata()),
            ):
                low, high = sorted(limits)
                for value in values:
                    assert not value < low - 1e-9, (axis.get_xlabel(), value, limits)
                    assert not value > high + 1e-9, (axis.get_xlabel(), value, limits)


def percent_axes(figure: Figure):
    """The limits of the axes of accuracies."""
    for axis in figure.axes:
        for side, limits in ((axis.xaxis, axis.get_xlim()), (axis.yaxis, axis.get_ylim())):
            label = side.label.get_text()
            if "accuracy" in label and "%" in label:
                yield limits
