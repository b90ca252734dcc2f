"""Writes the ledger of a run as a table, for pandas or a spreadsheet.

python -m benchmarks.export runs/FOLDER --format csv
python -m benchmarks.export runs/FOLDER --format parquet --table curves

The table `cells` has a row for each trained network, and a column for each field of the ledger:
`config.epochs`, `versions.jax`. The table `curves` has a row for each epoch of each of them.
"""

import csv
import dataclasses
import importlib
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from benchmarks.harness.arguments import Flag, tool
from benchmarks.harness.recorded import recorded_rows
from flaxdrop.results.ledger import Row

_LISTS = ("curve", "right")  # of a length of their own
Record = dict[str, Any]


def cells(rows: Sequence[Row]) -> list[Record]:
    """A record for each cell: a name for each field, and for each field in a field.

    Returns:
      Records with the same names; what a row lacks is None.
    """
    records = [dict(_flat(row)) for row in rows]
    names = dict.fromkeys(name for record in records for name in record)
    return [{name: record.get(name) for name in names} for record in records]


def _flat(row: Row) -> Iterator[tuple[str, Any]]:
    for name, value in dataclasses.asdict(row).items():
        if isinstance(value, dict) and name not in _LISTS:
            yield from ((f"{name}.{inner}", _scalar(own)) for inner, own in value.items())
        elif name not in _LISTS:
            yield name, _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return None if isinstance(value, float) and math.isnan(value) else value


def curves(rows: Sequence[Row]) -> list[Record]:
    """A record for each epoch of each cell."""
    return [
        {"study": row.study, "config_hash": row.config_hash, "variant": row.variant}
        | {"seed": row.seed, "epoch": epoch}
        | dict(zip(row.curve, values, strict=True))
        for row in rows
        for epoch, values in enumerate(zip(*row.curve.values(), strict=True), start=1)
    ]


TABLES = {"cells": cells, "curves": curves}


def write_csv(records: Sequence[Record], path: pathlib.Path) -> None:
    """Writes records as comma-separated values; None is empty."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def write_parquet(records: Sequence[Record], path: pathlib.Path) -> None:
    """Writes records as Apache Parquet.

    Raises:
      ValueError: pyarrow is not installed.
    """
    try:
        pyarrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(
            'pyarrow: must be installed for --format parquet; pip install ".[export]"'
        ) from None
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)


FORMATS = {"csv": write_csv, "parquet": write_parquet}
FLAGS = (
    Flag("format", "csv", "of the file", tuple(FORMATS)),
    Flag("table", "cells", "what a row of it is", tuple(TABLES)),
    Flag("out", "", "the file (default: in the folder of the run, TABLE.FORMAT)"),
)


@tool(__doc__, FLAGS, ("FOLDER",))
def main(options: SimpleNamespace) -> None:
    """Runs the tool."""
    (folder,) = options.words
    records = TABLES[options.table](recorded_rows(folder))
    beside = pathlib.Path(folder)
    beside = beside if beside.is_dir() else beside.parent
    path = pathlib.Path(options.out or beside / f"{options.table}.{options.format}")
    FORMATS[options.format](records, path)
    print(f"{len(records)} rows, {len(records[0])} columns: {path}")


if __name__ == "__main__":
    sys.exit(main())
