"""Which cells of different configs are one experiment: it is trained once, and shown in both."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from benchmarks.harness.settings import Settings
from benchmarks.reproduction.jobs import Job
from flaxdrop.results.ledger import Row

Origin: TypeAlias = tuple[Job, str]  # the job whose rows they are, and the variant there
_SCHEDULE = ("dropout_schedule", "dropout_switch")


def experiment(job: Job, name: str) -> str:
    """All that a variant's result depends on besides its seed, as a text to compare.

    The fields of a study choose its variants' networks and placements, which count themselves: no
    dropout is one experiment at all rates.

    Args:
      job: of the config.
      name: the variant.
    """
    variant = job.every_variant[name]
    common = {field.name for field in dataclasses.fields(Settings)}
    identity = {k: v for k, v in job.settings.identity().items() if k in common}
    schedule = variant.schedule or job.settings.dropout_schedule
    if not variant.placement.slots or schedule == "constant":
        identity = {k: v for k, v in identity.items() if k not in _SCHEDULE}
        schedule = "constant"
    return repr((identity, variant.model, str(variant.placement), schedule))


def origins(jobs: Iterable[Job]) -> dict[str, Origin]:
    """Experiment -> the first config that has it; all variants of a config count.

    Args:
      jobs: the most wanted first.
    """
    found: dict[str, Origin] = {}
    for job in jobs:
        for name in job.wanted_variants:
            found.setdefault(experiment(job, name), (job, name))
    return found


def distinct(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, each without the variants that an earlier config trains.

    Args:
      jobs: the most wanted first.
    """
    first = origins(jobs)
    found = []
    for job in jobs:
        own = [name for name in job.wanted_variants if _is(first[experiment(job, name)], job, name)]
        if own:
            settings = dataclasses.replace(job.settings, variants=",".join(own))
            found.append(dataclasses.replace(job, settings=settings))
    return tuple(found)


def rows_of(job: Job, first: Mapping[str, Origin], rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """All rows of a config, those of experiments that another config trained under its own names.

    Args:
      job: of the config.
      first: of all jobs, as `origins` finds them.
      rows: study -> all rows of its ledger.
    """
    found = []
    for name in job.every_variant:
        origin = first.get(experiment(job, name))
        if origin is None:
            continue
        there, variant = origin
        for row in rows.get(there.study.name, ()):
            if row.content == there.content and row.variant == variant:
                found.append(dataclasses.replace(row, study=job.study.name, variant=name))
    return found


def _is(origin: Origin, job: Job, name: str) -> bool:
    there, variant = origin
    same_config = there.study.name == job.study.name and there.config_hash == job.config_hash
    return same_config and variant == name
