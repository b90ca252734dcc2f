"""Renders BENCHMARKS.md and its pictures from the ledger of the reproduction.

    python -m benchmarks.report            writes them
    python -m benchmarks.report --check    says whether they are as the ledger and the code have it

Nothing is trained and no device is asked for.
"""

import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.workfolder import LEDGERS
from benchmarks.reproduction import photos
from benchmarks.reproduction.jobs import Job, all_jobs
from benchmarks.reproduction.page import Sections, render
from benchmarks.reproduction.pictures import FOLDER, Picture, pictures
from benchmarks.reproduction.progress import progress
from benchmarks.throughput import record
from flaxdrop.results import ledger
from flaxdrop.results.ledger import Row
from flaxdrop.results.provenance import config_hash
from flaxdrop.training.content import NUMERICS

PAGE = pathlib.Path("BENCHMARKS.md")
# Ledgers of rows that are not cells of a study; a section for each is added here.
SECTIONS: Sections = {photos.FILE: photos.section, record.FILE: record.section}


def read_rows(jobs: Sequence[Job]) -> dict[str, list[Row]]:
    """Study -> the rows of its ledger; those of the present numerics are checked.

    Raises:
      ValueError: a damaged line, or a row that does not fit its config.
    """
    rows = {}
    for study in dict.fromkeys(job.study.name for job in jobs):
        path = LEDGERS / f"{study}.jsonl"
        rows[study], warnings = ledger.read(path)
        if warnings:
            raise ValueError(warnings[0])
        known = {job.config_hash: job for job in jobs if job.study.name == study}
        for row in rows[study]:
            if row.numerics == NUMERICS and (fault := _fault(row, known)):
                raise ValueError(f"{path}: {row.variant} with seed {row.seed}: {fault}")
    return rows


def _fault(row: Row, known: Mapping[str, Job]) -> str:
    """What is wrong with a row, beside what `Row` itself refuses; empty: nothing."""
    if row.config_hash != (right := config_hash(row.config)):
        return f"config_hash is {row.config_hash}, that of its config is {right}"
    if row.config_hash not in known:
        return f"config {row.config_hash} is none of the reproduction"
    job = known[row.config_hash]
    if row.study != job.study.name:
        return f"study is {row.study}, must be {job.study.name}"
    if row.variant not in job.every_variant:
        return f"variant: must be one of {', '.join(job.every_variant)}"
    for name in ("data", "weights"):
        if (there := getattr(row, name)) != (right := getattr(job.content, name)):
            return f"{name}: must be {right!r}, got {there!r}"
    placement = str(job.every_variant[row.variant].placement)
    return "" if row.placement == placement else f"placement is {row.placement}, not {placement}"


def page() -> tuple[str, list[Picture]]:
    """The text of BENCHMARKS.md, and its pictures.

    Raises:
      ValueError: as `read_rows`.
    """
    jobs = all_jobs()
    rows = read_rows(jobs)
    runs = progress(jobs, rows)
    other = {study: sum(row.numerics != NUMERICS for row in found) for study, found in rows.items()}
    others = [
        _section(path, render_section)
        for name, render_section in SECTIONS.items()
        if (path := LEDGERS / name).exists()
    ]
    return render(runs, others, other), pictures(runs)


def _section(
    path: pathlib.Path, render_section: Callable[[Sequence[Mapping[str, Any]]], str]
) -> str:
    try:
        return render_section([json.loads(line) for line in path.read_text().splitlines()])
    except Exception as error:  # of lines of another shape
        raise ValueError(
            f"{path}: is damaged or of a newer flaxdrop ({type(error).__name__}: {error})"
        ) from error


def write(text: str, pictures: Sequence[Picture]) -> None:
    """Writes the page, and the pictures that are not there or of other rows; removes the others."""
    for picture in pictures:
        if not picture.fresh:
            picture.write()
    for path in _others(pictures):
        path.unlink()
    PAGE.write_text(text)


def check(text: str, pictures: Sequence[Picture]) -> None:
    """Compares the page and the rows that its pictures were drawn from.

    Raises:
      ValueError: the first thing that is stale.
    """
    there = PAGE.read_text().splitlines() if PAGE.exists() else []
    lines = itertools.zip_longest(there, text.splitlines(), fillvalue="nothing")
    for i, (line, right) in enumerate(lines, start=1):
        if line != right:
            raise ValueError(
                f"{PAGE} line {i} is stale: {line!r}, must be {right!r};"
                " run python -m benchmarks.report"
            )
    for picture in pictures:
        if not picture.fresh:
            raise ValueError(f"{picture.path} is stale; run python -m benchmarks.report")
    for path in _others(pictures):
        raise ValueError(f"{path} is not in the page; run python -m benchmarks.report")


def _others(pictures: Sequence[Picture]) -> list[pathlib.Path]:
    """What earlier pages showed."""
    return sorted(set(FOLDER.glob("*.png")) - {picture.path for picture in pictures})


@tool(__doc__, (Flag("check", False, "write nothing; exit status 2 if the page is stale"),))
def main(options: SimpleNamespace) -> None:
    """Writes the page, or checks it."""
    (check if options.check else write)(*page())


if __name__ == "__main__":
    sys.exit(main())
