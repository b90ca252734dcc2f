"""Runs a study: trains every cell that the ledger lacks, then makes the table and the pictures."""

import contextlib
import dataclasses
import datetime
import functools
import itertools
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness.arguments import UsageError
from benchmarks.harness.catalog import source_of
from benchmarks.harness.decide import undecided
from benchmarks.harness.estimate import describe_plan
from benchmarks.harness.plan import Jobs, Plan, S, cell_name
from benchmarks.harness.planning import make_plan
from benchmarks.harness.reporting import report, show
from benchmarks.harness.study import Study
from benchmarks.harness.tensorboard import CurveWriter, check_tensorboard
from benchmarks.harness.variants import Family, parameter_count
from flaxdrop.memory import check_fits
from flaxdrop.results import ledger, provenance
from flaxdrop.results.row import pack_right
from flaxdrop.results.statistics import chance_level
from flaxdrop.table import plain
from flaxdrop.training.cells import Programs, compile_programs
from flaxdrop.training.loop import AfterEpoch, Finished, TrainingStopped, train_cells
from flaxdrop.training.steps import METRICS, Task
from flaxdrop.training.stopping import Stop

# What runs write into the repository, from its top: no change of the sources.
RESULTS = ("benchmarks/ledger", "BENCHMARKS.md", "docs/benchmarks")


def run(
    study: Study[S],
    settings: S,
    *,
    workdir: str | None,
    dry_run: bool,
    tensorboard: bool = False,
) -> int:
    """Trains what is missing and reports.

    Args:
      study: what to train.
      settings: of the run.
      workdir: where results go; None: a folder of the config's own.
      dry_run: only say what would be done.
      tensorboard: write the curves of each cell for TensorBoard, while it trains.

    Returns:
      The exit status.

    Raises:
      UsageError: what the user got wrong, or a disk that is full.
    """
    stop = Stop(settings.budget_seconds)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.listening())
        try:
            if tensorboard:
                check_tensorboard()
            plan = make_plan(study, settings, workdir, without_data=dry_run)
            if dry_run:
                plan.folder.check(study.name, plan.identity)
                print(describe_plan(study, plan))
                return 0
            if plan.folder.read_only:
                rows, _ = plan.recorded()
                if len(plan.finished(rows)) == plan.total:
                    show(study, plan, rows)
                    return 0
            stack.enter_context(plan.folder.claimed(study.name, plan.identity, source_of(study)))
            rows, warnings = plan.recorded()
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        for warning in warnings:
            print(f"warning: {plain(warning)}", file=sys.stderr)
        try:
            curves = CurveWriter(plan.folder.path / "tensorboard") if tensorboard else None
            rows, interrupted = train(study, plan, rows, stop, curves)
            while not interrupted and _needs_seeds(study, plan, rows):
                more = dataclasses.replace(plan.settings, seeds=plan.settings.seeds + 1)
                plan = make_plan(study, more, workdir)
                rows, interrupted = train(study, plan, rows, stop, curves)
            report(study, plan, rows, complete=not interrupted)
        except OSError as error:
            raise UsageError(
                f"{error}; the finished cells are in {plan.folder.ledger}:"
                " put it right and run the same command to go on"
            ) from error
    if not interrupted:
        return stop.exit_status  # a signal may have come while the report was drawn
    print(
        f"{stop.reason}: {len(plan.finished(rows))} of {plan.total} cells are finished, those in"
        " training are saved; run the same command to go on"
    )
    return stop.exit_status


def _needs_seeds(study: Study[S], plan: Plan[S], rows: Sequence[ledger.Row]) -> bool:
    if plan.settings.seeds >= plan.settings.decide:
        return False
    comparison = study.compare(plan.finished(rows), plan.every_variant)
    left = [" - ".join(pair) for pair in undecided(study.claims, comparison)]
    if left:
        print(f"not decided with {plan.settings.seeds} seeds: {', '.join(left)}; one seed more")
    return bool(left)


