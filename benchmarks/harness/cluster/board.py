"""What hosts of a cluster and the driver tell each other while cells train, by an actor of Ray."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import ray

from flaxdrop.training.stopping import Stop

_MOST_BEGINNINGS = 10  # of a task at one step; its process ends each time


class News(NamedTuple):
    """What the driver learns of tasks.

    Attributes:
      images: task -> those that its cells were trained on so far; of all that have begun.
      curves: new lines of curves: (cell, epoch, values).
      said: new warnings.
      stuck: the tasks that began again and again at the same place.
    """

    images: dict[int, int]
    curves: list[tuple[str, int, np.ndarray]]
    said: list[str]
    stuck: set[int]


class Board:
    """An actor, beside the driver: hosts tell it how far they are, it tells them when to stop."""

    def __init__(self) -> None:
        self._images: dict[int, int] = {}
        self._begun: dict[tuple[int, int], int] = {}
        self._curves: list[tuple[str, int, np.ndarray]] = []
        self._said: list[str] = []
        self._reason = ""

    def tell(self, task: int, images: int, curves: Sequence[Any], said: Sequence[str]) -> str:
        """Takes the state of a task; returns why to stop, empty: go on.

        Args:
          task: its number.
          images: that its cells were trained on so far, by whomever.
          curves: (cell, epoch, values), new lines of curves.
          said: warnings.
        """
        self._images[task] = images
        self._curves += curves
        self._said += said
        return self._reason

    def begin(self, task: int, images: int) -> str:
        """As `tell`, of a task that begins, or begins again where its process had ended."""
        self._begun[task, images] = self._begun.get((task, images), 0) + 1
        return self.tell(task, images, [], [])

    def look(self) -> "News":
        """What was told since the last look."""
        curves, self._curves = self._curves, []
        said, self._said = self._said, []
        stuck = {task for (task, _), count in self._begun.items() if count >= _MOST_BEGINNINGS}
        return News(self._images, curves, said, stuck)

    def stop(self, reason: str) -> None:
        """Makes all tasks stop."""
        self._reason = reason


class Link(logging.Handler):
    """A task's link to the board; also the handler of what is logged meanwhile.

    Args:
      board: the actor.
      task: its number.
      images: that its cells were trained on before it began.

    Attributes:
      images: that they were trained on so far.
      answer: the reference of what the board said last.
    """

    def __init__(self, board: Any, task: int, images: int) -> None:
        super().__init__(logging.WARNING)
        self.images = images
        self._board, self._task = board, task
        self._curves: list[tuple[str, int, np.ndarray]] = []
        self._said: list[str] = []
        self.answer = board.begin.remote(task, images)

    def advance(self, images: int) -> None:
        """Tells that the cells were trained on so many images more."""
        self.images += images
        self.answer = self._board.tell.remote(self._task, self.images, self._curves, self._said)
        self._curves, self._said = [], []

    def after_epoch(self, cell: str, epoch: int, values: np.ndarray) -> None:
        """Keeps a line of a curve, to be told with the next images."""
        self._curves.append((cell, epoch, values))

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a warning, to be told with the next images."""
        self._said.append(record.getMessage())


class BoardStop(Stop):
    """Stops when the board says so; a host that does not reach it goes on.

    Args:
      link: to the board.
    """

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link, self._known = link, ""

    @property
    def reason(self) -> str | None:
        """Why to stop now; None: go on."""
        answered, _ = ray.wait([self._link.answer], timeout=0)
        if answered and not self._known:
            self._known = ray.get(answered[0])
        return self._known or None
