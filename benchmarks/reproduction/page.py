"""BENCHMARKS.md as text: a pure function of the jobs of the reproduction and their rows."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.findings.agreement import agreement
from benchmarks.reproduction.grid import grids
from benchmarks.reproduction.jobs import LEFT_OUT, Cell
from benchmarks.reproduction.pictures import of_rates, of_run
from benchmarks.reproduction.progress import ByRate, Progress, by_rate
from flaxdrop.results.claims_table import claims_table
from flaxdrop.results.ledger import Row
from flaxdrop.results.rates import rate_table
from flaxdrop.results.regime import regime
from flaxdrop.results.table import accuracy_table, effect_table
from flaxdrop.table import escaped

# A section of its own for a ledger that is not of a study: name of the file -> (rows -> Markdown).
Sections: TypeAlias = Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]]
_HEAD = """# Benchmarks

What is published and what we measured, beside each other. This page is rendered from the rows in
[benchmarks/ledger](benchmarks/ledger) by `python -m benchmarks.report`, words and verdicts too: it
is not edited. `python -m benchmarks.reproduce --time_budget 9m` trains the next cells that are
missing. Forms of a config: *full* is the published recipe, as far as it is known; *quick* the same
network with fewer epochs; *small* a network of depth 20, or the published one, on 10,000 of the
images, another part for every seed, for a CPU.
"""


def render(runs: Sequence[Progress], others: Sequence[str], not_shown: Mapping[str, int]) -> str:
    """Renders the page: verdicts first, then every table with what it was made on.

    Args:
      runs: as `progress` gives them.
      others: sections that are not of a study, in Markdown.
      not_shown: study -> how many rows of its ledger are of another version of the numerics.
    """
    blocks = [_HEAD, *grids(runs)]
    every = by_rate(runs)
    for title in dict.fromkeys(run.title for run in runs):
        own = [run for run in runs if run.title == title]
        if any(run.begun for run in own):
            blocks += [f"## {title}\n", *_config(own)]
        for rates in every:
            if rates.last in own:
                blocks += [f"## {rates.last.job.study.name}, {rates.name}\n", *_rates(rates)]
    return "\n".join([*blocks, *others, *_not_run(runs, not_shown)])


def _config(runs: Sequence[Progress]) -> Iterator[str]:
    """The sections of one config, in all its forms."""
    study, settings = runs[0].job.study, runs[0].job.settings
    yield f"{study.question}\n"
    if words := study.stated and study.stated(settings):
        yield f"{words}.\n"
    for run in runs:
        if run.begun:
            yield f"### {run.job.name}\n"
            yield from _form(run)


def _form(run: Progress) -> Iterator[str]:
    job, study, comparison = run.job, run.job.study, run.comparison
    published = study.published(job.settings)
    yield f"```\n{job.command}\n```\n"
    yield f"{regime(comparison)}.\n"
    yield "\n".join(f"- {line}" for line in _provenance(run.rows)) + "\n"
    if study.claims:
        yield claims_table(comparison, study.claims).markdown()
    yield effect_table(comparison).markdown()
    yield accuracy_table(comparison, dict.fromkeys(job.every_variant) | dict(published)).markdown()
    lines = agreement(comparison, published)
    lines += [f"Not run yet: {_words(run.missing)}."] if run.missing else []
    if lines:
        yield "\n".join(f"- {line}" for line in lines) + "\n"
    yield of_run(run).markdown()


def _rates(rates: ByRate) -> Iterator[str]:
    """The section on all rates of one form of a config."""
    yield "How much of it does each place bear?\n"
    yield rate_table(rates.comparison).markdown()
    yield of_rates(rates).markdown()


def _provenance(rows: Sequence[Row]) -> Iterator[str]:
    """What the rows were made on and with, as they tell it themselves."""
    seeds = len({row.seed for row in rows})
    yield f"n: {seeds} seed{'' if seeds == 1 else 's'}, {len(rows)} cells."
    hours = sum(row.wall_seconds for row in rows if math.isfinite(row.wall_seconds)) / 3600
    hardware = _count(escaped(row.device_kind) for row in rows)
    yield f"Hardware: {hardware}; {hours:.2g} device hours, pauses included."
    yield "Versions: " + _count(
        escaped(", ".join(f"{name} {version}" for name, version in row.versions.items()))
        for row in rows
    )
    yield "Precision: " + _count(_precision(row) for row in rows)
    yield "Source: " + _count(_revision(row) for row in rows)


def _revision(row: Row) -> str:
    short = row.git_revision[:12]
    words = f"`{short}`" if short.isalnum() else escaped(short)
    return words + (" with changes" if row.git_revision.endswith("-dirty") else "")


def _precision(row: Row) -> str:
    # A CPU's products have no less.
    on_cpu = row.platform == "cpu" and row.precision == "tensorfloat32"
    return "float32" if on_cpu else escaped(row.precision)


def _count(values: Iterator[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.items())


def _words(cells: Sequence[Cell]) -> str:
    counts = Counter(variant for variant, _ in cells)
    by_variant = ", ".join(f"{variant} x {count}" for variant, count in counts.items())
    return f"{len(cells)} cells ({by_variant})"


def _not_run(runs: Sequence[Progress], not_shown: Mapping[str, int]) -> Iterator[str]:
    yield "## What was not run\n"
    for run in runs:
        if run.missing:
            cells = f"{len(run.missing)} of {len(run.wanted)} cells"
            yield f"- {run.job.study.name}, {run.job.name}: {cells}."
    for study, count in not_shown.items():
        if count:
            yield (
                f"- `{study}.jsonl`: {count} rows of earlier versions of the numerics are there and"
                " not shown: the same seed trains another network now."
            )
    for study, reason in LEFT_OUT.items():
        yield f"- `benchmarks.{study}` is no part of the reproduction: {reason}."
    yield ""
