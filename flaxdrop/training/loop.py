"""The one training loop: takes cells through their epochs, a device's worth at a time."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from flaxdrop.training.cells import Programs, unstack
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.stopping import Stop
from flaxdrop.training.task import Cell, State, Task

AfterEpoch = Callable[[str, int, np.ndarray], None]
_DISPATCH_SECONDS = 1.0  # between looks at the clock and at signals


@dataclasses.dataclass(frozen=True)
class Finished:
    """A cell that was trained to its end, or diverged.

    Attributes:
      name: of the cell.
      state: its last one, as NumPy arrays; of a cell that diverged, that after the epoch
        `state.diverged`.
      seconds: of training and evaluation, without compilation, over all its runs.
      waited_share: of the time of its last run, in which its device had nothing to do because
        images were being read, in [0, 1].
    """

    name: str
    state: State
    seconds: float
    waited_share: float


class TrainingStopped(Exception):
    """Training stopped before the end; checkpoints are written. The message says why."""


def train_cells(
    task: Task,
    programs: Programs,
    cells: Mapping[str, Cell],
    checkpoints: Checkpoints,
    *,
    stop: Stop,
    checkpoint_seconds: float,
    advance: Callable[[int], None],
    after_epoch: AfterEpoch | None = None,
) -> Iterator[Finished]:
    """Trains cells, resuming those that have a checkpoint.

    Args:
      task: what is trained.
      programs: compiled for the task.
      cells: name -> cell, in the order to train them in.
      checkpoints: where their states are kept.
      stop: asked between dispatches.
      checkpoint_seconds: between two checkpoints of a cell; its last state is always saved.
      advance: called with the number of training images done since the last call.
      after_epoch: called for each cell in training with its name, the number of the epoch that
        ended, from 1, and its line of the curve; see `METRICS`.

    Yields:
      Each cell once it is finished and its last state is saved.

    Raises:
      TrainingStopped: `stop` gave a reason; all cells in training are saved.
      OSError: a checkpoint cannot be written.
    """
    under_way = checkpoints.cells()  # of many cells few have begun
    saved = {name: checkpoints.load(name, programs.like) for name in cells if name in under_way}
    resumed = {name: found for name, found in saved.items() if found}
    at_step = {name: int(resumed[name][0].step) if name in resumed else 0 for name in cells}
    # Those under way first; cells train together only from the same step on.
    queue = sorted(cells, key=lambda name: -at_step[name])
    while queue:
        if stop.reason:
            raise TrainingStopped(stop.reason)
        step = at_step[queue[0]]
        group = [name for name in queue[: programs.cells_in_parallel] if at_step[name] == step]
        queue = queue[len(group) :]
        together = _Group(task, programs, {name: cells[name] for name in group}, resumed)
        yield from together.train(checkpoints, stop, checkpoint_seconds, advance, after_epoch)


class _Group:
    """Cells that train together, one on each device; spare devices repeat the first cell."""

    def __init__(
        self,
        task: Task,
        programs: Programs,
        cells: dict[str, Cell],
        resumed: dict[str, tuple[State, float]],
    ) -> None:
        self.task, self.programs, self.names = task, programs, list(cells)
        spare = programs.cells_in_parallel - len(cells)
        cells_in_parallel = self.names + self.names[:1] * spare
        self.cells = programs.place([cells[name] for name in cells_in_parallel])
        if self.names[0] in resumed:
            self.states = programs.place([resumed[name][0] for name in cells_in_parallel])
            self.step = int(resumed[self.names[0]][0].step)
        else:
            self.states = programs.start(self.cells)
            self.step = 0
        self.seconds = {name: resumed[name][1] if name in resumed else 0.0 for name in self.names}
        self.diverged: dict[str, State] = {}
        self._note_diverged()

    def train(
        self,
        checkpoints: Checkpoints,
        stop: Stop,
        checkpoint_seconds: float,
        advance: Callable[[int], None],
        after_epoch: AfterEpoch | None,
    ) -> Iterator[Finished]:
        last_saved = time.monotonic()
        began_waiting, ran = self.programs.waited_seconds(), 0.0
        pace = _DISPATCH_SECONDS  # seconds a step; not known yet: one step at first
        while self._alive and self.step < self.task.steps:
            began = time.perf_counter()
            in_epoch = self.step % self.task.steps_per_epoch
            left = self.task.steps_per_epoch - in_epoch
            count = min(left, max(1, int(_DISPATCH_SECONDS / pace)))
            self.states = self.programs.train(count, self.cells, self.states)
            compiled = self.programs.compile_evaluation()  # while the first steps run
            jax.block_until_ready(self.states.step)
            seconds = time.perf_counter() - began
            pace = seconds / count
            self.step += count
            if count == left:
                compiled.result()
                began = time.perf_counter()
                self.states = self.programs.evaluate(self.states)
                jax.block_until_ready(self.states.step)
                seconds += time.perf_counter() - began
            ran += seconds
            alive = self._alive
            for name in alive:
                self.seconds[name] += seconds
            self._note_diverged()
            given_up = (self.task.steps - self.step) * (len(alive) - len(self._alive))
            advance((count * len(alive) + given_up) * self.task.recipe.batch)
            if after_epoch and count == left:
                epoch = self.step // self.task.steps_per_epoch
                lines = np.asarray(self.states.curve[:, epoch - 1])
                for lane, name in enumerate(self.names):
                    if name not in self.diverged:
                        after_epoch(name, epoch, lines[lane])
            if not self._alive or self.step == self.task.steps:
                break
            reason = stop.reason
            if reason or time.monotonic() - last_saved >= checkpoint_seconds:
                self._save(checkpoints)
                last_saved = time.monotonic()
            if reason:
                raise TrainingStopped(reason)
        waited = self.programs.waited_seconds() - began_waiting
        yield from (
            Finished(name, state, self.seconds[name], waited / ran if ran else 0.0)
            for name, state in self._save(checkpoints).items()
        )

    @property
    def _alive(self) -> list[str]:
        return [name for name in self.names if name not in self.diverged]

    def _note_diverged(self) -> None:
        """Keeps the state in which a cell diverged, for its neighbours may take it further."""
        diverged = np.asarray(self.states.diverged)
        for lane, name in enumerate(self.names):
            if name not in self.diverged and diverged[lane]:
                # A copy: the program writes the next state over this one.
                self.diverged[name] = jax.tree.map(np.array, unstack(self.states, lane))

    def _save(self, checkpoints: Checkpoints) -> dict[str, State]:
        host: Any = jax.device_get(self.states)
        states = {name: unstack(host, lane) for lane, name in enumerate(self.names)} | self.diverged
        both = {name: (state, self.seconds[name]) for name, state in states.items()}
        checkpoints.save(both)
        return states
