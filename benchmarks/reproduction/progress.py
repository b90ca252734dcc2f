"""The configs of the reproduction, each with the rows that are there of it."""

import dataclasses
from collections.abc import Mapping, Sequence

from benchmarks.reproduction.jobs import FORMS, Cell, Job
from flaxdrop.results.ledger import Row
from flaxdrop.results.provenance import config_hash


@dataclasses.dataclass(frozen=True)
class Run:
    """One config of the reproduction with the rows that are there of it.

    Attributes:
      job: the config.
      wanted: all its cells, of every job of it.
      rows: of its cells (`Job.content`), in the ledger's order.
    """

    job: Job
    wanted: tuple[Cell, ...]
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Study, dataset and changes: what all forms of a config share."""
        changes = [f"{field} {value}" for field, value in self.job.changes.items()]
        return ", ".join([self.job.study.name, self.job.settings.dataset, *changes])

    @property
    def missing(self) -> list[Cell]:
        """The cells that are wanted and not there, in the table's order."""
        done = {(row.variant, row.seed) for row in self.rows}
        order = list(self.job.every_variant)
        lacking = [cell for cell in self.wanted if cell not in done]
        return sorted(lacking, key=lambda cell: (order.index(cell[0]), cell[1]))


def runs_of(jobs: Sequence[Job], rows: Mapping[str, Sequence[Row]]) -> list[Run]:
    """The configs of the jobs, by study as the jobs come, the fullest form of each first.

    Args:
      jobs: of the reproduction.
      rows: study -> all rows of its ledger.
    """
    cells: dict[tuple[str, str], dict[Cell, None]] = {}
    first: dict[tuple[str, str], Job] = {}
    for job in jobs:
        key = job.study.name, job.config_hash
        first.setdefault(key, job)
        cells.setdefault(key, {}).update(dict.fromkeys(job.cells))
    runs = [
        Run(
            job,
            tuple(cells[key]),
            tuple(row for row in rows.get(key[0], ()) if row.content == job.content),
        )
        for key, job in first.items()
    ]
    titles = list(dict.fromkeys(run.title for run in runs))
    return sorted(runs, key=lambda run: (titles.index(run.title), -FORMS.index(run.job.form)))


@dataclasses.dataclass(frozen=True)
class ByRate:
    """Runs that differ in nothing but the rate of the dropout.

    Attributes:
      runs: rate -> run, from the lowest rate to the highest; two or more, all with rows.
    """

    runs: Mapping[float, Run]

    @property
    def last(self) -> Run:
        """That of the highest rate."""
        return list(self.runs.values())[-1]

    @property
    def name(self) -> str:
        """As that of a job, for people."""
        job = self.last.job
        changes = {field: value for field, value in job.changes.items() if field != "rate"}
        return f"{dataclasses.replace(job, changes=changes).name}, by rate"


def by_rate(runs: Sequence[Run]) -> list[ByRate]:
    """Those of the runs that have rows, where there are some at more than one rate.

    Args:
      runs: as `runs_of` gives them.
    """
    groups: dict[tuple[str, str], dict[float, Run]] = {}
    for run in runs:
        identity = dict(run.job.settings.identity())
        if run.rows and "rate" in identity:
            rate = identity.pop("rate")
            groups.setdefault((run.job.study.name, config_hash(identity)), {})[rate] = run
    return [ByRate(dict(sorted(group.items()))) for group in groups.values() if len(group) > 1]
