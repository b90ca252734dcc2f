"""Trains cells on a cluster: a task trains one, and this process alone writes rows.

Ray begins a task again whose host or process dies, on any host that is there; it goes on from the
last checkpoint that anyone wrote of its cell.
"""

import collections
import dataclasses
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.harness.arguments import UsageError, one_line
from benchmarks.harness.catalog import source_of
from benchmarks.harness.cluster.board import Board
from benchmarks.harness.cluster.fit import check_hosts, host_function, marked
from benchmarks.harness.cluster.host import (
    DISK,
    FINISHED,
    MISTAKE,
    UNFIT,
    Job,
    Wanted,
    versions,
)
from benchmarks.harness.cluster.joining import NODE, Cluster, Host
from benchmarks.harness.plan import Plan, S, cell_name
from benchmarks.harness.study import Study
from benchmarks.harness.training import record
from flaxdrop.results.ledger import Row
from flaxdrop.training.loop import AfterEpoch, TrainingStopped
from flaxdrop.training.stopping import Stop

_LOOK_SECONDS = 1.0  # between looks at progress
_SAVE_SECONDS = 120.0  # in which all tasks have stopped
_MOST_KILLED = 5  # times that Ray gives up a task for want of memory
_MOST_TASKS = 1_000  # that wait or train at a time


@dataclasses.dataclass(frozen=True)
class _Task:
    """Cells that train together on a device.

    Attributes:
      number: of the task.
      family: the number of their family in the plan.
      cells: (variant, seed) of each.
      images: that they had been trained on before the run.
    """

    number: int
    family: int
    cells: tuple[tuple[str, int], ...]
    images: int


def train_on(
    cluster: Cluster,
    study: Study[S],
    plan: Plan[S],
    pending: Mapping[int, Sequence[tuple[str, int]]],
    stop: Stop,
    bar: tqdm,
    after_epoch: AfterEpoch | None = None,
) -> Iterator[Row]:
    """Trains cells on a cluster; each is in the ledger before it is yielded.

    Args:
      cluster: whose hosts train.
      study: whose plan it is.
      plan: whose folder is claimed.
      pending: number of a family -> (variant, seed) of its cells.
      stop: asked every second.
      bar: of the images of all cells.
      after_epoch: as in `train_cells`.

    Raises:
      TrainingStopped: `stop` gave a reason.
      OSError: a row or a checkpoint could not be written.
      UsageError: hosts, or devices, that do not fit.
    """
    at_a_time = cluster.tasks_at_a_time(plan.settings)
    with marked(plan.folder.path.absolute()) as token:
        wanted = versions(source_of(study)), source_of(study), str(token.parent), token.name
        for words in check_hosts(cluster, wanted, token):
            bar.write(words)
        run = _Run(cluster, study, plan, wanted, at_a_time or _MOST_TASKS)
        try:
            yield from run.train(collections.deque(_tasks(plan, pending)), stop, bar, after_epoch)
        finally:
            run.end()


def _tasks(plan: Plan[Any], pending: Mapping[int, Sequence[tuple[str, int]]]) -> Iterator[_Task]:
    """Cells in groups, as many as a device trains at a time; those under way first."""
    checkpoints, under_way = plan.checkpoints, plan.checkpoints.cells()
    together, number = plan.settings.cells_per_device, 0
    for family, cells in pending.items():
        names = {cell: cell_name(*cell) for cell in cells}
        at = {
            cell: checkpoints.last_step(name) if name in under_way else 0
            for cell, name in names.items()
        }
        queue = sorted(cells, key=lambda cell: -at[cell])
        for first in range(0, len(queue), together):
            group = tuple(queue[first : first + together])
            steps = sum(at[cell] for cell in group)
            yield _Task(number, family, group, steps * plan.settings.batch)
            number += 1


