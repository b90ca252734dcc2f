"""A picture of the schedules of dropout."""

import os

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flaxdrop.plots.style import BAND, COLOURS, WIDTH, head, new_figure, panels, save
from flaxdrop.schedule import DROPOUT_SCHEDULES, rate_share, schedule_index

_POINTS = 401


def draw_schedules(
    path: str | os.PathLike[str], *, rate: float, switch: float, epochs: int
) -> Figure:
    """Writes a PNG of the rate against the epoch, a panel for every schedule.

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
    figure = new_figure(
        WIDTH,
        2.1,
        "How does the rate of dropout change during training?",
        f"Largest rate {rate:g}; early and late change after epoch {switch * epochs:g} of {epochs}",
    )
    [axes] = panels(figure, 1, len(DROPOUT_SCHEDULES), sharex=True, sharey=True)
    fraction = np.linspace(0, 1, _POINTS)
    for axis, name in zip(axes, DROPOUT_SCHEDULES, strict=True):
        rates = rate * np.asarray(rate_share(schedule_index(name), fraction, switch))
        axis.fill_between(epochs * fraction, rates, color=COLOURS[0], alpha=0.12, linewidth=0)
        axis.plot(
            epochs * fraction, rates, color=COLOURS[0], linewidth=1.8, clip_on=False, gid=name
        )
        axis.grid(axis="y", color=BAND, linewidth=0.6)
        axis.set_xlabel("epoch")
        head(axis, name, width=WIDTH / len(axes) - 0.4)
    axes[0].set_ylabel("rate")
    axes[0].set_xlim(0, epochs)
    axes[0].set_ylim(0, 1.08 * rate or 1.0)
    axes[0].xaxis.set_major_locator(MaxNLocator(3, integer=True))
    return save(figure, path)
