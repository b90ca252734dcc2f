"""Trains the next missing cells of the reproduction, the most wanted first.

    python -m benchmarks.reproduce --time_budget 9m

The same command goes on where it stopped; several may run at once. Rows go into benchmarks/ledger,
checkpoints below runs/. `python -m benchmarks.report` then renders BENCHMARKS.md.
"""

import contextlib
import dataclasses
import itertools
import logging
import pathlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.harness.arguments import Parser
from benchmarks.harness.plan import Plan
from benchmarks.harness.planning import make_plan
from benchmarks.harness.run import train
from benchmarks.harness.settings import budget_seconds
from benchmarks.harness.workfolder import LEDGERS, Occupied
from benchmarks.reproduction.experiments import distinct
from benchmarks.reproduction.jobs import Cell, Job, all_jobs
from flaxdrop.results import ledger
from flaxdrop.results.ledger import Row
from flaxdrop.training.stopping import Stop

_USER_ERROR = 2


def reproduce(jobs: Sequence[Job], folder: pathlib.Path, stop: Stop, data_dir: str = "") -> int:
    """Trains what the ledgers lack, one job after the other, until all is there or it must stop.

    A job whose work folder another process holds is passed over, and so are all of a dataset that
    cannot be had here. Rows are in the ledger as soon as their cell is finished.

    Args:
      jobs: the most wanted first.
      folder: of the ledgers, a file a study; it is made if missing.
      stop: asked between steps.
      data_dir: as in `Settings`.

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
            claimed = _claim_next(jobs, folder, data_dir, unavailable, claims)
            if claimed is None:
                break
            begun = True
            job, plan = claimed
            train(job.study, plan, plan.recorded()[0], stop)
    left = missing(jobs, folder)
    ended = stop.reason or ("nothing more can be begun here" if left else "done")
    print(
        f"{ended}: {sum(len(cells) for _, cells in left)} cells are missing"
        + (f", the next of {left[0][0].name}; run the same command to go on" if left else "")
    )
    return stop.exit_status or (_USER_ERROR if unavailable and not begun else 0)


def _claim_next(
    jobs: Sequence[Job],
    folder: pathlib.Path,
    data_dir: str,
    unavailable: dict[str, str],
    claims: contextlib.ExitStack,
) -> tuple[Job, Plan[Any]] | None:
    """The first job that lacks cells and is free, its folder claimed; None: there is none.

    Datasets that cannot be had are said once and added to `unavailable`.
    """
    for job in _wanted(jobs, folder):
        if job.settings.dataset in unavailable:
            continue
        settings = dataclasses.replace(job.settings, data_dir=data_dir)
        try:
            plan = make_plan(job.study, settings, None, _ledger(folder, job))
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


def _wanted(jobs: Sequence[Job], folder: pathlib.Path) -> Iterator[Job]:
    read: dict[str, list[Row]] = {}
    for job in jobs:
        if job.study.name not in read:
            read[job.study.name] = _rows(folder, job)
        if job.missing(read[job.study.name]):
            yield job


def _ledger(folder: pathlib.Path, job: Job) -> pathlib.Path:
    return folder / f"{job.study.name}.jsonl"


def _rows(folder: pathlib.Path, job: Job) -> list[Row]:
    return ledger.read(_ledger(folder, job))[0]


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
    for job in _wanted(jobs, folder):
        run = job.study.name, job.config_hash
        lacking = job.missing(_rows(folder, job))
        cells = [cell for cell in lacking if (*run, cell) not in seen]
        seen |= {(*run, cell) for cell in cells}
        if cells:
            found.append((job, cells))
    return found


def _line(job: Job, cells: Sequence[Cell]) -> str:
    variants = ", ".join(dict.fromkeys(variant for variant, _ in cells))
    return f"{len(cells):5}  {job.study.name:10} {job.name}: {variants}"


def main(arguments: Sequence[str]) -> int:
    """Runs it as a command line says; returns the exit status."""
    parser = Parser(prog="python -m benchmarks.reproduce", description=__doc__.splitlines()[0])
    parser.add_argument("--time_budget", default="", help="for example 9m or 2h (default: none)")
    parser.add_argument("--data_dir", default="", help="of CIFAR, as the studies take it")
    parser.add_argument("--only", default="", help="CONFIG[:form], for example cifar100:tiny")
    parser.add_argument("--dry_run", action="store_true", help="print what is missing")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        jobs = chosen(distinct(all_jobs()), options.only)
        if options.dry_run:
            print("missing, the most wanted first:")
            print("\n".join(itertools.starmap(_line, missing(jobs, LEDGERS))))
            return 0
        stop = Stop(budget_seconds(options.time_budget))
        with stop.listening():
            return reproduce(jobs, LEDGERS, stop, options.data_dir)
    except (ValueError, OSError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        return _USER_ERROR
    except KeyboardInterrupt:  # the second one: what was saved before is left
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
