"""Trains the cells that one program serves, and writes their rows."""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.harness.arguments import UsageError
from benchmarks.harness.plan import Jobs, Plan, S, cell_name
from benchmarks.harness.study import Study
from benchmarks.harness.variants import Family, parameter_count
from benchmarks.harness.workfolder import WorkFolder
from flaxdrop.memory import check_fits
from flaxdrop.results import ledger, provenance
from flaxdrop.results.right import pack_right
from flaxdrop.results.statistics import chance_level
from flaxdrop.training.cells import Programs, compile_programs
from flaxdrop.training.checkpoint import Checkpoints
from flaxdrop.training.loop import AfterEpoch, Finished, train_cells
from flaxdrop.training.steps import METRICS, Task
from flaxdrop.training.stopping import Stop
from flaxdrop.training.streaming import compile_streamed_programs, is_streamed

# What runs write into the repository, from its top: no change of the sources.
RESULTS = ("benchmarks/ledger", "BENCHMARKS.md", "docs/benchmarks")


def progress_bar(images: int) -> tqdm:
    """A bar of so many training images."""
    interval = 1 if sys.stderr.isatty() else 15
    return tqdm(total=images, unit="img", unit_scale=True, smoothing=0.1, mininterval=interval)


@contextlib.contextmanager
def naming_ledger(folder: WorkFolder) -> Iterator[None]:
    """What cannot be written becomes a mistake to put right; it says where finished cells are.

    Raises:
      UsageError: something could not be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{error}; the finished cells are in {folder.ledger}:"
            " put it right and run the same command to go on"
        ) from error


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The programs of a family, and what the rows of its cells tell of them.

    Attributes:
      task: what its cells have in common.
      programs: that train them.
      provenance: fields of a row.
    """

    task: Task
    programs: Programs
    provenance: Mapping[str, Any]


def compile_family(plan: Plan[S], family: Family) -> Compiled:
    """Compiles the programs that serve all cells of a family.

    Raises:
      ValueError: the training does not fit into the memory.
    """
    task = plan.task(family)
    example = plan.cell(next(iter(family.placements)), 0)
    split = plan.settings.cells_per_device, plan.settings.devices_per_cell
    if is_streamed(plan.images):
        workers = plan.settings.workers
        programs = compile_streamed_programs(
            task, plan.images, example, plan.devices, *split, workers
        )
    else:
        programs = compile_programs(task, plan.images, example, plan.devices, *split)
    if plan.devices[0].platform == "cpu":  # an accelerator says itself that it has too little
        needed = len(plan.devices) * programs.temporary_bytes
        check_fits("batch, depth or cells_per_device", needed, "training's temporary arrays")
    return Compiled(
        task,
        programs,
        {
            "parameters": parameter_count(family.model, plan.input_shape),
            "compile_seconds": programs.compile_seconds,
            "versions": provenance.versions(),
            "git_revision": _revision(),
        },
    )


def train_family(
    study: Study[S],
    plan: Plan[S],
    compiled: Compiled,
    pending: Sequence[tuple[str, int]],
    stop: Stop,
    advance: Callable[[int], Any],
    after_epoch: AfterEpoch | None = None,
) -> Iterator[ledger.Row]:
    """Trains cells of a compiled family; each is in the ledger before it is yielded.

    Args:
      study: whose plan it is.
      plan: whose folder is claimed.
      compiled: the programs of the family.
      pending: (variant, seed) of the cells.
      stop: asked between steps.
      advance: called with the number of training images done since the last call.
      after_epoch: as in `train_cells`.

    Raises:
      TrainingStopped: `stop` gave a reason.
      OSError: a row or a checkpoint could not be written.
    """
    own = plan.checkpoints
    for cell in finish_cells(study, plan, compiled, pending, own, stop, advance, after_epoch):
        record(plan, cell)
        yield cell.row


class FinishedCell(NamedTuple):
    """A cell that was trained to its end; its last state is saved.

    Attributes:
      row: of the ledger, which it is not in yet.
      step: its last one.
    """

    row: ledger.Row
    step: int


