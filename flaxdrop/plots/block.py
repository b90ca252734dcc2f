"""A strip that shows where in a residual block the places of dropout are."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

from flaxdrop.plots.style import BEHIND, INK, SMALL
from flaxdrop.plots.text import text_width
from flaxdrop.plots.verdict import Verdict

HEIGHT = 0.78  # inches
_SLOT, _SPLIT, _PLUS, _LAYER = 0.26, 0.06, 0.22, 0.24  # inches: widths, and height of a layer
_GAPS = (0.06, 0.2)  # between parts, inches: at least and at most
_Y, _SKIP = 0.28, 0.64  # heights of the branch and of the way around it


def block_parts(layout: str, slots: Collection[str], width: float) -> tuple[list[str], float]:
    """The parts of a block that are drawn, and the gap between them.

    Args:
      layout: of the block: `{p1} -> BN -> ...` with slots in braces, the branch in brackets and
        a plus where it ends, as `flaxdrop.models.preresnet.BASIC_LAYOUT`.
      slots: those that are drawn.
      width: of the strip, inches.

    Returns:
      The parts, in order, none where the strip is too narrow or no slot is there; inches.
    """
    found = re.findall(r"\{\w+\}|[\[\]+]|[^\s{}\[\]+>-]+", layout)
    parts = [p for p in found if p != "]" and (not p.startswith("{") or p[1:-1] in slots)]
    if not any(part.startswith("{") for part in parts):
        return [], 0.0
    gap = (width - sum(map(_width, parts))) / (len(parts) + 1)
    return (parts, min(gap, _GAPS[1])) if gap >= _GAPS[0] else ([], 0.0)


def draw_block(
    axis: Axes,
    parts: Collection[str],
    gap: float,
    verdicts: Mapping[str, Verdict],
    *,
    width: float,
) -> None:
    """Draws a block from left to right, with the places of dropout in the colour of their verdict.

    Args:
      axis: an empty panel.
      parts: of `block_parts`.
      gap: likewise.
      verdicts: slot -> verdict of its network, where it has one.
      width: of the panel, inches.
    """
    axis.set(xlim=(0, width), ylim=(0, HEIGHT))
    axis.set_axis_off()
    whole = sum(map(_width, parts)) + gap * (len(parts) + 1)
    arrow = {"arrowstyle": "->", "color": BEHIND, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (whole, _Y), (0, _Y), arrowprops=arrow, zorder=1)
    at, splits = gap, []
    for part in parts:
        x = at + _width(part) / 2
        if part.startswith("{"):
            _draw_slot(axis, x, part[1:-1], verdicts.get(part[1:-1]))
        elif part == "[":
            splits.append(x)
        elif part == "+":
            if splits:
                start = splits.pop()
                around = [start, start, x, x], [_Y, _SKIP, _SKIP, _Y]
                axis.plot(*around, color=BEHIND, linewidth=1.2, zorder=1)
            axis.add_patch(Circle((x, _Y), 0.09, facecolor="white", edgecolor=INK, zorder=2))
            _write(axis, x, part, color=INK, va="center_baseline")
        else:
            corner, wide = (x - _width(part) / 2, _Y - _LAYER / 2), _width(part)
            axis.add_patch(
                FancyBboxPatch(
                    corner,
                    wide,
                    _LAYER,
                    boxstyle="round,pad=0,rounding_size=0.05",
                    facecolor="white",
                    edgecolor=BEHIND,
                    zorder=2,
                )
            )
            _write(axis, x, part, color=INK, va="center_baseline")
        at += _width(part) + gap


def _width(part: str) -> float:
    if part.startswith("{"):
        return max(_SLOT, text_width(part[1:-1], SMALL))
    sizes = {"[": _SPLIT, "+": _PLUS}
    return sizes[part] if part in sizes else text_width(part, SMALL) + 0.16


def _write(axis: Axes, x: float, words: str, y: float = _Y, **style: Any) -> None:
    axis.text(x, y, words, fontsize=SMALL, ha="center", parse_math=False, **style)


def _draw_slot(axis: Axes, x: float, name: str, verdict: Verdict | None) -> None:
    style = verdict.style if verdict else {"color": INK, "marker": "o", "markersize": 5.0}
    axis.plot([x], [_Y], zorder=3, **style)
    _write(axis, x, name, _Y - 0.12, color=style["color"], va="top")
