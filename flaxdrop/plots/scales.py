"""Panels beside each other on one scale, but for those that would make the others flat."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from flaxdrop.plots.style import ZEBRA, widen

OTHER_SCALE = " (another scale)"  # behind the name of a panel that has one
_RATIO = 3.0


def outliers(spans: Sequence[float], most: float = 0.5) -> list[bool]:
    """Which panels need another scale: they span three times what all the others do, or more.

    Args:
      spans: of each panel.
      most: the largest share of panels that may have another scale.

    >>> outliers([1.0, 2.0, 40.0, 30.0]), outliers([1.0, 2.0, 4.0]), outliers([1.0, 9.0, 9.0])
    ([False, False, True, True], [False, False, False], [False, False, False])
    """
    ordered = sorted(spans)
    for i in range(1, len(ordered)):
        if ordered[i] >= _RATIO * ordered[i - 1] > 0 and len(ordered) - i <= most * len(ordered):
            return [bool(span >= ordered[i]) for span in spans]
    return [False] * len(spans)


def set_scales(
    shown: Mapping[Axes, tuple[float, float]],
    columns: int,
    *,
    least: float,
    percent: bool = False,
    most: float = 0.5,
) -> list[bool]:
    """Sets the vertical limits of panels, and shades those that have another scale.

    Args:
      shown: panel -> the smallest and the largest value in it; in the order of the page.
      columns: of the page.
      least: as of `widen`.
      percent: likewise.
      most: as of `outliers`.

    Returns:
      Which panels have another scale than most.
    """
    apart = outliers([high - low for low, high in shown.values()], most)
    for other in (False, True):
        own = [limits for limits, out in zip(shown.values(), apart, strict=True) if out is other]
        if not own:
            continue
        low, high = min(low for low, _ in own), max(high for _, high in own)
        limits = widen(low, high, least=least, percent=percent)
        rows: set[int] = set()
        for i, (axis, out) in enumerate(zip(shown, apart, strict=True)):
            if out is other:
                axis.set_ylim(*limits)
                # The numbers stand at the first panel of a scale in every row.
                axis.tick_params(labelleft=i // columns not in rows)
                rows.add(i // columns)
                if other:
                    axis.set_facecolor(ZEBRA)
    return apart
