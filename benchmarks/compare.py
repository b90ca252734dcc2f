"""Do two runs differ, and in what?

python -m benchmarks.compare runs/FOLDER runs/OTHER

Each is a work folder, or a ledger. The table has the variants that both have trained.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.arguments import tool
from benchmarks.harness.recorded import recorded_rows
from flaxdrop.results.ledger import Row
from flaxdrop.results.statistics import holm, paired, summary
from flaxdrop.table import EMPTY, Table, plain


def read_rows(path: str) -> list[Row]:
    """The finished cells of a run.

    Args:
      path: its work folder, or a ledger.

    Raises:
      ValueError: there is none, or it holds no finished cell, or cells of several configs.
      OSError: it cannot be read.
    """
    if not (finished := [row for row in recorded_rows(path) if row.status == "finished"]):
        raise ValueError(f"run: {path} has no finished cell")
    if len({row.content for row in finished}) > 1:
        raise ValueError(f"run: must be of one config, {path} has cells of several")
    return finished


def differences(first: Row, second: Row) -> Iterator[str]:
    """What two runs were made with that is not the same, a line each.

    Args:
      first: any cell of the one.
      second: any cell of the other.
    """
    for what, one, other in (
        ("", _made_with(first), _made_with(second)),
        ("config.", first.config, second.config),
        ("version of ", first.versions, second.versions),
    ):
        for name in {**one, **other}:
            if one.get(name) != other.get(name):
                yield plain(f"{what}{name}: {one.get(name, EMPTY)} | {other.get(name, EMPTY)}")


def _made_with(row: Row) -> dict[str, Any]:
    return {
        "study": row.study,
        "data": row.data[:12],
        "weights": row.weights[:12],
        "numerics": row.numerics,
        "parameters": row.parameters,
        "device": row.device_kind,
        "revision": row.git_revision,
    }


def compare(first: Sequence[Row], second: Sequence[Row]) -> Table:
    """The variants of both runs, side by side.

    Args:
      first: finished cells of one config.
      second: finished cells of one config, it may be another.

    Raises:
      ValueError: no variant is in both.
    """
    others = {row.variant for row in second}
    variants = [name for name in dict.fromkeys(row.variant for row in first) if name in others]
    if not variants:
        raise ValueError("run: no variant is in both")
    pairs = [(_cells(first, name), _cells(second, name)) for name in variants]
    effects = [paired(_points(other), _points(one)) for one, other in pairs]
    corrected = holm([effect.p_value for effect in effects])
    lines = []
    for name, (one, other), effect, p in zip(variants, pairs, effects, corrected, strict=True):
        both = one.keys() & other.keys()
        equal = sum(one[seed].digest == other[seed].digest for seed in both)
        lines.append(
            (
                plain(name),
                f"{len(one)}, {len(other)}",
                f"{summary(_points(one).values()):.2f}",
                f"{summary(_points(other).values()):.2f}",
                f"{effect:+.2f}",
                EMPTY if math.isnan(p) else f"{p:.3f}",
                f"{equal} of {len(both)}",
            )
        )
    columns = ("variant", "n", "first, %", "second, %", "second - first, points", "p", "equal")
    notes = (
        "Test accuracy after the last epoch, mean [95 % t interval over seeds]. Differences are"
        " paired by seed; p is corrected over the variants after Holm. Equal: cells with the same"
        " weights to the bit.",
    )
    return Table(columns, tuple(lines), notes)


def _cells(rows: Sequence[Row], variant: str) -> dict[int, Row]:
    return {row.seed: row for row in rows if row.variant == variant}


def _points(cells: dict[int, Row]) -> dict[int, float]:
    return {seed: 100 * row.last_accuracy for seed, row in cells.items()}


@tool(__doc__, (), ("FOLDER", "OTHER"))
def main(options: SimpleNamespace) -> None:
    """Runs the tool."""
    first, second = map(read_rows, options.words)
    found = list(differences(first[0], second[0]))
    for path, rows in zip(options.words, (first, second), strict=True):
        print(f"{path}: {plain(rows[0].study)}, {len(rows)} cells")
    print("made with the same settings and versions" if not found else "first | second:")
    for line in found:
        print(f"  {line}")
    print(f"\n{compare(first, second).text()}")


if __name__ == "__main__":
    sys.exit(main())
