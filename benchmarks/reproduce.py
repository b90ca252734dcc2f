"""Trains the next missing cells of the reproduction, the most wanted first.

    python -m benchmarks.reproduce --time_budget 9m

The same command goes on where it stopped; several may run at once. Rows go into benchmarks/ledger,
checkpoints below runs/. `python -m benchmarks.report` then renders BENCHMARKS.md.
"""

import contextlib
import dataclasses
import functools
import logging
import pathlib
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jax

from benchmarks.harness.arguments import USER_ERROR, Flag, leave, tool
from benchmarks.harness.cluster.joining import Cluster, joined
from benchmarks.harness.estimate import cell_flops, flops_per_second, time_in_words
from benchmarks.harness.plan import Plan
from benchmarks.harness.planning import make_plan
from benchmarks.harness.published_data import stand_in
from benchmarks.harness.run import train
from benchmarks.harness.settings import budget_seconds
from benchmarks.harness.workfolder import LEDGERS, Occupied
from benchmarks.reproduction.experiments import distinct
from benchmarks.reproduction.jobs import Cell, Job, all_jobs
from flaxdrop.results import ledger
from flaxdrop.results.ledger import Row
from flaxdrop.training.environment import configure_jax
from flaxdrop.training.stopping import Stop


def reproduce(
    jobs: Sequence[Job],
    folder: pathlib.Path,
    stop: Stop,
    data_dir: str = "",
    cluster: Cluster | None = None,
) -> int:
    """Trains what the ledgers lack, one job after the other, until all is there or it must stop.

    A job whose work folder another process holds is passed over, and so are all of a dataset that
    cannot be had here. Rows are in the ledger as soon as their cell is finished.

    Args:
      jobs: the most wanted first.
      folder: of the ledgers, a file a study; it is made if missing.
      stop: asked between steps.
      data_dir: as in `Settings`.
      cluster: whose hosts train; None: this machine does.

    Returns:
      The exit status: 2 where nothing could be begun for want of data, else that of `stop`.

    Raises:
      ValueError, OSError: what the user can put right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unavailable: dict[str, str] = {}
    begun = False
    while not stop.reason:
        with contextlib.ExitStack() as claims:
            claimed = _claim_next(jobs, folder, data_dir, unavailable, claims, cluster)
            if claimed is None:
                break
            begun = True
            job, plan = claimed
            rows = [row for row in _rows(folder, job) if row.content == plan.content]
            train(job.study, plan, rows, stop, cluster=cluster)
    left = missing(jobs, folder)
    ended = stop.reason or ("nothing more can be begun here" if left else "done")
    print(
        f"{ended}: {sum(len(cells) for _, cells in left)} cells are missing"
        + (f", the next of {left[0][0].name}; run the same command to go on" if left else "")
    )
    return stop.exit_status or (USER_ERROR if unavailable and not begun else 0)


def _claim_next(
    jobs: Sequence[Job],
    folder: pathlib.Path,
    data_dir: str,
    unavailable: dict[str, str],
    claims: contextlib.ExitStack,
    cluster: Cluster | None,
) -> tuple[Job, Plan[Any]] | None:
    """The first job that lacks cells and is free, its folder claimed; None: there is none.

    Datasets that cannot be had are said once and added to `unavailable`.
    """
    for job in jobs:
        if job.settings.dataset in unavailable or not job.missing(_rows(folder, job)):
            continue
        settings = dataclasses.replace(job.settings, data_dir=data_dir)
        try:
            elsewhere = cluster is not None
            ledger_of_study = _ledger(folder, job)
            plan = make_plan(job.study, settings, None, ledger_of_study, elsewhere=elsewhere)
            _check_data(plan, job)
        except (ValueError, OSError) as error:
            unavailable[settings.dataset] = " ".join(str(error).split())
            print(f"warning: passed over, {unavailable[settings.dataset]}", file=sys.stderr)
            continue
        with contextlib.suppress(Occupied):
            claims.enter_context(plan.folder.claimed(job.study.name, plan.identity))
            if job.missing(_rows(folder, job)):  # read again: it may have been trained meanwhile
                return job, plan
            claims.close()
    return None


def _check_data(plan: Plan[Any], job: Job) -> None:
    found, right = plan.content.data, job.content.data
    if found != right:
        raise ValueError(
            f"dataset {plan.dataset.name}: must be the published images with their class names"
            f" (digest {right[:12]}), got others ({found[:12]}): their rows would not count"
        )


def _ledger(folder: pathlib.Path, job: Job) -> pathlib.Path:
    return folder / f"{job.study.name}.jsonl"


def _rows(folder: pathlib.Path, job: Job) -> list[Row]:
    return _reader(_ledger(folder, job)).read()[0]


@functools.cache
def _reader(path: pathlib.Path) -> ledger.Reader:
    """Of a ledger: each of its lines is read once a process."""
    return ledger.Reader(path)


def chosen(jobs: Sequence[Job], only: str) -> list[Job]:
    """The jobs of a config, or of one form of it; all of them for the empty word.

    Raises:
      ValueError: there is none.
    """
    found = [job for job in jobs if f"{job.name.partition(',')[0]}:".startswith(f"{only}:")]
    if only and not found:
        known = ", ".join(dict.fromkeys(pathlib.Path(job.config).stem for job in jobs))
        raise ValueError(f"only: must be CONFIG or CONFIG:form of {known}, got {only!r}")
    return found if only else list(jobs)


def missing(jobs: Sequence[Job], folder: pathlib.Path) -> list[tuple[Job, list[Cell]]]:
    """The jobs that lack cells, and those that no earlier job lacks too."""
    seen: set[tuple[str, str, Cell]] = set()
    found = []
    for job in jobs:
        run = job.study.name, job.config_hash
        lacking = job.missing(_rows(folder, job))
        cells = [cell for cell in lacking if (*run, cell) not in seen]
        seen |= {(*run, cell) for cell in cells}
        if cells:
            found.append((job, cells))
    return found


def _print_missing(found: Sequence[tuple[Job, list[Cell]]]) -> None:
    """What is to be trained, the most wanted first, and roughly how long it takes."""
    configure_jax()
    device = jax.devices()[0].device_kind
    speed = flops_per_second()
    hours = 0.0
    print("missing, the most wanted first\ncells        time  study      config: variants")
    for job, cells in found:
        own = sum(_flops(job, variant) for variant, _ in cells) / speed / 3600
        hours += own
        variants = ", ".join(dict.fromkeys(variant for variant, _ in cells))
        print(
            f"{len(cells):5}  {time_in_words(own):>10}  {job.study.name:10} {job.name}: {variants}",
            flush=True,
        )
    print(
        f"in all roughly {time_in_words(hours)} on one {device} device"
        " (convolutions alone: often twice that)"
    )


def _flops(job: Job, variant: str) -> float:
    settings = job.settings
    data = stand_in(settings.dataset, settings.image_size, settings.test_examples)
    examples = settings.train_examples or len(data.x_train)
    model = job.every_variant[variant].model
    return cell_flops(model, data.image_shape, settings, examples, len(data.x_test))


FLAGS = (
    Flag("time_budget", "", "for example 9m or 2h (default: none)"),
    Flag("data_dir", "", "the folder of the CIFAR data, as in the studies"),
    Flag("only", "", "CONFIG or CONFIG:form, for example cifar100:small"),
    Flag("dry_run", False, "print what is missing, train nothing"),
    Flag("cluster", "", "train on a cluster of Ray: auto, or HOST:PORT of its head"),
)


@tool(__doc__, FLAGS)
def main(options: SimpleNamespace) -> int:
    """Runs the tool."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    jobs = chosen(distinct(all_jobs()), options.only)
    if options.dry_run:
        _print_missing(missing(jobs, LEDGERS))
        return 0
    stop = Stop(budget_seconds(options.time_budget))
    with joined(options.cluster) as cluster, stop.listening():
        return reproduce(jobs, LEDGERS, stop, options.data_dir, cluster)


if __name__ == "__main__":
    leave(main())