class _Run:
    """The tasks of one call of `train_on`."""

    def __init__(
        self, cluster: Cluster, study: Study[S], plan: Plan[S], wanted: Wanted, at_a_time: int
    ) -> None:
        self.cluster, self.plan, self.wanted, self.at_a_time = cluster, plan, wanted, at_a_time
        self.ray = cluster.ray
        settings = {field: getattr(plan.settings, field) for field in _fields(plan.settings)}
        settings["devices"] = plan.settings.devices_per_cell
        own = {NODE: self.ray.get_runtime_context().get_node_id()}
        self.board = self.ray.remote(num_cpus=0, label_selector=own)(Board).remote()
        needs = _needs(cluster.kind, plan.settings.devices_per_cell)
        made = study.name, repr(settings), plan.folder.path, plan.content
        if cluster.jobs.get(made) is None:  # the hosts keep the plan and programs of the last job
            job = Job(
                study=study.name,
                source=source_of(study),
                settings=settings,
                directory=os.getcwd(),
                folder=plan.folder.path.absolute(),
                content=plan.content,
                dataset=plan.dataset,
            )
            references = [self.ray.put(job)]
            if plan.frozen:
                compute = self.ray.remote(**needs)(host_function("features"))
                references.append(
                    compute.remote((*wanted[:2], "", ""), cluster.kind, references[:1])
                )
            cluster.jobs.clear()
            cluster.jobs[made] = references
        self.jobs = cluster.jobs[made]
        self.function = self.ray.remote(**needs)(host_function("train"))
        self.under_way: dict[Any, _Task] = {}
        self.at: dict[int, int] = {}  # task -> images, since the run began
        self.rows: set[tuple[str, int]] = set()
        self.killed: collections.Counter[int] = collections.Counter()

    def train(
        self,
        waiting: "collections.deque[_Task]",
        stop: Stop,
        bar: tqdm,
        after_epoch: AfterEpoch | None,
    ) -> Iterator[Row]:
        stopping: float | None = None
        hosts: dict[str, Host] = {}
        while waiting or self.under_way:
            while waiting and len(self.under_way) < self.at_a_time:
                self._submit(waiting.popleft())
            done, _ = self.ray.wait(list(self.under_way), timeout=_LOOK_SECONDS)
            for reference in done:
                task = self.under_way.pop(reference)
                try:
                    result = self.ray.get(reference)
                except self.ray.exceptions.OutOfMemoryError as error:
                    self._note_killed(task, error)
                    waiting.append(task)
                    continue
                yield from self._finish(task, result, waiting, bar)
            hosts = self._note_hosts(hosts, bar)
            begun = self._look(bar, after_epoch)
            if stop.reason and stopping is None:
                self.ray.get(self.board.stop.remote(stop.reason))
                waiting.clear()
                stopping = time.monotonic()
            if stopping is not None:
                left = [task for task in self.under_way.values() if task.number in begun]
                if not left or time.monotonic() - stopping > _SAVE_SECONDS:
                    raise TrainingStopped(stop.reason)

    def end(self) -> None:
        """Ends what is still under way."""
        for reference in self.under_way:
            self.ray.cancel(reference, force=True)
        self.ray.kill(self.board)

    def _submit(self, task: _Task) -> None:
        function = self.function
        if self.cluster.left_out:
            others = f"!in({','.join(sorted(self.cluster.left_out))})"
            function = function.options(label_selector={NODE: others})
        about = self.wanted, self.cluster.kind, self.jobs
        reference = function.remote(*about, task.family, task.cells, self.board, task.number)
        self.under_way[reference] = task

    def _finish(
        self,
        task: _Task,
        result: tuple[str, Any, str],
        waiting: "collections.deque[_Task]",
        bar: tqdm,
    ) -> Iterator[Row]:
        how, found, words = result
        if how == UNFIT:
            if found not in self.cluster.left_out:
                self.cluster.left_out.add(found)
                bar.write(f"a host is left out: it {words}")
            if not self.cluster.hosts():
                raise UsageError(f"cluster: no host is left, the last one {words}")
            waiting.appendleft(task)
            return
        for cell in found:
            key = cell.row.variant, cell.row.seed
            if key not in self.rows:
                self.rows.add(key)
                record(self.plan, cell)
                yield cell.row
        if how == FINISHED:
            images = self.plan.task(self.plan.families[task.family]).steps * len(task.cells)
            self.at[task.number] = images * self.plan.settings.batch - task.images
        elif how == MISTAKE:
            raise UsageError(words)
        elif how == DISK:
            raise OSError(words)

    def _note_killed(self, task: _Task, error: Exception) -> None:
        """Takes note that a host had no memory left for a task, which may be for a while."""
        self.killed[task.number] += 1
        if self.killed[task.number] > _MOST_KILLED:
            raise UsageError(f"cluster: the hosts have too little memory: {one_line(error)[:200]}")

    def _look(self, bar: tqdm, after_epoch: AfterEpoch | None) -> set[int]:
        """Shows what the board knows; returns the tasks that have begun."""
        images, curves, said, stuck = self.ray.get(self.board.look.remote())
        for task in self.under_way.values():
            if task.number in stuck:
                names = ", ".join(cell_name(*cell) for cell in task.cells)
                raise UsageError(
                    f"cluster: {names} ends every process that trains it at the same place: have"
                    " the hosts too little memory?"
                )
            if task.number in images:
                self.at[task.number] = images[task.number] - task.images
        bar.update(sum(self.at.values()) - bar.n)
        for words in dict.fromkeys(said):
            bar.write(f"warning: {words}")
        for curve in curves:
            if after_epoch:
                after_epoch(*curve)
        return set(images)

    def _note_hosts(self, before: dict[str, Host], bar: tqdm) -> dict[str, Host]:
        now = {host.node: host for host in self.cluster.hosts()}
        for node in before.keys() - now.keys() - self.cluster.left_out:
            bar.write(f"host {before[node].address} is gone: its cells go on elsewhere")
        for node in now.keys() - before.keys() if before else ():
            bar.write(f"host {now[node].address} has joined, with {now[node].devices} devices")
        return now


def _fields(settings: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(settings)]


def _needs(kind: str, devices: int) -> dict[str, Any]:
    """What Ray is to know of a task that trains."""
    always = {"max_retries": -1, "scheduling_strategy": "SPREAD"}
    if kind == "CPU":
        return {**always, "num_cpus": devices}
    if kind == "GPU":  # without max_calls, every task compiles anew
        return {**always, "num_cpus": 0, "num_gpus": devices, "max_calls": 0}
    # A process keeps its TPU until it ends.
    return {**always, "num_cpus": 0, "resources": {kind: devices}, "max_calls": 1}