def train(
    study: Study[S],
    plan: Plan[S],
    rows: list[ledger.Row],
    stop: Stop,
    after_epoch: AfterEpoch | None = None,
) -> tuple[list[ledger.Row], bool]:
    """Trains the pending cells of a plan whose folder is claimed.

    Args:
      study: whose plan it is.
      plan: what to train.
      rows: what its ledger holds of it (`plan.recorded`), read after the folder was claimed.
      stop: asked between steps.
      after_epoch: as in `train_cells`.

    Returns:
      All rows, and whether it was stopped before the end.

    Raises:
      OSError: a row or a checkpoint could not be written.
    """
    print(f"data: {plan.dataset.describe(plan.examples)}")
    recipe = plan.settings
    pending = {i: plan.pending(family, rows) for i, family in enumerate(plan.families)}
    left = sum(map(len, pending.values()))
    print(
        f"{plan.name} on {plan.dataset.name}: {left} cells to train,"
        f" {len(plan.finished(rows))} finished before,"
        f" {plan.cells_in_parallel} at a time on"
        f" {plan.devices[0].device_kind}; results in {plan.folder.path}",
        flush=True,
    )
    if not left:
        return rows, False
    steps = left * recipe.steps_per_epoch(plan.examples) * recipe.epochs
    under_way = plan.checkpoints.cells()
    for cell in itertools.chain.from_iterable(pending.values()):
        if (name := cell_name(*cell)) in under_way:
            steps -= max(plan.checkpoints.steps(name), default=0)
    with tqdm(
        total=steps * recipe.batch,
        unit="img",
        unit_scale=True,
        smoothing=0.1,
        mininterval=1 if sys.stderr.isatty() else 15,
    ) as bar:
        for i, family in enumerate(plan.families):
            if not pending[i]:
                continue
            try:
                for row in _train_family(study, plan, family, pending[i], stop, bar, after_epoch):
                    rows = [*rows, row]
                    bar.write(row_line(row, len(plan.finished(rows)), plan.total))
            except TrainingStopped:
                return rows, True
    return rows, False


def _train_family(
    study: Study[S],
    plan: Plan[S],
    family: Family,
    pending: Sequence[tuple[str, int]],
    stop: Stop,
    bar: tqdm,
    after_epoch: AfterEpoch | None,
) -> Iterator[ledger.Row]:
    """Trains cells that one program serves; each is in the ledger before it is yielded."""
    bar.set_postfix_str("compiling" if plan.frozen is None else "computing features, compiling")
    compiled = compile_family(plan, family)
    bar.unpause()
    bar.set_postfix_str("")
    yield from train_family(study, plan, compiled, pending, stop, bar.update, after_epoch)


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
    jobs = Jobs(plan, pending)
    for finished in train_cells(
        compiled.task,
        compiled.programs,
        jobs,
        plan.checkpoints,
        stop=stop,
        checkpoint_seconds=plan.settings.checkpoint_seconds,
        advance=advance,
        after_epoch=after_epoch,
    ):
        variant, seed = jobs.named[finished.name]
        row = _row(study, plan, compiled.task, variant, seed, finished, compiled.provenance)
        ledger.append(plan.folder.ledger, row)
        plan.checkpoints.forget(finished.name, int(finished.state.step))
        yield row


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
    measure = None if lost else study.measure
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
        curve={name: list(curve[:, i]) for i, name in enumerate(METRICS)},
        right=[] if lost else pack_right(np.asarray(state.right)),
        train_examples=task.examples,
        test_examples=len(plan.dataset.y_test),
        measured=dict(measure(plan, variant, seed, trained)) if measure else {},
        digest=provenance.digest(trained),
        device_kind=device.device_kind,
        platform=device.platform,
        precision=plan.settings.precision,
        wall_seconds=finished.seconds,
        images_per_second=int(state.step) * task.recipe.batch / finished.seconds,
        finished_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **provenance_of_run,
    )


def row_line(row: ledger.Row, done: int, total: int) -> str:
    """A finished cell in a line."""
    if row.status == "diverged":
        result = "diverged"
    else:
        result = (
            f"best {100 * row.best_accuracy:.2f} % (epoch {row.best_epoch}),"
            f" last {100 * row.last_accuracy:.2f} %{', at chance' if row.at_chance else ''}"
        )
    return f"[{done}/{total}] {row.variant}, seed {row.seed}: {result}, {row.wall_seconds:.1f} s"
