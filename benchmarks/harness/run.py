"""Runs a study: trains every cell that the ledger lacks, then makes the table and the pictures."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from benchmarks.harness.arguments import UsageError, warn
from benchmarks.harness.catalog import source_of
from benchmarks.harness.cluster.joining import Cluster, joined
from benchmarks.harness.decide import undecided
from benchmarks.harness.estimate import describe_plan
from benchmarks.harness.plan import Plan, S, cell_name
from benchmarks.harness.planning import make_plan
from benchmarks.harness.reporting import report, show
from benchmarks.harness.study import Study
from benchmarks.harness.tensorboard import CurveWriter, check_tensorboard
from benchmarks.harness.training import compile_family, naming_ledger, progress_bar, train_family
from benchmarks.harness.variants import Family
from flaxdrop.results import ledger
from flaxdrop.training.loop import AfterEpoch, TrainingStopped
from flaxdrop.training.stopping import Stop


def run(
    study: Study[S],
    settings: S,
    *,
    workdir: str | None,
    dry_run: bool,
    tensorboard: bool = False,
    cluster: str = "",
) -> int:
    """Trains what is missing and reports.

    Args:
      study: what to train.
      settings: of the run.
      workdir: where results go; None: a folder of the config's own.
      dry_run: only say what would be done.
      tensorboard: write the curves of each cell for TensorBoard, while it trains.
      cluster: "auto" or the address of a cluster whose hosts train; empty: this machine does.

    Returns:
      The exit status.

    Raises:
      UsageError: what the user got wrong, or a disk that is full.
    """
    stop = Stop(settings.budget_seconds)
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(joined(cluster))  # it takes signals, before they are ours
        stack.enter_context(stop.listening())
        elsewhere = hosts is not None
        try:
            if tensorboard:
                check_tensorboard()
            plan = make_plan(study, settings, workdir, without_data=dry_run, elsewhere=elsewhere)
            if dry_run:
                plan.folder.check(study.name, plan.identity)
                print(describe_plan(study, plan))
                if hosts:
                    print(f"cluster        trains {hosts.describe()}")
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
        warn(warnings)
        with naming_ledger(plan.folder):
            curves = CurveWriter(plan.folder.path / "tensorboard") if tensorboard else None
            rows, interrupted = train(study, plan, rows, stop, curves, hosts)
            while not interrupted and _needs_seeds(study, plan, rows):
                more = dataclasses.replace(plan.settings, seeds=plan.settings.seeds + 1)
                plan = make_plan(study, more, workdir, elsewhere=elsewhere)
                rows, interrupted = train(study, plan, rows, stop, curves, hosts)
            report(study, plan, rows, complete=not interrupted)
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
    cluster: Cluster | None = None,
) -> tuple[list[ledger.Row], bool]:
    """Trains the pending cells of a plan whose folder is claimed.

    Args:
      study: whose plan it is.
      plan: what to train.
      rows: what its ledger holds of it (`plan.recorded`), read after the folder was claimed.
      stop: asked between steps.
      after_epoch: as in `train_cells`.
      cluster: whose hosts train; None: this machine does.

    Returns:
      All rows, and whether it was stopped before the end.

    Raises:
      OSError: a row or a checkpoint could not be written.
    """
    print(f"data: {plan.dataset.describe(plan.examples)}")
    recipe = plan.settings
    pending = {i: plan.pending(family, rows) for i, family in enumerate(plan.families)}
    left = sum(map(len, pending.values()))
    where = cluster.describe() if cluster else _devices(plan)
    print(
        f"{plan.name} on {plan.dataset.name}: {left} cells to train,"
        f" {len(plan.finished(rows))} finished before,"
        f" {where}; results in {plan.folder.path}",
        flush=True,
    )
    if not left:
        return rows, False
    steps = left * recipe.steps_per_epoch(plan.examples) * recipe.epochs
    under_way = plan.checkpoints.cells()
    for cell in itertools.chain.from_iterable(pending.values()):
        if (name := cell_name(*cell)) in under_way:
            steps -= plan.checkpoints.last_step(name)
    with progress_bar(steps * recipe.batch) as bar:
        try:
            for row in _trained(study, plan, pending, stop, bar, after_epoch, cluster):
                rows = [*rows, row]
                bar.write(row_line(row, len(plan.finished(rows)), plan.total))
        except TrainingStopped:
            return rows, True
    return rows, False


def _devices(plan: Plan[Any]) -> str:
    return f"{plan.cells_in_parallel} at a time on {plan.devices[0].device_kind}"


def _trained(
    study: Study[S],
    plan: Plan[S],
    pending: Mapping[int, Sequence[tuple[str, int]]],
    stop: Stop,
    bar: tqdm,
    after_epoch: AfterEpoch | None,
    cluster: Cluster | None,
) -> Iterator[ledger.Row]:
    """Trains cells, (variant, seed) by the number of their family."""
    if cluster:
        from benchmarks.harness.cluster.run import train_on  # it imports ray

        yield from train_on(cluster, study, plan, pending, stop, bar, after_epoch)
        return
    for number, cells in pending.items():
        if cells:
            family = plan.families[number]
            yield from _train_family(study, plan, family, cells, stop, bar, after_epoch)


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