def finish_cells(
    study: Study[S],
    plan: Plan[S],
    compiled: Compiled,
    pending: Sequence[tuple[str, int]],
    checkpoints: Checkpoints,
    stop: Stop,
    advance: Callable[[int], Any],
    after_epoch: AfterEpoch | None = None,
) -> Iterator[FinishedCell]:
    """Trains cells as `train_family`, and leaves the ledger alone.

    Args:
      study: as in `train_family`, and so are those below that are not named here.
      plan: its folder need not be claimed.
      compiled: the programs of the family.
      pending: (variant, seed) of the cells.
      checkpoints: of the plan, where the cells are kept.
      stop: asked between steps.
      advance: called with the number of training images done since the last call.
      after_epoch: as in `train_cells`.

    Raises:
      TrainingStopped: `stop` gave a reason.
      OSError: a checkpoint could not be written.
    """
    jobs = Jobs(plan, pending)
    for finished in train_cells(
        compiled.task,
        compiled.programs,
        jobs,
        checkpoints,
        stop=stop,
        checkpoint_seconds=plan.settings.checkpoint_seconds,
        advance=advance,
        after_epoch=after_epoch,
    ):
        variant, seed = jobs.named[finished.name]
        row = _row(study, plan, compiled.task, variant, seed, finished, compiled.provenance)
        yield FinishedCell(row, int(finished.state.step))


def record(plan: Plan[S], cell: FinishedCell) -> None:
    """Writes a finished cell into the ledger, and removes the checkpoints that it began from.

    Raises:
      OSError: it could not be written.
    """
    ledger.append(plan.folder.ledger, cell.row)
    plan.checkpoints.forget(cell_name(cell.row.variant, cell.row.seed), cell.step)


@functools.cache
def _revision() -> str:
    # Once a process: what is committed while it runs is not what it runs.
    return provenance.git_revision(pathlib.Path(__file__).parent, besides=RESULTS)


def _row(
    study: Study[S],
    plan: Plan[S],
    task: Task,
    variant: str,
    seed: int,
    finished: Finished,
    provenance_of_run: Mapping[str, Any],
) -> ledger.Row:
    state, device = finished.state, plan.devices[0]
    curve = np.asarray(state.curve, np.float64)
    lost = int(state.diverged)
    # What comes after is of a network that is gone.
    curve = curve[: lost or int(state.step) // task.steps_per_epoch]
    accuracy = curve[:, METRICS.index("test_accuracy")]
    last = dict(zip(METRICS, curve[-1], strict=True))
    trained = {"params": state.params, "batch_stats": state.batch_stats}
    measured = (
        {} if lost or not study.measure else dict(study.measure(plan, variant, seed, trained))
    )
    if is_streamed(plan.pixels):
        measured["waited_share"] = finished.waited_share
    return ledger.Row(
        study=plan.name,
        config=plan.settings.identity(),
        **plan.content._asdict(),
        variant=variant,
        placement=str(plan.placement(variant)),
        seed=seed,
        status="diverged" if lost else "finished",
        best_accuracy=np.nan if lost else accuracy.max(),
        best_epoch=None if lost else int(accuracy.argmax()) + 1,
        last_accuracy=np.nan if lost else last["test_accuracy"],
        last_nll=last["test_nll"],
        last_ece=last["test_ece"],
        chance=chance_level(plan.dataset.y_test),
        curve={name: array("d", curve[:, i]) for i, name in enumerate(METRICS)},
        right=[] if lost else pack_right(np.asarray(state.right)),
        train_examples=task.examples,
        test_examples=len(plan.dataset.y_test),
        measured=measured,
        digest=provenance.digest(trained),
        device_kind=device.device_kind,
        platform=device.platform,
        precision=plan.settings.precision,
        wall_seconds=finished.seconds,
        images_per_second=int(state.step) * task.recipe.batch / finished.seconds,
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **provenance_of_run,
    )
