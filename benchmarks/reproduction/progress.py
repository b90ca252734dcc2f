"""The configs of the reproduction, each with the rows that are there of it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

from benchmarks.reproduction.experiments import distinct, places, rows_of
from benchmarks.reproduction.jobs import FORMS, Cell, Job
from flaxdrop.results.comparison import Comparison
from flaxdrop.results.ledger import Row
from flaxdrop.results.provenance import config_hash
from flaxdrop.results.rates import RateComparison, compare_rates


@dataclasses.dataclass(frozen=True)
class Progress:
    """One config of the reproduction with the rows that are there of it.

    Attributes:
      job: the config.
      wanted: all cells that are trained for it, of every job of it.
      rows: of its variants, those that another config trained among them.
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

    @property
    def begun(self) -> bool:
        """There is a row of more than its baseline, which other configs may have trained."""
        return any(row.variant != self.job.study.baseline for row in self.rows)

    @functools.cached_property
    def comparison(self) -> Comparison:
        """Of its rows: computed once, for all that the page says of them."""
        return self.job.study.compare(self.rows, self.job.every_variant)


def progress(jobs: Sequence[Job], rows: Mapping[str, Sequence[Row]]) -> list[Progress]:
    """The configs of the jobs, by study as the jobs come, the fullest form of each first.

    Args:
      jobs: of the reproduction, with what they share.
      rows: study -> all rows of its ledger.
    """
    known = places(jobs)
    cells: dict[tuple[str, str], dict[Cell, None]] = {}
    for job in distinct(jobs):
        cells.setdefault((job.study.name, job.config_hash), {}).update(dict.fromkeys(job.cells))
    every = {(job.study.name, job.config_hash): job for job in reversed(jobs)}
    found = [
        Progress(job, tuple(cells.get(key, ())), tuple(rows_of(job, known, rows)))
        for key, job in reversed(every.items())
    ]
    titles = list(dict.fromkeys(one.title for one in found))
    return sorted(found, key=lambda one: (titles.index(one.title), -FORMS.index(one.job.form)))


@dataclasses.dataclass(frozen=True)
class ByRate:
    """Configs that differ in nothing but the rate of dropout.

    Attributes:
      runs: rate -> config with its rows, from the lowest rate to the highest; two or more.
    """

    runs: Mapping[float, Progress]

    @property
    def last(self) -> Progress:
        """That of the highest rate."""
        return list(self.runs.values())[-1]

    @property
    def name(self) -> str:
        """As that of a job, for people."""
        job = self.last.job
        changes = {field: value for field, value in job.changes.items() if field != "rate"}
        return f"{dataclasses.replace(job, changes=changes).name}, by rate"

    @functools.cached_property
    def comparison(self) -> RateComparison:
        """Of the rows of all rates."""
        study = self.last.job.study
        return compare_rates(
            {rate: run.rows for rate, run in self.runs.items()},
            order=list(self.last.job.every_variant),
            baseline=study.baseline,
            same=study.same,
        )


def by_rate(runs: Sequence[Progress]) -> list[ByRate]:
    """The configs that have rows of dropout at more than one rate, with their other rates."""
    groups: dict[tuple[str, str], dict[float, Progress]] = {}
    for run in runs:
        identity = dict(run.job.settings.identity())
        if run.begun and "rate" in identity:
            rate = identity.pop("rate")
            groups.setdefault((run.job.study.name, config_hash(identity)), {})[rate] = run
    return [ByRate(dict(sorted(group.items()))) for group in groups.values() if len(group) > 1]
