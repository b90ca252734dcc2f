"""Which cells of different configs are one experiment: it is trained once, and shown in both."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from benchmarks.harness.settings import Settings
from benchmarks.reproduction.jobs import Job
from flaxdrop.results.ledger import Row

Place: TypeAlias = tuple[Job, str]  # a config, and the variant there
_SCHEDULE = ("dropout_schedule", "dropout_switch")


def experiment(job: Job, name: str) -> str:
    """All that a variant's result depends on besides its seed, as a text to compare.

    The fields of a study choose its variants' networks and placements, which count themselves: no
    dropout is one experiment at all rates.
    """
    variant = job.every_variant[name]
    common = {field.name for field in dataclasses.fields(Settings)}
    identity = {k: v for k, v in job.settings.identity().items() if k in common}
    schedule = variant.schedule or job.settings.dropout_schedule
    if not variant.placement.slots or schedule == "constant":
        identity = {k: v for k, v in identity.items() if k not in _SCHEDULE}
        schedule = "constant"
    return repr((identity, variant.model, str(variant.placement), schedule))


def places(jobs: Iterable[Job]) -> dict[str, list[Place]]:
    """Experiment -> the configs and variants that it is, the most wanted first.

    Args:
      jobs: the most wanted first.
    """
    found: dict[str, list[Place]] = {}
    for job in jobs:
        for name in job.wanted_variants:
            own = found.setdefault(experiment(job, name), [])
            if not any(_is(place, job, name) for place in own):
                own.append((job, name))
    return found


def distinct(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, each without the variants that an earlier config trains.

    Args:
      jobs: the most wanted first.
    """
    known = places(jobs)
    found = []
    for job in jobs:
        own = [
            name for name in job.wanted_variants if _is(known[experiment(job, name)][0], job, name)
        ]
        if own:
            settings = dataclasses.replace(job.settings, variants=",".join(own))
            found.append(dataclasses.replace(job, settings=settings))
    return tuple(found)


def rows_of(
    job: Job, known: Mapping[str, Sequence[Place]], rows: Mapping[str, Sequence[Row]]
) -> list[Row]:
    """All rows of a config, those of experiments that another config trained among them.

    Args:
      job: of the config.
      known: of all jobs, as `places` finds them.
      rows: study -> all rows of its ledger.

    Returns:
      One row for every variant and seed; where there are two, that of the config itself.
    """
    found: dict[tuple[str, int], Row] = {}
    for name in job.every_variant:
        others = known.get(experiment(job, name), ())
        for there, variant in [(job, name), *others]:
            for row in rows.get(there.study.name, ()):
                if row.variant == variant and row.content == there.content:
                    own = dataclasses.replace(row, study=job.study.name, variant=name)
                    found.setdefault((name, row.seed), own)
    return list(found.values())


def _is(place: Place, job: Job, name: str) -> bool:
    there, variant = place
    return (there.study.name, there.config_hash, variant) == (job.study.name, job.config_hash, name)
