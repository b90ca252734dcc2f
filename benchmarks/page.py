"""BENCHMARKS.md as text: a pure function of the parts of the reproduction and their rows."""

import dataclasses
import math
import pathlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks.agreement import agreement
from benchmarks.claims import ACCURACY, CLAIMS, HOLDS, MARGIN, NOT, UNDECIDED, Finding, judge
from benchmarks.reproduction import FORMS, LEDGER, LEFT_OUT, Cell, Part
from flaxdrop.results.comparison import effects, null_of, outcomes
from flaxdrop.results.ledger import Row
from flaxdrop.results.table import EMPTY, Table, study_table

PICTURES = pathlib.Path("docs/benchmarks")
# A section of its own for a ledger that is not of a study: name of the file -> (rows -> Markdown).
Sections: TypeAlias = Mapping[str, Callable[[Sequence[Mapping[str, Any]]], str]]
_HEAD = """# Benchmarks

What is published and what we measured, beside each other. This page is rendered from the rows in
[benchmarks/ledger](benchmarks/ledger) by `python -m benchmarks.report`, words and verdicts too: it
is not edited. `python -m benchmarks.reproduce --time_budget 9m` trains the next cells that are
missing. Forms of a config: *full* is the published recipe, as far as it is known; *quick* the same
network with fewer epochs; *tiny* a small network on a part of the images, for a CPU.
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """One config of the reproduction with the rows that are there of it.

    Attributes:
      part: the config.
      wanted: all its cells, of every part of it.
      rows: of this config, in the ledger's order.
    """

    part: Part
    wanted: tuple[Cell, ...]
    rows: tuple[Row, ...]

    @property
    def picture(self) -> pathlib.Path:
        """Where its picture is."""
        name = "".join(char if char.isalnum() else "-" for char in self.part.name)
        return PICTURES / f"{self.part.study.name}-{name}.png"

    @property
    def missing(self) -> list[Cell]:
        """The cells that are wanted and not there, in the table's order."""
        done = {(row.variant, row.seed) for row in self.rows}
        order = list(self.part.every_variant)
        lacking = [cell for cell in self.wanted if cell not in done]
        return sorted(lacking, key=lambda cell: (order.index(cell[0]), cell[1]))


def runs_of(parts: Sequence[Part], rows: Mapping[str, Sequence[Row]]) -> list[Run]:
    """The configs of the parts, by study as the parts come, the fullest form of each first.

    Args:
      parts: of the reproduction.
      rows: study -> all rows of its ledger.
    """
    cells: dict[tuple[str, str], dict[Cell, None]] = {}
    first: dict[tuple[str, str], Part] = {}
    for part in parts:
        key = part.study.name, part.config_hash
        first.setdefault(key, part)
        cells.setdefault(key, {}).update(dict.fromkeys(part.cells))
    runs = [
        Run(
            part,
            tuple(cells[key]),
            tuple(row for row in rows.get(key[0], ()) if row.config_hash == key[1]),
        )
        for key, part in first.items()
    ]
    titles = list(dict.fromkeys(_title(run.part) for run in runs))
    return sorted(
        runs, key=lambda run: (titles.index(_title(run.part)), -FORMS.index(run.part.form))
    )


def render(runs: Sequence[Run], others: Sequence[str]) -> str:
    """The page.

    Args:
      runs: as `runs_of` gives them.
      others: sections that are not of a study, in Markdown.
    """
    blocks = [_HEAD, *_meaning(runs)]
    for title in dict.fromkeys(_title(run.part) for run in runs):
        of = [run for run in runs if _title(run.part) == title]
        if any(run.rows for run in of):
            blocks += [f"## {title}\n", *_config(of)]
    return "\n".join([*blocks, *others, *_not_run(runs)])


def _title(part: Part) -> str:
    changes = [f"{field} {value}" for field, value in part.changes.items()]
    return ", ".join([part.study.name, part.settings.dataset, *changes])


def _meaning(runs: Sequence[Run]) -> Iterator[str]:
    """Every claim beside every config of its study, the fullest form that has rows first."""
    cells: list[tuple[str, ...]] = []
    leading: dict[str, dict[str, None]] = {}
    for claim in CLAIMS:
        seen: set[str] = set()
        for run in runs:
            if run.part.study.name != claim.study or not run.rows:
                continue
            found = judge(claim, run.rows, run.part.every_variant, run.part.study.nulls)
            if not found.effects:
                continue
            cells.append(
                (
                    f"{claim.words} ({claim.source})",
                    _verdict(found),
                    run.part.name,
                    _effects(found, claim.quantity.unit),
                    _link(run),
                )
            )
            if _title(run.part) not in seen:
                leading.setdefault(found.verdict, {})[f"{claim.words} ({run.part.name})"] = None
            seen.add(_title(run.part))
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
        interval = f" [{effect.low:+.2f}, {effect.high:+.2f}]" if effect.n > 1 else ""
        words.append(f"{name}: {effect.mean:+.2f}{interval}")
    return f"{'; '.join(words)} {unit}"


def _link(run: Run) -> str:
    file = f"{run.part.study.name}.jsonl"
    return f"[{file}]({(LEDGER / file).as_posix()}), config `{run.part.config_hash}`"


def _config(runs: Sequence[Run]) -> Iterator[str]:
    """The sections of one config, in all its forms."""
    study, settings = runs[0].part.study, runs[0].part.settings
    yield f"{study.question}\n"
    if words := study.stated and study.stated(settings):
        yield f"{words}.\n"
    for run in runs:
        if run.rows:
            yield f"### {run.part.name}\n"
            yield from _form(run)


def _form(run: Run) -> Iterator[str]:
    part, study = run.part, run.part.study
    order = list(part.every_variant)
    published = study.published(part.settings)
    yield f"```\n{part.command}\n```\n"
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
            verdict = judge(claim, run.rows, part.every_variant, study.nulls)
            if verdict.effects:
                of = "" if claim.quantity is ACCURACY else f" ({claim.quantity.unit})"
                lines.append(f"{claim.words}{of}: {_verdict(verdict)}.")
    lines += [f"Not run yet: {_words(run.missing)}."] if run.missing else []
    if lines:
        yield "\n".join(f"- {line}" for line in lines) + "\n"
    yield f"![Accuracy by variant, and differences to {study.baseline}]({run.picture.as_posix()})\n"


def _provenance(rows: Sequence[Row]) -> Iterator[str]:
    """What the rows were made on and with, as they tell it themselves."""
    yield f"n: {len({row.seed for row in rows})} seeds, {len(rows)} cells."
    hours = sum(row.wall_seconds for row in rows if math.isfinite(row.wall_seconds)) / 3600
    yield f"Hardware: {_count(row.device_kind for row in rows)}; {hours:.2g} device hours."
    yield "Versions: " + _count(
        ", ".join(f"{name} {version}" for name, version in row.versions.items()) for row in rows
    )
    yield "Precision: " + _count(row.precision for row in rows)
    yield "Source: " + _count(f"`{row.git_revision[:12]}`" + _dirty(row) for row in rows)


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


def _not_run(runs: Sequence[Run]) -> Iterator[str]:
    yield "## What was not run\n"
    for run in runs:
        if run.missing:
            cells = f"{len(run.missing)} of {len(run.wanted)} cells"
            yield f"- {run.part.study.name}, {run.part.name}: {cells}."
    for study, reason in LEFT_OUT.items():
        yield f"- `benchmarks.{study}` is no part of the reproduction: {reason}."
    yield ""
