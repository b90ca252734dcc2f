"""A run of the throughput benchmark as a line of the ledger, and as a section of BENCHMARKS.md."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.throughput.contest import Result
from benchmarks.throughput.contests import Measurement
from flaxdrop.table import EMPTY, escaped

FILE = "throughput.jsonl"
_SCHEMA = 1
_REACHED = {None: EMPTY, True: "yes", False: "**no**"}


def record(
    about: Mapping[str, Any],
    measurements: Sequence[Measurement],
    results: Mapping[str, Mapping[str, Result]],
) -> dict[str, Any]:
    """A line of the ledger.

    Args:
      about: the machine, the versions and the settings.
      measurements: the rows of the table.
      results: contest -> contestant -> what it did.
    """
    return {
        "schema": _SCHEMA,
        **about,
        "measurements": [dataclasses.asdict(result) for result in measurements],
        "contests": {
            contest: {name: dataclasses.asdict(result) for name, result in found.items()}
            for contest, found in results.items()
        },
    }


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The newest run of every kind of device, in Markdown."""
    rows = [_escaped(row) for row in rows]
    newest = {(row["device_kind"], row["processor"], len(row["cores"])): row for row in rows}
    lines = [
        "## Throughput",
        "",
        "How fast is it, beside what else one could have written? `python -m",
        "benchmarks.throughput` measures all in one run; contestants take turns, and speeds are",
        "compared round by round: the median of the rounds [smallest, largest].",
    ]
    for row in newest.values():
        lines += ["", *_run(row)]
    return "\n".join(lines)


def _escaped(value: Any) -> Any:
    """A part of a row, whose texts Markdown shows as they are."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, Mapping):
        return {name: _escaped(part) for name, part in value.items()}
    return [_escaped(part) for part in value] if isinstance(value, list) else value


def _run(row: Mapping[str, Any]) -> Iterator[str]:
    versions = row["versions"]
    yield (
        f"### {row['device_kind']} ({row['processor']}, {len(row['cores'])} cores),"
        f" {row['precision']}"
    )
    yield ""
    yield (
        f"{row['finished_at'][:10]}, jax {versions['jax']}, flax {versions['flax']},"
        f" {row['rounds']} rounds of {row['seconds']:g} s."
    )
    yield ""
    yield "| what | measured | asked | reached |"
    yield "| --- | --- | --- | --- |"
    for entry in row["measurements"]:
        asked = entry["asked"] or EMPTY
        yield f"| {entry['what']} | {_value(entry)} | {asked} | {_REACHED[entry['reached']]} |"
    yield ""
    yield "| contest | contestant | a second | GFLOP/s | compiling, s | temporary | peak of host |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for contest, found in row["contests"].items():
        for name, contestant in found.items():
            yield f"| {escaped(contest)} | {escaped(name)} | {_contestant(contestant)} |"


def _value(measurement: Mapping[str, Any]) -> str:
    if measurement["value"] is None:
        return measurement["note"] or "not measured"
    text = f"{measurement['value']:.3g}"
    if measurement["low"] is not None:
        text += f" [{measurement['low']:.3g}, {measurement['high']:.3g}]"
    return f"{text} ({measurement['note']})" if measurement["note"] else text


def _contestant(contestant: Mapping[str, Any]) -> str:
    result = Result(tuple(contestant["speeds"]), contestant["about"], contestant["failure"])
    if result.failure:
        return " | ".join([result.failure, *[EMPTY] * 4])
    flops, about = result.about.get("flops_per_image"), result.about
    return " | ".join(
        [
            f"{result.speed:.4g}",
            f"{flops * result.speed / 1e9:.0f}" if flops else EMPTY,
            f"{about['compile_seconds']:.1f}" if "compile_seconds" in about else EMPTY,
            _megabytes(about.get("temporary_bytes")),
            _megabytes(about.get("peak_bytes")),
        ]
    )


def _megabytes(count: float | None) -> str:
    return EMPTY if count is None else f"{count / 1e6:.0f} MB"
