"""BENCHMARKS.md as text: a pure function of the jobs of the reproduction and their rows."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.findings.agreement import agreement
from benchmarks.harness.workfolder import LEDGERS
from benchmarks.reproduction.claims import (
    ACCURACY,
    CLAIMS,
    HOLDS,
    MARGIN,
    NOT,
    UNDECIDED,
    Finding,
    judge,
)
from benchmarks.reproduction.jobs import LEFT_OUT, Cell
from benchmarks.reproduction.pictures import of_rates, of_run
from benchmarks.reproduction.progress import ByRate, Run, by_rate
from flaxdrop.results.comparison import effects, null_of, outcomes
from flaxdrop.results.ledger import Row
from flaxdrop.results.rate_table import rate_table
from flaxdrop.results.table import study_table
from flaxdrop.table import EMPTY, Table

# A section of its own for a ledger that is not of a study: name of the file -> (rows -> Markdown).
Sections: TypeAlias = Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]]
_HEAD = """# Benchmarks

What is published and what we measured, beside each other. This page is rendered from the rows in
[benchmarks/ledger](benchmarks/ledger) by `python -m benchmarks.report`, words and verdicts too: it
is not edited. `python -m benchmarks.reproduce --time_budget 9m` trains the next cells that are
missing. Forms of a config: *full* is the published recipe, as far as it is known; *quick* the same
network with fewer epochs; *small* a network of depth 20, or the published one, on 10,000 of the
images, another job for every seed, for a CPU.
"""


def render(runs: Sequence[Run], others: Sequence[str], not_shown: Mapping[str, int]) -> str:
    """The page.

    Args:
      runs: as `runs_of` gives them.
      others: sections that are not of a study, in Markdown.
      not_shown: study -> how many rows of its ledger are of another version of the numerics.
    """
    blocks = [_HEAD, *_meaning(runs)]
    every = by_rate(runs)
    for title in dict.fromkeys(run.title for run in runs):
        of = [run for run in runs if run.title == title]
        if any(run.rows for run in of):
            blocks += [f"## {title}\n", *_config(of)]
        for rates in every:
            if rates.last in of:
                blocks += [f"## {rates.last.job.study.name}, {rates.name}\n", *_rates(rates)]
    return "\n".join([*blocks, *others, *_not_run(runs, not_shown)])


def _meaning(runs: Sequence[Run]) -> Iterator[str]:
    """Every claim beside every config of its study, the fullest form that has rows first."""
    cells: list[tuple[str, ...]] = []
    leading: dict[str, dict[str, None]] = {}
    for claim in CLAIMS:
        seen: set[str] = set()
        for run in runs:
            if run.job.study.name != claim.study or not run.rows:
                continue
            found = judge(claim, run.rows, run.job.every_variant, run.job.study.nulls)
            if not found.effects:
                continue
            cells.append(
                (
                    f"{claim.words} ({claim.source})",
                    _verdict(found),
                    run.job.name,
                    _effects(found, claim.quantity.unit),
                    _link(run),
                )
            )
            if run.title not in seen:
                leading.setdefault(found.verdict, {})[f"{claim.words} ({run.job.name})"] = None
            seen.add(run.title)
        if not seen:
            leading.setdefault("not run", {})[claim.words] = None
            cells.append((f"{claim.words} ({claim.source})", "not run", EMPTY, EMPTY, EMPTY))
    yield "## What it means\n"
    for verdict, words in {
        HOLDS: "What agrees",
        NOT: "What does not",
        UNDECIDED: "Undecided",
        "not run": "Not run",
    }.items():
        yield f"- **{words}:** {'; '.join(leading.get(verdict, ())) or 'nothing'}."
    notes = (
        "Differences are of the accuracy after the last epoch unless told otherwise, paired by seed"
        " [95 % t interval].",
        "A claim holds where all its differences lie on its side of 0, and does not where one lies"
        " on the other (after Bonferroni), each beyond the noise of the study's null where it has"
        " one: chance alone brings either about in at most 2.5 % of the cases, a claim; over the"
        " claims nothing is corrected. No difference: all intervals within"
        f" ± {MARGIN:g} points, a margin of ours; that it does not hold has a chance of 5 %.",
        "At several rates the baseline of a study is one network with the same seeds: what is found"
        " at one rate is not independent of what is found at another.",
        "A small form answers for its own network and images; the verdict of the fullest form is"
        " the one that counts.",
    )
    columns = ("published claim", "verdict", "scale", "ours", "rows")
    yield "\n" + Table(columns, tuple(cells), notes).markdown()


def _verdict(found: Finding) -> str:
    missing = f", not run: {', '.join(found.missing)}" if found.missing else ""
    return f"{found.verdict} at n = {found.n}{missing}"


def _effects(found: Finding, unit: str) -> str:
    words = []
    for name, effect in found.effects.items():
        of = "" if found.n == f"{effect.n}" else f" (n = {effect.n})"
        words.append(f"{name}{of}: {effect:+.2f}")
    return f"{'; '.join(words)} {unit}"


def _link(run: Run) -> str:
    file = f"{run.job.study.name}.jsonl"
    return f"[{file}]({(LEDGERS / file).as_posix()}), config `{run.job.config_hash}`"


def _config(runs: Sequence[Run]) -> Iterator[str]:
    """The sections of one config, in all its forms."""
    study, settings = runs[0].job.study, runs[0].job.settings
    yield f"{study.question}\n"
    if words := study.stated and study.stated(settings):
        yield f"{words}.\n"
    for run in runs:
        if run.rows:
            yield f"### {run.job.name}\n"
            yield from _form(run)


def _form(run: Run) -> Iterator[str]:
    job, study = run.job, run.job.study
    order = list(job.every_variant)
    published = study.published(job.settings)
    yield f"```\n{job.command}\n```\n"
    yield "\n".join(f"- {line}" for line in _provenance(run.rows)) + "\n"
    yield study_table(
        run.rows,
        order=order,
        published=dict.fromkeys(order) | dict(published),
        baseline=study.baseline,
        nulls=study.nulls,
    ).markdown()
    found = outcomes(run.rows, order)
    null = null_of(found, "best", study.nulls)
    lines = agreement(effects(found, "best", study.baseline, null), published, study.baseline)
    for claim in CLAIMS:
        if claim.study == study.name:
            verdict = judge(claim, run.rows, job.every_variant, study.nulls)
            if verdict.effects:
                of = "" if claim.quantity is ACCURACY else f" ({claim.quantity.unit})"
                lines.append(f"{claim.words}{of}: {_verdict(verdict)}.")
    lines += [f"Not run yet: {_words(run.missing)}."] if run.missing else []
    if lines:
        yield "\n".join(f"- {line}" for line in lines) + "\n"
    yield of_run(run).markdown()


def _rates(rates: ByRate) -> Iterator[str]:
    """The section on all rates of one form of a config."""
    study = rates.last.job.study
    yield "How much of it does each place bear?\n"
    yield rate_table(
        {rate: run.rows for rate, run in rates.runs.items()},
        order=list(rates.last.job.every_variant),
        baseline=study.baseline,
        nulls=study.nulls,
    ).markdown()
    yield of_rates(rates).markdown()


def _provenance(rows: Sequence[Row]) -> Iterator[str]:
    """What the rows were made on and with, as they tell it themselves."""
    yield f"n: {len({row.seed for row in rows})} seeds, {len(rows)} cells."
    hours = sum(row.wall_seconds for row in rows if math.isfinite(row.wall_seconds)) / 3600
    hardware = _count(row.device_kind for row in rows)
    yield f"Hardware: {hardware}; {hours:.2g} device hours, pauses included."
    yield "Versions: " + _count(
        ", ".join(f"{name} {version}" for name, version in row.versions.items()) for row in rows
    )
    yield "Precision: " + _count(_precision(row) for row in rows)
    yield "Source: " + _count(f"`{row.git_revision[:12]}`" + _dirty(row) for row in rows)


def _precision(row: Row) -> str:
    # A CPU's products have no less.
    on_cpu = row.platform == "cpu" and row.precision == "tensorfloat32"
    return "float32" if on_cpu else row.precision


def _dirty(row: Row) -> str:
    return " with changes" if row.git_revision.endswith("-dirty") else ""


def _count(values: Iterator[str]) -> str:
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} cells)" for value, count in counts.items())


def _words(cells: Sequence[Cell]) -> str:
    counts = Counter(variant for variant, _ in cells)
    by_variant = ", ".join(f"{variant} x {count}" for variant, count in counts.items())
    return f"{len(cells)} cells ({by_variant})"


def _not_run(runs: Sequence[Run], not_shown: Mapping[str, int]) -> Iterator[str]:
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
