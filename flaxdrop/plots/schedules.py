"""A picture of the schedules of dropout."""

import os

import numpy as np
from matplotlib.figure import Figure

from flaxdrop.plots.style import BAND, legend_below, new_figure, save
from flaxdrop.schedule import DROPOUT_SCHEDULES, rate_share, schedule_index

_COLOURS = ("#332288", "#CC6677", "#117733", "#AA7700", "#882255")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
_POINTS = 401


def draw_schedules(
    path: str | os.PathLike[str], *, rate: float, switch: float, epochs: int
) -> Figure:
    """Writes a PNG of the rate against the epoch, a line for every schedule.

    Args:
      path: of the PNG.
      rate: the largest.
      switch: of "early" and "late", as a fraction of the training.
      epochs: of the training.

    Returns:
      The figure.

    Raises:
      OSError: `path` cannot be written.
    """
    figure = new_figure(6, 4, "Schedules of dropout")
    axis = figure.subplots()
    fraction = np.linspace(0, 1, _POINTS)
    for name, colour, line in zip(DROPOUT_SCHEDULES, _COLOURS, _LINES, strict=True):
        rates = rate * np.asarray(rate_share(schedule_index(name), fraction, switch))
        axis.plot(epochs * fraction, rates, color=colour, linestyle=line, label=name)
    axis.grid(axis="y", color=BAND, linewidth=0.6)
    axis.set_xlabel("epoch")
    axis.set_ylabel("rate")
    legend_below(figure, axis, "outside lower center", 5, line=3)
    return save(figure, path)
