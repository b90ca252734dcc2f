"""A picture of the schedules of dropout."""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots import style
from flaxdrop.schedule import DROPOUT_SCHEDULES, rate_share, schedule_index

_POINTS = 401


def draw_schedules(
    path: str | os.PathLike[str], *, rate: float, switch: float, epochs: int
) -> Figure:
    """Writes a PNG of the rate against the epoch, a panel for every schedule.

    Args:
      rate: the largest.
      switch: of "early" and "late", as a fraction of the training.
      epochs: of the training.
    """
    figure = style.new_figure(
        style.WIDTH,
        2.1,
        "How does the rate of dropout change during training?",
        f"Largest rate {rate:g}; early and late change after epoch {switch * epochs:g} of {epochs}",
    )
    [axes] = style.panels(figure, 1, len(DROPOUT_SCHEDULES), grid="y", sharex=True, sharey=True)
    fraction = np.linspace(0, 1, _POINTS)
    epoch, colour = epochs * fraction, style.COLOURS[0]
    for axis, name in zip(axes, DROPOUT_SCHEDULES, strict=True):
        rates = rate * np.asarray(rate_share(schedule_index(name), fraction, switch))
        axis.fill_between(epoch, rates, color=colour, alpha=0.12, linewidth=0)
        axis.plot(epoch, rates, color=colour, linewidth=1.8, clip_on=False, gid=name)
        axis.set_xlabel("epoch")
        style.head(axis, name, width=style.WIDTH / len(axes) - 0.4)
    axes[0].set_ylabel("rate")
    axes[0].set_xlim(0, epochs)
    axes[0].set_ylim(0, 1.08 * rate or 1.0)
    axes[0].xaxis.set_major_locator(MaxNLocator(3, integer=True))
    return style.save(figure, path)
